"""A message that is left out because its reading of the invoice asks for an evaluation first."""

from datetime import timedelta

from services.worker.handlers import discover
from services.worker.handlers.notify_action_required import Messaged
from services.worker.messages.delivery import NotSent, Told
from shared import recovery_tasks
from shared.queue import tasks
from tests.integration.worker.messages.town import Town


async def test_a_message_that_two_readings_judge_differently_goes_round_once_an_hour_at_most(town: Town) -> None:
    """The email's reading asks for an evaluation, which finds nothing changed and queues the same message again."""
    failed = await town.fail(decline="lost_card")
    await town.live(hours=30)
    world, handler = town.world, discover()["notify_action_required"]

    async def left_out() -> None:
        """The message was claimed, and its reading of the invoice says what the evaluation's does not."""
        async with world.worker.transaction() as db:
            await recovery_tasks.message_now(db, world.merchant_id, failed.recovery_id, failed.invoice)
        async with world.worker.transaction() as db:
            (task,) = [
                each
                for each in await tasks.claim(db, "slow", 10, timedelta(seconds=30))
                if each.recovery_id == failed.recovery_id
            ]
            assert task.task_type == "notify_action_required"
            last_id = (await failed.story())[-1]["id"]
            told = Told(left_out={failed.recovery_id: NotSent("method_is_there", look=True)})
            assert await tasks.complete(db, task)
            await handler.commit(db, handler.understand(task), Messaged(told, {}, {failed.recovery_id: last_id}))

    async def due(task_type: str) -> bool:
        (now,) = await world.rows("SELECT citadel_now() AS now")
        return any(row["run_at"] <= now["now"] for row in await failed.tasks(task_type=task_type))

    await left_out()
    assert await due("dunning_retry")
    await world.work()
    for _ in range(3):
        await left_out()
        assert not await due("dunning_retry")
        assert not await due("notify_action_required")
    (next_message,) = await failed.tasks(task_type="notify_action_required")
    last = (await failed.story("not_messaged"))[-1]
    assert next_message["run_at"] - last["at"] >= timedelta(hours=23)
    await world.pass_time(hours=2)
    await left_out()
    assert await due("dunning_retry")
