"""The smallest worlds: one failed invoice of 20.00 EUR on a German Visa, opened on a Monday."""

from datetime import UTC, datetime, timedelta

from services.worker.recovery import (
    AttemptResult,
    Card,
    Decline,
    InvoiceStatus,
    InvoiceTruth,
    Origin,
    PastAttempt,
    Policy,
    RecoveryFacts,
)
from shared.ids import PaymentMethodId
from shared.money import Money
from shared.recovery_model import EndReason

METHOD = PaymentMethodId("pm_1")
OPENED = datetime(2026, 9, 7, 6, 0, tzinfo=UTC)
DEFAULT = Policy.default()
FIXED = Policy.model_validate({"schema_version": 4})
"""The default before schema 5: fixed schedules, nothing is believed or learned."""
DEADLINE = OPENED + timedelta(days=DEFAULT.window_days)
DUE = Money(2000, "eur")
VISA = Card(fingerprint="fp_1", network="visa", country="DE", exp_month=12, exp_year=2030)


def attempt(
    code: str | None = "insufficient_funds",
    *,
    after: timedelta = timedelta(0),
    result: AttemptResult = AttemptResult.DECLINED,
    origin: Origin = Origin.CITADEL,
    number: int = 1,
    method: PaymentMethodId | None = METHOD,
    fingerprint: str | None = "fp_1",
    amount: Money = DUE,
    advice: str | None = None,
    network_decline: str | None = None,
    network_advice: str | None = None,
) -> PastAttempt:
    """An attempt `after` the opening; declined with `code` unless another result is given."""
    decline = None
    if result is AttemptResult.DECLINED:
        decline = Decline("card_declined", code, advice, network_decline, network_advice)
    return PastAttempt(number, origin, result, OPENED + after, method, fingerprint, amount, decline)


def first_failure(code: str | None = "insufficient_funds") -> PastAttempt:
    """Stripe's failed renewal, which opened the recovery."""
    return attempt(code, origin=Origin.STRIPE)


def invoice(
    status: InvoiceStatus = InvoiceStatus.OPEN,
    *,
    remaining: Money = DUE,
    method: PaymentMethodId | None = METHOD,
    card: Card | None = VISA,
    subscription: str | None = "past_due",
    collection_method: str = "charge_automatically",
    stripe_next: datetime | None = None,
    out_of_band: bool = False,
) -> InvoiceTruth:
    """The invoice as read from Stripe: open, on `pm_1`."""
    return InvoiceTruth(status, remaining, collection_method, subscription, method, card, stripe_next, out_of_band)


def recovery(
    *, active: bool = True, stop: str | None = None, messages: int = 0, key: str = "recovery"
) -> RecoveryFacts:
    """Our own facts: opened at OPENED, nobody said stop."""
    return RecoveryFacts(OPENED, active, EndReason(stop) if stop else None, messages, key)
