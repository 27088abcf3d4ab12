"""What to do next about one failed invoice: the rulebook, read from top to bottom. The first rule that speaks decides.

`decide` is a pure function: the same facts give the same decision, live, in a back-test and in a simulation. It fails
closed: what is unknown is waited for or asked for, never charged. It always ends: nothing is scheduled past the
window, and the window is closed by a rule that comes before every rule that waits.

The handler settles an attempt of its own that is still in flight before it asks; should it ask all the same, the
answer is to wait, or, after a stop, to close.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from services.worker.recovery.attribution import attribute_payment
from services.worker.recovery.case import Case, expired, when_due
from services.worker.recovery.declines import DeclineCause
from services.worker.recovery.model import (
    AskNewMethod,
    AttemptNow,
    AttemptResult,
    Card,
    Close,
    Considered,
    Decision,
    EndReason,
    InvoiceStatus,
    InvoiceTruth,
    JsonScalar,
    Origin,
    PastAttempt,
    Reason,
    RecoveryFacts,
    RequireAction,
    Wait,
    as_utc,
)
from services.worker.recovery.networks import CURRENT_RULES, Allowed, NetworkRules, Never, NotBefore, check
from services.worker.recovery.policy import Policy

# How soon to look again when an outcome or a finalization is awaited: long enough for a call to time out and be read.
LOOK_AGAIN = timedelta(minutes=30)
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
) -> Decision:
    """The next step for the recovery, and why.

    `attempts` are all of this recovery, Stripe's and ours, in any order; `same_card_elsewhere` those of the merchant
    on the same card for other invoices, which count for the networks only. Raises ValueError for a naive datetime.
    """
    now = as_utc("now", now)
    in_order = tuple(sorted(attempts, key=lambda a: (a.at, a.number)))
    case = Case(policy, recovery, invoice, in_order, now, tuple(same_card_elsewhere), rules)
    for rule in RULEBOOK:
        decision = rule(case)
        if decision is not None:
            return decision
    return _retry_by_schedule(case)


# --- Ends: nothing is left to do, or somebody said stop ---------------------------------------------------------------


def _paid_by_our_attempt(case: Case) -> Close | None:
    """Our own money comes before any stop: a stop that arrived while the charge was in flight does not undo it."""
    ours = (a.result is AttemptResult.SUCCEEDED and a.origin is Origin.CITADEL for a in case.attempts)
    if not (case.invoice.paid and any(ours)):
        return None
    return Close(
        "recovered", EndReason.PAID_BY_RETRY, _reason(case, "paid_by_our_attempt", "Our attempt collected the invoice.")
    )


def _stopped_from_outside(case: Case) -> Close | None:
    if case.recovery.stop_requested is not None:
        return _stop(case, case.recovery.stop_requested, f"A stop was requested: {case.recovery.stop_requested}.")
    if not case.recovery.merchant_active:
        return _stop(case, EndReason.MERCHANT_GONE, "The merchant is no longer connected.")
    return None


def _invoice_written_off(case: Case) -> Close | None:
    if case.invoice.status is InvoiceStatus.VOID:
        return _stop(case, EndReason.VOIDED, "The invoice is void.")
    if case.invoice.status is InvoiceStatus.UNCOLLECTIBLE:
        return _stop(case, EndReason.MARKED_UNCOLLECTIBLE, "The invoice was marked uncollectible.")
    return None


def _paid(case: Case) -> Close | None:
    if not case.invoice.paid:
        return None
    state, by = attribute_payment(
        case.attempts, case.recovery.messages_sent, paid_out_of_band=case.invoice.paid_out_of_band
    )
    if state == "stopped":
        return _stop(case, EndReason.PAID_ELSEWHERE, "The invoice was paid, and not through us.")
    end_reason = EndReason.PAID_BY_RETRY if by == "retry" else EndReason.PAID_AFTER_MESSAGE
    reason = _reason(case, "paid", "The invoice is paid.", recovered_by=by, messages=case.recovery.messages_sent)
    return Close(state, end_reason, reason)


def _no_longer_ours_to_collect(case: Case) -> Close | None:
    if case.invoice.subscription_status in SUBSCRIPTION_OVER:
        return _stop(case, EndReason.SUBSCRIPTION_CANCELED, "The subscription is canceled.")
    if case.invoice.collection_method != "charge_automatically":
        return _stop(case, EndReason.COLLECTED_BY_HAND, "The invoice is not charged automatically any more.")
    return None


def _window_over(case: Case) -> Close | None:
    if case.now < case.deadline:
        return None
    return _exhaust(case, EndReason.WINDOW_OVER, f"{case.policy.window_days} days have passed.")


# --- Not now: something has to be known first -------------------------------------------------------------------------


def _outcome_unknown(case: Case) -> Wait | None:
    """An attempt without an outcome may have charged; so may one that succeeded while the invoice is still open."""
    for attempt in case.attempts:
        if attempt.unresolved or attempt.result is AttemptResult.SUCCEEDED:
            return _wait(
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
    return _wait(case, case.now + LOOK_AGAIN, "invoice_is_draft", "The invoice is not final yet.")


# --- Not with this payment method -------------------------------------------------------------------------------------


def _needs_authentication(case: Case) -> RequireAction | None:
    """3-D Secure is the customer's part. Pointless where the payment method was declined for good otherwise, too."""
    causes = {verdict.cause for verdict in case.hard_declines}
    if causes != {DeclineCause.AUTHENTICATION_REQUIRED}:
        return None
    text = "The bank asks the customer to authenticate; a charge without them fails again."
    return RequireAction(_not_attempted(case, "authentication_required", text), case.deadline)


def _no_usable_method(case: Case) -> AskNewMethod | None:
    if case.invoice.payment_method_id is None:
        text = "There is no payment method to charge."
        return AskNewMethod(_not_attempted(case, "no_payment_method", text), case.deadline)
    if case.hard_declines:
        verdict = case.hard_declines[-1]
        text = "The payment method was declined for good."
        reason = _not_attempted(case, "hard_decline", text, cause=verdict.cause, why=verdict.why)
        return AskNewMethod(reason, case.deadline)
    if expired(case):
        card = case.invoice.card or Card()
        reason = _not_attempted(
            case, "card_expired", "The card has expired.", exp_month=card.exp_month, exp_year=card.exp_year
        )
        return AskNewMethod(reason, case.deadline)
    return None


# --- Not any more -----------------------------------------------------------------------------------------------------


def _attempts_used_up(case: Case) -> Close | None:
    if case.used < case.policy.max_attempts:
        return None
    return _exhaust(case, EndReason.ATTEMPTS_USED_UP, f"All {case.policy.max_attempts} attempts are used up.")


# --- Not yet ----------------------------------------------------------------------------------------------------------


def _stripe_tries_itself(case: Case) -> Wait | None:
    """Retries leave the field to what Stripe has scheduled; a new payment method only keeps out of its quiet period."""
    theirs = case.invoice.stripe_next_attempt_at
    quiet = timedelta(hours=case.policy.quiet_hours_around_stripe)
    if theirs is None or case.now >= theirs + quiet:
        return None
    if case.method_is_new and case.now < theirs - quiet:
        return None
    return _wait(
        case,
        theirs + quiet,
        "stripe_tries_itself",
        "Stripe has an attempt scheduled; ours waits until it is over.",
        stripe_next_attempt_at=_iso(theirs),
        quiet_hours=case.policy.quiet_hours_around_stripe,
    )


def _network_rules(case: Case) -> Wait | AskNewMethod | None:
    card, amount = case.invoice.card, case.invoice.amount_remaining
    verdict = check(case.rules, card, (*case.attempts, *case.same_card_elsewhere), amount, case.now)
    network = card.network if card else None
    match verdict:
        case Allowed():
            return None
        case NotBefore(at, rule):
            text = "The card network allows no attempt yet."
            return _wait(case, at, "network_limit", text, limit=rule, network=network, rules=case.rules.version)
        case Never(rule):
            text = "The card network forbids another attempt with this card."
            reason = _not_attempted(case, "network_never", text, limit=rule, network=network, rules=case.rules.version)
            return AskNewMethod(reason, case.deadline)
    assert_never(verdict)


def _retry_by_schedule(case: Case) -> AttemptNow | Wait:
    """The last rule, which always decides: now if it is time, else when it is."""
    cause, due = when_due(case)
    inputs: dict[str, JsonScalar] = {"due": _iso(due), "tries_with_method": len(case.on_method)}
    if case.method_is_new:
        rule, text = "new_payment_method", "A payment method that was not tried yet: at once."
    else:
        rule, text = "schedule", f"The next attempt after {cause} is due at {_iso(due)}."
        inputs["cause"] = cause
    if due <= case.now:
        road = Considered("wait", f"the attempt was due at {_iso(due)}")
        return AttemptNow(_reason(case, rule, text, road, **inputs))
    if due >= case.deadline:
        text = "The next attempt would come after the window; messages go on until its end."
        return _wait(case, case.deadline, "window_ends_first", text, **inputs)
    return _wait(case, due, rule, text, **inputs)


RULEBOOK: tuple[Callable[[Case], Decision | None], ...] = (
    _paid_by_our_attempt,
    _stopped_from_outside,
    _invoice_written_off,
    _paid,
    _no_longer_ours_to_collect,
    _window_over,
    _outcome_unknown,
    _not_final,
    _needs_authentication,
    _no_usable_method,
    _attempts_used_up,
    _stripe_tries_itself,
    _network_rules,
)


# --- How a decision is written down -----------------------------------------------------------------------------------


def _reason(case: Case, rule: str, text: str, *considered: Considered, **inputs: JsonScalar) -> Reason:
    facts: dict[str, JsonScalar] = {
        "attempts_used": case.used,
        "max_attempts": case.policy.max_attempts,
        "window_ends": _iso(case.deadline),
    }
    return Reason(rule, text, facts | inputs, considered)


def _not_attempted(case: Case, rule: str, text: str, **inputs: JsonScalar) -> Reason:
    return _reason(case, rule, text, Considered("attempt_now", text), **inputs)


def _wait(case: Case, until: datetime, rule: str, text: str, **inputs: JsonScalar) -> Wait:
    return Wait(min(until, case.deadline), _not_attempted(case, rule, text, **inputs))


def _stop(case: Case, end_reason: str, text: str) -> Close:
    return Close("stopped", end_reason, _reason(case, end_reason, text))


def _exhaust(case: Case, end_reason: EndReason, text: str) -> Close:
    end_action = case.policy.end_action
    road = Considered("change_subscription", f"the policy's end action is {end_action}")
    return Close("exhausted", end_reason, _reason(case, end_reason, text, road, end_action=end_action))


def _iso(at: datetime) -> str:
    return at.isoformat()
