"""What is booked as recovered: the charges that are ours, each with its own amount, currency and time.

our attempt's charge                              by retry
the charge that paid the rest after a message     by message
parts that the merchant charged by itself, money before the opening, credit notes, money outside Stripe: not ours
"""

from dataclasses import dataclass

from services.worker.dossier.dossier import Dossier, KnownAttempt
from services.worker.outside.invoices import Reading, SeenCharge
from services.worker.recovery import AttemptResult, Origin, attribute_payment
from shared import booked_charges, recoveries
from shared.database import Connection
from shared.ids import ChargeId
from shared.money import Money
from shared.recovery_model import EndReason, Entry, EntryKind, MovedMoney, RecoveredBy, RecoveryState

PAID_AFTER_END = "paid_after_end"
"""The rule of an entry about money that came after the end."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What moved by us: the sum, and its charges as far as they have ids."""

    total: Money
    charges: tuple[MovedMoney, ...]


def ours(dossier: Dossier, reading: Reading, seen: tuple[SeenCharge, ...], by: RecoveredBy) -> Ours:
    """The money of a recovery that is recovered by our attempt, or by the customer after a message."""
    if by is RecoveredBy.RETRY:
        made = [each for each in dossier.attempts if _succeeded(each)]
        charges = tuple(_of_attempt(each, reading, seen) for each in made if each.charge_id is not None)
        nameless = [each.past.amount.amount for each in made if each.charge_id is None]
    else:
        paid = reading.paid_by
        charges = (_as_seen(paid, seen),) if paid is not None else ()
        nameless = []
    return Ours(Money(sum([*(each.amount.amount for each in charges), *nameless]), dossier.due.currency), charges)


def _succeeded(attempt: KnownAttempt) -> bool:
    return attempt.past.result is AttemptResult.SUCCEEDED and attempt.past.origin is Origin.CITADEL


def _of_attempt(attempt: KnownAttempt, reading: Reading, seen: tuple[SeenCharge, ...]) -> MovedMoney:
    charge_id = attempt.charge_id or ChargeId("")
    known = MovedMoney(charge_id, attempt.payment_intent_id, attempt.past.amount, attempt.past.at)
    paid = reading.paid_by
    return _as_seen(paid if paid is not None and paid.charge_id == charge_id else known, seen)


def _as_seen(money: MovedMoney, seen: tuple[SeenCharge, ...]) -> MovedMoney:
    """The money as its charge itself says it, if that was read."""
    for charge in seen:
        if charge.charge_id == money.charge_id and charge.result is AttemptResult.SUCCEEDED:
            return MovedMoney(money.charge_id, charge.payment_intent_id, charge.amount, charge.at)
    return money


# --- After an end -----------------------------------------------------------------------------------------------------


async def settle_ended(db: Connection, dossier: Dossier, reading: Reading, seen: tuple[SeenCharge, ...]) -> None:
    """Book what an ended recovery's charges say: money that came after the end, or other sums than were booked."""
    if dossier.state is RecoveryState.RECOVERED:
        await _correct(db, dossier, reading, seen)
    elif dossier.money_may_come:
        await _came_late(db, dossier, reading, seen)


async def _correct(db: Connection, dossier: Dossier, reading: Reading, seen: tuple[SeenCharge, ...]) -> None:
    if dossier.recovered_by is None or not reading.truth.paid:
        return
    failed = [each.charge_id for each in seen if each.charge_id and each.result is AttemptResult.DECLINED]
    booked = {each.charge_id: each for each in await booked_charges.of_recovery(db, dossier.recovery_id)}
    if not booked and dossier.recovered_by is RecoveredBy.MESSAGE and reading.truth.charged and reading.paid_by is None:
        return  # it was charged, and the reading does not say by which charge: what the event said stands
    found = ours(dossier, reading, seen, dossier.recovered_by)
    stand = {each.charge_id: each for each in found.charges} | booked
    charges = [each for charge_id, each in stand.items() if charge_id not in failed]
    if not stand and found.total.amount > 0:
        return  # an attempt from before charges were kept
    text = "What was booked is corrected: it is what the charges say that moved."
    moved = Money(sum(each.amount.amount for each in charges), dossier.due.currency)
    inputs = {"moved": moved.amount, "currency": moved.currency, "charges": sorted(each.charge_id for each in charges)}
    entry = Entry(EntryKind.CHANGED, "money_corrected", text, inputs)
    await recoveries.correct(db, dossier.recovery_id, charges, [each for each in failed if each in booked], entry)


async def _came_late(db: Connection, dossier: Dossier, reading: Reading, seen: tuple[SeenCharge, ...]) -> None:
    truth = reading.truth
    if not truth.paid:
        return
    state, by = attribute_payment(
        [each.past for each in dossier.attempts],
        dossier.story.messages_sent,
        paid_out_of_band=truth.paid_out_of_band,
        charged=truth.charged,
    )
    end = f"{dossier.state}, {dossier.end_reason}"
    if state == "recovered" and isinstance(by, RecoveredBy):
        found = ours(dossier, reading, seen, by)
        if found.total.amount > 0:
            text = f"Money that is ours came after the end ({end}): that end is taken back."
            detail = {"ended_as": dossier.state, "recovered": found.total.amount, "currency": found.total.currency}
            reason = EndReason.PAID_BY_RETRY if by is RecoveredBy.RETRY else EndReason.PAID_AFTER_MESSAGE
            await recoveries.close(
                db,
                dossier.recovery_id,
                RecoveryState.RECOVERED,
                reason,
                Entry(EntryKind.CLOSED, PAID_AFTER_END, text, detail),
                recovered=found.total,
                recovered_by=by,
                charges=found.charges,
            )
            return
    if all(row.rule != PAID_AFTER_END for row in dossier.story.rows):
        text = f"The invoice was settled after the end ({end}), and not through us."
        await recoveries.record(db, dossier.recovery_id, Entry(EntryKind.CHANGED, PAID_AFTER_END, text))
