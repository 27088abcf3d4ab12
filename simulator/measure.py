"""`python -m simulator.measure`: how fast the simulator is, by the CPU time of its process.

CPU time rather than wall time: the client that makes the load shares the machine.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import orjson
from aiohttp import web

from simulator.client import SimulatorClient
from simulator.shapes import DAY
from simulator.simulation import SECRET_KEY

Send = Callable[[int], Awaitable[None]]
AT_ONCE = 16


async def load(count: int, send: Send) -> None:
    """`count` requests, AT_ONCE at a time."""
    numbers = iter(range(count))

    async def one() -> None:
        for number in numbers:
            await send(number)

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


class Server:
    """The simulator in a process of its own, and its CPU time as the kernel counts it."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    @classmethod
    async def start(cls, *options: str) -> "Server":
        command = (sys.executable, "-m", "simulator", *options)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        if process.stdout is None:
            raise RuntimeError("the simulator has no stdout")
        ready = orjson.loads(await process.stdout.readline())
        return cls(process, ready["url"])

    async def cpu(self) -> float:
        """CPU seconds so far."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/_sim/usage") as answer:
            return float((await answer.json())["cpu_seconds"])

    async def stop(self) -> None:
        self.process.terminate()
        await self.process.wait()


async def report(server: Server, name: str, count: int, send: Send) -> None:
    """Runs a load and prints requests per CPU second of the server."""
    before = await server.cpu()
    await load(count, send)
    spent = await server.cpu() - before
    sys.stdout.write(f"{name:<28}{count / spent:>8.0f} /s of CPU {1e6 * spent / count:>8.0f} µs each\n")


async def measure(options: list[str]) -> None:
    """Populates 2,000 subscriptions, renews them and loads the API."""
    server = await Server.start(*options)
    headers = {"Authorization": f"Bearer {SECRET_KEY}"}
    try:
        async with SimulatorClient(server.url) as control, aiohttp.ClientSession(headers=headers) as session:
            accounts = await control.populate(connected=True)
            await _renew(server, control)
            made = await control.add_renewal(accounts[0], card={"decline": "do_not_honor"})
            address = f"{server.url}/v1/invoices/{made['invoice']['id']}"
            account = {"Stripe-Account": accounts[0]}
            deep = "?expand[0]=payments.data.payment.payment_intent&expand[1]=customer"

            async def get(query: str) -> None:
                async with session.get(address + query, headers=account) as answer:
                    await answer.read()

            async def pay(number: int) -> None:
                keyed = {**account, "Idempotency-Key": f"k{number}"}
                async with session.post(f"{address}/pay", headers=keyed) as answer:
                    await answer.read()

            await report(server, "read an invoice", 4_000, lambda _: get(""))
            await report(server, "read it with two expansions", 4_000, lambda _: get(deep))
            await report(server, "pay it, declined", 2_000, pay)
            usage = await control.usage()
            sys.stdout.write(f"memory {usage['max_rss_mb']} MB\n")
    finally:
        await server.stop()


async def _renew(server: Server, control: SimulatorClient) -> None:
    received = 0

    async def receive(request: web.Request) -> web.Response:
        nonlocal received
        await request.read()
        received += 1
        return web.Response()

    app = web.Application()
    app.router.add_post("/", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        before = await server.cpu()
        await control.configure_webhooks(url=f"http://127.0.0.1:{runner.addresses[0][1]}/")
        await control.advance(4 * DAY)
        await control.drain()
        spent = await server.cpu() - before
        sys.stdout.write(f"2,000 renewals with {received:,} webhooks took {spent:.1f} s of CPU\n")
    finally:
        await control.configure_webhooks(url=None)
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m simulator.measure", description=__doc__)
    parser.add_argument("--validate-responses", action="store_true")
    asyncio.run(measure(["--validate-responses"] if parser.parse_args().validate_responses else []))
