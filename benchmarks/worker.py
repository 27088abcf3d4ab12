"""`python -m benchmarks.worker '{"url": …}'`: the product's engine in one process, with no-op tasks or real ones.

Prints lines that begin with `@`: one when the engine is about to run, and one with the results when it has ended.
"""

import asyncio
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import psutil
import uvloop
from pydantic import SecretStr

from benchmarks.wire import tell
from services.worker.app import going_outside
from services.worker.engine.loop import Engine, Pace
from services.worker.handler import Handler, Handlers, Payload
from services.worker.handlers import discover
from services.worker.outside.remote import Remote
from services.worker.settings import WorkerSettings
from shared import garbage, logging
from shared.database import Database, Role

_RSS_EVERY = 100


@dataclass(frozen=True, slots=True)
class Order:
    """Stop when `expect` tasks are done, or after `seconds`; `real`: with the product's handlers, on `simulator`."""

    url: str
    expect: int | None = None
    seconds: float | None = None
    concurrency: int = 32
    batch: int = 500
    connections: int = 8
    real: bool = False
    simulator: str = "http://127.0.0.1:9"


class Numbered(Payload):
    """A no-op task; the start of a numbered one is noted."""

    n: int | None = None


class NoOp(Handler[Numbered, Numbered, None]):
    """Without load and commit, so that only the queue's own work is measured."""

    __slots__ = ("handled", "on_handled", "starts")
    payload = Numbered

    def __init__(self) -> None:
        self.handled = 0
        self.starts: list[tuple[int, float]] = []
        self.on_handled: Any = None

    async def perform(self, remote: Remote, plan: Numbered) -> None:
        """Count."""
        if plan.n is not None:
            self.starts.append((plan.n, time.monotonic()))
        self.handled += 1
        self.on_handled(self.handled)


async def main(order: Order) -> None:
    """Run the engine as ordered."""
    stop, noop, rss = asyncio.Event(), NoOp(), []
    me, reached = psutil.Process(), list[float]()
    step = max(1, (order.expect or 10_000) // _RSS_EVERY)

    def handled(count: int) -> None:
        if count % step == 0:
            rss.append((count, me.memory_info().rss))
        if order.expect is not None and count >= order.expect and not stop.is_set():
            reached.append(time.monotonic())
            stop.set()

    noop.on_handled = handled
    settings = WorkerSettings(
        _env_file=None,
        database_url=SecretStr(order.url),
        stripe_secret_key=SecretStr("sk_test_simulator"),
        stripe_api_base=order.simulator,
        resend_api_key=SecretStr("re_simulator"),
        resend_base=order.simulator,
        email_from="Billing <billing@platform.example>",
    )
    handlers: Handlers = discover() if order.real else {"noop": noop}
    pace = Pace(concurrency=order.concurrency, batch=order.batch, lease=timedelta(seconds=30), grace_seconds=20)
    async with (
        Database.open(order.url, Role.WORKER, size=order.connections, name="bench-worker") as database,
        going_outside(settings, database) as outside,
    ):
        async with database.transaction() as db:
            await db.fetchval("SELECT 1")
        engine = Engine("bench", database, handlers, outside, pace)
        if order.seconds is not None:
            asyncio.get_running_loop().call_later(order.seconds, stop.set)
        garbage.tune()
        tell(ready=True)
        started = time.monotonic()
        cpu = time.process_time()
        await engine.run(stop)
        seconds = time.monotonic() - started
    tell(
        handled=noop.handled,
        seconds=seconds,
        started=started,
        reached=reached[0] - started if reached else None,
        cpu=time.process_time() - cpu,
        starts=noop.starts,
        rss=rss,
        rss_end=me.memory_info().rss,
    )


if __name__ == "__main__":
    logging.configure("bench", "json", "ERROR")
    uvloop.run(main(Order(**orjson.loads(sys.argv[1]))))
