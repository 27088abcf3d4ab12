"""A queue with engines on it, whose tasks do what the test tells them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from services.worker.backoff import RetryPolicy
from services.worker.engine.loop import Engine, Pace
from services.worker.errors import Permanent, RetryLater
from services.worker.handler import Handler, Handlers, Job, Payload
from services.worker.outside.remote import Outside, Remote
from shared.database import Connection, Database
from shared.ids import MerchantId
from shared.queue import tasks
from shared.queue.tasks import NewTask
from tests import world
from tests.waiting import until

MERCHANT = MerchantId("m")
PACE = Pace(concurrency=8, batch=4, lease=timedelta(seconds=5), poll=(0.005, 0.02), grace_seconds=5)
SECRET = "jane.doe@example.com, 4242 4242 4242 4242"


class ProbePayload(Payload):
    """`does` says how it behaves, `n` which one it is."""

    n: int = 0
    does: str = "succeed"


class Probe(Handler[ProbePayload, ProbePayload, ProbePayload]):
    """Writes a row of usage as its effect, and behaves as it is told."""

    payload = ProbePayload
    retry = RetryPolicy(base=timedelta(milliseconds=1), longest=timedelta(milliseconds=2))

    __slots__ = ("gate", "performed", "started")

    def __init__(self) -> None:
        self.performed: list[int] = []
        self.started = asyncio.Event()
        self.gate = asyncio.Event()

    async def load(self, db: Connection, task: Job[ProbePayload]) -> ProbePayload:
        assert await db.fetchval("SELECT 1") == 1
        return task.payload

    async def perform(self, remote: Remote, plan: ProbePayload) -> ProbePayload:
        self.performed.append(plan.n)
        match plan.does:
            case "explode":
                raise KeyError(SECRET)
            case "give up":
                raise Permanent("it is of no use")
            case "limited":
                raise RetryLater("429", delay=timedelta(milliseconds=1), counts=False)
            case "wait":
                self.started.set()
                await self.gate.wait()
        return plan

    async def commit(self, db: Connection, task: Job[ProbePayload], outcome: ProbePayload) -> None:
        await db.execute(
            "INSERT INTO usage_logs (merchant_id, metric_type, amount) VALUES ('m', 'probe', $1)", outcome.n
        )
        if outcome.does == "break the commit":
            raise RuntimeError(SECRET)


class Bench(world.World):
    """A queue, and engines on it."""

    def __init__(self, database: Database, open_worker: Callable[[], Any], outside: Outside) -> None:
        super().__init__(database)
        self.probe = Probe()
        self.handlers: Handlers = {"probe": self.probe}
        self.open_worker = open_worker
        self.outside = outside

    async def queue(self, *payloads: dict[str, Any], task_type: str = "probe", max_tries: int = 3) -> None:
        async with self.database.transaction() as db:
            for payload in payloads:
                await tasks.enqueue(db, NewTask(MERCHANT, task_type, payload, max_tries=max_tries))

    def engine(self, name: str, database: Database, pace: Pace = PACE, probe: Probe | None = None) -> Engine:
        handlers = {"probe": probe} if probe else self.handlers
        return Engine(name, database, handlers, self.outside, pace)

    @asynccontextmanager
    async def running(self, name: str = "w", pace: Pace = PACE, probe: Probe | None = None) -> AsyncIterator[Engine]:
        """An engine at work during the block, stopped gracefully at its end."""
        stop = asyncio.Event()
        async with self.open_worker() as database:
            engine = self.engine(name, database, pace, probe)
            loop = asyncio.create_task(engine.run(stop))
            try:
                yield engine
            finally:
                stop.set()
                await loop

    async def effects(self) -> list[int]:
        return [row["amount"] for row in await self.rows("SELECT amount FROM usage_logs ORDER BY amount")]

    async def statuses(self) -> list[str]:
        return [row["status"] for row in await self.rows("SELECT status FROM scheduled_tasks ORDER BY id")]

    async def settled(self) -> None:
        """Wait until no task is pending or running."""
        await until(self.statuses, "no task is pending or running", lambda found: not {"pending", "running"} & {*found})

    async def idle(self, engine: Engine) -> None:
        """Wait until an engine has nothing in its hands."""
        await until(lambda: engine.running, "the engine has nothing in its hands", lambda running: running == 0)

    async def expire_leases(self) -> None:
        await self.execute(
            "UPDATE scheduled_tasks SET lease_expires_at = now() - interval '1 s' WHERE status = 'running'"
        )
