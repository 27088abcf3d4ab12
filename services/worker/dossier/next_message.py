"""Queues the next message to the customer: one at a time; what it says is decided when it is sent."""

from dataclasses import replace
from datetime import datetime

from services.worker.dossier.dossier import STATE_OF_KIND, Dossier
from services.worker.outside.invoices import Reading
from services.worker.recovery import Decision, MessageKind, Moment
from shared import recovery_tasks
from shared.database import Connection
from shared.recovery_model import RecoveryState

KIND_OF_STATE = {state: kind for kind, state in STATE_OF_KIND.items()}


def kind_now(state: RecoveryState) -> MessageKind:
    """What a message asks for while the recovery is in this state."""
    return KIND_OF_STATE.get(state, MessageKind.PAYMENT_FAILED)


def withheld(dossier: Dossier, kind: MessageKind) -> bool:
    """Whether the customer is not told of the failure, because only the merchant can help."""
    return kind is MessageKind.PAYMENT_FAILED and dossier.merchants_matter


async def queue(db: Connection, dossier: Dossier, kind: MessageKind, due: datetime) -> None:
    """Queue the next message; it replaces one that was queued for a later time or another purpose."""
    await recovery_tasks.message_at(db, dossier.merchant_id, dossier.recovery_id, dossier.invoice_id, kind, due)


def why_not_before(dossier: Dossier, kind: MessageKind) -> str | None:
    """Why a message of this kind that goes out now did not go out when it was due; None: it did, or it came along with
    another one."""
    found = dossier.message_moment(kind)
    return found.why if found is not None and found.at <= dossier.now else None


def announced(moment: Moment) -> str:
    """The next message as a next step of the timeline."""
    return "the next message" if moment.why is None else f"the next message, for which hour: {moment.why}"


async def plan(db: Connection, dossier: Dossier, reading: Reading, decision: Decision, kind: MessageKind) -> None:
    """Queue the next message of this kind; it replaces one that was queued for a later time or another purpose.

    Its day comes from the policy of the segment that the decision was made for, its hour by the clock of the card's
    country as it was just read. The holdout gets no messages, and of a payment that the merchant's own rules refused
    the customer is not told.
    """
    if dossier.in_holdout or withheld(dossier, kind):
        return
    segment = decision.reason.inputs.get("segment")
    policy = dossier.pinned.segment(segment if isinstance(segment, str) else None)
    card = reading.truth.card
    read = replace(dossier, country=card.country.upper() if card and card.country else None)
    due = read.message_due(kind, policy=policy)
    if due is not None:
        await queue(db, dossier, kind, due)
