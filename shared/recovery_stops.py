"""How a recovery stops for a reason from outside, and goes on when a merchant that had left comes back.

A stop that arrives while an attempt is in flight, or a payment is under way for days, cannot end the recovery, because
the money may already have moved. The stop is noted (`stop_requested`), no further attempt is made, and the payment's
outcome decides how the recovery ends.
"""

from collections.abc import Sequence
from dataclasses import replace

from shared import recoveries, recovery_tasks
from shared.database import Connection
from shared.ids import InvoiceId, MerchantId, RecoveryId
from shared.money import Money
from shared.queue import queued
from shared.recovery_model import (
    CREDITED,
    PAID_SOMEHOW,
    PAYMENT_NEWS,
    EndReason,
    Entry,
    EntryKind,
    RecoveredBy,
    RecoveryState,
)

# The first stop keeps its reason; but that the merchant left is taken back when it returns, and any other stop holds.
REQUEST_STOP = """
UPDATE recoveries
SET stop_requested = COALESCE(NULLIF(stop_requested, 'merchant_gone'), $2), updated_at = citadel_now()
WHERE id = $1
"""

STOPPED_ANYHOW = "UPDATE recoveries SET end_reason = $2, updated_at = citadel_now() WHERE id = $1"

TAKE_STOP_BACK = "UPDATE recoveries SET stop_requested = NULL, updated_at = citadel_now() WHERE id = $1"

REOPEN = """
UPDATE recoveries
SET state = 'open',
    end_reason = NULL,
    stop_requested = NULL,
    next_attempt_at = NULL,
    closed_at = NULL,
    updated_at = citadel_now()
WHERE id = $1
"""

# What was stopped, or was to be, when the merchant left, since so long that a window may still be open; $2 narrows it
# to some invoices.
LOCK_LEFT = """
SELECT r.id, r.currency, r.closed_at IS NOT NULL AS ended,
    r.opened_at + make_interval(days => (p.document ->> 'window_days')::integer) > citadel_now() AS in_time
FROM recoveries AS r
JOIN policies AS p ON p.id = r.policy_id
WHERE r.merchant_id = $1
    AND r.opened_at > citadel_now() - interval '60 days'
    AND (r.end_reason = 'merchant_gone' OR (r.closed_at IS NULL AND r.stop_requested = 'merchant_gone'))
    AND ($2::text[] IS NULL OR r.invoice_id = ANY ($2))
ORDER BY r.id
FOR UPDATE OF r
"""

STAYS_STOPPED = "window_over_when_back"

STAYED = f"""
SELECT EXISTS (SELECT FROM recovery_timeline WHERE recovery_id = $1 AND rule = '{STAYS_STOPPED}')
"""  # noqa: S608 - put together from this module's own words


async def request_stop(db: Connection, recovery_id: RecoveryId, end_reason: EndReason, entry: Entry) -> bool:
    """Stop a recovery for a reason from outside; no attempt and no message follows. False: it had ended before.

    One that was stopped because its merchant had left takes the new reason: it is not opened again when that returns.
    It ends at once, unless a payment is on its way, or an event has told of one that nobody has read yet: then the stop
    is noted, pending tasks are canceled, and the payment's outcome decides. The run that holds an attempt sees to that;
    if none does, a task is queued for it.
    """
    locked = await recoveries.lock(db, recovery_id)
    if locked.state is RecoveryState.STOPPED and EndReason.MERCHANT_GONE == locked.end_reason != end_reason:
        await db.execute(STOPPED_ANYHOW, recovery_id, end_reason)
        entry = entry.with_reason("nothing")
        await recoveries.record_change(db, recovery_id, locked.merchant_id, locked.state, locked.state, entry)
        return True
    if locked.state.ended:
        return False
    unread = end_reason is not EndReason.MERCHANT_GONE and await _news_of_a_payment(db, recovery_id)
    if locked.state.may_have_charged or unread:
        await queued.cancel_of_recovery(db, recovery_id, f"stop requested: {end_reason}")
        await db.execute(REQUEST_STOP, recovery_id, end_reason)
        entry = replace(entry, kind=EntryKind.STOP_REQUESTED)
        what = "the attempt in flight" if locked.state is RecoveryState.ATTEMPTING else "the payment under way"
        entry = entry.with_reason(f"find out how {what} ends", "attempt_now", "message", "end_at_once")
        await recovery_tasks.evaluate(db, locked.merchant_id, recovery_id, locked.invoice_id)
        await recoveries.record_change(db, recovery_id, locked.merchant_id, locked.state, locked.state, entry)
        return True
    return await recoveries.close(db, recovery_id, RecoveryState.STOPPED, end_reason, entry)


async def _news_of_a_payment(db: Connection, recovery_id: RecoveryId) -> bool:
    """Whether an event has told of a payment, and nothing has been decided since."""
    return await recoveries.is_noted(db, recovery_id, PAYMENT_NEWS, PAID_SOMEHOW)


async def reopen_left(db: Connection, merchant_id: MerchantId, invoice_ids: Sequence[InvoiceId] | None = None) -> int:
    """Open again what was stopped when the merchant left, because it has come back; how many.

    `invoice_ids` narrows it to the recoveries of these invoices. One whose window is over stays stopped, and says so
    once. The end's money is taken back in the book, and the first evaluation reads what has happened meanwhile.
    """
    rows = await db.fetch(LOCK_LEFT, merchant_id, None if invoice_ids is None else list(invoice_ids))
    reopened = 0
    # In the order in which ends are booked: booking locks the totals by currency.
    for row in sorted(rows, key=lambda row: (row["currency"], row["id"])):
        if not row["ended"]:
            await _go_on(db, row["id"])
        elif row["in_time"]:
            await _reopen(db, row["id"])
            reopened += 1
        elif not await db.fetchval(STAYED, row["id"]):
            text = "The merchant is connected again; the window is over, so the recovery stays stopped."
            await recoveries.record(db, row["id"], Entry(EntryKind.CHANGED, STAYS_STOPPED, text))
    return reopened


async def _reopen(db: Connection, recovery_id: RecoveryId) -> None:
    locked = await recoveries.lock(db, recovery_id)
    await recoveries.reverse_end(db, recovery_id, locked, locked.due)
    await db.execute(REOPEN, recovery_id)
    text = "The merchant is connected again: what was stopped when it left goes on."
    entry = Entry(EntryKind.REOPENED, "merchant_back", text, next_step="read the invoice at Stripe and decide")
    await recoveries.record_change(db, recovery_id, locked.merchant_id, locked.state, RecoveryState.OPEN, entry)
    await recovery_tasks.evaluate(db, locked.merchant_id, recovery_id, locked.invoice_id)


async def _go_on(db: Connection, recovery_id: RecoveryId) -> None:
    """Take a stop back that waits for the outcome of an attempt."""
    locked = await recoveries.lock(db, recovery_id)
    await db.execute(TAKE_STOP_BACK, recovery_id)
    text = "The merchant is connected again: the stop is taken back."
    entry = Entry(EntryKind.CHANGED, "merchant_back", text, next_step="find out how the attempt in flight ends")
    await recoveries.record(db, recovery_id, entry)
    await recovery_tasks.evaluate(db, locked.merchant_id, recovery_id, locked.invoice_id)


async def settle_paid(
    db: Connection, recovery_id: RecoveryId, paid: Money | None, *, out_of_band: bool, source: str
) -> bool:
    """End a recovery whose invoice was paid by someone other than our attempt. False: it had ended before.

    `paid` is the invoice's whole `amount_paid`, None while it is not known and a payment is on its way; what moved is
    what of it came since the recovery opened. Nothing moved: stopped, `credited`. Paid at Stripe after a message of
    ours: recovered by the message; the charges are read afterwards. Paid before any message, or outside Stripe:
    stopped, `paid_elsewhere`; that money is not counted as ours. While a payment is on its way this is only noted,
    because that payment's outcome says who paid. `source` is the event type.
    """
    locked = await recoveries.lock(db, recovery_id)
    in_flight = locked.state.may_have_charged
    if paid is None and not in_flight:
        raise ValueError("what was paid has to be read first")
    moved = Money(0, locked.due.currency) if paid is None else paid - locked.paid_before
    inputs = {"source": source, "paid": None if paid is None else moved.amount, "currency": locked.due.currency}
    if not in_flight and moved.amount <= 0:
        entry = Entry(EntryKind.CLOSED, EndReason.CREDITED, CREDITED, inputs)
        return await request_stop(db, recovery_id, EndReason.CREDITED, entry)
    if in_flight or out_of_band or not await recoveries.messaged(db, recovery_id):
        why = "outside Stripe" if out_of_band else "without a message of ours"
        why = "while a payment was on its way" if in_flight and not out_of_band else why
        entry = Entry(EntryKind.CLOSED, EndReason.PAID_ELSEWHERE, f"The invoice was paid {why}.", inputs)
        return await request_stop(db, recovery_id, EndReason.PAID_ELSEWHERE, entry)
    entry = Entry(EntryKind.CLOSED, EndReason.PAID_AFTER_MESSAGE, "The customer paid after our message.", inputs)
    closed = await recoveries.close(
        db,
        recovery_id,
        RecoveryState.RECOVERED,
        EndReason.PAID_AFTER_MESSAGE,
        entry,
        recovered=moved,
        recovered_by=RecoveredBy.MESSAGE,
    )
    if closed:
        await recovery_tasks.evaluate(db, locked.merchant_id, recovery_id, locked.invoice_id)
    return closed
