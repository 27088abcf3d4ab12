"""The real process: it starts from its environment, takes an event in, and ends when told to."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from console.local.postgres import EmbeddedPostgres
from shared.database import Database
from shared.migrations import upgrade
from tests.integration.ingress.world import ACCOUNT, signed
from tests.unit.shared.events.examples import event_of, invoice
from tests.waiting import PATIENCE_S
from tests.world import World


@contextlib.asynccontextmanager
async def ingress(folder: Path, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CITADEL_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.ingress"),
        cwd=folder,  # not where a desk's own .env may lie
        env={**environment, **{f"CITADEL_{name}": value for name, value in settings.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def listening(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        async for line in process.stdout:
            entry = orjson.loads(line)
            if entry["event"] == "listening":
                port: int = entry["port"]
                return port
    raise AssertionError("the process ended before it listened")


async def test_the_process_takes_an_event_in_and_ends_gracefully(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    await World(database).connect(ACCOUNT)
    settings = {"DATABASE_URL": database_url, "INGRESS_PORT": "0", "STRIPE_WEBHOOK_SECRETS": "whsec_one,whsec_two"}
    async with ingress(tmp_path, **settings) as process, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{await listening(process)}"
        body = orjson.dumps(event_of("invoice.payment_failed", invoice()))
        headers = {"Stripe-Signature": signed(body, "whsec_two")}
        async with session.post(f"{base}/webhooks/stripe", data=body, headers=headers) as response:
            assert (response.status, await response.json()) == (200, {"received": True})
        async with session.get(f"{base}/readyz") as response:
            assert response.status == 200, await response.text()
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert (process.returncode, err) == (0, b"")
    accepted = next(entry for entry in map(orjson.loads, out.splitlines()) if entry["event"] == "event_accepted")
    assert (accepted["event_id"], accepted["type"], accepted["outcome"]) == (
        "evt_1",
        "invoice.payment_failed",
        "routed",
    )
    assert accepted["merchant_id"]
    async with database.transaction() as db:
        assert await db.fetchval("SELECT outcome FROM processed_events WHERE event_id = 'evt_1'") == "routed"


POLL_S = 0.1
POLLS_IN_2_S = 20


async def test_without_postgres_the_process_answers_503_and_200_again_within_2_s_of_its_return(tmp_path: Path) -> None:
    """Counted in polls, not by a clock: what a busy machine needs for one answer is not the process's waiting."""

    async def post(session: aiohttp.ClientSession, base: str, event_id: str) -> int:
        body = orjson.dumps(event_of("invoice.payment_failed", invoice(id=f"in_{event_id}"), id=event_id))
        headers = {"Stripe-Signature": signed(body, "whsec_one")}
        async with session.post(f"{base}/webhooks/stripe", data=body, headers=headers) as response:
            return response.status

    async def ready(session: aiohttp.ClientSession, base: str) -> int:
        async with session.get(f"{base}/readyz") as response:
            return response.status

    # A killed server keeps what it has written; `fast` would have it answer before it writes.
    async with EmbeddedPostgres.temporary(settings={"fsync": "off"}) as server:
        upgrade(server.url())
        async with Database.open(server.url(), None, size=1) as owner:
            await World(owner).connect(ACCOUNT)
        settings = {"DATABASE_URL": server.url(), "INGRESS_PORT": "0", "STRIPE_WEBHOOK_SECRETS": "whsec_one"}
        async with ingress(tmp_path, **settings) as process, aiohttp.ClientSession() as session:
            base = f"http://127.0.0.1:{await listening(process)}"
            assert await post(session, base, "evt_before") == 200
            for outage in range(2):
                server.kill()
                # Long enough away for its pauses between two tries, if it makes any, to have grown.
                for number in range(10):
                    assert await post(session, base, f"evt_away_{outage}_{number}") == 503
                    await asyncio.sleep(POLL_S)
                assert await ready(session, base) == 503
                await server.start()
                polls = 0
                while (await post(session, base, f"evt_back_{outage}"), await ready(session, base)) != (200, 200):
                    polls += 1
                    assert polls < POLLS_IN_2_S, "PostgreSQL has been back for 2 s"
                    await asyncio.sleep(POLL_S)
            assert process.returncode is None
        async with Database.open(server.url(), None, size=1) as owner, owner.transaction() as db:
            taken = [row["event_id"] for row in await db.fetch("SELECT event_id FROM processed_events ORDER BY 1")]
    assert taken == ["evt_back_0", "evt_back_1", "evt_before"]


@pytest.mark.parametrize("secrets", ["", "sk_live_not_a_webhook_secret"])
async def test_the_process_does_not_start_with_a_secret_that_cannot_be_one(tmp_path: Path, secrets: str) -> None:
    settings = {"DATABASE_URL": "postgresql://u:p@127.0.0.1/none", "STRIPE_WEBHOOK_SECRETS": secrets}
    async with ingress(tmp_path, **settings) as process:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 2
    assert b"CITADEL_STRIPE_WEBHOOK_SECRETS" in err
    assert b"sk_live" not in out + err
