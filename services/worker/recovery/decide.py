"""What to do next about one failed invoice: the rulebook, read from top to bottom. The first rule that speaks decides.

`decide` is a pure function: the same facts give the same decision, live, in a back-test and in a simulation. It fails
closed: while a fact is unknown, nothing is charged. Every recovery ends: nothing is scheduled past the window, and the
rule that closes the window comes before every rule that waits. Only a payment method that was never tried is tried
then.

The handler settles an attempt in flight before it calls `decide`. If it calls anyway, the decision is to wait or, after
a stop, to close.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from services.worker.recovery.attribution import attribute_payment
from services.worker.recovery.case import Case, last_cause
from services.worker.recovery.method import decide_method
from services.worker.recovery.model import (
    AttemptNow,
    AttemptResult,
    AwaitPayment,
    Close,
    Considered,
    Decision,
    InvoiceStatus,
    InvoiceTruth,
    JsonScalar,
    Origin,
    PastAttempt,
    RecoveryFacts,
    Wait,
    as_utc,
)
from services.worker.recovery.networks import CURRENT_RULES, NetworkRules
from services.worker.recovery.reasons import collected, exhaust, held, iso, reason, stop, wait
from services.worker.recovery.refusals import Remedy, remedy
from services.worker.recovery.segments import in_holdout, segment_facts
from services.worker.recovery.timing import BY_THE_RULES, Timing
from shared.policy import Policy
from shared.policy.segments import segment_of
from shared.recovery_model import CREDITED, LEFT_ALONE, EndReason, RecoveredBy

# When to look again for an outcome or a finalization: long enough for a call to time out and its result to be readable.
LOOK_AGAIN = timedelta(minutes=30)
# A bank debit takes days, and Stripe tells of its end. Should it not, it is looked for: soon at first, then once a day.
LOOK_FOR_PAYMENT = (timedelta(hours=1), timedelta(days=1))
# While nobody has said until when: an event may be missed.
LOOK_AGAIN_HELD = timedelta(days=1)
# A card is not charged for an invoice that nobody has wanted collected for so long.
HELD_AT_MOST = timedelta(days=365)
HOLDS = frozenset({LEFT_ALONE, "collection_off", "collection_paused"})
"""The rules by which people hold a recovery: no attempt, no message, no end action while one of them speaks."""
SUBSCRIPTION_OVER = frozenset({"canceled", "incomplete_expired"})


def decide(
    policy: Policy,
    recovery: RecoveryFacts,
    invoice: InvoiceTruth,
    attempts: Sequence[PastAttempt],
    now: datetime,
    *,
    same_card_elsewhere: Sequence[PastAttempt] = (),
    rules: NetworkRules = CURRENT_RULES,
    timing: Timing = BY_THE_RULES,
) -> Decision:
    """The next step for the recovery, and why.

    `attempts` are all of this recovery, Stripe's and ours, in any order; `same_card_elsewhere` are the merchant's on
    the same cards for other invoices, which count for the networks' rules only. `timing` is used where the policy's
    timing is `learned`. Raises ValueError for a naive datetime.
    """
    now = as_utc("now", now)
    in_order = tuple(sorted(attempts, key=lambda a: (a.at, a.number)))
    segment = segment_of(policy, segment_facts(invoice, last_cause(in_order)), now) if policy.segments else None
    case = Case(
        policy.segment(segment), recovery, invoice, in_order, now, tuple(same_card_elsewhere), rules, timing, segment
    )
    for rule in RULEBOOK:
        decision = rule(case)
        if decision is not None:
            return decision
    return decide_method(case)


# --- Ends: nothing is left to do, or there is a stop ------------------------------------------------------------------


def _paid_by_our_attempt(case: Case) -> Close | None:
    """Before any stop: a stop that arrived while our charge was in flight does not undo the charge."""
    ours = (a.result is AttemptResult.SUCCEEDED and a.origin is Origin.CITADEL for a in case.attempts)
    if not (case.invoice.paid and any(ours)):
        return None
    asked = case.recovery.stop_requested
    stopped = () if asked is None else (Considered("stop", f"the money was collected before the stop: {asked}"),)
    why = collected(case, "paid_by_our_attempt", "Our attempt collected the invoice.", *stopped)
    return Close("recovered", EndReason.PAID_BY_RETRY, why)


def _payment_under_way(case: Case) -> AwaitPayment | None:
    """Above every stop and end: the money may be on its way, and only its outcome says how the recovery ends."""
    ours = [attempt for attempt in case.attempts if attempt.result is AttemptResult.PROCESSING]
    if not ours and not case.invoice.payment_under_way:
        return None
    since = min([*(attempt.at for attempt in ours), case.recovery.under_way_since or case.now])
    soonest, latest = LOOK_FOR_PAYMENT
    until = case.now + max(soonest, min((case.now - since) / 2, latest))
    text = "A payment is under way, as a bank debit is for days: its end decides."
    considered = [Considered(action, text) for action in ("attempt_now", "message", "end")]
    origin = Origin.CITADEL if any(attempt.origin is Origin.CITADEL for attempt in ours) else None
    inputs: dict[str, JsonScalar] = {"since": iso(since), "ours": origin is not None}
    if case.recovery.stop_requested is not None:
        inputs["stop_requested"] = case.recovery.stop_requested
    return AwaitPayment(until, reason(case, "payment_under_way", text, *considered, **inputs))


def _stopped_from_outside(case: Case) -> Close | None:
    if case.recovery.stop_requested is not None:
        return stop(case, case.recovery.stop_requested, f"A stop was requested: {case.recovery.stop_requested}.")
    if not case.recovery.merchant_active:
        return stop(case, EndReason.MERCHANT_GONE, "The merchant is no longer connected.")
    return None


def _invoice_written_off(case: Case) -> Close | None:
    if case.invoice.status is InvoiceStatus.VOID:
        return stop(case, EndReason.VOIDED, "The invoice is void.")
    if case.invoice.status is InvoiceStatus.UNCOLLECTIBLE:
        return stop(case, EndReason.MARKED_UNCOLLECTIBLE, "The invoice was marked uncollectible.")
    return None


def _paid(case: Case) -> Close | None:
    if not case.invoice.paid:
        return None
    invoice = case.invoice
    paid = invoice.amount_paid
    if paid is not None and paid.amount <= case.recovery.paid_before and not invoice.paid_out_of_band:
        return stop(case, EndReason.CREDITED, CREDITED)
    state, by = attribute_payment(
        case.attempts,
        case.recovery.messages_sent,
        paid_out_of_band=invoice.paid_out_of_band,
        charged=invoice.charged,
    )
    if state == "stopped":
        return stop(case, EndReason.PAID_ELSEWHERE, "The invoice was paid, and not through us.")
    end_reason = EndReason.PAID_BY_RETRY if by is RecoveredBy.RETRY else EndReason.PAID_AFTER_MESSAGE
    alone = Considered(EndReason.PAID_ELSEWHERE, "it was paid after an attempt or a message of ours")
    sent = case.recovery.messages_sent
    why = collected(case, "paid", "The invoice is paid.", alone, recovered_by=by, messages=sent)
    return Close(state, end_reason, why)


def _no_longer_ours_to_collect(case: Case) -> Close | None:
    if case.invoice.customer_deleted:
        return stop(case, EndReason.CUSTOMER_DELETED, "The customer was deleted, and cannot be charged any more.")
    if case.invoice.subscription_status in SUBSCRIPTION_OVER:
        return stop(case, EndReason.SUBSCRIPTION_CANCELED, "The subscription is canceled.")
    if case.invoice.collection_method != "charge_automatically":
        return stop(case, EndReason.COLLECTED_BY_HAND, "The invoice is not charged automatically any more.")
    return None


def _ending(case: Case) -> Close | None:
    """Not while an attempt may have charged: its outcome comes first."""
    if case.policy.collect_ending or not case.invoice.ending or _may_have_charged(case):
        return None
    text = "The subscription ends with its period, and the policy collects no such invoices."
    return stop(case, EndReason.SUBSCRIPTION_ENDING, text)


def _below_minimum(case: Case) -> Close | None:
    left = case.invoice.amount_remaining
    least = case.policy.minimum_amounts.get(left.currency)
    if least is None or left.amount >= least or any(attempt.unresolved for attempt in case.attempts):
        return None
    text = f"The policy leaves invoices below {least} {left.currency} (minor units) alone."
    return stop(case, EndReason.BELOW_MINIMUM, text)


# --- What people said: nothing is done, and the time does not count --------------------------------------------------


def _may_have_charged(case: Case) -> bool:
    return any(attempt.unresolved or attempt.result is AttemptResult.SUCCEEDED for attempt in case.attempts)


def _left_alone(case: Case) -> Close | Wait | None:
    holding = [until for until in case.recovery.left_alone if until is None or until > case.now]
    if not holding or _may_have_charged(case):
        return None
    ends = [until for until in holding if until is not None]
    if len(ends) < len(holding):
        text = "The customer or the subscription is left alone for good."
        return Close("stopped", EndReason.STOPPED_BY_OPERATOR, held(case, LEFT_ALONE, text))
    text = "The customer or the subscription is left alone."
    return _hold(case, LEFT_ALONE, text, max(ends))


def _collection_off(case: Case) -> Close | Wait | None:
    """The merchant turned automatic collection of the invoice off, or pauses the subscription's collection."""
    if _may_have_charged(case):
        return None
    if case.recovery.collection_off:
        return _hold(case, "collection_off", "The merchant has turned automatic collection of the invoice off.")
    paused = case.invoice.paused
    if paused is None or paused.ours or (paused.resumes_at is not None and paused.resumes_at <= case.now):
        return None
    return _hold(case, "collection_paused", "The merchant pauses the subscription's collection.", paused.resumes_at)


def _hold(case: Case, rule: str, text: str, until: datetime | None = None) -> Close | Wait:
    if case.recovery.held >= HELD_AT_MOST:
        return stop(case, EndReason.COLLECTED_BY_HAND, f"{text} It has been so for a year.")
    ends = {} if until is None else {"until": iso(until)}
    return Wait(until or case.now + LOOK_AGAIN_HELD, held(case, rule, text, **ends))


def _below_stripes_minimum(case: Case) -> Close | None:
    """Stripe takes no charge of so little. Should the invoice grow, there is something to collect again."""
    last = next((attempt for attempt in reversed(case.attempts) if attempt.counts), None)
    if last is None or remedy(last) is not Remedy.END or case.invoice.amount_remaining.amount > last.amount.amount:
        return None
    return stop(case, EndReason.BELOW_STRIPES_MINIMUM, "Stripe takes no charge of so small an amount.")


def _window_over(case: Case) -> AttemptNow | Close | None:
    """Not before a payment method that is new since the failure was tried: while a debit was under way, it was not."""
    if case.now < case.deadline:
        return None
    roads = [case, *(case.naming(each, "brought") for each in case.brought)]
    untried = {road.invoice.payment_method_id for road in roads if road.method_is_new}
    if untried:
        decision = decide_method(case)
        if isinstance(decision, AttemptNow) and decision.payment_method_id in untried:
            return decision
    longer = "" if case.deadline == case.budget.ends_at else ", and those that were added"
    return exhaust(case, EndReason.WINDOW_OVER, f"{case.policy.window_days} days have passed{longer}.")


# --- Not now: a fact is missing, or nothing is to be done at all ------------------------------------------------------


def _outcome_unknown(case: Case) -> Wait | None:
    """An attempt without an outcome may have charged, as may one that succeeded while the invoice still reads open."""
    for attempt in case.attempts:
        if attempt.unresolved or attempt.result is AttemptResult.SUCCEEDED:
            return wait(
                case,
                case.now + LOOK_AGAIN,
                "outcome_unknown",
                "An attempt may have charged the customer; its outcome has to be read first.",
                attempt=attempt.number,
                origin=attempt.origin,
                result=attempt.result,
            )
    return None


def _not_final(case: Case) -> Wait | None:
    if case.invoice.status is not InvoiceStatus.DRAFT:
        return None
    return wait(case, case.now + LOOK_AGAIN, "invoice_is_draft", "The invoice is not final yet.")


def _in_holdout(case: Case) -> Wait | None:
    if not in_holdout(case.policy, case.recovery.invoice_id):
        return None
    text = "The invoice is of the holdout: it is watched and left alone, to measure what the others gain."
    return wait(case, case.deadline, "holdout", text, holdout_share=case.policy.holdout_share)


RULEBOOK: tuple[Callable[[Case], Decision | None], ...] = (
    _paid_by_our_attempt,
    _payment_under_way,
    _stopped_from_outside,
    _invoice_written_off,
    _paid,
    _no_longer_ours_to_collect,
    _ending,
    _below_minimum,
    _below_stripes_minimum,
    _left_alone,
    _collection_off,
    _window_over,
    _outcome_unknown,
    _not_final,
    _in_holdout,
)
"""The rules before any payment method is looked at; the rules about payment methods are `method.METHOD_RULES`."""
