"""What a run of `dunning_retry` has to do, and what came of it: between `collect` and `conclude`."""

from dataclasses import dataclass

from services.worker.dossier.dossier import Dossier, KnownAttempt
from services.worker.handler import Nothing
from services.worker.outside.invoices import Reading, SeenCharge
from services.worker.recovery import AttemptResult, Card, Decline, Reason
from shared.ids import ChargeId, PaymentIntentId, PaymentMethodId
from shared.money import Money
from shared.recovery_model import EndReason


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What to do. `attempt` is ours without an outcome; `fresh`: its row is new and no request was sent yet."""

    dossier: Dossier
    attempt: KnownAttempt | None = None
    fresh: bool = False


Plan = Nothing | Evaluation


@dataclass(frozen=True, slots=True)
class Settled:
    """How our attempt ended, and how that is known. `called`: a request to pay was sent, now or before.

    `amount` is its charge's own, where that is known.
    """

    result: AttemptResult
    how: str
    called: bool = True
    error_code: str | None = None
    decline: Decline | None = None
    payment_intent_id: PaymentIntentId | None = None
    charge_id: ChargeId | None = None
    payment_method_id: PaymentMethodId | None = None
    card: Card | None = None
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """The reading, and how the attempt ended if there was one. `reason` is that of the decision to attempt.

    `last_id` is the timeline's last row before the reading.
    """

    reading: Reading
    seen: tuple[SeenCharge, ...]
    attempt: KnownAttempt | None = None
    settled: Settled | None = None
    reason: Reason | None = None
    last_id: int = 0


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The invoice and the attempt's outcome can no longer be read; the recovery ends."""

    end_reason: EndReason
    text: str
    attempt: KnownAttempt | None = None
    may_have_paid: bool = False


Outcome = Nothing | Collected | Unreachable
