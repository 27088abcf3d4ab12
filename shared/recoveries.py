"""The life of a recovery. Only these statements, and those by which it opens and stops, change it.

    open ──> waiting <──> attempting ──> processing          recovered <──┐ money that is ours
      │         ^  │          │              │        ──>    exhausted ───┤ and comes late
      └──> action_required, needs_new_method              stopped ─────┘
                                                             │
                                                             └──> open, when a merchant that had left comes back

It opens in `recovery_opening`; what stops it from outside, and takes that back, is in `recovery_stops`.

The database checks every change of state (`recovery_transitions`; `recovery_model.TRANSITIONS` is a copy, and a test
compares the two). Every change writes one row of the timeline, and an end writes the money into the ledger
(`usage_logs`), in the caller's transaction.

What is booked as recovered is what moved: the sum of the charges (`recovered_charges`). An end is taken back in the
book by a row with its negative amount, and the next end is booked anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared import booked_charges, money_back, recovery_tasks
from shared.booked_charges import BookedCharge
from shared.database import Connection
from shared.ids import ChargeId, InvoiceId, MerchantId, PaymentMethodId, RecoveryId
from shared.money import Money
from shared.money_back import Fact, Sums
from shared.queue import queued
from shared.recovery_model import (
    EndReason,
    Entry,
    EntryKind,
    MovedMoney,
    RecoveredBy,
    RecoveryState,
)
from shared.silences import TEXTS, SilenceReason

LOCK = """
SELECT state, end_reason, amount_due, amount_recovered, paid_before, currency, ends_reversed, merchant_id, invoice_id
FROM recoveries
WHERE id = $1
FOR UPDATE
"""

NOTED = """
SELECT EXISTS (
    SELECT
    FROM recovery_timeline AS t
    WHERE t.recovery_id = $1 AND t.rule = ANY($2::text[])
        AND t.id > COALESCE(
            (SELECT max(d.id) FROM recovery_timeline AS d WHERE d.recovery_id = $1 AND d.kind = 'decided'), 0
        )
)
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

# The version that it was opened under decides whether it is in the holdout, whatever happens later.
MOVE = """
UPDATE recoveries
SET policy_id = $2, opened_policy_id = COALESCE(opened_policy_id, policy_id), updated_at = citadel_now()
WHERE id = $1
"""

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

_AMOUNTS = ("amount_due", "amount_recovered", "paid_before")


@dataclass(frozen=True, slots=True)
class Locked:
    """A recovery whose row is locked until the commit."""

    state: RecoveryState
    end_reason: str | None
    due: Money
    recovered: Money
    paid_before: Money
    ends_reversed: int
    merchant_id: MerchantId
    invoice_id: InvoiceId


async def lock(db: Connection, recovery_id: RecoveryId) -> Locked:
    """Lock the recovery's row. Raises LookupError when it is unknown."""
    row = await db.fetchrow(LOCK, recovery_id)
    if row is None:
        raise LookupError(f"no recovery {recovery_id}")
    due, recovered, before = (Money(row[name], row["currency"]) for name in _AMOUNTS)
    return Locked(
        RecoveryState(row["state"]),
        row["end_reason"],
        due,
        recovered,
        before,
        row["ends_reversed"],
        row["merchant_id"],
        row["invoice_id"],
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
    locked = await lock(db, recovery_id)
    if locked.state is RecoveryState.RECOVERED or (locked.state.ended and to is not RecoveryState.RECOVERED):
        return False
    await booked_charges.lock_names_of(db, locked.merchant_id, charges)
    entry = entry.with_reason("nothing", "attempt_now", "message")
    nth = locked.ends_reversed
    if locked.state.ended:
        nth = await reverse_end(db, recovery_id, locked, locked.due)
    await db.execute(CLOSE, recovery_id, to, end_reason, recovered_by, 0 if recovered is None else recovered.amount)
    await record_change(db, recovery_id, locked.merchant_id, locked.state, to, entry)
    amount = locked.due if recovered is None else recovered
    if amount.amount > 0:
        await book(db, locked.merchant_id, f"recovery_{to}", amount, recovery_id, nth_end=nth)
    await keep_charges(db, recovery_id, locked.merchant_id, charges)
    await queued.cancel_of_recovery(db, recovery_id, f"recovery ended: {end_reason}")
    thankful = to is RecoveryState.RECOVERED and await messaged(db, recovery_id)
    if thankful and not await db.fetchval(ACTED_ON_END, recovery_id):
        await recovery_tasks.thank(db, locked.merchant_id, recovery_id, locked.invoice_id)
    return True


async def reverse_end(db: Connection, recovery_id: RecoveryId, locked: Locked, booked: Money) -> int:
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
    locked = await lock(db, recovery_id)
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
        nth = await reverse_end(db, recovery_id, locked, locked.recovered)
        if moved.amount > 0:
            await book(db, locked.merchant_id, f"recovery_{locked.state}", moved, recovery_id, nth_end=nth)
        await db.execute(CORRECT, recovery_id, moved.amount)
        await record_change(db, recovery_id, locked.merchant_id, locked.state, locked.state, entry)
    await keep_charges(db, recovery_id, locked.merchant_id, charges)
    return other


async def move(db: Connection, recovery_id: RecoveryId, policy_id: UUID, entry: Entry) -> bool:
    """Move an open recovery to another version of the policy, and have it evaluated. False: it had ended.

    Its pending tasks are canceled. A run in progress decides by the new rules when it commits.
    """
    locked = await lock(db, recovery_id)
    if locked.state.ended:
        return False
    await db.execute(MOVE, recovery_id, policy_id)
    await record_change(db, recovery_id, locked.merchant_id, locked.state, locked.state, entry)
    await queued.cancel_of_recovery(db, recovery_id, "moved to another version of the policy")
    await recovery_tasks.evaluate(db, locked.merchant_id, recovery_id, locked.invoice_id)
    return True


async def messaged(db: Connection, recovery_id: RecoveryId) -> bool:
    """Whether a message about it was sent to its customer."""
    found: bool = await db.fetchval(MESSAGED, recovery_id)
    return found


async def bring(db: Connection, recovery_id: RecoveryId, method: PaymentMethodId, *, in_answer: bool = False) -> None:
    """Keep that the customer has brought a payment method, which may then be charged for what is due.

    `in_answer`: only if the customer was sent a message before; without one the method was not brought for this.
    """
    if not in_answer or await messaged(db, recovery_id):
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
    for each in money_back.changes_of(before, after, fact):
        amount = Money(each.amount, charge.booked.currency)
        await book(db, merchant_id, each.metric_type, amount, charge.recovery_id, external_id=fact.external_id)
        detail = {
            **origin,
            "charge_id": charge.id,
            "external_id": fact.external_id,
            "amount": each.told_amount,
            "currency": amount.currency,
        }
        await record(db, charge.recovery_id, Entry(each.kind, each.kind, each.text, detail))


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


async def record_change(
    db: Connection,
    recovery_id: RecoveryId,
    merchant_id: MerchantId,
    before: RecoveryState | None,
    after: RecoveryState,
    entry: Entry,
) -> None:
    """Write one row of the timeline about a locked recovery that is changed in the same transaction."""
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


async def is_noted(db: Connection, recovery_id: RecoveryId, *rules: str) -> bool:
    """Whether the timeline has an entry by one of these rules since the last decision."""
    return bool(await db.fetchval(NOTED, recovery_id, list(rules)))
