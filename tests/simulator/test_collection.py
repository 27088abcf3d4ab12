"""What merchants set about collecting, and what Stripe's own settings do when its retries are over."""

from typing import Any

import pytest
import stripe

from simulator import SimulatorClient, SimulatorError
from simulator.collection import REASONS
from simulator.shapes import DAY, HOUR, Json


async def sources(control: SimulatorClient, invoice: str) -> list[str]:
    return [entry["source"] for entry in await control.attempts(invoice)]


async def last_event(control: SimulatorClient, kind: str) -> Json:
    found = await control.events(type=kind)
    data: Json = (await control.event(found[-1]["id"]))["data"]
    return data


async def test_the_invoices_of_a_subscription_are_listed_beside_one_without_a_subscription(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account)
    await control.add_invoice(made["subscription"]["id"], "manual", 900)
    found = (await client.v1.invoices.list_async({"subscription": made["subscription"]["id"]})).data
    assert [each.id for each in found] == [made["invoice"]["id"]]


@pytest.mark.parametrize("by", ["control", "api"])
async def test_collection_that_is_turned_off_stops_stripes_retries_and_forgets_the_next(
    by: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    await control.change_account(account, stripe_retries=[3, 5])
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    invoice, planned = made["invoice"]["id"], made["invoice"]["next_payment_attempt"]
    if by == "api":
        await client.v1.invoices.update_async(invoice, {"auto_advance": False})
    else:
        await control.set_auto_advance(invoice, False)
    told = await last_event(control, "invoice.updated")
    assert told["previous_attributes"] == {"auto_advance": True, "next_payment_attempt": planned}
    assert (told["object"]["auto_advance"], told["object"]["next_payment_attempt"]) == (False, None)
    await control.advance(10 * DAY)
    assert await sources(control, invoice) == ["renewal"]
    with pytest.raises(stripe.CardError):
        await client.v1.invoices.pay_async(invoice)


@pytest.mark.parametrize(("off_for", "waits"), [(DAY, 2 * DAY), (4 * DAY, HOUR)], ids=["in time", "too late"])
async def test_collection_that_is_turned_on_again_goes_on(
    off_for: int, waits: int, control: SimulatorClient, account: str
) -> None:
    await control.change_account(account, stripe_retries=[3, 5])
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    await control.set_auto_advance(made["invoice"]["id"], False)
    await control.advance(off_for)
    on = await control.set_auto_advance(made["invoice"]["id"], True)
    assert on["next_payment_attempt"] == await control.now() + waits
    await control.advance(waits - 1)
    assert await sources(control, made["invoice"]["id"]) == ["renewal"]
    await control.advance(1)
    assert await sources(control, made["invoice"]["id"]) == ["renewal", "stripe_retry"]


async def test_stripe_tries_at_a_moment_that_it_has_not_announced(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 2})
    invoice = made["invoice"]["id"]
    assert made["invoice"]["next_payment_attempt"] is None
    with pytest.raises(stripe.CardError):
        await client.v1.invoices.pay_async(invoice)
    await control.advance(240)
    assert (await control.stripe_retry(invoice))["status"] == "paid"
    assert await sources(control, invoice) == ["renewal", "api_pay", "stripe_retry"]
    assert (await client.v1.invoices.retrieve_async(invoice)).attempt_count == 2


async def test_an_unannounced_retry_does_not_add_one_to_those_that_are_planned(
    control: SimulatorClient, account: str
) -> None:
    await control.change_account(account, stripe_retries=[3, 5])
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    await control.advance(DAY)
    tried = await control.stripe_retry(made["invoice"]["id"])
    assert tried["next_payment_attempt"] == await control.now() + 5 * DAY
    await control.advance(20 * DAY)
    assert await sources(control, made["invoice"]["id"]) == ["renewal", "stripe_retry", "stripe_retry"]


async def test_an_invoice_that_is_sent_is_not_charged_by_stripe(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    await control.change_account(account, stripe_retries=[3])
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    sent = await control.set_collection_method(made["invoice"]["id"], "send_invoice", days_until_due=14)
    assert (sent["collection_method"], sent["next_payment_attempt"]) == ("send_invoice", None)
    assert sent["due_date"] == await control.now() + 14 * DAY
    subscription = await control.set_collection_method(made["subscription"]["id"], "send_invoice")
    assert subscription["days_until_due"] == 30
    renewed = await control.renew(made["subscription"]["id"])
    assert renewed is not None
    assert (renewed["collection_method"], renewed["status"]) == ("send_invoice", "open")
    await control.advance(5 * DAY)
    assert await sources(control, made["invoice"]["id"]) == ["renewal"]
    assert await sources(control, renewed["id"]) == []
    with pytest.raises(SimulatorError, match="by_pigeon"):
        await control.set_collection_method(made["invoice"]["id"], "by_pigeon")


@pytest.mark.parametrize(
    ("behavior", "status"), [("void", "void"), ("mark_uncollectible", "uncollectible"), ("keep_as_draft", "draft")]
)
async def test_a_pause_is_of_the_invoices_to_come_until_it_is_lifted(
    behavior: str, status: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_customer(account, card={})
    subscription = await control.add_subscription(account, made["customer"]["id"], interval="day", renews_in=DAY)
    resumes = await control.now() + 2 * DAY
    await control.pause_collection(subscription["id"], behavior, resumes)
    told = await last_event(control, "customer.subscription.updated")
    assert told["object"]["pause_collection"] == {"behavior": behavior, "resumes_at": resumes}
    await control.advance(DAY + HOUR)
    (first,) = (await client.v1.invoices.list_async()).data
    assert first.status == status
    await control.advance(DAY)
    assert (await client.v1.subscriptions.retrieve_async(subscription["id"])).pause_collection is None
    newest = (await client.v1.invoices.list_async()).data[0]
    assert newest.status == "paid"


async def test_a_pause_leaves_open_invoices_to_stripes_retries(control: SimulatorClient, account: str) -> None:
    await control.change_account(account, stripe_retries=[3])
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    await control.pause_collection(made["subscription"]["id"])
    assert (await control.pause_collection(made["subscription"]["id"], None))["pause_collection"] is None
    await control.pause_collection(made["subscription"]["id"])
    await control.advance(3 * DAY)
    assert await sources(control, made["invoice"]["id"]) == ["renewal", "stripe_retry"]


@pytest.mark.parametrize(
    ("ends", "by_api"),
    [({"at_period_end": True}, False), ({"at": 20 * DAY}, False), ({"at": 20 * DAY}, True), ({"at": 30 * DAY}, False)],
    ids=["at the period's end", "on a day", "on a day, by the API", "on the day of the period's end"],
)
async def test_a_subscription_ends_when_it_is_told_to_and_not_before(
    ends: dict[str, Any], by_api: bool, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_customer(account, card={})
    now = await control.now()
    subscription = await control.add_subscription(account, made["customer"]["id"], renews_at=now + 30 * DAY)
    when = now + ends.get("at", 30 * DAY)
    if by_api:
        await client.v1.subscriptions.update_async(subscription["id"], {"cancel_at": when})
    else:
        given = {name: when if name == "at" else value for name, value in ends.items()}
        await control.end_subscription(subscription["id"], **given)
    planned = await client.v1.subscriptions.retrieve_async(subscription["id"])
    assert (planned.status, planned.cancel_at, planned.canceled_at) == ("active", when, now)
    await control.advance(to=when - 1)
    assert (await client.v1.subscriptions.retrieve_async(subscription["id"])).status == "active"
    await control.advance(1)
    ended = await client.v1.subscriptions.retrieve_async(subscription["id"])
    assert (ended.status, ended.ended_at) == ("canceled", when)
    await control.advance(60 * DAY)
    assert (await client.v1.invoices.list_async()).data == []
    assert len(await control.events(type="customer.subscription.deleted")) == 1


async def test_who_thinks_again_keeps_the_subscription(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_customer(account, card={})
    subscription = await control.add_subscription(account, made["customer"]["id"], renews_in=30 * DAY)
    await control.end_subscription(subscription["id"], at=await control.now() + 10 * DAY)
    kept = await control.end_subscription(subscription["id"])
    assert (kept["cancel_at"], kept["canceled_at"], kept["cancellation_details"]["reason"]) == (None, None, None)
    await client.v1.subscriptions.update_async(subscription["id"], {"cancel_at": await control.now() + 10 * DAY})
    await client.v1.subscriptions.update_async(subscription["id"], {"cancel_at": ""})
    await control.advance(30 * DAY + HOUR)
    assert (await client.v1.subscriptions.retrieve_async(subscription["id"])).status == "active"
    assert len(await control.charges()) == 1


async def test_a_customer_has_several_subscriptions_and_open_invoices(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "lost_card"})
    second = await control.add_subscription(account, made["customer"]["id"], amount=900)
    other = await control.renew(second["id"])
    later = await control.renew(made["subscription"]["id"])
    assert other is not None
    assert later is not None
    found = (await client.v1.invoices.list_async({"customer": made["customer"]["id"], "status": "open"})).data
    assert {each.id for each in found} == {made["invoice"]["id"], other["id"], later["id"]}
    subscription = await client.v1.subscriptions.retrieve_async(made["subscription"]["id"])
    assert (subscription.status, subscription.latest_invoice) == ("past_due", later["id"])
    await control.set_script(made["payment_method"]["id"])
    await client.v1.invoices.pay_async(made["invoice"]["id"])
    assert (await client.v1.subscriptions.retrieve_async(subscription.id)).status == "past_due"
    await client.v1.invoices.pay_async(later["id"])
    assert (await client.v1.subscriptions.retrieve_async(subscription.id)).status == "active"


@pytest.mark.parametrize(
    ("setting", "status", "told"),
    [
        ("past_due", "past_due", "customer.subscription.updated"),
        ("unpaid", "unpaid", "customer.subscription.updated"),
        ("cancel", "canceled", "customer.subscription.deleted"),
    ],
)
async def test_stripes_settings_say_what_becomes_of_a_subscription_after_the_last_retry(
    setting: str, status: str, told: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    await control.change_account(account, stripe_retries=[3], after_retries=setting)
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    await control.advance(3 * DAY - 1)
    assert (await client.v1.subscriptions.retrieve_async(made["subscription"]["id"])).status == "past_due"
    await control.advance(1)
    found = await client.v1.subscriptions.retrieve_async(made["subscription"]["id"])
    assert found.status == status
    assert (await last_event(control, told))["object"]["status"] == status
    assert (await client.v1.invoices.retrieve_async(made["invoice"]["id"])).status == "open"
    if setting == "cancel":
        assert found.to_dict()["cancellation_details"]["reason"] == "payment_failed"


async def test_stripe_may_write_the_invoice_off_after_the_last_retry(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    await control.change_account(account, write_off_after_retries=True)
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    assert (await client.v1.invoices.retrieve_async(made["invoice"]["id"])).status == "uncollectible"
    with pytest.raises(SimulatorError, match="explode"):
        await control.change_account(account, after_retries="explode")


async def test_the_invoices_of_an_unpaid_subscription_stay_drafts(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    assert (await control.set_status(made["subscription"]["id"], "unpaid"))["status"] == "unpaid"
    draft = await control.renew(made["subscription"]["id"])
    assert draft is not None
    await control.advance(DAY)
    shown = await client.v1.invoices.retrieve_async(draft["id"])
    assert (shown.status, shown.auto_advance) == ("draft", False)
    assert (await control.set_status(made["subscription"]["id"], "canceled"))["status"] == "canceled"
    with pytest.raises(SimulatorError, match="sleepy"):
        await control.set_status(made["subscription"]["id"], "sleepy")


@pytest.mark.parametrize("reason", sorted(REASONS))
async def test_an_invoice_between_the_renewals_says_why(
    reason: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_customer(account, card={"decline": "insufficient_funds"})
    subscription = await control.add_subscription(account, made["customer"]["id"], renews_in=10 * DAY)
    extra = await control.add_invoice(subscription["id"], reason, amount=777)
    shown = (await client.v1.invoices.retrieve_async(extra["id"])).to_dict()
    assert (shown["billing_reason"], shown["amount_due"], shown["status"]) == (reason, 777, "open")
    assert (shown["parent"] is None) is (reason == "manual")
    assert (await last_event(control, "invoice.payment_failed"))["object"]["billing_reason"] == reason
    found = await client.v1.subscriptions.retrieve_async(subscription["id"])
    assert found.status == ("active" if reason == "manual" else "past_due")
    assert found.to_dict()["items"]["data"][0]["current_period_end"] == await control.now() + 10 * DAY


async def test_an_unknown_billing_reason_is_refused(control: SimulatorClient, account: str) -> None:
    made = await control.add_customer(account, card={})
    subscription = await control.add_subscription(account, made["customer"]["id"])
    with pytest.raises(SimulatorError, match="whim"):
        await control.add_invoice(subscription["id"], "whim")
