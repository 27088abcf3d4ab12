"""The simulator as a process: one line when it is ready, a clean end on SIGTERM."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator

import pytest
import stripe

from simulator import SECRET_KEY, SimulatorClient

pytestmark = pytest.mark.e2e


@pytest.fixture
async def process() -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "simulator", "--port", "0", "--seed", "3", "--start", "1790000000"]
    started = await asyncio.create_subprocess_exec(
        *command, "--validate-responses", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    yield started
    if started.returncode is None:
        started.kill()
    await started.wait()


async def test_it_serves_the_sdk_and_ends_cleanly(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    assert (ready["seed"], ready["now"]) == (3, 1_790_000_000)
    transport = stripe.AIOHTTPClient(timeout=10)
    async with SimulatorClient(ready["url"]) as control:
        (account,) = await control.populate(accounts=1, subscriptions=5, connected=True)
        await control.advance(4 * 86_400)
        client = stripe.StripeClient(
            SECRET_KEY,
            http_client=transport,
            base_addresses={"api": ready["url"]},
            stripe_account=account,
            max_network_retries=0,
        )
        assert len((await client.v1.invoices.list_async()).data) == 5
    await transport.close_async()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert process.stderr is not None
    assert await process.stderr.read() == b""
