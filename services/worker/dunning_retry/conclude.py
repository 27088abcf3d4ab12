"""What follows from `collect`: the attempt's row, the ledger, the timeline and the next step, in one transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

from services.worker import metrics
from services.worker.dossier import attempt_store, ending, next_message, store, window
from services.worker.dossier.dossier import Dossier, KnownAttempt, cards_of
from services.worker.dossier.story import UNDER_WAY
from services.worker.dunning_retry import money
from services.worker.dunning_retry.collect import from_charge
from services.worker.dunning_retry.outcome import Collected, Outcome, Settled, Unreachable
from services.worker.handler import Job
from services.worker.outside.invoices import Reading, SeenCharge
from services.worker.recovery import (
    HOLDS,
    AskNewMethod,
    AttemptNow,
    AttemptResult,
    AwaitPayment,
    Close,
    Considered,
    Decision,
    MessageKind,
    Origin,
    Reason,
    RequireAction,
    Wait,
    classify,
)
from services.worker.recovery.refusals import Remedy, known_remedy
from shared import recoveries, recovery_tasks
from shared.database import Connection
from shared.logging import get_logger
from shared.money import Money
from shared.recovery_model import (
    COLLECTION_OFF,
    COLLECTION_ON,
    STRIPE_NEXT,
    EndReason,
    Entry,
    EntryKind,
    MovedMoney,
    RecoveredBy,
    RecoveryState,
)

log = get_logger(__name__)


async def conclude(db: Connection, job: Job[Any], outcome: Outcome) -> None:
    """Write the outcome and take the next step."""
    if job.recovery_id is None or not isinstance(outcome, Collected | Unreachable):
        return
    cards = cards_of(outcome.reading) if isinstance(outcome, Collected) else ()
    dossier = await store.open_dossier(db, job.merchant_id, job.recovery_id, cards)
    if dossier is None:
        return
    if isinstance(outcome, Unreachable):
        await _end_unreachable(db, dossier, outcome)
        return
    news = False
    if outcome.attempt is not None and outcome.settled is not None:
        news = await _record_attempt(db, dossier, outcome.attempt, outcome.settled, outcome)
    news = await _end_debits(db, dossier, outcome.reading, outcome.seen) or news
    news = await _record_seen(db, dossier, outcome.reading, outcome.seen) or news
    news = await _note_collection(db, dossier, outcome.reading, job.now) or news
    if news:
        dossier = await store.open_dossier(db, job.merchant_id, job.recovery_id, cards) or dossier
    if dossier.state.ended:
        await money.settle_ended(db, dossier, outcome.reading, outcome.seen)
        return
    dossier = await window.lengthen_after_debit(db, dossier, outcome.reading)
    await store.remember_stripes_attempts(db, dossier, outcome.reading)
    await _step(db, dossier, outcome.reading, outcome.seen, dossier.decide(outcome.reading))
    if dossier.story.told_anew_since(outcome.last_id):
        # An event since the plan says that the invoice has changed, perhaps after our reading: the next run reads it.
        await recovery_tasks.evaluate_sooner(db, dossier.recovery_id)


# --- What happened ----------------------------------------------------------------------------------------------------


async def _record_attempt(
    db: Connection, dossier: Dossier, attempt: KnownAttempt, settled: Settled, outcome: Collected
) -> bool:
    """Record how our attempt ended. False: it was settled before."""
    amount = settled.amount
    if amount is None:  # nothing moved, or its charge could not be read: what was asked for
        remaining = outcome.reading.truth.amount_remaining
        amount = remaining if remaining.amount > 0 else dossier.due
    written = await attempt_store.settle_attempt(
        db,
        attempt.id,
        settled.result,
        amount,
        payment_method_id=settled.payment_method_id,
        card=settled.card,
        payment_intent_id=settled.payment_intent_id,
        charge_id=settled.charge_id,
        error_code=settled.error_code,
        decline=settled.decline,
    )
    if not written:
        return False
    metrics.ATTEMPTS.labels(settled.result).inc()
    if settled.called:
        one = Money(1, dossier.due.currency)
        await recoveries.book(db, dossier.merchant_id, "attempt", one, dossier.recovery_id)
    await recoveries.record(db, dossier.recovery_id, _attempted(attempt, settled, outcome.reason, amount))
    return True


def _attempted(attempt: KnownAttempt, settled: Settled, reason: Reason | None, amount: Money) -> Entry:
    number = attempt.past.number
    words = {
        AttemptResult.SUCCEEDED: "the invoice was paid",
        AttemptResult.DECLINED: "it was declined",
        AttemptResult.REQUIRES_ACTION: "the bank asks the customer to authenticate",
        AttemptResult.FAILED: "nothing was charged",
        AttemptResult.ABANDONED: "it was not made",
        AttemptResult.UNKNOWN: "its outcome cannot be read any more",
        AttemptResult.STARTED: "it has begun",
        AttemptResult.PROCESSING: "a debit has begun, whose end is known in some days",
    }
    detail: dict[str, Any] = {
        "attempt": number,
        "result": settled.result,
        "how": settled.how,
        "amount": amount.amount,
        "currency": amount.currency,
    }
    known = {
        "charge_id": settled.charge_id,
        "payment_intent_id": settled.payment_intent_id,
        "payment_method_id": settled.payment_method_id,
        "error_code": settled.error_code,
    }
    detail |= {name: value for name, value in known.items() if value is not None}
    said = ""
    if settled.decline is not None:
        understood = classify(settled.decline)
        detail |= {"cause": understood.cause, "hard": understood.hard, "codes": _codes(settled)}
        said = f" ({understood.why})"
        if understood.unknown:
            metrics.UNKNOWN_DECLINES.inc()
            log.warning("unknown_decline", codes=_codes(settled))
    if settled.result is AttemptResult.FAILED and settled.error_code is not None:
        helps = known_remedy(settled.error_code)
        detail["remedy"] = helps or Remedy.OURS
        said = f" (Stripe refused: {settled.error_code})"
        if helps is None or helps is Remedy.OURS:
            metrics.UNKNOWN_REFUSALS.inc()
            log.error("payment_request_refused", code=settled.error_code)
    why = reason or _settlement(number, settled)
    detail["reason"] = why.as_json()
    text = f"Attempt {number}: {words[settled.result]}{said}."
    return Entry(EntryKind.ATTEMPTED, why.rule, text, detail, next_step="decide by this outcome")


def _settlement(number: int, settled: Settled) -> Reason:
    """The reason for an outcome that was found later, without a new decision."""
    road = Considered("attempt_now", "what an attempt came to is found out, never tried anew")
    return Reason("settle_attempt", f"Attempt {number} was settled: {settled.how}.", {"how": settled.how}, (road,))


def _codes(settled: Settled) -> Mapping[str, str]:
    said = settled.decline
    if said is None:
        return {}
    codes = {
        "code": said.code,
        "decline_code": said.decline_code,
        "advice_code": said.advice_code,
        "network_decline_code": said.network_decline_code,
        "network_advice_code": said.network_advice_code,
    }
    return {name: value for name, value in codes.items() if value is not None}


async def _end_debits(db: Connection, dossier: Dossier, reading: Reading, seen: tuple[SeenCharge, ...]) -> bool:
    """Record how debits of ours ended that were under way, on their own rows; whether any has."""
    ended = {each.charge_id: each for each in seen if each.result is not AttemptResult.PROCESSING}
    news = False
    for attempt in await _attempts(db, dossier):
        if attempt.past.result is not AttemptResult.PROCESSING:
            continue
        charge = ended.get(attempt.charge_id) if attempt.charge_id is not None else None
        if charge is not None:
            settled = from_charge(charge, "its debit has ended")
        elif attempt.charge_id is None and reading.under_way is None:
            settled = Settled(AttemptResult.FAILED, "nothing is under way, and it has no charge")
        else:
            continue
        amount = settled.amount or attempt.past.amount
        if await attempt_store.end_debit(db, attempt.id, settled.result, amount, settled.decline):
            metrics.ATTEMPTS.labels(settled.result).inc()
            await recoveries.record(db, dossier.recovery_id, _attempted(attempt, settled, None, amount))
            news = True
    return news


async def _record_seen(db: Connection, dossier: Dossier, reading: Reading, seen: tuple[SeenCharge, ...]) -> bool:
    """Record the attempts of others; whether any of them is new.

    A success counts as Stripe's own attempt only if Stripe had announced one.
    """
    known = {(each.past.result, each.past.payment_method_id) for each in dossier.attempts}
    charges = {each.charge_id for each in dossier.attempts}
    ours = {each.charge_id for each in await _attempts(db, dossier) if each.past.origin is Origin.CITADEL}
    failures = sum(each.result is AttemptResult.DECLINED and each.charge_id not in ours | charges for each in seen)
    news = False
    for charge in sorted(seen, key=lambda each: each.at):
        if charge.charge_id is not None and charge.charge_id in charges:
            continue
        match charge.result:
            case AttemptResult.PROCESSING:
                wanted = False  # whose it is shows when it ends
            case AttemptResult.SUCCEEDED:
                paid_the_rest = reading.paid_by is None or reading.paid_by.charge_id == charge.charge_id
                known_success = any(
                    each.past.result is AttemptResult.SUCCEEDED for each in await _attempts(db, dossier)
                )
                wanted = paid_the_rest and not known_success and dossier.stripe_collected(reading, charge, failures)
            case AttemptResult.REQUIRES_ACTION:
                after = {(each.past.result, each.past.payment_method_id) for each in await _attempts(db, dossier)}
                wanted = (charge.result, charge.payment_method_id) not in known | after
            case _:
                wanted = True
        if wanted:
            news = await attempt_store.note_attempt(db, dossier, charge) or news
    return news


async def _note_collection(db: Connection, dossier: Dossier, reading: Reading, claimed_at: datetime) -> bool:
    """Record that the merchant turned automatic collection off or on, where no event told; whether it did.

    An event that came after the claim may know more than the reading.
    """
    if dossier.state.ended:
        return False
    turned = dossier.story.turned
    if dossier.turned_off_unheard(reading) and (turned is None or turned.at < claimed_at):
        rule, text = COLLECTION_OFF, "The merchant has turned automatic collection of the invoice off."
    elif turned is not None and turned.rule == COLLECTION_OFF and turned.at < claimed_at and reading.truth.auto_advance:
        rule, text = COLLECTION_ON, "The merchant has turned automatic collection of the invoice on again."
    else:
        return False
    entry = Entry(EntryKind.CHANGED, rule, text, {"source": "reading", **_collected_by_stripe(reading)})
    await recoveries.record(db, dossier.recovery_id, entry)
    return True


def _collected_by_stripe(reading: Reading) -> dict[str, Any]:
    """Whether Stripe collects the invoice by itself, for the timeline; empty where Stripe does not say."""
    said = {"auto_advance": reading.truth.auto_advance, "attempt_count": reading.truth.attempt_count}
    return {name: value for name, value in said.items() if value is not None}


async def _attempts(db: Connection, dossier: Dossier) -> tuple[KnownAttempt, ...]:
    """The attempts' rows as this transaction has left them."""
    now = await store.open_dossier(db, dossier.merchant_id, dossier.recovery_id)
    return now.attempts if now is not None else ()


# --- What follows -----------------------------------------------------------------------------------------------------


async def _step(
    db: Connection, dossier: Dossier, reading: Reading, seen: tuple[SeenCharge, ...], decision: Decision
) -> None:
    """Carry out the decision: the state, the timeline, the next task, the next message."""
    match decision:
        case Close():
            await _close(db, dossier, reading, seen, decision)
        case AwaitPayment(until, reason):
            await _remember(db, dossier, reading, decision)
            entry = _decided(reading, reason, "look whether the payment has ended", until)
            await _go_on(db, dossier, RecoveryState.PROCESSING, entry)
            await recovery_tasks.cancel_messages(db, dossier.recovery_id, "a payment is under way")
            await _evaluate_at(db, dossier, until)
        case AttemptNow(reason):
            # The next run, which begins at once, commits the row and its key before the call.
            now = dossier.now
            await _remember(db, dossier, reading, decision)
            entry = _decided(reading, reason, "attempt", now)
            await _go_on(db, dossier, RecoveryState.WAITING, entry, next_attempt_at=now)
            await _evaluate_at(db, dossier, now)
        case Wait(until, reason):
            if reason.rule in HOLDS:
                await _hold(db, dossier, reading, decision)
                return
            then = dossier.decide_at(until, reading)
            planned = isinstance(then, AttemptNow)
            await _remember(db, dossier, reading, then)
            entry = _decided(reading, reason, "attempt" if planned else "look again", until)
            await _go_on(db, dossier, RecoveryState.WAITING, entry, next_attempt_at=until if planned else None)
            await _evaluate_at(db, dossier, until)
            await next_message.plan(db, dossier, reading, decision, MessageKind.PAYMENT_FAILED)
        case RequireAction(reason, deadline):
            await _remember(db, dossier, reading, decision)
            entry = _decided(reading, reason, "wait for the customer to authenticate", deadline)
            await _go_on(db, dossier, RecoveryState.ACTION_REQUIRED, entry)
            await _evaluate_at(db, dossier, deadline)
            await next_message.plan(db, dossier, reading, decision, MessageKind.ACTION_REQUIRED)
        case AskNewMethod(reason, deadline):
            await _remember(db, dossier, reading, decision)
            entry = _decided(reading, reason, "wait for another payment method", deadline)
            await _go_on(db, dossier, RecoveryState.NEEDS_NEW_METHOD, entry)
            await _evaluate_at(db, dossier, deadline)
            await next_message.plan(db, dossier, reading, decision, MessageKind.NEW_METHOD_NEEDED)
        case _:
            assert_never(decision)


async def _hold(db: Connection, dossier: Dossier, reading: Reading, decision: Wait) -> None:
    """Wait because people say so: nothing is planned before that is over, and no message is queued."""
    until, reason = decision.until, decision.reason
    await recovery_tasks.cancel_messages(db, dossier.recovery_id, f"held: {reason.rule}")
    known = until if "until" in reason.inputs else None
    entry = _decided(reading, reason, "decide anew when it is over", known)
    await _go_on(db, dossier, RecoveryState.WAITING, entry)
    await _evaluate_at(db, dossier, until)


async def _remember(db: Connection, dossier: Dossier, reading: Reading, planned: Decision) -> None:
    """Save which payment method is charged next and what is predicted of it, for the run that makes the attempt."""
    await store.remember(db, dossier, reading, planned=planned if isinstance(planned, AttemptNow) else None)


def _decided(reading: Reading, reason: Reason, next_step: str, next_at: datetime | None) -> Entry:
    detail: dict[str, Any] = {"reason": reason.as_json(), **_collected_by_stripe(reading)}
    announced = reading.truth.stripe_next_attempt_at
    if announced is not None:
        detail[STRIPE_NEXT] = announced.isoformat()
    return Entry(EntryKind.DECIDED, reason.rule, reason.text, detail, next_step, next_at)


async def _go_on(
    db: Connection, dossier: Dossier, to: RecoveryState, entry: Entry, *, next_attempt_at: datetime | None = None
) -> None:
    """Change the state and record why; a decision that has not changed is not recorded again."""
    last = dossier.story.last_decision
    same = last is not None and _gist(last.rule, last.next_at, last.detail) == _gist(
        entry.rule, entry.next_at, entry.detail
    )
    if same and (dossier.state, dossier.next_attempt_at) == (to, next_attempt_at):
        return
    decline = dossier.last_decline
    cause = classify(decline).cause if decline is not None else None
    await recoveries.change(db, dossier.recovery_id, to, entry, next_attempt_at=next_attempt_at, decline_cause=cause)


def _gist(rule: str, next_at: datetime | None, detail: Mapping[str, Any]) -> tuple[object, ...]:
    """The parts by which a decision differs from the last one; not when a payment under way is looked at next."""
    inputs = detail.get("reason", {}).get("inputs", {})
    return (
        rule,
        None if rule == UNDER_WAY else next_at,
        *(detail.get(each) for each in (STRIPE_NEXT, "auto_advance", "attempt_count")),
        *(inputs.get(each) for each in ("segment", "backup", "brought", "default")),
    )


async def _evaluate_at(db: Connection, dossier: Dossier, at: datetime) -> None:
    """Queue the next run. This transaction has completed the present one, so its unique key is free."""
    await recovery_tasks.evaluate(db, dossier.merchant_id, dossier.recovery_id, dossier.invoice_id, at)


async def _close(
    db: Connection, dossier: Dossier, reading: Reading, seen: tuple[SeenCharge, ...], decision: Close
) -> None:
    reason = decision.reason
    state = RecoveryState(decision.state)
    detail: dict[str, Any] = {"reason": reason.as_json()}
    recovered: Money | None = None
    by: RecoveredBy | None = None
    charges: tuple[MovedMoney, ...] = ()
    if state is RecoveryState.RECOVERED:
        by = RecoveredBy.RETRY if decision.end_reason == EndReason.PAID_BY_RETRY else RecoveredBy.MESSAGE
        moved = money.ours(dossier, reading, seen, by)
        recovered, charges = moved.total, moved.charges
        detail |= {"recovered": recovered.amount, "currency": recovered.currency}
    entry = Entry(EntryKind.CLOSED, reason.rule, reason.text, detail, ending.STEPS[decision.end_action])
    await recoveries.close(
        db,
        dossier.recovery_id,
        state,
        decision.end_reason,
        entry,
        recovered=recovered,
        recovered_by=by,
        charges=charges,
    )
    if decision.end_action != "leave":
        await recovery_tasks.carry_out_end(
            db, dossier.merchant_id, dossier.recovery_id, dossier.invoice_id, decision.end_action
        )


async def _end_unreachable(db: Connection, dossier: Dossier, outcome: Unreachable) -> None:
    """Stop a recovery whose invoice can no longer be read. A stop from outside keeps its own reason."""
    if outcome.attempt is not None:
        result = AttemptResult.UNKNOWN if outcome.may_have_paid else AttemptResult.ABANDONED
        settled = Settled(result, outcome.text, called=False)
        written = await attempt_store.settle_attempt(db, outcome.attempt.id, result, dossier.due)
        if written:
            metrics.ATTEMPTS.labels(result).inc()
            entry = _attempted(outcome.attempt, settled, None, dossier.due)
            await recoveries.record(db, dossier.recovery_id, entry)
    end_reason = dossier.stop_requested or outcome.end_reason
    entry = Entry(EntryKind.CLOSED, outcome.end_reason, outcome.text, {"stop_requested": dossier.stop_requested})
    await recoveries.close(db, dossier.recovery_id, RecoveryState.STOPPED, end_reason, entry)
