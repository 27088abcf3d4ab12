"""How a recovery ends if nobody pays: what the brain will decide when its time has come, asked today.

There is no second rule about ends: `decide` is asked for each time at which it will be asked again, and each attempt of
ours on the way is supposed to be declined as the last one was.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.worker.dossier.dossier import Dossier, method_in
from services.worker.outside.invoices import Reading
from services.worker.recovery import (
    AskNewMethod,
    AttemptNow,
    AttemptResult,
    Card,
    Close,
    Decline,
    Origin,
    PastAttempt,
    RequireAction,
    Wait,
)
from shared.ids import PaymentMethodId
from shared.policy import EndAction
from shared.recovery_model import EndReason

# Far more than any policy has attempts. Where an outcome is looked for every half hour, the window's end is asked.
_MOST_STEPS = 200
_DECLINED = Decline("card_declined", "generic_decline")


@dataclass(frozen=True, slots=True)
class Ending:
    """The end that follows if nobody pays. `sure`: it comes by the window's end, which no attempt's outcome moves."""

    at: datetime
    action: EndAction
    sure: bool


def ending(dossier: Dossier, reading: Reading) -> Ending | None:
    """How the recovery ends if nobody pays; None if the brain ends it now, or as anything but exhausted."""
    at, supposed = dossier.now, tuple[PastAttempt, ...]()
    for _ in range(_MOST_STEPS):
        match dossier.decide_at(at, reading, supposed=supposed):
            case Close() as close:
                return _of(close, at) if at > dossier.now or supposed else None
            case AttemptNow(payment_method_id=method):
                supposed = (*supposed, _declined(dossier, reading, at, len(supposed), method))
            case Wait(until=until):
                at = max(until, at + timedelta(minutes=1))
            case RequireAction(deadline=deadline) | AskNewMethod(deadline=deadline):
                at = max(deadline, at + timedelta(minutes=1))
    at = dossier.window_ends
    last = dossier.decide_at(at, reading, supposed=supposed)
    return _of(last, at) if isinstance(last, Close) else None


def _of(close: Close, at: datetime) -> Ending | None:
    if close.state != "exhausted":
        return None
    return Ending(at, close.end_action, sure=close.end_reason == EndReason.WINDOW_OVER)


def _declined(dossier: Dossier, reading: Reading, at: datetime, before: int, method: PaymentMethodId) -> PastAttempt:
    card = method_in(reading, method) or Card()
    return PastAttempt(
        number=dossier.next_number + before,
        origin=Origin.CITADEL,
        result=AttemptResult.DECLINED,
        at=at,
        payment_method_id=method,
        card_fingerprint=card.fingerprint,
        amount=reading.truth.amount_remaining,
        decline=dossier.last_decline or _DECLINED,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
    )
