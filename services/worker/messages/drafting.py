"""What a message about one invoice says, from our rows and one reading of that invoice.

Everything that it claims is true of the reading: the amount, that we will try again, and what follows if nobody pays.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from services.worker.dossier.dossier import Dossier
from services.worker.dossier.ending import ANNOUNCED, newer_against
from services.worker.dossier.foresight import Ending, ending
from services.worker.messages.campaign import Message, message_for
from services.worker.outside.invoices import Reading, read
from services.worker.outside.stripe_objects import Invoice
from services.worker.recovery import (
    HOLDS,
    AttemptNow,
    Close,
    Decline,
    DeclineCause,
    InvoiceStatus,
    MessageKind,
    SentMessage,
    classify,
)
from services.worker.recovery.method import FIRST_TRIES
from shared.ids import PaymentMethodId, RecoveryId
from shared.recovery_model import RecoveryState

Unready = Literal["not_open", "over", "not_final", "under_way", "held", "method_is_there"]

# The reason that a customer may be told, as it is named in the texts. A thief must learn nothing.
BECAUSE = {
    DeclineCause.INSUFFICIENT_FUNDS: "insufficient_funds",
    DeclineCause.EXPIRED_CARD: "expired_card",
    DeclineCause.INCORRECT_DETAILS: "incorrect_details",
    DeclineCause.LIMIT_EXCEEDED: "limit_exceeded",
}
DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Part:
    """One recovery that an email is about, and what it is told for.

    `due`: its own message is due, so that it is reason enough for an email; the others come along.
    """

    dossier: Dossier
    kind: MessageKind
    due: bool


@dataclass(frozen=True, slots=True)
class Ends:
    """What follows if nobody pays; `then` is a name of the texts' `then`. `at` is None where no day is sure.

    `announces`: the customer is told of an end action.
    """

    then: str
    at: datetime | None
    announces: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """What a message about one invoice says.

    `because` is a name of the texts' reasons. `again`: the same request was made before. `retry_at` is the next
    attempt, `ends` what follows, in the last message; `failed_method` is the payment method that was charged last.
    """

    message: Message
    kind: MessageKind
    recovery_id: RecoveryId
    now: datetime
    because: str | None = None
    again: bool = False
    retry_at: datetime | None = None
    ends: Ends | None = None
    failed_method: PaymentMethodId | None = None

    @property
    def announces(self) -> bool:
        """Whether the customer is told of an end action."""
        return self.ends is not None and self.ends.announces


def drafted(part: Part, invoice: dict[str, Any], newer: Collection[InvoiceStatus]) -> Draft | Unready:
    """The message about the invoice as it is now; or why none is sent about it.

    `newer` are the states of its subscription's newer invoices.
    """
    reading, dossier, kind = read(Invoice.model_validate(invoice)), part.dossier, part.kind
    decision = dossier.decide(reading)
    if decision.reason.rule in HOLDS:
        return "held"
    if isinstance(decision, Close):
        return "over" if reading.truth.status is InvoiceStatus.OPEN and not reading.truth.paid else "not_open"
    if reading.truth.status is not InvoiceStatus.OPEN:
        return "not_final"
    # A bank debit is processed for days: the invoice is open, and not unpaid.
    if reading.truth.payment_under_way or dossier.in_flight is not None:
        return "under_way"
    first_try = isinstance(decision, AttemptNow) and decision.reason.rule in FIRST_TRIES
    if first_try and kind is not MessageKind.PAYMENT_FAILED:
        return "method_is_there"  # the customer has brought another by now, and its event is late
    end = ending(dossier, reading)
    sent = dossier.story.sent
    following = dossier.message_due(kind, besides=(SentMessage(kind, dossier.now),))
    last = following is None or (end is not None and end.at <= following)
    planned = dossier.next_attempt_at if dossier.state is RecoveryState.WAITING else None
    retry_at = planned if planned is not None and planned > dossier.now else reading.truth.stripe_next_attempt_at
    return Draft(
        message=message_for(kind, sent, last=last),
        kind=kind,
        recovery_id=dossier.recovery_id,
        now=dossier.now,
        because=because(dossier.last_decline),
        again=kind is not MessageKind.PAYMENT_FAILED and any(each.kind is kind for each in sent),
        retry_at=retry_at,
        ends=_ends(dossier, reading, newer, end) if last and end is not None else None,
        failed_method=dossier.attempts[-1].past.payment_method_id if dossier.attempts else None,
    )


def _ends(dossier: Dossier, reading: Reading, newer: Collection[InvoiceStatus], end: Ending) -> Ends:
    at = end.at if end.sure else None
    if end.action in ANNOUNCED and dossier.subscription_id is not None and not dossier.merchants_matter:
        against = newer_against(newer)
        if against is None:
            return Ends(end.action, at, announces=True)
        if against == "newer_invoice_open":
            return Ends(f"{end.action}_open", at, announces=True)  # the newer invoice decides when
    # Only the attempts and the messages stop; what Stripe has planned is not ours to deny.
    return Ends("stop" if reading.truth.stripe_next_attempt_at is None else "quiet", at)


def because(decline: Decline | None) -> str | None:
    """The reason that the customer is told; for a lost, stolen or suspected card only that it was declined."""
    if decline is None:
        return None
    understood = classify(decline)
    return BECAUSE.get(understood.cause, DECLINED) if understood.customer_may_know else DECLINED
