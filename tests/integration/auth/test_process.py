"""`python -m services.auth`: the real process, what it says when it cannot start, and what it never logs."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from services.auth.tokens import unseal
from shared.database import Database
from shared.ids import AccountId
from simulator import CLIENT_ID, SECRET_KEY
from tests.integration.auth.conftest import KEY, STATE_SECRET, Auth, Browser, auth_settings, merchant_of

ROOT = Path(__file__).parents[3]


async def start(folder: Path, **settings: str) -> asyncio.subprocess.Process:
    """The process with these settings alone: no `.env` of this machine is read."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CITADEL_")}
    environment |= {f"CITADEL_{name.upper()}": value for name, value in settings.items()}
    environment["PYTHONPATH"] = str(ROOT)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.auth",
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.fixture
async def service(tmp_path: Path, database_url: str, stripe_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await start(
        tmp_path,
        database_url=database_url,
        stripe_api_base=stripe_url,
        stripe_connect_base=stripe_url,
        stripe_secret_key=SECRET_KEY,
        stripe_client_id=CLIENT_ID,
        encryption_keys=KEY,
        state_secret=STATE_SECRET,
        public_url="http://127.0.0.1:1",
        auth_port="0",
        log_level="DEBUG",
    )
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


async def test_it_connects_a_merchant_ends_gracefully_and_logs_no_secret(
    service: asyncio.subprocess.Process, database: Database, database_url: str, stripe_url: str, account: AccountId
) -> None:
    assert service.stdout is not None
    lines = [orjson.loads(await service.stdout.readline())]
    url = f"http://127.0.0.1:{lines[0]['port']}"
    settings = auth_settings(database_url, stripe_url, public_url=url)
    async with Browser(Auth(url, settings, database)) as browser:
        back = urlsplit(await browser.agree(await browser.begin(), sim_account=account))
        here = back._replace(netloc=urlsplit(url).netloc).geturl()
        assert (await browser.get(here)).status == 200
        assert (await browser.get(here)).status == 400
        assert (await browser.get(f"{url}/readyz")).status == 200
        cookies = [cookie.value for cookie in browser.session.cookie_jar]
    service.send_signal(signal.SIGTERM)
    out, err = await service.communicate()
    assert service.returncode == 0, err.decode()
    logged = out.decode()
    events = [orjson.loads(line)["event"] for line in logged.splitlines()]
    assert {"merchant_connected", "not_connected", "request", "stopping"} <= set(events)
    merchant = await merchant_of(database, account)
    columns = ("access_token", "refresh_token")
    tokens = [merchant[column] for column in columns]
    tokens += [unseal(settings.key_ring, merchant[column], account, column) for column in columns]
    query = parse_qs(back.query)
    for secret in [*tokens, *cookies, query["code"][0], query["state"][0], STATE_SECRET, SECRET_KEY, KEY]:
        assert len(secret) > 10
        assert secret not in logged + err.decode()


async def test_it_lists_everything_that_is_missing_or_wrong_at_once_and_shows_no_value(tmp_path: Path) -> None:
    process = await start(
        tmp_path,
        database_url="mysql://u:hunter2@h/d",
        stripe_client_id="acct_1",
        encryption_keys="k1:c2hvcnQ=",
        state_secret="too short for it",
        public_url="pay.example",
    )
    _, err = await process.communicate()
    text = err.decode()
    assert process.returncode == 2
    for name in (
        "DATABASE_URL",
        "STRIPE_SECRET_KEY",
        "STRIPE_CLIENT_ID",
        "ENCRYPTION_KEYS",
        "STATE_SECRET",
        "PUBLIC_URL",
    ):
        assert f"CITADEL_{name}: " in text
    assert "6 setting(s)" in text
    for value in ("hunter2", "c2hvcnQ", "too short for it"):
        assert value not in text
    assert "Traceback" not in text
