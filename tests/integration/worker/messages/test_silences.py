"""An operator's word about a customer's messages, carried out by the worker on recoveries in flight."""

import pytest

from services.ledger.silences import endpoints
from shared.database import Role
from shared.silences import SilenceReason
from tests.conftest import OpenDatabase
from tests.integration.worker.world import Failed, World


@pytest.fixture
def ledger(open_database: OpenDatabase, world: World) -> "Ledger":
    """The API's own functions, under the API's own role."""
    return Ledger(open_database, world)


class Ledger:
    """Adds and lifts silences."""

    def __init__(self, open_database: OpenDatabase, world: World) -> None:
        self._open, self._world = open_database, world

    async def start(self, failed: Failed, reason: SilenceReason = SilenceReason.OPTED_OUT) -> bool:
        async with self._open(Role.LEDGER) as database, database.transaction() as db:
            return await endpoints.start(db, self._world.merchant_id, failed.customer, reason)

    async def end(self, failed: Failed, reason: SilenceReason | None = None) -> int:
        async with self._open(Role.LEDGER) as database, database.transaction() as db:
            return await endpoints.end(db, self._world.merchant_id, failed.customer, reason)


async def sent(failed: Failed) -> int:
    """How many messages went out."""
    return len(await failed.story("messaged"))


async def test_from_the_silence_on_no_message_goes_out_and_the_timeline_says_so(world: World, ledger: Ledger) -> None:
    failed = await world.fail(decline="lost_card")
    await world.work()
    assert await sent(failed) == 1
    assert await failed.tasks(task_type="notify_action_required") != []

    assert await ledger.start(failed)
    await world.work()

    assert await failed.tasks(task_type="notify_action_required") == []
    (told,) = await failed.story("silenced")
    assert (told["rule"], told["detail"]) == ("opted_out", {"source": "operator"})
    for _ in range(5):
        await world.pass_time(days=3)
        await world.work()
    assert await sent(failed) == 1


async def test_a_silence_holds_before_the_worker_has_heard_of_it(world: World, ledger: Ledger) -> None:
    failed = await world.fail(decline="lost_card")
    await world.work()
    await world.pass_time(days=3)
    await world.execute("UPDATE scheduled_tasks SET status = 'canceled' WHERE task_type = 'follow_silence'")
    await ledger.start(failed)
    await world.execute("UPDATE scheduled_tasks SET status = 'canceled' WHERE task_type = 'follow_silence'")
    await world.work()
    assert await sent(failed) == 1
    assert [row["rule"] for row in await failed.story("not_messaged")] == ["opted_out"]


async def test_who_is_lifted_gets_messages_again_though_nothing_else_happens(world: World, ledger: Ledger) -> None:
    """A recovery that waits for another card has nothing to do until its end: the lift itself wakes it."""
    failed = await world.fail(decline="lost_card")
    await world.work()
    await ledger.start(failed)
    await world.work()
    await world.pass_time(days=4)
    await world.work()
    assert await sent(failed) == 1

    assert await ledger.end(failed) == 1
    await world.work()

    assert [row["kind"] for row in await failed.story("silenced", "silence_lifted")] == ["silenced", "silence_lifted"]
    assert await sent(failed) == 2
    await world.pass_time(days=4)
    await world.work()
    assert await sent(failed) == 3
    assert len(await world.control.outbox()) == 3


async def test_another_reason_goes_on_holding(world: World, ledger: Ledger) -> None:
    failed = await world.fail(decline="lost_card")
    await world.work()
    await ledger.start(failed)
    await ledger.start(failed, SilenceReason.COMPLAINED)
    await world.work()
    assert await ledger.end(failed, SilenceReason.COMPLAINED) == 1
    await world.pass_time(days=4)
    await world.work()
    assert await sent(failed) == 1
    assert await failed.story("silence_lifted") == []


async def test_silenced_and_lifted_at_once_comes_to_nothing_lost(world: World, ledger: Ledger) -> None:
    failed = await world.fail(decline="lost_card")
    await world.work()
    await ledger.start(failed)
    await ledger.end(failed)
    await world.work()
    assert await failed.story("silenced") == []
    await world.pass_time(days=4)
    await world.work()
    assert await sent(failed) == 2


async def test_a_recovery_that_has_ended_hears_nothing_of_it(world: World, ledger: Ledger) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await failed.finish()
    before = len(await failed.story())
    await ledger.start(failed)
    await world.work()
    await ledger.end(failed)
    await world.work()
    assert len(await failed.story()) == before


async def test_the_next_attempt_stays_where_it_was(world: World, ledger: Ledger) -> None:
    failed = await world.fail(decline="insufficient_funds")
    await world.work()
    planned = (await failed.recovery())["next_attempt_at"]
    await ledger.start(failed)
    await world.work()
    await ledger.end(failed)
    await world.work()
    assert (await failed.recovery())["next_attempt_at"] == planned
    (task,) = await failed.tasks()
    assert task["run_at"] == planned
