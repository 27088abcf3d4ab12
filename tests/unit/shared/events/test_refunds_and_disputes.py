"""What the events about refunds and disputes mean: which recovery they stop, and what money went back."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.events.intents import Ignored, Intent, MoneyBack, StopCharge
from shared.ids import ChargeId, InvoiceId, PaymentIntentId
from shared.money import Money
from shared.money_back import Kind
from shared.recovery_model import EndReason
from tests.unit.shared.events.examples import intent

CH_1, PI_1, IN_1 = ChargeId("ch_1"), PaymentIntentId("pi_1"), InvoiceId("in_1")
AT = 1_790_000_000


def test_a_refund_names_the_invoice_in_the_old_shape_and_the_payment_in_the_new_one() -> None:
    old = {"id": "ch_1", "object": "charge", "invoice": "in_1", "payment_intent": None}
    new = {"id": "ch_1", "object": "charge", "payment_intent": "pi_1"}
    assert intent("charge.refunded", old) == StopCharge(CH_1, None, IN_1, EndReason.REFUNDED)
    assert intent("charge.refunded", new) == StopCharge(CH_1, PI_1, None, EndReason.REFUNDED)


def test_a_dispute_names_its_charge_and_not_itself() -> None:
    plain = {"id": "dp_1", "object": "dispute", "charge": "ch_1", "payment_intent": "pi_1"}
    expanded = {"id": "dp_1", "object": "dispute", "charge": {"id": "ch_1", "invoice": "in_1"}}
    assert intent("charge.dispute.created", plain) == StopCharge(CH_1, PI_1, None, EndReason.DISPUTED)
    assert intent("charge.dispute.created", expanded) == StopCharge(CH_1, None, IN_1, EndReason.DISPUTED)


REFUND = {
    "id": "re_1",
    "object": "refund",
    "amount": 700,
    "charge": "ch_1",
    "created": AT,
    "currency": "usd",
    "payment_intent": "pi_1",
    "status": "succeeded",
}
DISPUTE = {**REFUND, "id": "du_1", "object": "dispute", "status": "needs_response", "balance_transactions": []}
STOP_REFUNDED = StopCharge(CH_1, PI_1, None, EndReason.REFUNDED)
STOP_DISPUTED = StopCharge(CH_1, PI_1, None, EndReason.DISPUTED)
WHEN = datetime.fromtimestamp(AT, UTC)


def went_back(kind: Kind, external_id: str, amount: int, returned: int = 0, **fields: Any) -> MoneyBack:
    """What `REFUND` and `DISPUTE` say; what came back stops nothing."""
    stop = STOP_DISPUTED if kind is Kind.DISPUTE else STOP_REFUNDED
    usual = {"moved_at": WHEN, "stop": None if returned else stop, **fields}
    return MoneyBack(kind, external_id, CH_1, PI_1, Money(amount, "usd"), returned=returned, **usual)


@pytest.mark.parametrize("kind", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"])
@pytest.mark.parametrize(
    ("status", "returned"),
    [("pending", 0), ("requires_action", 0), ("succeeded", 0), (None, 0), ("failed", 700), ("canceled", 700)],
)
def test_a_refund_takes_money_until_it_fails_or_is_canceled(kind: str, status: str | None, returned: int) -> None:
    assert intent(kind, {**REFUND, "status": status}) == went_back(Kind.REFUND, "re_1", 700, returned)


def test_a_refunded_charge_says_the_sum_of_its_refunds() -> None:
    charge = {"id": "ch_1", "amount": 2000, "amount_refunded": 700, "currency": "usd", "payment_intent": "pi_1"}
    assert intent("charge.refunded", charge) == went_back(Kind.REFUNDS, "ch_1", 700, moved_at=None)


def transaction(amount: int, currency: str = "usd") -> dict[str, Any]:
    """A balance transaction of a dispute."""
    return {"object": "balance_transaction", "amount": amount, "currency": currency, "fee": 1500}


@pytest.mark.parametrize(
    ("kind", "changes", "taken", "returned"),
    [
        ("created", {}, 700, 0),
        ("created", {"status": "lost"}, 700, 0),
        ("created", {"amount": 900, "balance_transactions": [transaction(-700)]}, 700, 0),
        ("created", {"balance_transactions": [transaction(-650, "eur")]}, 700, 0),
        ("funds_withdrawn", {"status": "warning_needs_response"}, 700, 0),
        ("funds_withdrawn", {"balance_transactions": [transaction(-700)]}, 700, 0),
        (
            "funds_reinstated",
            {"status": "won", "balance_transactions": [transaction(-700), transaction(700)]},
            700,
            700,
        ),
        (
            "funds_reinstated",
            {"status": "lost", "balance_transactions": [transaction(-700), transaction(200)]},
            700,
            200,
        ),
        ("funds_reinstated", {"status": "under_review"}, 700, 700),
        ("closed", {"status": "won"}, 700, 700),
        ("closed", {"status": "won", "balance_transactions": [transaction(-700)]}, 700, 700),
        ("closed", {"status": "lost", "balance_transactions": [transaction(-700)]}, 700, 0),
    ],
)
def test_a_dispute_takes_its_amount_and_gives_back_what_was_won(
    kind: str, changes: dict[str, Any], taken: int, returned: int
) -> None:
    expected = went_back(Kind.DISPUTE, "du_1", taken, returned)
    assert intent(f"charge.dispute.{kind}", {**DISPUTE, **changes}) == expected


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("created", "warning_needs_response", STOP_DISPUTED),
        ("created", "warning_under_review", STOP_DISPUTED),
        ("closed", "warning_closed", Ignored("no_money_moved")),
        ("closed", "prevented", Ignored("no_money_moved")),
        ("closed", "charge_refunded", Ignored("no_money_moved")),
    ],
)
def test_an_inquiry_stops_a_recovery_and_takes_no_money(kind: str, status: str, expected: Intent) -> None:
    assert intent(f"charge.dispute.{kind}", {**DISPUTE, "status": status}) == expected


@pytest.mark.parametrize("amount", [None, -1, "700", 7.5, True, 10**16])
def test_a_refund_or_dispute_without_a_readable_amount_still_stops(amount: object) -> None:
    assert intent("refund.created", {**REFUND, "amount": amount}) == STOP_REFUNDED
    assert intent("charge.dispute.created", {**DISPUTE, "amount": amount}) == STOP_DISPUTED
    assert intent("refund.failed", {**REFUND, "amount": amount, "status": "failed"}) == Ignored("unreadable")
    assert intent("charge.dispute.closed", {**DISPUTE, "amount": amount, "status": "won"}) == Ignored("unreadable")
