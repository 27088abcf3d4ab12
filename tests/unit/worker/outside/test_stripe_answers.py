"""Stripe's invoices and charges read down to what the rules ask for."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.worker.outside.invoices import read, seen
from services.worker.outside.stripe_objects import Charge, Invoice
from services.worker.recovery import AttemptResult, InvoiceStatus

CARD = {"brand": "visa", "country": "DE", "fingerprint": "fp", "exp_month": 4, "exp_year": 2030, "funding": "debit"}
METHOD = {"id": "pm_1", "type": "card", "card": CARD, "billing_details": {"email": "jane@example.com"}}


def _invoice(**changes: Any) -> dict[str, Any]:
    intent = {"id": "pi_1", "status": "requires_payment_method", "latest_charge": "ch_1", "payment_method": None}
    return {
        "id": "in_1",
        "status": "open",
        "currency": "eur",
        "amount_due": 4_200,
        "amount_paid": 0,
        "amount_remaining": 4_200,
        "customer_email": "jane@example.com",
        "customer": {"id": "cus_1", "name": "Jane Doe", "invoice_settings": {"default_payment_method": METHOD}},
        "parent": {"subscription_details": {"subscription": {"id": "sub_1", "status": "past_due"}}},
        "payments": {"data": [{"status": "open", "payment": {"type": "payment_intent", "payment_intent": intent}}]},
        "next_payment_attempt": 1_790_000_000,
        **changes,
    }


def test_an_open_invoice() -> None:
    reading = read(Invoice.model_validate(_invoice()))
    truth = reading.truth
    assert (truth.status, truth.amount_remaining.amount, truth.subscription_status) == ("open", 4_200, "past_due")
    assert (truth.payment_method_id, truth.card and truth.card.network) == ("pm_1", "visa")
    assert truth.stripe_next_attempt_at == datetime.fromtimestamp(1_790_000_000, UTC)
    assert reading.payment_intents == (("pi_1", "ch_1"),)


def test_nothing_personal_is_read() -> None:
    reading = read(Invoice.model_validate(_invoice()))
    assert "jane" not in repr(reading).lower()
    assert "jane" not in repr(Invoice.model_validate(_invoice())).lower()


OTHER = {"id": "pm_other", "type": "card", "card": CARD}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"default_payment_method": OTHER}, "pm_other"),
        ({"default_source": "card_1"}, "card_1"),
        (
            {"parent": {"subscription_details": {"subscription": {"id": "s", "default_payment_method": OTHER}}}},
            "pm_other",
        ),
        ({"parent": {"subscription_details": {"subscription": {"id": "s", "default_source": "src_1"}}}}, "src_1"),
        ({"customer": {"id": "cus_1", "default_source": "card_2"}}, "card_2"),
        ({"customer": {"id": "cus_1"}}, None),
        ({"customer": "cus_1"}, None),
        ({"parent": None}, "pm_1"),
    ],
)
def test_the_next_method_follows_stripe_s_order(changes: dict[str, Any], expected: str | None) -> None:
    assert read(Invoice.model_validate(_invoice(**changes))).truth.payment_method_id == expected


PAID = {"status": "paid", "amount_remaining": 0}
PAYMENT = {"status": "paid", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}}


@pytest.mark.parametrize(
    ("changes", "out_of_band"),
    [
        ({}, False),
        (PAID | {"amount_paid": 4_200, "payments": {"data": [PAYMENT]}}, False),
        (PAID | {"amount_paid_off_stripe": 4_200}, True),
        (PAID, True),
    ],
)
def test_paid_out_of_band_is_told_from_paid_at_stripe(changes: dict[str, Any], out_of_band: bool) -> None:
    assert read(Invoice.model_validate(_invoice(**changes))).truth.paid_out_of_band is out_of_band


def test_the_intent_that_paid_comes_last() -> None:
    def payment(status: str, number: int) -> dict[str, Any]:
        intent = {"id": f"pi_{number}", "latest_charge": f"ch_{number}"}
        return {"status": status, "payment": {"type": "payment_intent", "payment_intent": intent}}

    data = [payment("paid", 1), payment("canceled", 2)]
    reading = read(Invoice.model_validate(_invoice(payments={"data": data})))
    assert reading.payment_intents[-1] == ("pi_1", "ch_1")


def test_an_unknown_status_is_refused_rather_than_taken_for_open() -> None:
    with pytest.raises(ValueError, match="status"):
        Invoice.model_validate(_invoice(status="frozen"))
    assert InvoiceStatus("open") is InvoiceStatus.OPEN


def _charge(**changes: Any) -> dict[str, Any]:
    return {
        "id": "ch_1",
        "created": 1_790_000_000,
        "status": "failed",
        "amount": 4_200,
        "currency": "eur",
        "payment_intent": "pi_1",
        "payment_method": "pm_1",
        "payment_method_details": {"type": "card", "card": CARD},
        "failure_code": "card_declined",
        "outcome": {"type": "issuer_declined", "reason": "insufficient_funds", "network_decline_code": "51"},
        **changes,
    }


def test_a_failed_charge_is_a_decline_with_its_codes() -> None:
    found = seen(Charge.model_validate(_charge()))
    assert found is not None
    assert found.result is AttemptResult.DECLINED
    assert found.decline is not None
    assert (found.decline.code, found.decline.decline_code) == ("card_declined", "insufficient_funds")
    assert found.decline.network_decline_code == "51"
    assert found.card is not None
    assert found.card.fingerprint == "fp"


def test_a_successful_charge_declines_nothing_and_a_pending_one_is_under_way() -> None:
    found = seen(Charge.model_validate(_charge(status="succeeded", failure_code=None, outcome=None)))
    assert found is not None
    assert (found.result, found.decline) == (AttemptResult.SUCCEEDED, None)
    under_way = seen(Charge.model_validate(_charge(status="pending", failure_code=None, outcome=None)))
    assert under_way is not None
    assert (under_way.result, under_way.decline) == (AttemptResult.PROCESSING, None)
    assert seen(Charge.model_validate(_charge(status="a_new_status"))) is None
