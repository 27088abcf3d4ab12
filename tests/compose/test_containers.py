"""What each container may do, what it is made of, and what it must not know."""

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import orjson
import pytest

from console.compose.secrets import GIVEN
from console.compose.stack import Stack, StackError
from shared.database import Role
from tests.compose.conftest import OURS, PROJECT, SERVICES, Deployed

BASE = os.environ.get("CITADEL_PYTHON_IMAGE", "python:3.13-slim-bookworm")
MOST_ABOVE_BASE = 165_000_000
"""More than a quarter of it is NumPy, by which is planned and learned."""


@pytest.mark.parametrize("service", [*SERVICES, "simulator"])
def test_a_container_has_no_rights_and_bounds(deployed: Deployed, service: str) -> None:
    attrs = deployed.container(service).attrs
    host = attrs["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["Privileged"] is False
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Init"] is True
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert min(host["Memory"], host["NanoCpus"], host["PidsLimit"]) > 0


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_said_of_a_container_is_true_inside(deployed: Deployed, service: str) -> None:
    status = deployed.sh(service, "cat", "/proc/self/status")[1]
    uid = re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)
    assert uid is not None
    assert int(uid[1]) != 0
    assert re.search(r"^CapEff:\s+0{16}$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert deployed.sh(service, "touch", "/etc/anything")[0] != 0
    assert deployed.sh(service, "touch", "/tmp/anything")[0] == 0


def test_only_the_edge_is_reached_from_outside(deployed: Deployed) -> None:
    published = {
        service: [
            binding["HostIp"]
            for bindings in (deployed.container(service).attrs["NetworkSettings"]["Ports"] or {}).values()
            for binding in bindings or ()
        ]
        for service in (*SERVICES, "simulator")
    }
    assert {service for service, addresses in published.items() if addresses} == {"edge", "simulator"}
    assert published["simulator"] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("service", "reaches"), [("worker", True), ("auth", True), ("ingress", False), ("ledger", False)]
)
def test_only_worker_and_auth_have_a_way_out(deployed: Deployed, service: str, reaches: bool) -> None:
    internal = {name: deployed.engine.networks.get(f"{PROJECT}_{name}").attrs["Internal"] for name in ("front", "data")}
    assert internal == {"front": True, "data": True}
    networks = deployed.container(service).attrs["NetworkSettings"]["Networks"]
    assert (f"{PROJECT}_outside" in networks) is reaches
    there = deployed.container("simulator").attrs["NetworkSettings"]["Networks"][f"{PROJECT}_outside"]["IPAddress"]
    code = f"import socket; socket.create_connection(('{there}', 12111), 3)"
    assert (deployed.python(service, code)[0] == 0) is reaches


def test_the_edge_does_not_reach_the_database(deployed: Deployed) -> None:
    address = deployed.address(deployed.container("postgres"))
    assert deployed.sh("edge", "timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{address}/5432")[0] != 0


def _words(deployed: Deployed) -> dict[str, str]:
    """Everything secret in the stack: the passwords of the URLs, the keys, each without its label."""
    words = {}
    for file in deployed.stack.secrets.iterdir():
        text = file.read_text().strip()
        if file.name.endswith("_database_url"):
            text = urlsplit(text).password or ""
        elif file.name == "encryption_keys":
            text = text.partition(":")[2]
        elif file.name == "tls_key":
            text = text.splitlines()[1]
        elif file.name in ("tls_certificate", "tls_authority"):
            continue
        words[file.name] = text
    assert len(words) == 13
    assert all(len(word) >= 10 for word in words.values())
    return words


def test_no_secret_is_in_a_container_an_image_or_a_log(deployed: Deployed) -> None:
    texts: dict[str, bytes] = {}
    for service in (*SERVICES, "migrate", "simulator"):
        container = deployed.container(service)
        texts[f"inspect of {service}"] = orjson.dumps(container.attrs)
        texts[f"log of {service}"] = container.logs()
        texts[f"image of {service}"] = orjson.dumps([container.image.attrs, container.image.history()])
        if service in OURS:
            texts[f"environment of {service}"] = deployed.sh(service, "cat", "/proc/1/environ")[1].encode()
    found = [
        (name, place) for name, word in _words(deployed).items() for place in texts if word.encode() in texts[place]
    ]
    assert found == []
    # It does look: the words that are no secret are found where they stand.
    assert b"stripe_secret_key" in texts["inspect of worker"]
    assert b"listening" in texts["log of ingress"]


def _layers(deployed: Deployed, service: str) -> Iterator[bytes]:
    """The image's bytes, each piece with the end of the one before it."""
    before = b""
    for piece in deployed.container(service).image.save(chunk_size=4 << 20):
        yield before + piece
        before = piece[-200:]


@pytest.mark.parametrize("service", ["ingress", "edge"])
def test_no_secret_is_in_a_layer(deployed: Deployed, service: str) -> None:
    known = {given.simulator for given in GIVEN.values()}  # the simulator's keys are no secrets
    words = {name: word.encode() for name, word in _words(deployed).items() if word not in known}
    assert len(words) > 7
    found = {name for piece in _layers(deployed, service) for name, word in words.items() if word in piece}
    assert found == set()


def test_the_image_is_small_and_labelled(deployed: Deployed) -> None:
    image = deployed.container("ingress").image
    above = image.attrs["Size"] - deployed.engine.images.get(BASE).attrs["Size"]
    print(f"\nimage: {above / 1e6:.0f} MB above {BASE}; the stack was up in {deployed.started_in_s:.0f} s")
    assert above <= MOST_ABOVE_BASE
    config = image.attrs["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    labels = config["Labels"]
    assert {"org.opencontainers.image.title", "org.opencontainers.image.licenses"} <= labels.keys()
    assert labels["org.opencontainers.image.version"] == "test"
    assert deployed.sh("ingress", "sh", "-c", "command -v gcc cc pip pip3 ld")[0] != 0


MAY_NOT: dict[str, list[str]] = {
    "ingress": ["SELECT access_token FROM merchants", "DELETE FROM processed_events", "SELECT * FROM api_keys"],
    "worker": ["SELECT access_token FROM merchants", "INSERT INTO merchants DEFAULT VALUES", "SELECT * FROM api_keys"],
    "auth": ["SELECT * FROM attempts", "INSERT INTO attempts DEFAULT VALUES", "DELETE FROM usage_logs"],
    "ledger": [
        "SELECT access_token FROM merchants",
        "UPDATE recoveries SET amount_due = 0",
        "UPDATE attempts SET result = 'succeeded'",
        "DELETE FROM attempts",
    ],
}


@pytest.mark.parametrize("service", OURS)
async def test_a_services_login_can_do_what_the_service_does_and_nothing_of_anothers(
    deployed: Deployed, service: str
) -> None:
    login = await asyncpg.connect(_url(deployed, service, "citadel"), timeout=10)
    try:
        for statement in MAY_NOT[service]:
            await _refused(login, statement)  # before it has taken its role it may do nothing at all
        await login.execute(f"SET ROLE citadel_{service}")
        await login.fetchval("SELECT count(*) FROM merchants WHERE status = 'active'")
        for statement in MAY_NOT[service]:
            await _refused(login, statement)
        for other in Role:
            if other != f"citadel_{service}":
                await _refused(login, f"SET ROLE {other}")
        await _refused(login, "SET ROLE citadel")
        await _refused(login, "CREATE TABLE mine (n int)")
        await _refused(login, "COPY merchants TO PROGRAM 'true'")
    finally:
        await login.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(_url(deployed, service, "postgres"), timeout=10)


def _url(deployed: Deployed, service: str, database: str) -> str:
    parts = urlsplit(deployed.secret(f"{service}_database_url"))
    host = deployed.address(deployed.container("postgres"))
    return urlunsplit(parts._replace(netloc=parts.netloc.replace("@postgres", f"@{host}"), path=f"/{database}"))


async def _refused(login: "asyncpg.Connection[asyncpg.Record]", statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await login.execute(statement)


def test_what_a_service_needs_at_rest(deployed: Deployed) -> None:
    lines = []
    for service in (*SERVICES, "simulator"):
        stats = deployed.container(service).stats(stream=False)["memory_stats"]
        used = stats["usage"] - stats["stats"].get("inactive_file", stats["stats"].get("total_inactive_file", 0))
        lines.append(f"  {service:<10}{used / 2**20:6.0f} MiB of {stats['limit'] / 2**20:.0f}")
        assert used < stats["limit"] * 0.8
    print("\nmemory at rest:\n" + "\n".join(lines))


def test_starting_again_changes_nothing(deployed: Deployed) -> None:
    before = {service: deployed.container(service).id for service in SERVICES}
    deployed.stack.up()
    assert {service: deployed.container(service).id for service in SERVICES} == before


def test_a_port_that_somebody_has_is_said_before_anything_is_changed(deployed: Deployed) -> None:
    settings = {**deployed.stack.settings}
    other = Stack(simulator=True, project="citadel-test-other", settings=settings)
    with pytest.raises(StackError, match=rf"{other.edge_port}: choose another with CITADEL_EDGE_PORT"):
        other.refuse_taken_ports()
    assert (
        deployed.engine.containers.list(all=True, filters={"label": "com.docker.compose.project=citadel-test-other"})
        == []
    )
    deployed.stack.refuse_taken_ports()  # its own it may keep


async def test_the_edge_answers_for_itself_in_the_services_form(deployed: Deployed, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_text("x" * 2_000_000)
    curl = ["curl", "-s", "-i", "--cacert", str(deployed.stack.secrets / "tls_authority")]

    async def get(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(*curl, *arguments, stdout=asyncio.subprocess.PIPE)
        return (await process.communicate())[0].decode()

    url = deployed.stack.public_url
    for path in ("/nothing", "/metrics", "/readyz", "/healthz"):
        answer = await get(f"{url}{path}")
        assert answer.startswith("HTTP/2 404"), path
        assert "application/problem+json" in answer
        assert "strict-transport-security" in answer
        assert "x-request-id" in answer
    assert (await get(f"{url}/v1/stats")).startswith("HTTP/2 401")
    assert (await get("-X", "POST", "-d", "{}", f"{url}/webhooks/stripe")).startswith("HTTP/2 400")
    assert (await get("-X", "POST", "--data-binary", f"@{large}", f"{url}/webhooks/stripe")).startswith("HTTP/2 413")
    assert (await get(f"{url.replace('https', 'http')}/v1/stats")).startswith("HTTP/1.1 400")
