"""A merchant who turns an invoice's automatic collection off, or pauses a subscription's, is obeyed."""

from datetime import timedelta

import pytest

from services.worker.engine.janitor import prune
from tests.integration.people.town import Town, rules
from tests.integration.worker.world import Failed


async def _is_left_as_it_is(town: Town, failed: Failed, days: int = 30) -> None:
    written, charged = await town.subjects(), len(await failed.charges())
    await town.months_pass(days, step=3)
    assert await town.subjects() == written
    assert len(await failed.charges()) == charged
    assert (await failed.recovery())["state"] == "waiting"
    assert (await town.world.control.object(failed.subscription))["status"] == "past_due"


@pytest.mark.parametrize("stripe_retries", [[], [3, 5, 7]], ids=["ours", "stripe's"])
async def test_off_nothing_is_done_and_on_again_it_goes_on(town: Town, stripe_retries: list[int]) -> None:
    await town.world.control.change_account(town.world.account, stripe_retries=stripe_retries)
    await town.world.policy(end_action="cancel", driver="citadel")
    failed = await town.renewal(decline="insufficient_funds", clears_in=86_400)
    await town.world.work()
    await town.world.control.set_auto_advance(failed.invoice, False)
    await town.heard()
    await town.world.work()
    assert "collection_turned_off" in await rules(failed, "changed")
    assert (await rules(failed, "decided"))[-1] == "collection_off"
    await _is_left_as_it_is(town, failed)
    await town.world.control.set_auto_advance(failed.invoice, True)
    await town.heard()
    await town.world.work()
    await town.months_pass(16)
    assert (await failed.recovery())["end_reason"] in {"paid_by_retry", "paid_elsewhere"}
    assert len(await failed.charges()) == 1


async def test_off_before_the_call_nothing_is_charged(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await town.world.control.set_auto_advance(failed.invoice, False)
    await town.heard()
    await town.world.work()
    await _is_left_as_it_is(town, failed, 6)


async def _auto_advance_events(town: Town) -> list[str]:
    """The events that tell of automatic collection turned off or on, oldest first."""
    events = [each["id"] for each in await town.world.control.events(type="invoice.updated")]
    whole = [await town.world.control.event(each) for each in events]
    return [each["id"] for each in whole if "auto_advance" in each["data"].get("previous_attributes", {})]


@pytest.mark.parametrize("on_again", [False, True])
async def test_off_while_the_first_debit_is_under_way_its_failure_opens_a_recovery_that_is_held(
    town: Town, on_again: bool
) -> None:
    """There is no recovery yet when the merchant speaks, and the reading after the failure does not tell who did it."""
    debit = {"type": "us_bank_account", "takes_days": None}
    made = await town.world.control.add_renewal(town.world.account, debit=debit)
    await town.heard()
    await town.world.control.set_auto_advance(made["invoice"]["id"], False)
    await town.heard()
    if on_again:
        await town.world.control.set_auto_advance(made["invoice"]["id"], True)
        await town.heard()
    assert await town.world.rows("SELECT FROM recoveries") == []
    (begun,) = await town.world.control.attempts(made["invoice"]["id"])
    await town.world.control.end_debit(begun["charge"], "insufficient_funds")
    failed = await town.of(made["invoice"]["id"])
    await town.world.work()
    assert (await rules(failed, "decided"))[-1] == ("likeliest" if on_again else "collection_off")
    assert ("collection_turned_off" in await rules(failed, "changed")) is not on_again
    if not on_again:
        charged = len(await failed.charges())
        await town.months_pass(12, step=3)
        assert (len(await failed.charges()), await town.subjects()) == (charged, [])
        await town.world.control.set_auto_advance(made["invoice"]["id"], True)
        await town.heard()
        await town.world.work()
        assert "collection_turned_on" in await rules(failed, "changed")
        assert (await rules(failed, "decided"))[-1] != "collection_off"


async def test_off_is_obeyed_if_its_event_comes_before_that_of_the_failure(town: Town) -> None:
    await town.world.control.configure_webhooks(types=["nothing"])
    made = await town.world.control.add_renewal(town.world.account, card={"decline": "insufficient_funds"})
    await town.world.control.set_auto_advance(made["invoice"]["id"], False)
    await town.world.control.configure_webhooks(types=[])
    (off,) = await _auto_advance_events(town)
    (fails,) = await town.world.control.events(type="invoice.payment_failed")
    for event in (off, fails["id"]):
        await town.world.control.send_again(event)
        await town.heard()
    failed = await town.of(made["invoice"]["id"])
    await town.world.work()
    assert await rules(failed, "changed") == ["collection_turned_off"]
    assert (await rules(failed, "decided"))[-1] == "collection_off"


async def test_what_was_noted_before_a_recovery_is_forgotten_after_three_months(town: Town) -> None:
    debit = {"type": "us_bank_account", "takes_days": None}
    made = await town.world.control.add_renewal(town.world.account, debit=debit)
    await town.world.control.set_auto_advance(made["invoice"]["id"], False)
    await town.heard()
    for days, left in ((89, 1), (2, 0)):
        await town.world.pass_time(days=days)
        async with town.world.worker.transaction() as db:
            await prune(db, table="collection_turned_off")
        assert len(await town.world.rows("SELECT FROM collection_turned_off")) == left


async def test_an_event_that_was_missed_shows_in_the_next_reading(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    await town.world.control.configure_webhooks(types=["nothing"])
    await town.world.control.set_auto_advance(failed.invoice, False)
    await failed.until_due()
    await town.world.work()
    assert await failed.charges() == []
    assert (await rules(failed, "decided"))[-1] == "collection_off"
    await _is_left_as_it_is(town, failed)
    await town.world.control.set_auto_advance(failed.invoice, True)
    await town.months_pass(4)
    assert "collection_turned_on" in await rules(failed, "changed")
    assert (await failed.recovery())["state"] == "recovered"


async def test_an_event_that_comes_late_has_the_reading_against_it(town: Town) -> None:
    """Off and on again; what was first comes last."""
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    await town.world.control.configure_webhooks(types=["nothing"])
    await town.world.control.set_auto_advance(failed.invoice, False)
    await town.world.control.set_auto_advance(failed.invoice, True)
    off, _ = await _auto_advance_events(town)
    await town.world.control.configure_webhooks(types=[])
    await town.world.control.send_again(off)
    await town.heard()
    await town.months_pass(6)
    assert (await failed.recovery())["state"] == "recovered"


async def test_that_stripe_turns_it_off_with_the_payment_is_not_the_merchants_doing(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await failed.attempt_due()
    await town.world.work()
    await town.heard()
    await town.world.work()
    assert (await failed.recovery())["state"] == "recovered"
    assert "collection_turned_off" not in await rules(failed, "changed")


async def test_stripes_own_last_retry_is_not_the_merchants_doing(town: Town) -> None:
    await town.world.policy(driver="citadel", message_days=[])
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    invoice = await town.world.control.object(failed.invoice)
    previous = {"attempt_count": invoice["attempt_count"], "auto_advance": True, "attempted": True}
    changes = {"auto_advance": False, "attempt_count": invoice["attempt_count"] + 1}
    stored = town.world.simulation.world.accounts[town.world.account].objects["invoice"][failed.invoice]
    stored.update(changes)
    await town.world.control.emit("invoice.updated", failed.invoice, previous=previous)
    await town.heard()
    await town.months_pass(8)
    assert (await failed.recovery())["state"] == "recovered"


@pytest.mark.parametrize("behavior", ["keep_as_draft", "mark_uncollectible", "void"])
async def test_paused_nothing_is_done_and_resumed_it_goes_on(town: Town, behavior: str) -> None:
    await town.world.policy(end_action="cancel")
    failed = await town.renewal(decline="insufficient_funds", clears_in=86_400)
    await town.world.work()
    await town.world.control.pause_collection(failed.subscription, behavior)
    await town.heard()
    await town.world.work()
    assert (await rules(failed, "decided"))[-1] == "collection_paused"
    await _is_left_as_it_is(town, failed)
    await town.world.control.pause_collection(failed.subscription, None)
    await town.heard()
    await town.world.work()
    await town.months_pass(16)
    assert (await failed.recovery())["end_reason"] == "paid_by_retry"


async def test_a_pause_with_an_end_is_waited_for(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    ends = town.world.simulation.world.clock.now + 10 * 86_400
    await town.world.control.pause_collection(failed.subscription, "void", resumes_at=ends)
    await town.heard()
    await town.world.work()
    (task,) = await failed.tasks()
    assert task["run_at"].timestamp() == ends
    await town.months_pass(9, step=3)
    assert await failed.charges() == []
    await town.months_pass(6)
    assert (await failed.recovery())["state"] == "recovered"


async def test_our_own_pause_is_not_taken_for_the_merchants(town: Town) -> None:
    """The newer invoice's end action pauses the subscription; the older invoice's recovery goes on."""
    await town.world.policy(window_days=21, message_days=[])
    older = await town.renewal(decline="lost_card")
    await town.world.work()
    await town.world.policy(end_action="pause", window_days=3, message_days=[])
    made = await town.world.control.renew(older.subscription)
    assert made is not None
    newer = await town.of(made["id"])
    assert (await newer.finish())["state"] == "exhausted"
    await town.world.work()
    assert await rules(newer, "end_action") == ["end_action_done"]
    await town.heard()
    await town.world.work()
    assert (await town.world.control.object(older.subscription))["pause_collection"]
    assert "subscription_changed" in await rules(older, "changed")
    assert "collection_paused" not in await rules(older, "decided")
    await town.world.control.add_card(older.customer)
    await town.months_pass(2)
    assert (await older.recovery())["end_reason"] == "paid_by_retry"


async def test_a_message_that_is_due_is_not_sent_while_collection_is_off(town: Town) -> None:
    await town.world.policy(message_days=[0, 1])
    failed = await town.renewal(decline="lost_card")
    await town.world.work()
    assert len(await town.subjects()) == 1
    await town.world.control.configure_webhooks(types=["nothing"])
    await town.world.control.pause_collection(failed.subscription, "void")
    await town.world.pass_time(days=2)
    await town.world.work()
    assert len(await town.subjects()) == 1
    assert "held" in await rules(failed, "not_messaged")


async def test_the_days_of_the_policy_do_not_run_while_it_is_held(town: Town) -> None:
    await town.world.policy(message_days=[0, 3], window_days=10)
    failed = await town.renewal(decline="lost_card")
    await town.world.work()
    await town.world.control.pause_collection(failed.subscription, "void")
    await town.heard()
    await town.world.work()
    await town.world.pass_time(days=20)
    await town.world.control.pause_collection(failed.subscription, None)
    await town.heard()
    await town.world.work()
    row = await failed.recovery()
    assert row["state"] == "needs_new_method"
    assert len(await town.subjects()) == 1
    (message,) = await failed.tasks(task_type="notify_action_required")
    assert timedelta(days=22) < message["run_at"] - row["opened_at"] < timedelta(days=24)
    (evaluation,) = await failed.tasks()
    assert timedelta(days=29) < evaluation["run_at"] - row["opened_at"] < timedelta(days=31)
