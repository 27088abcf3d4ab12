"""Stripe's invoices and charges as the rules read them, also with nulls where text is expected."""

from copy import deepcopy
from typing import Any

import pytest

from services.worker.outside.invoices import read, seen
from services.worker.outside.stripe_objects import Charge, Invoice
from services.worker.recovery import InvoiceStatus, Wait, decide
from shared.events.routing import route, route_open_invoice
from tests.unit.shared.events.examples import event_of
from tests.unit.worker.recovery.builders import DEFAULT, OPENED, first_failure, recovery

INVOICE: dict[str, Any] = {
    "id": "in_1",
    "object": "invoice",
    "status": "open",
    "attempted": True,
    "billing_reason": "subscription_cycle",
    "currency": "eur",
    "amount_due": 2_000,
    "amount_paid": 0,
    "amount_paid_off_stripe": 0,
    "amount_remaining": 2_000,
    "collection_method": "charge_automatically",
    "next_payment_attempt": 1_790_000_000,
    "default_payment_method": {"id": "pm_2", "type": "card", "card": {"brand": "visa"}},
    "default_source": "card_1",
    "customer": {"id": "cus_1", "invoice_settings": {"default_payment_method": "pm_1"}, "default_source": "card_1"},
    "parent": {
        "type": "subscription_details",
        "subscription_details": {"subscription": {"id": "sub_1", "status": "past_due", "start_date": 1_780_000_000}},
    },
    "payments": {
        "data": [
            {
                "status": "open",
                "payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1", "status": "requires_action"}},
            }
        ]
    },
    "lines": {"data": [{"pricing": {"price_details": {"price": "price_1", "product": "prod_1"}}}]},
    "status_transitions": {"paid_at": None},
    "hosted_invoice_url": "https://invoice.example/1",
}
CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "created": 1_790_000_000,
    "status": "failed",
    "amount": 2_000,
    "currency": "eur",
    "payment_intent": "pi_1",
    "payment_method": "pm_1",
    "payment_method_details": {"type": "card", "card": {"brand": "visa", "fingerprint": "fp_1", "country": "DE"}},
    "failure_code": "card_declined",
    "outcome": {"type": "issuer_declined", "reason": "do_not_honor", "advice_code": "try_again_later"},
}
# Without these there is no object, and Stripe's own schema has no null for them.
GIVEN = {"id", "currency", "amount", "amount_due", "amount_remaining", "created"}


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every field of an object, parts of parts included."""
    names = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = [(*way, name) for name in names if isinstance(value, dict) and name not in GIVEN]
    return found + [place for name in names for place in _places(value[name], (*way, name))]


def _with_null(whole: dict[str, Any], place: tuple[Any, ...]) -> dict[str, Any]:
    made = deepcopy(whole)
    inner: Any = made
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = None
    return made


def _name(place: tuple[Any, ...]) -> str:
    return ".".join(map(str, place))


@pytest.mark.parametrize("place", _places(INVOICE), ids=_name)
def test_a_null_in_an_invoice_raises_nothing_and_opens_nothing(place: tuple[Any, ...]) -> None:
    given = _with_null(INVOICE, place)
    whole, found = read(Invoice.model_validate(INVOICE)).truth, read(Invoice.model_validate(given)).truth
    assert found.amount_remaining == whole.amount_remaining
    assert found.status == (InvoiceStatus.DRAFT if place == ("status",) else InvoiceStatus.OPEN)
    for kind in ("invoice.payment_failed", "invoice.paid", "invoice.updated", "invoice.upcoming", "invoice.voided"):
        route(event_of(kind, given))
    route_open_invoice(given)


@pytest.mark.parametrize("place", _places(CHARGE), ids=_name)
def test_a_null_in_a_charge_raises_nothing_and_collects_nothing(place: tuple[Any, ...]) -> None:
    found = seen(Charge.model_validate(_with_null(CHARGE, place)))
    assert found is None if place == ("status",) else found is not None and found.result == "declined"


def test_an_invoice_without_a_status_is_waited_for_and_never_charged() -> None:
    truth = read(Invoice.model_validate({**INVOICE, "status": None})).truth
    decision = decide(DEFAULT, recovery(), truth, [first_failure()], OPENED)
    assert isinstance(decision, Wait)
    assert decision.reason.rule == "invoice_is_draft"


def test_an_invoice_without_a_status_is_not_found_open() -> None:
    assert route_open_invoice({**INVOICE, "status": None}).__class__.__name__ == "Ignored"
    changed = event_of("invoice.updated", {**INVOICE, "status": None}, {"next_payment_attempt": 1})
    assert route(changed).intent.__class__.__name__ == "Ignored"
