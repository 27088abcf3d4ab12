"""From Stripe's charges and invoices to failures, by hand."""

from typing import Any

import pytest

from console.evaluation.history.assemble import PAID_LATE, WITHOUT_ATTEMPT, assemble
from console.evaluation.history.document import Failure
from console.evaluation.history.rows import charge_row, invoice_row, waiting_row

NOON = 1_790_000_000
HOUR, DAY = 3_600, 86_400
UNTIL = NOON + 60 * DAY


def charge(number: int, at: int, **given: Any) -> dict[str, Any]:
    card = {"brand": "visa", "country": "US", "fingerprint": "fp", "exp_month": 4, "exp_year": 2030}
    card |= {"funding": "debit", "last4": "4242"}
    return {
        "id": f"ch_{number}",
        "payment_intent": "pi_1",
        "created": at,
        "amount": 900,
        "currency": "usd",
        "status": "failed",
        "payment_method": "pm_1",
        "payment_method_details": {"type": "card", "card": card},
        "failure_code": "card_declined",
        "outcome": {"reason": "do_not_honor", "network_decline_code": "05", "type": "issuer_declined"},
        "billing_details": {"name": "Jenny Rosen"},
        "receipt_email": "jenny@example.com",
    } | given


def invoice(**given: Any) -> dict[str, Any]:
    return {
        "id": "in_1",
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "status": "open",
        "amount_due": 900,
        "currency": "usd",
        "created": NOON - HOUR,
        "customer_email": "jenny@example.com",
        "status_transitions": {"finalized_at": NOON},
        "payments": {"data": [{"payment": {"type": "payment_intent", "payment_intent": "pi_1"}}]},
        "parent": {"subscription_details": {"subscription": {"start_date": NOON - 90 * DAY, "ended_at": None}}},
        "lines": {"data": [{"pricing": {"price_details": {"price": "price_1", "product": "prod_1"}}}]},
    } | given


def found(
    charges: list[dict[str, Any]], told: dict[str, Any], waiting: tuple[str, ...] = ()
) -> tuple[list[Failure], dict[str, int]]:
    rows = [row for each in charges if (row := charge_row("acct_1", each))]
    kept = invoice_row(told, {row["intent"] for row in rows if row["failed"]})
    return assemble(rows, [kept] if kept else [], [{"intent": each} for each in waiting], UNTIL)


def test_a_failure_and_its_retries() -> None:
    charges = [charge(1, NOON), charge(2, NOON + DAY), charge(3, NOON + 2 * DAY, status="succeeded", outcome=None)]
    (only,), left_out = found(charges[::-1], invoice(status="paid"))
    assert left_out == {}
    assert [(each.at - NOON, each.result, each.by, each.decline_code) for each in only.attempts] == [
        (0, "declined", "retry", "do_not_honor"),
        (DAY, "declined", "retry", "do_not_honor"),
        (2 * DAY, "succeeded", "retry", None),
    ]
    assert (only.amount, only.subscribed_at, only.products, only.prices) == (
        900,
        NOON - 90 * DAY,
        ("prod_1",),
        ("price_1",),
    )
    card = only.card
    assert (card.network, card.country, card.exp_year, card.funding) == ("visa", "US", 2030, "debit")
    text = only.model_dump_json()
    assert "jenny" not in text.lower()
    assert '"fp"' not in text


def test_another_payment_method_is_the_customers_doing() -> None:
    charges = [charge(1, NOON), charge(2, NOON + DAY, status="succeeded", outcome=None, payment_method="pm_2")]
    (only,), _ = found(charges, invoice(status="paid"))
    assert [(each.by, each.method) for each in only.attempts] == [("retry", None), ("customer", "pm_2")]


def test_a_renewal_that_went_through_is_no_failure() -> None:
    paid_at = {"finalized_at": NOON, "paid_at": NOON + 5}
    good = charge(1, NOON + 5, status="succeeded", outcome=None)
    assert found([good], invoice(status="paid", status_transitions=paid_at)) == ([], {})


@pytest.mark.parametrize(
    "change",
    [
        {"billing_reason": "subscription_create"},
        {"billing_reason": "manual"},
        {"collection_method": "send_invoice"},
        {"status": "draft"},
        {"amount_due": 0},
    ],
)
def test_what_is_no_renewal_is_not_kept(change: dict[str, Any]) -> None:
    assert found([charge(1, NOON)], invoice(**change)) == ([], {})


def test_what_nobody_can_tell_is_counted_and_left_out() -> None:
    late = {"finalized_at": NOON, "paid_at": NOON + 2 * DAY}
    good = charge(1, NOON + 2 * DAY, status="succeeded", outcome=None)
    assert found([good], invoice(status="paid", status_transitions=late)) == ([], {PAID_LATE: 1})
    assert found([], invoice()) == ([], {WITHOUT_ATTEMPT: 1})


def test_a_payment_that_waits_for_the_customer_is_a_failure_without_a_charge() -> None:
    assert waiting_row({"payment": {"payment_intent": {"id": "pi_1", "status": "requires_action"}}}) == {
        "intent": "pi_1"
    }
    assert waiting_row({"payment": {"payment_intent": {"id": "pi_1", "status": "processing"}}}) is None
    (only,), _ = found([], invoice(), waiting=("pi_1",))
    assert [(each.at, each.result) for each in only.attempts] == [(NOON, "requires_action")]


def test_an_end_after_the_history_is_none() -> None:
    changed = {"finalized_at": NOON, "voided_at": UNTIL + 1}
    (only,), _ = found([charge(1, NOON)], invoice(status="void", status_transitions=changed))
    assert (only.ending, only.ended_at) == ("open", None)


def test_of_two_ends_the_first_counts() -> None:
    changed = {"finalized_at": NOON, "marked_uncollectible_at": NOON + 5 * DAY}
    parent = {"subscription_details": {"subscription": {"start_date": 5, "ended_at": NOON + 3 * DAY}}}
    told = invoice(status="uncollectible", status_transitions=changed, parent=parent) | {
        "parent": {"subscription_details": {"subscription": {"ended_at": NOON + 3 * DAY}}}
    }
    (only,), _ = found([charge(1, NOON)], told)
    assert (only.ending, only.ended_at) == ("canceled", NOON + 3 * DAY)


def test_a_charge_without_a_payment_intent_or_an_end_is_not_kept() -> None:
    assert charge_row("acct_1", charge(1, NOON, payment_intent=None)) is None
    assert charge_row("acct_1", charge(1, NOON, status="pending")) is None


def test_merchants_cannot_be_linked_by_a_card() -> None:
    hashes = {(charge_row(merchant, charge(1, NOON)) or {})["fingerprint"] for merchant in ("acct_1", "acct_2")}
    assert len(hashes) == 2


def test_only_other_payments_on_the_card_within_the_longest_window_are_beside() -> None:
    others = [
        charge(7, NOON - 41 * DAY, payment_intent="pi_7", status="succeeded", outcome=None),
        charge(8, NOON - 39 * DAY, payment_intent="pi_8", status="succeeded", outcome=None),
    ]
    (only,), _ = found([charge(1, NOON), *others], invoice())
    assert [each.at for each in only.elsewhere] == [NOON - 39 * DAY]
