"""Group commit: neighbours share a commit and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from console.local.postgres import EmbeddedPostgres
from services.ingress.app import INTAKE, create_app
from services.ingress.batcher import EventBatcher, IntakeBusy, Limits
from services.ingress.settings import IngressSettings
from shared.database import Connection, Database, DatabaseAway, Role
from shared.events.incoming import Incoming
from shared.events.routing import route
from shared.migrations import upgrade
from tests.conftest import POOL_SIZE, OpenDatabase
from tests.integration.ingress.world import ACCOUNT, SECRETS, World, client_for, new_id
from tests.unit.shared.events.examples import event_of, invoice
from tests.waiting import until

BATCHES = "citadel_ingress_batch_events_count"

REFUSE_ONE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused by a test'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON processed_events FOR EACH ROW WHEN (NEW.event_id = 'evt_bad')
EXECUTE FUNCTION refuse();
"""


def incoming(event_id: str, invoice_id: str) -> Incoming:
    kind = "invoice.payment_failed"
    event = event_of(kind, invoice(id=invoice_id), id=event_id, account=ACCOUNT)
    return Incoming(event_id, kind, ACCOUNT, route(event))


@asynccontextmanager
async def committing(committer: EventBatcher[str, str]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        group.create_task(committer.run())
        try:
            yield
        finally:
            committer.close()


class Takers:
    """Takes strings: 'bad' is refused, 'alone' asks for a transaction of its own; holds a batch until told."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self.batches: list[list[str]] = []
        self.alone: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.committer: EventBatcher[str, str] = EventBatcher(database, self._together, self._alone, limits)

    async def _together(self, db: Connection, events: Sequence[str]) -> list[str | None]:
        self.batches.append(list(events))
        await self.go_on.wait()
        if "bad" in events:
            await db.execute("SELECT 1 / 0")
        return [None if event == "alone" else event.upper() for event in events]

    async def _alone(self, event: str) -> str:
        self.alone.append(event)
        if event == "bad":
            raise ValueError(event)
        return event.upper()

    async def holding(self) -> "asyncio.Task[str]":
        """Have a batch under way, of one event."""
        self.go_on.clear()
        first = asyncio.create_task(self.committer.accept("first"))
        await until(lambda: self.batches, "the batch is under way")
        return first


async def test_what_comes_while_a_commit_runs_is_committed_together(database: Database) -> None:
    takers = Takers(database, Limits(writers=1))
    async with committing(takers.committer):
        first = await takers.holding()
        others = [asyncio.create_task(takers.committer.accept(f"event {number}")) for number in range(50)]
        await asyncio.sleep(0)
        takers.go_on.set()
        assert await first == "FIRST"
        assert await asyncio.gather(*others) == [f"EVENT {number}" for number in range(50)]
    assert takers.batches == [["first"], [f"event {number}" for number in range(50)]]


async def test_a_batch_has_a_greatest_size(database: Database) -> None:
    takers = Takers(database, Limits(writers=1, batch=20))
    async with committing(takers.committer):
        first = await takers.holding()
        others = [asyncio.create_task(takers.committer.accept("event")) for _ in range(50)]
        await asyncio.sleep(0)
        takers.go_on.set()
        await asyncio.gather(first, *others)
    assert [len(batch) for batch in takers.batches] == [1, 20, 20, 10]


async def test_one_bad_event_fails_alone(database: Database) -> None:
    takers = Takers(database, Limits(writers=1))
    async with committing(takers.committer):
        first = await takers.holding()
        events = [f"event {number}" for number in range(9)] + ["bad"]
        others = [asyncio.create_task(takers.committer.accept(event)) for event in events]
        await asyncio.sleep(0)
        takers.go_on.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
    assert [str(answer) for answer in answers[:-1]] == ["FIRST", *(f"EVENT {number}" for number in range(9))]
    assert isinstance(answers[-1], ValueError)
    assert takers.alone == ["bad"]


async def test_an_event_that_must_lock_is_taken_alone(database: Database) -> None:
    takers = Takers(database, Limits())
    async with committing(takers.committer):
        answers: list[str] = await asyncio.gather(*(takers.committer.accept(event) for event in ("alone", "b")))
    assert answers == ["ALONE", "B"]
    assert takers.alone == ["alone"]


async def test_a_full_backlog_refuses_at_once_and_takes_again_when_there_is_room(database: Database) -> None:
    takers = Takers(database, Limits(writers=1, backlog=3))
    async with committing(takers.committer):
        first = await takers.holding()
        waiting = [asyncio.create_task(takers.committer.accept("event")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(IntakeBusy):
            await takers.committer.accept("one too many")
        assert not first.done()
        takers.go_on.set()
        await asyncio.gather(first, *waiting)
        assert await takers.committer.accept("again") == "AGAIN"


async def test_closing_answers_what_was_taken_and_takes_nothing_more(database: Database) -> None:
    takers = Takers(database, Limits(writers=1))
    async with committing(takers.committer):
        first = await takers.holding()
        second = asyncio.create_task(takers.committer.accept("second"))
        await asyncio.sleep(0)
        takers.committer.close()
        with pytest.raises(IntakeBusy):
            await takers.committer.accept("late")
        takers.go_on.set()
    assert first.result() + second.result() == "FIRSTSECOND"


async def test_a_cancelled_caller_does_not_undo_the_commit_of_the_batch(database: Database) -> None:
    takers = Takers(database, Limits(writers=1))
    async with committing(takers.committer):
        first = await takers.holding()
        second = asyncio.create_task(takers.committer.accept("second"))
        await asyncio.sleep(0)
        first.cancel()
        takers.go_on.set()
        assert await second == "SECOND"
    assert first.cancelled()
    assert takers.batches == [["first"], ["second"]]


# -- with the intake itself -------------------------------------------------------------------------------------------


async def test_events_that_came_while_no_commit_could_begin_share_one_and_each_has_its_effects_once(
    world: World, open_database: OpenDatabase
) -> None:
    async with open_database(Role.INGRESS) as ingress, client_for(ingress) as client, AsyncExitStack() as connections:
        busy = World(world.database, client)
        before = await busy.metric(BATCHES)
        for _ in range(POOL_SIZE):
            await connections.enter_async_context(ingress.statement())
        failing = [asyncio.create_task(busy.happen("invoice.payment_failed", invoice(id=f"in_{n}"))) for n in range(60)]
        assert client.app is not None
        backlog = client.app[INTAKE]._batcher._backlog
        await until(lambda: len(backlog), "all of them wait for their commit", lambda waiting: waiting == 60)
        await connections.aclose()
        await asyncio.gather(*failing)
        assert await busy.metric(BATCHES) - before == 1
    assert await world.value("SELECT count(*) FROM processed_events") == 60
    assert await world.value("SELECT count(*) FROM recoveries") == 60
    assert await world.value("SELECT count(DISTINCT unique_key) FROM scheduled_tasks") == 60
    assert await world.value("SELECT failed_count FROM merchant_totals") == 60


async def test_a_row_that_the_database_refuses_fails_alone(world: World) -> None:
    await world.execute(REFUSE_ONE)
    names = ["evt_bad", *(new_id() for _ in range(20))]
    events = [event_of("invoice.payment_failed", invoice(id=f"in_{n}"), id=n, account=ACCOUNT) for n in names]
    responses = await asyncio.gather(*(world.send(orjson.dumps(event)) for event in events))
    assert [response.status for response in responses] == [500] + [200] * 20
    assert await world.value("SELECT count(*) FROM recoveries") == 20
    assert await world.outcome("evt_bad") is None


async def test_one_event_twice_in_a_batch_is_taken_once(world: World, open_database: OpenDatabase) -> None:
    from shared.events.taking import take_together

    event = incoming("evt_twice", "in_1")
    async with open_database(Role.INGRESS) as ingress, ingress.transaction() as db:
        answers = await take_together(db, [event, event, incoming("evt_other", "in_1")])
    assert [answer and answer.duplicate for answer in answers] == [False, True, False]
    assert await world.value("SELECT count(*) FROM recoveries") == 1
    assert await world.story() == ["renewal_failed"]


async def test_an_event_that_waits_for_a_lock_does_not_hold_up_others(world: World) -> None:
    recovery_id = await world.fail("in_held")
    async with world.database.transaction() as other:
        await other.execute("SELECT FROM recoveries WHERE id = $1 FOR UPDATE", recovery_id)
        stopping = asyncio.create_task(world.happen("invoice.voided", invoice(id="in_held")))
        await world.until_someone_waits_for_a_lock()
        await world.fail("in_free")
        assert not stopping.done()
    await stopping
    assert (await world.recovery("in_held"))["state"] == "stopped"


async def test_a_full_backlog_is_a_503_that_says_when_to_come_back(world: World, open_database: OpenDatabase) -> None:
    settings = IngressSettings(
        database_url=SecretStr("postgresql://unused"),
        stripe_webhook_secrets=SecretStr(SECRETS[0]),
        intake_backlog=1,
    )
    async with open_database(Role.INGRESS) as ingress, TestClient(TestServer(create_app(settings, ingress))) as client:
        full = World(world.database, client)
        recovery_id = await world.fail("in_held")
        async with world.database.transaction() as other:
            await other.execute("SELECT FROM recoveries WHERE id = $1 FOR UPDATE", recovery_id)
            stopping = asyncio.create_task(full.happen("invoice.voided", invoice(id="in_held")))
            await full.until_someone_waits_for_a_lock()
            event = event_of("invoice.payment_failed", invoice(), id="evt_late", account=ACCOUNT)
            response = await full.send(orjson.dumps(event))
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
            assert not stopping.done(), "it was told at once and did not wait for its turn"
        await stopping
        await full.post(event)


async def test_what_was_accepted_is_committed_before_the_intake_ends(world: World, open_database: OpenDatabase) -> None:
    async with open_database(Role.INGRESS) as ingress:
        client = client_for(ingress)
        async with client:
            app = client.app
            assert app is not None
            tasks = [asyncio.create_task(app[INTAKE].accept(incoming(f"evt_{n}", f"in_{n}"))) for n in range(30)]
            await asyncio.sleep(0)
    assert not any(answer.duplicate for answer in await asyncio.gather(*tasks))
    assert await world.value("SELECT count(*) FROM processed_events") == 30


async def test_a_killed_database_fails_all_that_wait_and_the_first_event_after_its_return_is_taken() -> None:
    async with EmbeddedPostgres.temporary(fast=True) as server:
        upgrade(server.url())
        async with (
            Database.open(server.url(), None, size=2) as owner,
            Database.open(server.url(), Role.INGRESS, size=10) as ingress,
            client_for(ingress) as client,
        ):
            world = World(owner, client)
            await world.connect(ACCOUNT)
            names = [new_id() for _ in range(40)]
            events = [event_of("invoice.payment_failed", invoice(id=n), id=n, account=ACCOUNT) for n in names]
            await asyncio.gather(*(world.post(event) for event in events[:20]))  # connections are open
            await server.stop()
            responses = await asyncio.gather(*(world.send(orjson.dumps(event)) for event in events[20:]))
            assert {response.status for response in responses} == {503}
            assert {response.headers["Retry-After"] for response in responses} == {"2"}
            await server.start()
            assert await world.post(events[20]) == {"received": True}
            await asyncio.gather(*(world.post(event) for event in events))
            assert await world.value("SELECT count(*) FROM recoveries") == 40


async def test_an_outage_reaches_everybody_who_waits(database: Database) -> None:
    async with Database.open("postgresql://nobody@127.0.0.1:1/none", None, size=2) as nowhere:
        takers = Takers(nowhere, Limits())
        async with committing(takers.committer):
            answers = await asyncio.gather(
                *(takers.committer.accept(f"{n}") for n in range(300)), return_exceptions=True
            )
    assert all(isinstance(answer, DatabaseAway) for answer in answers)
    assert takers.batches == []
