"""The life of a recovery, and the only statements that change it.

    open ──> waiting <──> attempting ──> processing          recovered <──┐ money that is ours
      │         ^  │          │              │        ──>    exhausted ───┤ and comes late
      └──> action_required, needs_new_method              stopped ─────┘
                                                             │
                                                             └──> open, when a merchant that had left comes back

The database checks every change of state (`recovery_transitions`; `recovery_model.TRANSITIONS` is a copy, and a test
compares the two). Every change writes one row of the timeline, and an end writes the money into the ledger
(`usage_logs`), in the caller's transaction.

A stop that arrives while an attempt is in flight, or a payment is under way for days, cannot end the recovery, because
the money may already have moved. The stop is noted (`stop_requested`), no further attempt is made, and the payment's
outcome decides how the recovery ends.

What is booked as recovered is what moved: the sum of the charges (`recovered_charges`). An end is taken back in the
book by a row with its negative amount, and the next end is booked anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import orjson

from shared import booked_charges, money_back, recovery_tasks
from shared.booked_charges import BookedCharge
from shared.database import Connection
from shared.ids import ChargeId, InvoiceId, MerchantId, PaymentMethodId, RecoveryId
from shared.money import Money
from shared.money_back import Fact, Kind, Sums
from shared.queue import tasks
from shared.queue.tries import tries_of
from shared.recovery_model import (
    COLLECTION_OFF,
    CREDITED,
    BillingReason,
    EndReason,
    Entry,
    EntryKind,
    FailedInvoice,
    MovedMoney,
    RecoveredBy,
    RecoveryState,
)
from shared.recovery_tasks import EVALUATE
from shared.silences import TEXTS, SilenceReason


def _with_reason(entry: Entry, next_step: str, *refused: str) -> Entry:
    """The entry in the form of a decision: `detail.reason` holds its rule, its inputs and the actions that were
    considered and not taken. An entry that has a reason keeps it."""
    if "reason" not in entry.detail:
        reason = {
            "rule": entry.rule,
            "text": entry.explanation,
            "inputs": dict(entry.detail),
            "considered": [{"action": action, "rejected_because": entry.explanation} for action in refused],
        }
        entry = replace(entry, detail={**entry.detail, "reason": reason})
    return entry if entry.next_step is not None else replace(entry, next_step=next_step)


# Pins the policy in force: the merchant's own active one, else the platform's. In the order of the unique key, so that
# two transactions that open the same recoveries do not deadlock.
OPEN = """
INSERT INTO recoveries
    (merchant_id, invoice_id, subscription_id, customer_id, amount_due, currency, paid_before, policy_id)
SELECT f.merchant_id, f.invoice_id, f.subscription_id, f.customer_id, f.amount, f.currency, f.paid_before, p.id
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $9::bigint[])
    AS f (merchant_id, invoice_id, subscription_id, customer_id, amount, currency, billing_reason, paid_before)
CROSS JOIN LATERAL (
    SELECT id, document
    FROM policies
    WHERE active AND (merchant_id = f.merchant_id OR merchant_id IS NULL)
    ORDER BY merchant_id NULLS LAST
    LIMIT 1
) AS p
-- Documents from before schema 3 collect renewals only.
WHERE COALESCE(p.document -> 'billing_reasons', CASE
    WHEN p.document ->> 'schema_version' IN ('1', '2') THEN '["subscription_cycle"]'::jsonb
    ELSE $8::jsonb
END) ? f.billing_reason
ORDER BY f.merchant_id, f.invoice_id
ON CONFLICT (merchant_id, invoice_id) DO NOTHING
RETURNING id, merchant_id, invoice_id
"""

ANY_WITHOUT_POLICY = """
SELECT EXISTS (
    SELECT
    FROM unnest($1::text[]) AS f (merchant_id)
    WHERE NOT EXISTS (
        SELECT FROM policies AS p WHERE p.active AND (p.merchant_id = f.merchant_id OR p.merchant_id IS NULL)
    )
)
"""

# The first timeline entry, ledger row and evaluation of recoveries that were opened just now.
BEGIN_OPENED = """
WITH opened AS MATERIALIZED (
    SELECT *
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::timestamptz[], $12::text[])
        AS o (id, merchant_id, invoice_id, amount, currency, kind, rule, explanation, detail, next_step, next_at,
            task_key)
),
told AS (
    INSERT INTO recovery_timeline
        (recovery_id, merchant_id, kind, to_state, rule, explanation, detail, next_step, next_at)
    SELECT id, merchant_id, kind, 'open', rule, explanation, detail::jsonb, next_step, next_at
    FROM opened
    RETURNING recovery_id
),
turned_off AS (
    INSERT INTO recovery_timeline (recovery_id, merchant_id, kind, rule, explanation, detail)
    SELECT o.id, o.merchant_id, $15, $16, $17, jsonb_build_object('event_id', t.event_id)
    FROM told
    JOIN opened AS o ON o.id = told.recovery_id
    JOIN collection_turned_off AS t USING (merchant_id, invoice_id)
),
queued AS (
    INSERT INTO scheduled_tasks (merchant_id, task_type, payload, recovery_id, unique_key, max_attempts)
    SELECT merchant_id, $13, jsonb_build_object('invoice_id', invoice_id), id, task_key, $14
    FROM opened
    ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'running') DO NOTHING
)
INSERT INTO usage_logs (merchant_id, metric_type, amount, currency, recovery_id)
SELECT merchant_id, 'recovery_opened', amount, currency, id
FROM opened
"""

LOCK = """
SELECT state, end_reason, amount_due, amount_recovered, paid_before, currency, ends_reversed, merchant_id, invoice_id
FROM recoveries
WHERE id = $1
FOR UPDATE
"""

CHANGE = """
WITH before AS MATERIALIZED (
    SELECT id, merchant_id, state FROM recoveries WHERE id = $1 FOR UPDATE
),
changed AS (
    UPDATE recoveries AS r
    SET state = $2,
        next_attempt_at = $3,
        decline_cause = COALESCE($4, r.decline_cause),
        first_cause = COALESCE(r.first_cause, $4),
        updated_at = citadel_now()
    FROM before
    WHERE r.id = before.id
)
INSERT INTO recovery_timeline
    (recovery_id, merchant_id, kind, from_state, to_state, rule, explanation, detail, next_step, next_at)
SELECT id, merchant_id, $5, state, $2, $6, $7, $8, $9, $10
FROM before
RETURNING id
"""

CLOSE = """
UPDATE recoveries
SET state = $2,
    end_reason = $3,
    recovered_by = $4,
    amount_recovered = $5,
    next_attempt_at = NULL,
    closed_at = citadel_now(),
    updated_at = citadel_now()
WHERE id = $1
"""

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

# The first stop keeps its reason; but that the merchant left is taken back when it returns, and any other stop holds.
REQUEST_STOP = """
UPDATE recoveries
SET stop_requested = COALESCE(NULLIF(stop_requested, 'merchant_gone'), $2), updated_at = citadel_now()
WHERE id = $1
"""

STOPPED_ANYHOW = "UPDATE recoveries SET end_reason = $2, updated_at = citadel_now() WHERE id = $1"

TAKE_STOP_BACK = "UPDATE recoveries SET stop_requested = NULL, updated_at = citadel_now() WHERE id = $1"

# The version that it was opened under decides whether it is in the holdout, whatever happens later.
MOVE = """
UPDATE recoveries
SET policy_id = $2, opened_policy_id = COALESCE(opened_policy_id, policy_id), updated_at = citadel_now()
WHERE id = $1
"""

STAYS_STOPPED = "window_over_when_back"

STAYED = f"""
SELECT EXISTS (SELECT FROM recovery_timeline WHERE recovery_id = $1 AND rule = '{STAYS_STOPPED}')
"""  # noqa: S608 - put together from this module's own words

REVERSE_END = "UPDATE recoveries SET ends_reversed = ends_reversed + 1 WHERE id = $1"

CORRECT = "UPDATE recoveries SET amount_recovered = $2, updated_at = citadel_now() WHERE id = $1"

# What the customer was told not to worry about any more must be so: no thanks after an end action.
ACTED_ON_END = """
SELECT EXISTS (SELECT FROM recovery_timeline WHERE recovery_id = $1 AND rule = 'end_action_done')
"""

BRING = "UPDATE recoveries SET brought = array_append(brought, $2) WHERE id = $1 AND NOT $2 = ANY(brought)"

MESSAGED = "SELECT EXISTS (SELECT FROM recovery_timeline WHERE recovery_id = $1 AND kind = 'messaged')"

RECORD = """
INSERT INTO recovery_timeline
    (recovery_id, merchant_id, kind, from_state, to_state, rule, explanation, detail, next_step, next_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""

RECORD_ALONE = """
INSERT INTO recovery_timeline
    (recovery_id, merchant_id, kind, from_state, to_state, rule, explanation, detail, next_step, next_at)
SELECT id, merchant_id, $2, state, state, $3, $4, $5, $6, $7
FROM recoveries
WHERE id = $1
FOR UPDATE
RETURNING id
"""

BOOK = """
INSERT INTO usage_logs (merchant_id, metric_type, amount, currency, recovery_id, nth_end, external_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

_TAKEN_BACK = {
    EntryKind.REFUNDED: "Recovered money was refunded.",
    EntryKind.REFUND_FAILED: "A refund failed or was canceled: its money came back.",
    EntryKind.DISPUTED: "Recovered money was disputed, and withdrawn.",
    EntryKind.DISPUTE_WON: "A dispute was won: its money came back.",
}
_CORRECTED = "Corrected: other money of the charge had gone back before."


_AMOUNTS = ("amount_due", "amount_recovered", "paid_before")


@dataclass(frozen=True, slots=True)
class _Locked:
    state: RecoveryState
    end_reason: str | None
    due: Money
    recovered: Money
    paid_before: Money
    ends_reversed: int
    merchant_id: MerchantId
    invoice_id: InvoiceId


async def _lock(db: Connection, recovery_id: RecoveryId) -> _Locked:
    row = await db.fetchrow(LOCK, recovery_id)
    if row is None:
        raise LookupError(f"no recovery {recovery_id}")
    due, recovered, before = (Money(row[name], row["currency"]) for name in _AMOUNTS)
    return _Locked(
        RecoveryState(row["state"]),
        row["end_reason"],
        due,
        recovered,
        before,
        row["ends_reversed"],
        row["merchant_id"],
        row["invoice_id"],
    )


async def open_recoveries(db: Connection, failures: Sequence[tuple[FailedInvoice, Entry]]) -> list[RecoveryId]:
    """Open recoveries under the policies in force and queue their first evaluations; the ids of the opened ones.

    In two statements, however many. Invoices of a kind that the policy does not collect are left out. A second event
    about one failed invoice, in whatever order and under whatever id, changes nothing. Locks in one order whatever the
    order of `failures`: the recoveries by merchant and invoice, then the totals. Raises LookupError when no policy is
    active, which a migrated database always has: nothing is opened without rules.
    """
    first = {(failed.merchant_id, failed.invoice_id): (failed, entry) for failed, entry in reversed(failures)}
    merchants, invoices = [key[0] for key in first], [key[1] for key in first]
    rows = await db.fetch(
        OPEN,
        merchants,
        invoices,
        [failed.subscription_id for failed, _ in first.values()],
        [failed.customer_id for failed, _ in first.values()],
        [failed.amount.amount for failed, _ in first.values()],
        [failed.amount.currency for failed, _ in first.values()],
        [failed.billing_reason for failed, _ in first.values()],
        list(BillingReason),
        [failed.paid_before for failed, _ in first.values()],
    )
    if len(rows) < len(first) and await db.fetchval(ANY_WITHOUT_POLICY, merchants):
        raise LookupError("no policy is active: run `citadel migrate`, which makes the platform's default")
    if rows:
        await _begin(db, [(row["id"], *first[row["merchant_id"], row["invoice_id"]]) for row in rows])
    return [row["id"] for row in rows]


async def _begin(db: Connection, opened: Sequence[tuple[RecoveryId, FailedInvoice, Entry]]) -> None:
    await db.execute(
        BEGIN_OPENED,
        [recovery_id for recovery_id, _, _ in opened],
        [failed.merchant_id for _, failed, _ in opened],
        [failed.invoice_id for _, failed, _ in opened],
        [failed.amount.amount for _, failed, _ in opened],
        [failed.amount.currency for _, failed, _ in opened],
        [entry.kind for _, _, entry in opened],
        [entry.rule for _, _, entry in opened],
        [entry.explanation for _, _, entry in opened],
        [orjson.dumps(dict(entry.detail)).decode() for _, _, entry in opened],
        [entry.next_step for _, _, entry in opened],
        [entry.next_at for _, _, entry in opened],
        [recovery_tasks.key_of(EVALUATE, recovery_id) for recovery_id, _, _ in opened],
        EVALUATE,
        tries_of(EVALUATE),
        EntryKind.CHANGED,
        COLLECTION_OFF,
        "The merchant had turned automatic collection of the invoice off before.",
    )


async def change(
    db: Connection,
    recovery_id: RecoveryId,
    to: RecoveryState,
    entry: Entry,
    *,
    next_attempt_at: datetime | None = None,
    decline_cause: str | None = None,
) -> None:
    """Change an open recovery's state (or its next time in the same state), and record why.

    Raises asyncpg.CheckViolationError when the change of state is not allowed, LookupError when it is unknown.
    """
    if to.ended:
        raise ValueError(f"a recovery ends by close(), not by change() to {to}")
    written = await db.fetchval(
        CHANGE,
        recovery_id,
        to,
        next_attempt_at,
        decline_cause,
        entry.kind,
        entry.rule,
        entry.explanation,
        dict(entry.detail),
        entry.next_step,
        entry.next_at,
    )
    if written is None:
        raise LookupError(f"no recovery {recovery_id}")


async def close(
    db: Connection,
    recovery_id: RecoveryId,
    to: RecoveryState,
    end_reason: EndReason,
    entry: Entry,
    *,
    recovered: Money | None = None,
    recovered_by: RecoveredBy | None = None,
    charges: Sequence[MovedMoney] = (),
) -> bool:
    """End a recovery: its money goes into the ledger and its pending tasks are canceled. False: it had ended before.

    If it ends as recovered and its customer had a message about it, a thank-you is queued. Money that is ours is the
    only way out of another end: that one is taken back in the ledger, and nobody is thanked once its end action was
    carried out.

    `recovered` and `recovered_by` are given exactly when it ends as recovered; `recovered` is what moved, by the
    `charges` that it consists of as far as they are known.
    """
    if not to.ended:
        raise ValueError(f"{to} is not an end")
    if (to is RecoveryState.RECOVERED) != (recovered is not None and recovered_by is not None):
        raise ValueError("a recovered recovery says how much and by what; no other does")
    locked = await _lock(db, recovery_id)
    if locked.state is RecoveryState.RECOVERED or (locked.state.ended and to is not RecoveryState.RECOVERED):
        return False
    await booked_charges.lock_names_of(db, locked.merchant_id, charges)
    entry = _with_reason(entry, "nothing", "attempt_now", "message")
    nth = locked.ends_reversed
    if locked.state.ended:
        nth = await _reverse_end(db, recovery_id, locked, locked.due)
    await db.execute(CLOSE, recovery_id, to, end_reason, recovered_by, 0 if recovered is None else recovered.amount)
    await _record(db, recovery_id, locked.merchant_id, locked.state, to, entry)
    amount = locked.due if recovered is None else recovered
    if amount.amount > 0:
        await book(db, locked.merchant_id, f"recovery_{to}", amount, recovery_id, nth_end=nth)
    await keep_charges(db, recovery_id, locked.merchant_id, charges)
    await tasks.cancel_of_recovery(db, recovery_id, f"recovery ended: {end_reason}")
    thankful = to is RecoveryState.RECOVERED and await db.fetchval(MESSAGED, recovery_id)
    if thankful and not await db.fetchval(ACTED_ON_END, recovery_id):
        await recovery_tasks.thank(db, locked.merchant_id, recovery_id, locked.invoice_id)
    return True


async def _reverse_end(db: Connection, recovery_id: RecoveryId, locked: _Locked, booked: Money) -> int:
    """Take the recovery's end back in the ledger, by a row that its totals are lowered by; the number of the next."""
    back = Money(-booked.amount, booked.currency)
    nth = locked.ends_reversed
    if back.amount < 0:
        await book(db, locked.merchant_id, f"recovery_{locked.state}", back, recovery_id, nth_end=nth)
    await db.execute(REVERSE_END, recovery_id)
    return nth + 1


async def keep_charges(
    db: Connection, recovery_id: RecoveryId, merchant_id: MerchantId, charges: Sequence[MovedMoney]
) -> None:
    """Keep which charges were booked, and book what was said of their refunds and disputes before."""
    for charge in await booked_charges.insert(db, merchant_id, recovery_id, charges):
        await _take_back_told(db, merchant_id, charge)


async def correct(
    db: Connection, recovery_id: RecoveryId, charges: Sequence[MovedMoney], failed: Sequence[ChargeId], entry: Entry
) -> bool:
    """Have a recovered recovery's money say what its charges say. False: it did.

    `charges` are all that its money consists of, `failed` those that failed after they had succeeded. A sum that was
    booked otherwise is taken back and booked anew, and `entry` says why. It stays recovered, with nothing if need be.
    """
    locked = await _lock(db, recovery_id)
    if locked.state is not RecoveryState.RECOVERED:
        return False
    await booked_charges.lock_names_of(db, locked.merchant_id, charges)
    if failed:
        await booked_charges.fail(db, recovery_id, failed)
        for charge_id in failed:  # nothing of it is booked any more, so nothing of it can be taken back
            charge = await booked_charges.lock_charge(db, locked.merchant_id, charge_id, None)
            if charge is not None:
                await _take_back_told(db, locked.merchant_id, charge)
    moved = Money(sum(each.amount.amount for each in charges), locked.due.currency)
    other = moved != locked.recovered
    if other:
        nth = await _reverse_end(db, recovery_id, locked, locked.recovered)
        if moved.amount > 0:
            await book(db, locked.merchant_id, f"recovery_{locked.state}", moved, recovery_id, nth_end=nth)
        await db.execute(CORRECT, recovery_id, moved.amount)
        await _record(db, recovery_id, locked.merchant_id, locked.state, locked.state, entry)
    await keep_charges(db, recovery_id, locked.merchant_id, charges)
    return other


async def request_stop(db: Connection, recovery_id: RecoveryId, end_reason: EndReason, entry: Entry) -> bool:
    """Stop a recovery for a reason from outside; no attempt and no message follows. False: it had ended before.

    One that was stopped because its merchant had left takes the new reason: it is not opened again when that returns.
    It ends at once, unless a payment is on its way: then the stop is noted, pending tasks are canceled, and the
    payment's outcome decides. The run that holds an attempt sees to that; if none does, a task is queued for it.
    """
    locked = await _lock(db, recovery_id)
    if locked.state is RecoveryState.STOPPED and EndReason.MERCHANT_GONE == locked.end_reason != end_reason:
        await db.execute(STOPPED_ANYHOW, recovery_id, end_reason)
        await _record(db, recovery_id, locked.merchant_id, locked.state, locked.state, _with_reason(entry, "nothing"))
        return True
    if locked.state.ended:
        return False
    if locked.state.may_have_charged:
        await tasks.cancel_of_recovery(db, recovery_id, f"stop requested: {end_reason}")
        await db.execute(REQUEST_STOP, recovery_id, end_reason)
        entry = replace(entry, kind=EntryKind.STOP_REQUESTED)
        what = "the attempt in flight" if locked.state is RecoveryState.ATTEMPTING else "the payment under way"
        entry = _with_reason(entry, f"find out how {what} ends", "attempt_now", "message", "end_at_once")
        await recovery_tasks.evaluate(db, locked.merchant_id, recovery_id, locked.invoice_id)
        await _record(db, recovery_id, locked.merchant_id, locked.state, locked.state, entry)
        return True
    return await close(db, recovery_id, RecoveryState.STOPPED, end_reason, entry)


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
            await record(db, row["id"], Entry(EntryKind.CHANGED, STAYS_STOPPED, text))
    return reopened


async def _reopen(db: Connection, recovery_id: RecoveryId) -> None:
    locked = await _lock(db, recovery_id)
    await _reverse_end(db, recovery_id, locked, locked.due)
    await db.execute(REOPEN, recovery_id)
    text = "The merchant is connected again: what was stopped when it left goes on."
    entry = Entry(EntryKind.REOPENED, "merchant_back", text, next_step="read the invoice at Stripe and decide")
    await _record(db, recovery_id, locked.merchant_id, locked.state, RecoveryState.OPEN, entry)
    await recovery_tasks.evaluate(db, locked.merchant_id, recovery_id, locked.invoice_id)


async def _go_on(db: Connection, recovery_id: RecoveryId) -> None:
    """Take a stop back that waits for the outcome of an attempt."""
    locked = await _lock(db, recovery_id)
    await db.execute(TAKE_STOP_BACK, recovery_id)
    text = "The merchant is connected again: the stop is taken back."
    entry = Entry(EntryKind.CHANGED, "merchant_back", text, next_step="find out how the attempt in flight ends")
    await record(db, recovery_id, entry)
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
    locked = await _lock(db, recovery_id)
    in_flight = locked.state.may_have_charged
    if paid is None and not in_flight:
        raise ValueError("what was paid has to be read first")
    moved = Money(0, locked.due.currency) if paid is None else paid - locked.paid_before
    inputs = {"source": source, "paid": None if paid is None else moved.amount, "currency": locked.due.currency}
    if not in_flight and moved.amount <= 0:
        entry = Entry(EntryKind.CLOSED, "credited", CREDITED, inputs)
        return await request_stop(db, recovery_id, EndReason.CREDITED, entry)
    if in_flight or out_of_band or not await db.fetchval(MESSAGED, recovery_id):
        why = "outside Stripe" if out_of_band else "without a message of ours"
        why = "while a payment was on its way" if in_flight and not out_of_band else why
        entry = Entry(EntryKind.CLOSED, "paid_elsewhere", f"The invoice was paid {why}.", inputs)
        return await request_stop(db, recovery_id, EndReason.PAID_ELSEWHERE, entry)
    entry = Entry(EntryKind.CLOSED, "paid_after_message", "The customer paid after our message.", inputs)
    closed = await close(
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


async def move(db: Connection, recovery_id: RecoveryId, policy_id: UUID, entry: Entry) -> bool:
    """Move an open recovery to another version of the policy, and have it evaluated. False: it had ended.

    Its pending tasks are canceled. A run in progress decides by the new rules when it commits.
    """
    locked = await _lock(db, recovery_id)
    if locked.state.ended:
        return False
    await db.execute(MOVE, recovery_id, policy_id)
    await _record(db, recovery_id, locked.merchant_id, locked.state, locked.state, entry)
    await tasks.cancel_of_recovery(db, recovery_id, "moved to another version of the policy")
    await recovery_tasks.evaluate(db, locked.merchant_id, recovery_id, locked.invoice_id)
    return True


async def bring(db: Connection, recovery_id: RecoveryId, method: PaymentMethodId, *, in_answer: bool = False) -> None:
    """Keep that the customer has brought a payment method, which may then be charged for what is due.

    `in_answer`: only if the customer was sent a message before; without one the method was not brought for this.
    """
    if not in_answer or await db.fetchval(MESSAGED, recovery_id):
        await db.execute(BRING, recovery_id, method)


async def silence(db: Connection, recovery_id: RecoveryId, reason: SilenceReason, origin: Mapping[str, object]) -> None:
    """Follow its customer's silence: no queued message is sent, and the timeline says why."""
    await recovery_tasks.cancel_messages(db, recovery_id, f"the customer is not written to: {reason}")
    await record(db, recovery_id, Entry(EntryKind.SILENCED, reason, TEXTS[reason], origin))


async def record(db: Connection, recovery_id: RecoveryId, entry: Entry) -> None:
    """Write one row of the timeline without a change of state."""
    written = await db.fetchval(
        RECORD_ALONE,
        recovery_id,
        entry.kind,
        entry.rule,
        entry.explanation,
        dict(entry.detail),
        entry.next_step,
        entry.next_at,
    )
    if written is None:
        raise LookupError(f"no recovery {recovery_id}")


async def take_back(db: Connection, merchant_id: MerchantId, fact: Fact, origin: Mapping[str, object]) -> None:
    """Note what Stripe says of a refund or dispute; if its charge was booked as recovered, the book follows.

    Whatever the recovery's state: the money is found by its charge. `origin` names the event.
    """
    await booked_charges.lock_names(db, merchant_id, [fact.charge_id, fact.payment_intent_id])
    await booked_charges.note(db, merchant_id, fact)
    charge = await booked_charges.lock_charge(db, merchant_id, fact.charge_id, fact.payment_intent_id)
    if charge is not None:
        facts = await booked_charges.facts_of(db, merchant_id, charge)
        sums = money_back.sums_of(facts, charge.booked)
        await booked_charges.save(db, merchant_id, charge, sums)
        await _book_back(db, merchant_id, charge, charge.sums, sums, fact, origin)


async def _take_back_told(db: Connection, merchant_id: MerchantId, charge: BookedCharge) -> None:
    """Have the book say of a charge what is known of its refunds and disputes: they may have been told before it."""
    facts = await booked_charges.facts_of(db, merchant_id, charge)
    before = charge.sums
    for number, fact in enumerate(facts, 1):
        sums = money_back.sums_of(facts[:number], charge.booked)
        await _book_back(db, merchant_id, charge, before, sums, fact, {})
        before = sums
    if facts:
        await booked_charges.save(db, merchant_id, charge, before)


async def _book_back(
    db: Connection,
    merchant_id: MerchantId,
    charge: BookedCharge,
    before: Sums,
    after: Sums,
    fact: Fact,
    origin: Mapping[str, object],
) -> None:
    """Write the difference into the book and the timeline: a row for each number that has changed."""
    changes = {
        EntryKind.REFUNDED: ("refunded", after.refunded - before.refunded),
        EntryKind.DISPUTED: ("disputed", after.disputed - before.disputed),
        EntryKind.DISPUTE_WON: ("won_back", after.won_back - before.won_back),
    }
    for told, (metric_type, change) in changes.items():
        if change == 0:
            continue
        amount = Money(change, charge.booked.currency)
        await book(db, merchant_id, metric_type, amount, charge.recovery_id, external_id=fact.external_id)
        kind, text, told_amount = told, _TAKEN_BACK[told], change
        if change < 0:
            text = _CORRECTED
            if metric_type == "refunded" and fact.kind is not Kind.DISPUTE:
                kind, told_amount = EntryKind.REFUND_FAILED, -change
                text = _TAKEN_BACK[kind]
        detail = {
            **origin,
            "charge_id": charge.id,
            "external_id": fact.external_id,
            "amount": told_amount,
            "currency": amount.currency,
        }
        await record(db, charge.recovery_id, Entry(kind, kind, text, detail))


async def book(
    db: Connection,
    merchant_id: MerchantId,
    metric_type: str,
    amount: Money,
    recovery_id: RecoveryId,
    *,
    nth_end: int = 0,
    external_id: str | None = None,
) -> None:
    """Write one row of the ledger about a recovery; the trigger adds it to the totals.

    `metric_type` is one of recovery_opened, recovery_recovered, recovery_exhausted, recovery_stopped, refunded,
    disputed, won_back (cents), or attempt, message (a count of 1, in the recovery's currency). An end says which of the
    recovery's it is: 0 for the first. A negative amount takes an end back. `external_id` is Stripe's id of what took
    the money back.
    """
    await db.execute(BOOK, merchant_id, metric_type, amount.amount, amount.currency, recovery_id, nth_end, external_id)


async def _record(
    db: Connection,
    recovery_id: RecoveryId,
    merchant_id: MerchantId,
    before: RecoveryState | None,
    after: RecoveryState,
    entry: Entry,
) -> None:
    await db.execute(
        RECORD,
        recovery_id,
        merchant_id,
        entry.kind,
        before,
        after,
        entry.rule,
        entry.explanation,
        dict(entry.detail),
        entry.next_step,
        entry.next_at,
    )
