"""One email for all open invoices of a customer, one a day, whoever dies on the way."""

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.integration.worker.doomed import rescued, run_until_death
from tests.integration.worker.messages.town import Town
from tests.integration.worker.world import Failed


async def _told(*failed: Failed) -> list[set[str]]:
    """The email ids in each one's timeline."""
    return [{row["detail"]["email_id"] for row in await each.story("messaged")} for each in failed]


async def _booked(*failed: Failed) -> int:
    return sum([(await each.booked()).get("message", 0) for each in failed])


async def test_three_invoices_that_fail_at_once_are_one_email_with_a_link_for_each(town: Town) -> None:
    first = await town.fail(4_200, decline="insufficient_funds")
    others = [await town.fail_again(first.customer, amount) for amount in (900, 1_100)]
    await town.round()
    (email,) = await town.emails()
    assert email["subject"] == "3 payments to Fjord are still open"
    for each, amount in zip((first, *others), ("$42.00", "$9.00", "$11.00"), strict=True):
        invoice = await town.world.control.object(each.invoice)
        assert invoice["hosted_invoice_url"] in email["text"]
        assert invoice["hosted_invoice_url"] in email["html"]
        assert amount in email["text"]
    assert "$62.00 in all" in email["text"]
    (one, *rest) = await _told(first, *others)
    assert len(one) == 1
    assert rest == [one, one]
    assert await _booked(first, *others) == 1


async def test_what_each_invoice_needs_is_said_the_most_urgent_first(town: Town) -> None:
    first = await town.fail(4_200, decline="insufficient_funds")
    lost = await town.world.control.add_card(first.customer, decline="lost_card", default=False)
    safe = await town.world.control.add_card(first.customer, needs_3ds=True, default=False)
    for card, amount in ((lost, 900), (safe, 1_100)):
        made = await town.world.control.add_subscription(
            town.world.account, first.customer, amount=amount, default_payment_method=card["id"]
        )
        await town.world.control.renew(made["id"])
    await town.round()
    (email,) = await town.emails()
    text = email["text"]
    assert text.index("$11.00") < text.index("$9.00") < text.rindex("$42.00")
    assert "Your bank asks you to confirm this payment" in text
    assert "cannot be charged again" in text
    assert "Use another card" in text


async def test_a_customer_gets_one_email_a_day_whatever_fails_when(town: Town) -> None:
    first = await town.fail(decline="insufficient_funds")
    await town.live(hours=10)
    await town.fail_again(first.customer)
    await town.live(days=1)
    await town.fail_again(first.customer, 1_300)
    await town.live(days=25)
    times = [each["at"] for each in await town.world.control.outbox()]
    assert len(times) >= 5
    assert all(later - earlier >= 86_400 for earlier, later in pairwise(times))


async def test_a_bank_that_waits_for_a_second_invoice_is_told_of_at_once_and_a_third_waits_a_day(town: Town) -> None:
    first = await town.fail(decline="insufficient_funds")
    await town.live(hours=2)
    safe = await town.world.control.add_card(first.customer, needs_3ds=True, default=False)
    for _ in range(2):
        made = await town.world.control.add_subscription(
            town.world.account, first.customer, amount=700, default_payment_method=safe["id"]
        )
        await town.world.control.renew(made["id"])
        await town.live(hours=3)
    times = [each["at"] for each in await town.world.control.outbox()]
    assert len(times) == 2
    await town.live(days=1)
    assert len(await town.emails()) == 3


async def test_an_invoice_that_was_paid_meanwhile_is_not_named(town: Town) -> None:
    first = await town.fail(4_200, decline="insufficient_funds")
    second = await town.fail_again(first.customer, 900)
    await town.live(days=2, hours=18)
    await town.world.control.configure_webhooks(drop_share=1.0)
    await town.world.control.pay_hosted(second.invoice)
    await town.world.pass_time(hours=12)
    await town.world.work()
    email = (await town.emails())[-1]
    assert "$42.00" in email["text"]
    assert "$9.00" not in email["text"]
    assert len((await _told(second))[0]) == 1
    assert (await second.recovery())["closed_at"] is not None, "what was found out is acted on"


async def test_customers_of_two_merchants_and_two_customers_are_written_to_each_by_itself(town: Town) -> None:
    one, two = await town.fail(decline="lost_card"), await town.fail(decline="lost_card")
    await town.round()
    assert {email["to"][0] for email in await town.emails()} == {
        (await town.world.control.object(each.customer))["email"] for each in (one, two)
    }


async def test_what_the_holdout_or_an_ended_campaign_has_is_not_named(town: Town) -> None:
    await town.world.policy(message_days=[0])
    first = await town.fail(4_200, decline="insufficient_funds")
    await town.live(days=2)
    second = await town.fail_again(first.customer, 900)
    await town.round()
    email = (await town.emails())[-1]
    assert "$9.00" in email["text"]
    assert "$42.00" not in email["text"]
    assert [len(each) for each in await _told(first, second)] == [1, 1]


# --- Together, and not twice ------------------------------------------------------------------------------------------


async def test_two_workers_at_once_send_one_email(town: Town) -> None:
    first = await town.fail(decline="lost_card")
    others = [await town.fail_again(first.customer, amount) for amount in (500, 600, 700, 800)]
    engines = [town.world.another_engine() for _ in range(3)]
    for _ in range(3):
        await asyncio.gather(*(engine.run_due() for engine in engines))
        await town.world.pass_time(minutes=2)
    outbox = await town.world.control.outbox()
    assert len(outbox) == 1
    assert len({frozenset(each) for each in await _told(first, *others)}) == 1


async def test_an_email_under_way_is_not_overtaken_by_that_of_another_invoice(town: Town) -> None:
    """Resend does not answer: nobody knows whether the email is out, so no other one is sent."""
    first = await town.fail(decline="lost_card")
    await town.fail_again(first.customer, 900)
    await town.world.control.add_fault("drop", method="POST", path="/emails", times=1, after_effect=True)
    await town.world.work()
    assert len(await town.emails()) == 1
    for _ in range(10):
        await town.world.pass_time(minutes=1)
        await town.world.work()
    (email,) = await town.world.control.outbox()
    assert email["message"]["subject"].startswith("2 payments")


async def test_a_task_that_is_dead_holds_nobody_up(town: Town) -> None:
    first = await town.fail(decline="lost_card")
    second = await town.fail_again(first.customer, 900)
    await town.world.control.add_fault("server_error", method="POST", path="/emails", times=1)
    await town.world.work()
    await town.world.execute(
        "UPDATE scheduled_tasks SET status = 'dead', finished_at = citadel_now() "
        "WHERE id = (SELECT task_id FROM written_customers)"
    )
    await town.live(days=4)
    assert len(await town.emails()) >= 1
    assert all(await _told(first, second))


@pytest.mark.parametrize("stride", [7])
async def test_killed_anywhere_the_email_is_sent_once_and_told_in_each_timeline(
    town: Town, database_url: str, stride: int
) -> None:
    at, died = 1, True
    while died:
        assert at < 700
        first = await town.fail(4_200, decline="lost_card")
        second = await town.fail_again(first.customer, 900)
        before = len(await town.emails())
        async with run_until_death(town.world, database_url, at) as process:
            died = process.dead.is_set()
            await rescued(town.world)
            for _ in range(4):
                await town.world.work()
                await town.world.pass_time(minutes=2)
            sent = (await town.world.control.outbox())[before:]
            assert len(sent) == 1, f"killed at await {at}"
            assert await _told(first, second) == [{sent[0]["id"]}] * 2, f"killed at await {at}"
        at += stride


# --- Thanks -----------------------------------------------------------------------------------------------------------


async def _pay(town: Town, failed: Failed) -> None:
    await town.world.control.pay_hosted(failed.invoice)
    await town.heard()


def _thanks(emails: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in emails if each["tags"][0]["value"] == "recovered"]


async def test_who_pays_two_invoices_is_thanked_once_for_both(town: Town) -> None:
    first = await town.fail(4_200, decline="lost_card")
    second = await town.fail_again(first.customer, 900)
    await town.live(hours=3)
    await _pay(town, first)
    await _pay(town, second)
    await town.live(days=10)
    (thanks,) = _thanks(await town.emails())
    assert "$42.00" in thanks["text"]
    assert "$9.00" in thanks["text"]
    assert [len(await each.story("thanked")) for each in (first, second)] == [1, 1]
    assert await _booked(first, second) == 2


async def _one_is_collected_and_one_is_not(town: Town) -> tuple[Failed, Failed]:
    """The customer was written to about both; our retry collects the first, the second one's own card is lost."""
    first = await town.fail(4_200, decline="try_again_later", clears_after=1)
    lost = await town.world.control.add_card(first.customer, decline="lost_card", default=False)
    made = await town.world.control.add_subscription(
        town.world.account, first.customer, amount=900, default_payment_method=lost["id"]
    )
    invoice = await town.world.control.renew(made["id"])
    assert invoice is not None
    await town.heard()
    second = await town.failed(invoice)
    await town.live(hours=6)
    assert (await first.recovery())["state"] == "recovered"
    assert (await second.recovery())["state"] == "needs_new_method"
    return first, second


async def test_nobody_is_thanked_while_another_of_their_invoices_is_open(town: Town) -> None:
    _, second = await _one_is_collected_and_one_is_not(town)
    await town.live(days=5)
    assert _thanks(await town.emails()) == []
    await _pay(town, second)
    await town.live(days=3)
    (thanks,) = _thanks(await town.emails())
    assert "$42.00" in thanks["text"]
    assert "$9.00" in thanks["text"]
    assert "goes on" in thanks["text"]


async def test_after_a_week_it_is_too_late_for_thanks(town: Town) -> None:
    _, second = await _one_is_collected_and_one_is_not(town)
    await town.live(days=8)
    await _pay(town, second)
    await town.live(days=3)
    (thanks,) = _thanks(await town.emails())
    assert "$42.00" not in thanks["text"]
    assert "$9.00" in thanks["text"]


async def test_a_card_is_warned_of_on_another_day_than_an_email_about_money(town: Town) -> None:
    await town.world.control.change_account(town.world.account, upcoming_days=5)
    failed = await town.fail(decline="insufficient_funds")
    expiring = {"exp_month": 9, "exp_year": 2026, "last4": "4242"}
    card = await town.world.control.add_card(failed.customer, default=False, **expiring)
    await town.live(days=2, hours=20)
    await town.world.control.add_subscription(
        town.world.account, failed.customer, default_payment_method=card["id"], renews_in=29 * 86_400
    )
    await town.live(days=27)
    at = [each["at"] for each in await town.world.control.outbox()]
    assert all(later - earlier >= timedelta(days=1).total_seconds() for earlier, later in pairwise(at))
    assert "card_expiring" in await town.kinds()
