"""The last message says what follows and when, and it does follow; after an end customer and merchant are told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.worker.messages.language import choose
from tests.integration.worker.messages.town import Town

DECLINES = ["lost_card", "expired_card", "authentication_required", "do_not_honor", "insufficient_funds"]
WORDS = {"cancel": "canceled", "pause": "paused"}


def _dunning(emails: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in emails if each["tags"][0]["value"] not in {"ended", "ended_notice", "recovered"}]


def _day(at: datetime, locale: str = "en") -> str:
    return choose([locale]).day(at.astimezone(UTC).date())


@pytest.mark.parametrize("action", ["cancel", "pause"])
@pytest.mark.parametrize("decline", DECLINES)
async def test_the_end_is_announced_with_its_day_and_comes_on_it(town: Town, decline: str, action: str) -> None:
    await town.world.policy(end_action=action)
    failed = await town.fail(decline=decline)
    await town.live(days=23)
    *before, last = _dunning(await town.emails())
    row = await failed.recovery()
    assert row["state"] == "exhausted"
    assert f"your subscription will be {WORDS[action]} on {_day(row['closed_at'])}." in last["text"]
    assert f"by {_day(row['closed_at'] - timedelta(days=1))}" in last["text"]
    assert [each for each in before if WORDS[action] in each["text"]] == []
    subscription = await town.world.control.object(failed.subscription)
    assert subscription["status"] == "canceled" if action == "cancel" else subscription["pause_collection"]


@pytest.mark.parametrize("action", ["leave", "mark_uncollectible"])
@pytest.mark.parametrize("decline", ["lost_card", "authentication_required", "do_not_honor"])
async def test_where_the_subscription_is_left_alone_no_end_of_it_is_announced(
    town: Town, decline: str, action: str
) -> None:
    await town.world.policy(end_action=action)
    failed = await town.fail(decline=decline)
    await town.live(days=23)
    emails = _dunning(await town.emails())
    closed_at = (await failed.recovery())["closed_at"]
    assert [each for each in emails if "canceled" in each["text"] or "paused" in each["text"]] == []
    assert f"After {_day(closed_at)}, we will neither try again nor remind you." in emails[-1]["text"]


@pytest.mark.parametrize(
    ("locale", "said"), [("de", "am {day} gekündigt"), ("fr", "résilié le {day}"), ("ja", "{day}に")]
)
async def test_the_day_is_in_the_customer_s_language(town: Town, locale: str, said: str) -> None:
    await town.world.policy(end_action="cancel", message_days=[0])
    failed = await town.fail(decline="lost_card")
    await town.world.control.change_person(failed.customer, preferred_locales=[locale])
    await town.round()
    (email,) = await town.emails()
    ends = (await failed.recovery())["opened_at"] + timedelta(days=21)
    assert said.format(day=_day(ends, locale)) in email["text"]


async def test_the_only_message_of_a_policy_is_the_last_one(town: Town) -> None:
    await town.world.policy(end_action="cancel", message_days=[0], window_days=5)
    failed = await town.fail(decline="do_not_honor")
    await town.round()
    (email,) = await town.emails()
    ends = (await failed.recovery())["opened_at"] + timedelta(days=5)
    assert f"your subscription will be canceled on {_day(ends)}." in email["text"]


async def test_attempts_that_are_used_up_early_end_it_and_the_message_before_says_so_without_a_day(town: Town) -> None:
    """The second attempt is the last: when exactly it is made, nobody promises."""
    await town.world.policy(end_action="cancel", max_attempts=1, driver="citadel")
    failed = await town.fail(decline="do_not_honor")
    await town.live(days=23)
    emails = _dunning(await town.emails())
    row = await failed.recovery()
    assert row["end_reason"] == "attempts_used_up"
    assert "If our last attempt fails, too, your subscription will be canceled." in emails[-1]["text"]
    assert "canceled on" not in emails[-1]["text"]


async def test_a_segment_s_end_action_is_the_one_that_is_announced(town: Town) -> None:
    segment = {"name": "large", "when": {"amount_at_least": {"usd": 4_000}}, "then": {"end_action": "pause"}}
    await town.world.policy(end_action="cancel", message_days=[0], segments=[segment])
    await town.fail(4_200, decline="lost_card")
    await town.round()
    (email,) = await town.emails()
    assert "will be paused on" in email["text"]


async def test_a_recovery_that_is_moved_to_a_policy_without_an_end_is_not_threatened(town: Town) -> None:
    await town.world.policy(end_action="cancel", message_days=[0, 3])
    failed = await town.fail(decline="lost_card")
    await town.round()
    other = await town.world.policy(end_action="leave", message_days=[0, 3])
    await town.world.execute("UPDATE recoveries SET policy_id = $1 WHERE id = $2", other, failed.recovery_id)
    await town.live(days=4)
    assert "canceled" not in (await town.emails())[-1]["text"]
    assert len(await town.emails()) == 2


# --- After the end ----------------------------------------------------------------------------------------------------


async def _merchant(town: Town) -> str:
    address: str = town.world.simulation.world.accounts[town.world.account].resource["email"]
    return address


@pytest.mark.parametrize("action", ["cancel", "pause"])
async def test_customer_and_merchant_are_told_of_the_end(town: Town, action: str) -> None:
    await town.world.policy(end_action=action, window_days=5, message_days=[0, 2])
    failed = await town.fail(decline="do_not_honor")
    await town.live(days=8)
    told = {each["tags"][0]["value"]: each for each in await town.emails()}
    customer = await town.world.control.object(failed.customer)
    invoice = await town.world.control.object(failed.invoice)
    assert told["ended"]["to"] == [customer["email"]]
    assert f"your subscription was {WORDS[action]} on" in told["ended"]["text"]
    assert "$42.00" in told["ended"]["text"]
    assert invoice["hosted_invoice_url"] in told["ended"]["text"]
    assert told["ended_notice"]["to"] == [await _merchant(town)]
    assert failed.subscription in told["ended_notice"]["text"]
    assert failed.invoice in told["ended_notice"]["text"]
    assert customer["email"] not in told["ended_notice"]["text"]
    assert len(await failed.story("end_told", "merchant_told")) == 2


@pytest.mark.parametrize(
    ("told", "kinds"), [("customer", {"ended"}), ("merchant", {"ended_notice"}), ("nobody", set())]
)
async def test_the_policy_says_who_is_told(town: Town, told: str, kinds: set[str]) -> None:
    await town.world.policy(
        end_action="cancel",
        window_days=3,
        message_days=[],
        tell_end_customer=told == "customer",
        tell_end_merchant=told == "merchant",
    )
    await town.fail(decline="lost_card")
    await town.live(days=6)
    assert set(await town.kinds()) == kinds


async def test_a_policy_of_an_older_schema_tells_nobody(town: Town) -> None:
    await town.world.policy(schema_version=3, end_action="cancel", window_days=3, message_days=[])
    await town.fail(decline="lost_card")
    await town.live(days=6)
    assert await town.kinds() == []


async def test_a_merchant_is_told_once_a_day_however_many_end(town: Town) -> None:
    await town.world.policy(end_action="cancel", window_days=3, message_days=[], tell_end_customer=False)
    first = await town.fail(decline="lost_card")
    await town.live(hours=6)
    rest = [await town.fail(decline="lost_card") for _ in range(3)]
    await town.live(days=6)
    outbox = await town.world.control.outbox()
    assert [each["message"]["tags"][0]["value"] for each in outbox] == ["ended_notice", "ended_notice"]
    assert outbox[1]["at"] - outbox[0]["at"] >= 86_400
    assert first.subscription in outbox[0]["message"]["text"]
    assert all(each.subscription in outbox[1]["message"]["text"] for each in rest)
    assert first.subscription not in outbox[1]["message"]["text"]


async def test_an_invoice_that_is_written_off_is_told_to_the_merchant_only(town: Town) -> None:
    await town.world.policy(end_action="mark_uncollectible", window_days=3, message_days=[])
    failed = await town.fail(decline="lost_card")
    await town.live(days=5)
    (email,) = await town.emails()
    assert email["to"] == [await _merchant(town)]
    assert failed.invoice in email["text"]


async def test_who_pays_before_the_email_about_the_end_is_not_told_that_it_could_not_be_collected(town: Town) -> None:
    """The last email is less than a day old, so the email about the end waits; the customer pays meanwhile."""
    await town.world.policy(end_action="cancel", max_attempts=1, driver="citadel", tell_end_merchant=False)
    failed = await town.fail(decline="try_again_later")
    await town.live(hours=12)
    assert (await failed.recovery())["state"] == "exhausted"
    assert len(await failed.tasks(task_type="tell_ended")) == 1
    await town.world.control.pay_hosted(failed.invoice)
    await town.live(days=4)
    assert "ended" not in await town.kinds()
    assert [each for each in await town.emails() if "goes on" in each["text"]] == []


async def test_who_pays_after_the_cancel_is_never_told_that_it_goes_on(town: Town) -> None:
    await town.world.policy(end_action="cancel", window_days=5, message_days=[0, 2])
    failed = await town.fail(decline="do_not_honor")
    await town.live(days=7)
    await town.world.control.pay_hosted(failed.invoice)
    await town.live(days=5)
    assert (await town.world.control.object(failed.subscription))["status"] == "canceled"
    assert [each for each in await town.emails() if "goes on" in each["text"]] == []


async def test_a_thank_you_for_a_subscription_that_ended_meanwhile_does_not_say_that_it_goes_on(town: Town) -> None:
    failed = await town.fail(decline="lost_card")
    await town.round()
    await town.world.control.pay_hosted(failed.invoice)
    await town.heard()
    await town.world.control.cancel_subscription(failed.subscription)
    await town.live(days=3)
    thanks = (await town.emails())[-1]
    assert thanks["tags"][0]["value"] == "recovered"
    assert "goes on" not in thanks["text"]
    assert "There is nothing to do." in thanks["text"]


async def test_the_holdout_s_customers_are_told_nothing_of_an_end_that_does_not_come(town: Town) -> None:
    await town.world.policy(end_action="cancel", holdout_share=0.5, window_days=3, message_days=[0, 2])
    failed = [await town.fail(decline="lost_card") for _ in range(8)]
    await town.live(days=6)
    watched = [each for each in failed if (await each.recovery())["holdout"]]
    assert 0 < len(watched) < 8
    for each in watched:
        address = (await town.world.control.object(each.customer))["email"]
        assert [email for email in await town.emails() if email["to"] == [address]] == []


# --- True at the moment of sending ------------------------------------------------------------------------------------


async def test_the_amount_is_what_is_left_when_the_email_goes_out(town: Town) -> None:
    failed = await town.fail(4_200, decline="lost_card")
    await town.round()
    await town.world.control.credit_note(failed.invoice, amount=1_200)
    await town.live(days=3, hours=6)
    assert "$30.00" in (await town.emails())[-1]["text"]
    assert "$42.00" not in (await town.emails())[-1]["text"]


async def test_nobody_is_asked_for_money_that_is_on_its_way(town: Town) -> None:
    failed = await town.fail(decline="lost_card")
    await town.round()
    await town.world.control.pay_hosted(failed.invoice, debit={"type": "us_bank_account", "takes_days": 5})
    await town.live(days=3, hours=12)
    assert len(await town.emails()) == 1
    await town.live(days=4)
    assert "reminder" not in await town.kinds()


async def test_a_subscription_that_was_canceled_meanwhile_is_not_threatened(town: Town) -> None:
    await town.world.policy(end_action="cancel", message_days=[0, 3])
    failed = await town.fail(decline="lost_card")
    await town.round()
    await town.world.control.configure_webhooks(drop_share=1.0)
    await town.world.control.cancel_subscription(failed.subscription)
    await town.world.pass_time(days=3, minutes=1)
    for _ in range(3):
        await town.world.work()
    assert len(await town.emails()) == 1
    assert (await failed.recovery())["end_reason"] == "subscription_canceled"
