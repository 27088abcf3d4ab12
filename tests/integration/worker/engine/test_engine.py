"""The loop: every task once, no effect without its lease, and no task that holds up another."""

import asyncio
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from services.worker import metrics
from services.worker.engine import loop
from services.worker.engine.janitor import Rescuer
from services.worker.engine.loop import Engine, Pace
from services.worker.handler import Handlers, Job
from services.worker.outside.remote import Remote
from shared.database import Connection, Database, Role
from tests.integration.worker.engine.bench import PACE, SECRET, Bench, Probe, ProbePayload
from tests.waiting import until


async def test_many_workers_run_every_task_once(bench: Bench) -> None:
    await bench.queue(*({"n": n} for n in range(200)))
    async with bench.running("a"), bench.running("b"), bench.running("c"):
        await bench.settled()
    assert sorted(bench.probe.performed) == list(range(200))
    assert await bench.effects() == list(range(200))
    assert set(await bench.statuses()) == {"succeeded"}


async def test_a_lost_lease_changes_nothing_and_the_next_run_does(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "wait"})
    slow, never_again = Probe(), Pace(lease=timedelta(minutes=1), poll=(60, 60), grace_seconds=5)
    async with bench.running("slow", never_again, slow) as slow_engine:
        await slow.started.wait()
        await bench.expire_leases()
        async with bench.open_worker() as database:
            assert await Rescuer(database, bench.handlers, 1).rescue() == 1
        bench.probe.gate.set()
        async with bench.running("quick"):
            await bench.settled()
            slow.gate.set()
            await bench.idle(slow_engine)
    assert (slow.performed, bench.probe.performed) == ([1], [1])
    assert await bench.effects() == [1]


async def test_a_worker_that_is_handed_its_own_lost_task_drops_the_old_run(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "wait"})
    async with bench.running():
        await bench.probe.started.wait()
        await bench.expire_leases()
        async with bench.open_worker() as database:
            await Rescuer(database, bench.handlers, 1).rescue()
        await until(lambda: bench.probe.performed, "the task is run again", lambda runs: len(runs) >= 2)
        bench.probe.gate.set()
        await bench.settled()
    assert await bench.effects() == [1]


async def a_renewal(bench: Bench) -> None:
    """Wait until the heartbeat has renewed a lease."""

    async def lease() -> Any:
        return await bench.value("SELECT max(lease_expires_at) FROM scheduled_tasks")

    before = await lease()
    await until(lease, "the heartbeat has renewed the lease", lambda now: now != before)


async def test_the_heartbeat_keeps_the_task_of_a_slow_run(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "wait"})
    pace = Pace(lease=timedelta(seconds=2), poll=(0.005, 0.02), grace_seconds=5)
    async with bench.running("slow", pace):
        await bench.probe.started.wait()
        for _ in range(7):  # longer than two leases
            await a_renewal(bench)
            async with bench.open_worker() as database:
                assert await Rescuer(database, bench.handlers, 1).rescue() == 0
        bench.probe.gate.set()
        await bench.settled()
    assert bench.probe.performed == [1]


async def test_the_heartbeat_ends_a_run_that_was_rescued(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "wait"})
    pace = Pace(lease=timedelta(seconds=0.3), poll=(5, 5), grace_seconds=5)
    async with bench.running("slow", pace) as engine:
        await bench.probe.started.wait()
        await bench.rows("UPDATE scheduled_tasks SET fence = fence + 1 RETURNING id")
        await bench.idle(engine)
    assert await bench.effects() == []


async def test_a_worker_outlives_a_lost_run_that_failed_while_it_was_stopped(bench: Bench) -> None:
    class Breaks(Probe):
        async def perform(self, remote: Remote, plan: ProbePayload) -> ProbePayload:
            try:
                return await super().perform(remote, plan)
            finally:
                if plan.n == 1:
                    raise KeyError(SECRET)

    probe, pace = Breaks(), Pace(concurrency=1, lease=timedelta(seconds=0.3), poll=(0.005, 0.02), grace_seconds=5)
    async with bench.running("w", pace, probe) as engine:
        for n in (1, 2):
            await bench.queue({"n": n, "does": "wait"})
            await until(lambda: len(probe.performed), f"task {n} is performed", n.__eq__)
            await bench.execute("UPDATE scheduled_tasks SET fence = fence + 1")
            await bench.idle(engine)
        await bench.queue({"n": 3})
        await until(bench.effects, "the only worker goes on", [3].__eq__)


async def test_a_poisoned_task_dies_and_blocks_nothing(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "explode"}, *({"n": n} for n in range(2, 12)))
    async with bench.running():
        await bench.settled()
    assert await bench.effects() == list(range(2, 12))
    (dead,) = await bench.rows("SELECT attempts, last_error FROM scheduled_tasks WHERE status = 'dead'")
    assert dead["attempts"] == 3
    assert dead["last_error"].startswith("unexpected KeyError at bench.py:")
    assert "jane" not in dead["last_error"]


async def test_a_commit_that_fails_leaves_no_effect(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "break the commit"})
    async with bench.running():
        await bench.settled()
    assert await bench.effects() == []
    (dead,) = await bench.rows("SELECT status, last_error FROM scheduled_tasks")
    assert dead["status"] == "dead"
    assert "jane" not in dead["last_error"]


async def test_what_cannot_succeed_is_buried_at_once(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "give up"})
    async with bench.running():
        await bench.settled()
    (dead,) = await bench.rows("SELECT attempts, last_error FROM scheduled_tasks WHERE status = 'dead'")
    assert (dead["attempts"], dead["last_error"]) == (1, "it is of no use")


async def test_an_unknown_task_type_is_buried_with_its_reason(bench: Bench) -> None:
    await bench.queue({}, task_type="from_the_future")
    await bench.queue({"n": 1})
    async with bench.running():
        await bench.settled()
    (dead,) = await bench.rows("SELECT last_error FROM scheduled_tasks WHERE status = 'dead'")
    assert dead["last_error"].startswith("no handler for task type 'from_the_future' in this version")
    assert await bench.effects() == [1]


async def test_a_wrong_payload_is_buried_and_its_values_are_not_told(bench: Bench) -> None:
    await bench.queue({"n": SECRET})
    async with bench.running():
        await bench.settled()
    (dead,) = await bench.rows("SELECT last_error FROM scheduled_tasks WHERE status = 'dead'")
    assert dead["last_error"] == "the payload of probe is wrong: n: int_parsing"


async def test_a_rate_limit_uses_up_no_attempt(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "limited"}, max_tries=1)
    async with bench.running():
        await until(lambda: bench.probe.performed, "it was limited four times", lambda runs: len(runs) >= 4)
        await bench.rows("UPDATE scheduled_tasks SET payload = '{\"n\": 1}' RETURNING id")
        await bench.settled()
    (row,) = await bench.rows("SELECT status, attempts FROM scheduled_tasks")
    assert tuple(row) == ("succeeded", 1)


async def test_a_graceful_end_finishes_what_runs_and_claims_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    finishing = asyncio.Event()

    class Log:
        def info(self, event: str, **_: Any) -> None:
            if event == "finishing":
                finishing.set()

    monkeypatch.setattr(loop, "log", Log())
    await bench.queue({"n": 1, "does": "wait"})
    stop, pace = asyncio.Event(), Pace(lease=timedelta(seconds=1), poll=(0.005, 0.02), grace_seconds=60)
    async with bench.open_worker() as database, asyncio.TaskGroup() as group:
        group.create_task(bench.engine("w", database, pace).run(stop))
        await bench.probe.started.wait()
        stop.set()
        # A claim that was under way at the stop may still take a task; it is over by then.
        await until(finishing.is_set, "the engine winds down")
        await bench.queue({"n": 2})
        for _ in range(2):
            await a_renewal(bench)  # in between there is time for many claims
        bench.probe.gate.set()
    assert await bench.statuses() == ["succeeded", "pending"]


async def test_a_run_that_is_slow_to_stop_after_the_grace_does_not_keep_the_engine_from_ending(bench: Bench) -> None:
    class SlowToStop(Probe):
        async def perform(self, remote: Remote, plan: ProbePayload) -> ProbePayload:
            try:
                return await super().perform(remote, plan)
            finally:
                await asyncio.Event().wait()  # as a connection that does not close

    probe = SlowToStop()
    await bench.queue({"n": 1, "does": "wait"})
    async with asyncio.timeout(60):
        async with bench.running("w", Pace(poll=(0.005, 0.02), grace_seconds=0.05), probe):
            await probe.started.wait()
    assert await bench.statuses() == ["pending"]


async def test_what_outlasts_the_grace_is_given_back_at_once(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "wait"})
    async with bench.running("impatient", Pace(lease=timedelta(minutes=5), poll=(0.005, 0.02), grace_seconds=0.05)):
        await bench.probe.started.wait()
    (row,) = await bench.rows("SELECT status, attempts, locked_by FROM scheduled_tasks")
    assert tuple(row) == ("pending", 0, None)
    again = Probe()
    again.gate.set()
    async with bench.running("next", PACE, again):
        await bench.settled()
    assert await bench.effects() == [1]


class Relay:
    """A way to the database that can be cut."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._port = 0
        self.refused = 0

    @property
    def url(self) -> str:
        netloc = f"{self._to.username}:{self._to.password}@127.0.0.1:{self._port}"
        return urlunsplit(self._to._replace(netloc=netloc))

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        self._writers += [writer, back]
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer), return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()


async def test_a_database_that_goes_away_is_waited_for(bench: Bench, database_url: str) -> None:
    relay, stop = Relay(database_url), asyncio.Event()
    await relay.open()
    await bench.queue({"n": 1})
    async with Database.open(relay.url, Role.WORKER, size=4) as database:
        engine = bench.engine("w", database)
        loop = asyncio.create_task(engine.run(stop))
        await bench.settled()
        for n in (2, 3):
            await relay.cut()
            cut_at = time.monotonic()
            enough = metrics.DATABASE_AWAY._value.get() + 2
            await until(metrics.DATABASE_AWAY._value.get, "the worker has missed the database twice", enough.__le__)
            assert engine.seconds_since_turn < time.monotonic() - cut_at, "it goes round while it waits"
            await bench.queue({"n": n})
            await relay.open()
            await bench.settled()
        stop.set()
        await loop
        await relay.cut()
    assert await bench.effects() == [1, 2, 3]


async def test_the_pauses_between_two_tries_grow_while_the_database_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    stop = asyncio.Event()

    class Log:
        def warning(self, event: str, **fields: Any) -> None:
            assert event == "database_away"
            pauses.append(fields["again_in"])
            if len(pauses) == 5:
                stop.set()

    monkeypatch.setattr(loop, "AWAY_PAUSE_SECONDS", (0.1, 0.4))
    monkeypatch.setattr(loop, "log", Log())
    async with Database.open("postgresql://nobody@127.0.0.1:1/none", Role.WORKER, size=2) as nowhere:
        await asyncio.wait_for(bench.engine("w", nowhere).run(stop), 60)
    assert pauses == [0.1, 0.2, 0.4, 0.4, 0.4]


async def test_a_commit_in_the_way_of_a_database_that_goes_away_is_made_once_it_is_back(bench: Bench) -> None:
    await bench.queue({"n": 1, "does": "wait"})
    async with bench.running():
        await bench.probe.started.wait()
        async with bench.database.transaction() as db:
            await db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        bench.probe.gate.set()
        await bench.settled()
    assert bench.probe.performed == [1]
    assert await bench.effects() == [1]


class CutOff(Probe):
    """Loses its connection once, right before its effects are committed."""

    def __init__(self, owner: Database) -> None:
        super().__init__()
        self.cuts = 1
        self._owner = owner

    async def commit(self, db: Connection, task: Job[ProbePayload], outcome: ProbePayload) -> None:
        await super().commit(db, task, outcome)
        if self.cuts:
            self.cuts -= 1
            pid = await db.fetchval("SELECT pg_backend_pid()")
            async with self._owner.transaction() as other:
                assert await other.fetchval("SELECT pg_terminate_backend($1)", pid)


async def test_a_commit_that_was_cut_off_is_made_again_and_what_it_is_about_is_not(bench: Bench) -> None:
    probe = CutOff(bench.database)
    await bench.queue({"n": 1})
    async with bench.running(probe=probe):
        await bench.settled()
    assert (probe.cuts, probe.performed) == (0, [1])
    assert await bench.effects() == [1]


async def test_who_loads_alone_shares_no_transaction_and_lets_the_others_go_first(bench: Bench) -> None:
    loaded: list[tuple[int, str]] = []

    class Noting(Probe):
        async def load(self, db: Connection, task: Job[ProbePayload]) -> ProbePayload:
            loaded.append((await db.fetchval("SELECT txid_current()"), task.claimed.task_type))
            return await super().load(db, task)

    class Alone(Noting):
        loads_alone = True

    handlers: Handlers = {"probe": Noting(), "alone": Alone()}
    await bench.queue({"n": 1}, task_type="alone")
    await bench.queue({"n": 2}, {"n": 3})
    await bench.queue({"n": 4}, task_type="alone")
    async with bench.open_worker() as database:
        await Engine("w", database, handlers, bench.outside, PACE).run_due()
    together = {transaction for transaction, task_type in loaded if task_type == "probe"}
    alone = [transaction for transaction, task_type in loaded if task_type == "alone"]
    assert len(together) == 1
    assert len({*alone, *together}) == 3
    assert [task_type for _, task_type in loaded] == ["probe", "probe", "alone", "alone"]
