"""Makes a recovery's window longer when nobody could do in it what its policy promises.

Workers were away, the merchant's tasks were paused, or Stripe did not let us act: nothing of that is the customer's
doing, and nothing ends because somebody wakes up. When the window is over then, it goes on for as long as was lost, a
week at most; so the messages and attempts that were missed come first. Without an end action only an attempt is worth
that. It happens a few times at most, so every recovery still ends.
"""

from datetime import datetime, timedelta
from typing import Any

from services.worker.dossier import store
from services.worker.dossier.dossier import Dossier
from services.worker.dossier.next_message import kind_now, withheld
from services.worker.dossier.story import Told
from services.worker.handler import Job
from services.worker.outside.invoices import Reading
from shared import recoveries
from shared.database import Connection
from shared.recovery_model import CANCELED_BY_OPERATOR, Entry, EntryKind, RecoveryState
from shared.silences import SilenceReason

LENGTHENED = "window_lengthened"
MOST = 3
# Later than this a task does not come because there was much to do.
LATE = timedelta(days=3)
LEAST_ADDED, MOST_ADDED = timedelta(days=2), timedelta(days=7)

# Why a message is not sent that are the customer's doing, or an operator's. Whatever else keeps one back (a restricted
# account, a payment under way) is a reason to send it later.
_UNTOLD = frozenset({"no_address", "no_page", "address_refused", CANCELED_BY_OPERATOR, *SilenceReason})


async def lengthen(db: Connection, dossier: Dossier, job: Job[Any]) -> Dossier:
    """The dossier, with a longer window if one is due: before a task of its recovery does anything else."""
    over = dossier.now >= dossier.window_ends and dossier.state is not RecoveryState.PROCESSING
    if not over or dossier.in_holdout or lengthened(dossier) >= MOST:
        return dossier
    lost = job.now - (job.claimed.held_since or job.run_at)
    missed = missing(dossier, dossier.window_ends)
    harmful = dossier.policy.end_action != "leave" and lost >= LATE
    if not harmful and missed is None:
        return dossier
    return await _lengthen(db, dossier, lost, missed or f"nobody could look after it for {lost.days} days")


async def lengthen_after_debit(db: Connection, dossier: Dossier, reading: Reading) -> Dossier:
    """The dossier, with a longer window if a debit kept it open and failed: messages that were due meanwhile come
    before an end action."""
    truth, since = reading.truth, dossier.story.under_way_since
    over = dossier.state is RecoveryState.PROCESSING and not truth.payment_under_way and not truth.paid
    if not over or since is None or dossier.now < dossier.window_ends or lengthened(dossier) >= MOST:
        return dossier
    if dossier.policy.end_action == "leave" or not message_is_missing(dossier, dossier.window_ends):
        return dossier
    return await _lengthen(db, dossier, dossier.now - since, "a message was due while a debit was under way")


async def _lengthen(db: Connection, dossier: Dossier, lost: timedelta, why: str) -> Dossier:
    until = dossier.now + min(max(lost, LEAST_ADDED), MOST_ADDED)
    await store.lengthen_window(db, dossier, until)
    text = f"The window is longer than the policy's {dossier.policy.window_days} days: {why}."
    detail = {"was_to_end": dossier.window_ends.isoformat(), "hours_lost": lost // timedelta(hours=1)}
    entry = Entry(EntryKind.CHANGED, LENGTHENED, text, detail, "do what was missed", until)
    await recoveries.record(db, dossier.recovery_id, entry)
    return await store.open_dossier(db, dossier.merchant_id, dossier.recovery_id) or dossier


def lengthened(dossier: Dossier) -> int:
    """How often the window was made longer."""
    return sum(row.rule == LENGTHENED for row in dossier.story.rows)


def missing(dossier: Dossier, at: datetime) -> str | None:
    """What of the policy had not been done by the time `at`, although it was due; None when nothing is missing."""
    if dossier.state is RecoveryState.OPEN:
        return "it was never looked at"
    if dossier.attempt_is_due and dossier.next_attempt_at is not None and dossier.next_attempt_at < at:
        return "an attempt that was due has not been made"
    if dossier.policy.end_action != "leave" and message_is_missing(dossier, at):
        return "a message that was due has not been sent"
    return None


def message_is_missing(dossier: Dossier, at: datetime) -> bool:
    """Whether a message was due before `at`, and was not sent although it could have been."""
    kind = kind_now(dossier.state)
    if dossier.customer_id is None or dossier.in_holdout or withheld(dossier, kind):
        return False
    if _fell_silent(dossier):
        return False
    return dossier.message_missed(kind, at)


def is_unannounced(dossier: Dossier) -> bool:
    """Whether messages were sent, none says that an end action follows, and another could have been.

    Messages from before this was recorded count as if they said so.
    """
    sent = [row for row in dossier.story.rows if row.kind in {EntryKind.MESSAGED, EntryKind.PRINTED}]
    return bool(sent) and not any(row.detail.get("announced", True) for row in sent) and not _fell_silent(dossier)


def _fell_silent(dossier: Dossier) -> bool:
    """Whether a message could not be sent since the last one that was."""
    last = max((each.at for each in dossier.story.sent), default=dossier.opened_at)
    return any(row.at >= last and _could_not_be_told(row) for row in dossier.story.rows)


def _could_not_be_told(row: Told) -> bool:
    if row.kind == EntryKind.NOT_MESSAGED:
        return row.rule in _UNTOLD
    return row.kind in {EntryKind.SILENCED, EntryKind.UNDELIVERED}
