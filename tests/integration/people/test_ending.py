"""A customer who has canceled to the period's end: what they are told, and whether the invoice is still collected."""

from typing import Any

import pytest

from tests.integration.people.town import Town, rules
from tests.integration.worker.world import Failed


async def _ends(town: Town, failed: Failed, how: str) -> None:
    period_end = (await town.world.control.object(failed.subscription))["items"]["data"][0]["current_period_end"]
    match how:
        case "cancel_at_period_end":
            await town.world.control.end_subscription(failed.subscription, at_period_end=True)
        case "cancel_at":
            await town.world.control.end_subscription(failed.subscription, at=period_end)
        case "later":
            await town.world.control.end_subscription(failed.subscription, at=period_end + 200 * 86_400)
    await town.heard()
    await town.world.work()


async def _last_text(town: Town) -> str:
    return str((await town.world.control.outbox())[-1]["message"]["text"])


@pytest.mark.parametrize("how", ["cancel_at_period_end", "cancel_at", "later", "not at all"])
async def test_thanks_say_until_when_the_subscription_runs(town: Town, how: str) -> None:
    failed = await town.renewal(decline="insufficient_funds", clears_in=3_600)
    await town.world.work()
    await _ends(town, failed, how)
    await failed.finish()
    await town.months_pass(4)
    assert (await failed.recovery())["end_reason"] == "paid_by_retry"
    text = await _last_text(town)
    assert ("goes on" in text) == (how == "not at all")
    assert ("runs until" in text) == (how != "not at all")


async def test_thanks_say_nothing_of_a_subscription_that_is_paused(town: Town) -> None:
    failed = await town.renewal(decline="insufficient_funds", clears_in=3_600)
    await town.world.work()
    await failed.until_due()
    # The customer was written to a moment ago: thanks come a day later, when it is paused.
    await town.world.execute("UPDATE written_customers SET written_at = citadel_now()")
    await town.world.work()
    await town.world.control.pause_collection(failed.subscription, "void")
    await town.heard()
    await town.months_pass(4)
    text = await _last_text(town)
    assert "went through" in text
    assert "goes on" not in text
    assert "runs until" not in text


@pytest.mark.parametrize(
    ("how", "collected"), [("cancel_at_period_end", False), ("cancel_at", False), ("later", True), ("not at all", True)]
)
async def test_a_policy_says_that_what_ends_is_not_collected(town: Town, how: str, collected: bool) -> None:
    await town.world.policy(collect_ending=False, end_action="cancel")
    failed = await town.renewal(decline="insufficient_funds", clears_in=3_600)
    await town.world.work()
    await _ends(town, failed, how)
    await town.months_pass(16)
    row = await failed.recovery()
    assert row["end_reason"] == ("paid_by_retry" if collected else "subscription_ending")
    assert len(await failed.charges()) == int(collected)
    if not collected:
        assert await rules(failed, "closed") == ["subscription_ending"]


@pytest.mark.parametrize("document", [{}, {"schema_version": 1}, {"schema_version": 3}])
async def test_without_a_word_it_is_collected(town: Town, document: dict[str, Any]) -> None:
    await town.world.policy(**document)
    failed = await town.renewal(decline="insufficient_funds", clears_in=3_600)
    await town.world.work()
    await _ends(town, failed, "cancel_at_period_end")
    await town.months_pass(16)
    assert (await failed.recovery())["end_reason"] == "paid_by_retry"


@pytest.mark.parametrize(
    ("ends", "warned"), [("never", True), ("with the period", False), ("before", False), ("a year later", True)]
)
async def test_of_a_card_only_those_are_warned_whose_subscription_renews(town: Town, ends: str, warned: bool) -> None:
    control, account = town.world.control, town.world.account
    await control.change_account(account, upcoming_days=20)
    made = await control.add_customer(account, card={"exp_month": 9, "exp_year": 2026})
    subscription = await control.add_subscription(account, made["customer"]["id"], renews_in=26 * 86_400)
    renews = town.world.simulation.world.clock.now + 26 * 86_400
    match ends:
        case "with the period":
            await control.end_subscription(subscription["id"], at_period_end=True)
        case "before":
            await control.end_subscription(subscription["id"], at=renews - 86_400)
        case "a year later":
            await control.end_subscription(subscription["id"], at=renews + 365 * 86_400)
    await town.months_pass(25, step=1)
    assert (await town.subjects() != []) == warned


async def test_who_is_left_alone_is_not_warned_of_a_card(town: Town) -> None:
    control, account = town.world.control, town.world.account
    await control.change_account(account, upcoming_days=20)
    made = await control.add_customer(account, card={"exp_month": 9, "exp_year": 2026})
    await control.add_subscription(account, made["customer"]["id"], renews_in=26 * 86_400)
    assert (await town.leave_alone(customer_id=made["customer"]["id"])).status == 200
    await town.months_pass(25, step=1)
    assert await town.subjects() == []
