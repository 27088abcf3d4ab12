"""Whether, when and with which payment method an open invoice is charged: the second half of the rulebook.

The rules are applied to what the customer has brought since the failure, then to the payment method that Stripe takes
by its order; first to the latter if it is new. If none of them may be charged any more, they are applied to a
default of the customer's that is newer than the latter, and, if the policy allows backup methods, to each of the
customer's others, until one may be charged. Where Stripe makes the retries, its order alone counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import assert_never

from services.worker.recovery.belief.planning import Planned
from services.worker.recovery.case import Case, expired, explores, next_cause, used_for, when_due
from services.worker.recovery.consent import newer_default
from services.worker.recovery.model import (
    AskNewMethod,
    AttemptNow,
    Card,
    Close,
    Considered,
    Decision,
    JsonScalar,
    Prediction,
    RequireAction,
    Wait,
)
from services.worker.recovery.networks import Allowed, Never, NotBefore, check
from services.worker.recovery.reasons import exhaust, iso, not_attempted, reason, wait
from services.worker.recovery.refusals import merchants_matter
from shared.ids import PaymentMethodId
from shared.policy import DeclineCause
from shared.recovery_model import EndReason

NEW_METHOD, CUSTOMERS_DEFAULT, BACKUP_METHOD = "new_payment_method", "customers_default", "backup_method"
FIRST_TRIES = frozenset({NEW_METHOD, CUSTOMERS_DEFAULT, BACKUP_METHOD})
"""The rules by which a payment method is tried for the first time."""


def decide_method(case: Case) -> Decision:
    """The next step for an open invoice whose attempts all have an outcome."""
    by_stripe = case.policy.driver == "stripe"
    others = [] if by_stripe else [each for each in case.brought if each.payment_method_id != _charged(case)]
    roads = [case.naming(each, "brought") for each in others]
    last = None if by_stripe else newer_default(case.recovery, case.invoice)
    ways = [case, *roads] if case.method_is_new else [*roads, case]
    asks: list[tuple[AskNewMethod | RequireAction, Considered]] = []
    for road in ways if last is None else [*ways, case.naming(last, "default")]:
        if _confirming(asks) is not None and not road.is_brought:
            break  # who has brought another card is asked to confirm with it, not charged on the old one
        decision = _decide_one(road)
        name = "default_method" if road.named is None else f"{road.named}_method {_charged(road)}"
        if not isinstance(decision, AskNewMethod | RequireAction):
            return _also(decision, *(refused for _, refused in asks))
        asks.append((decision, Considered(name, decision.reason.text)))
    if not asks:
        raise ValueError("every case has the payment method of Stripe's order, or its lack")
    # To confirm is less to ask for than another card.
    asked = _confirming(asks) or asks[0][0]
    others_refused = [refused for each, refused in asks if each is not asked]
    if isinstance(asked, RequireAction):
        return _also(asked, *others_refused)
    if by_stripe or not case.policy.backup_methods:
        why = "Stripe makes the retries" if by_stripe else "the policy does not allow it"
        return _also(asked, *others_refused, *([Considered("backup_method", why)] if case.invoice.backups else []))
    tried = {_charged(road) for road in ways} | ({last.payment_method_id} if last else set())
    for other in case.invoice.backups:
        if other.payment_method_id in tried:
            continue
        instead = _decide_one(case.naming(other, "backup"))
        if isinstance(instead, AttemptNow | Wait):
            return _also(instead, asks[0][1], *others_refused)
        others_refused.append(Considered(f"backup_method {other.payment_method_id}", instead.reason.text))
    return _also(asked, *others_refused)


def _confirming(asks: Sequence[tuple[AskNewMethod | RequireAction, Considered]]) -> RequireAction | None:
    return next((asked for asked, _ in asks if isinstance(asked, RequireAction)), None)


def _charged(case: Case) -> PaymentMethodId | None:
    return case.invoice.payment_method_id


def _decide_one(case: Case) -> Decision:
    for rule in METHOD_RULES:
        decision = rule(case)
        if decision is not None:
            return decision
    return _retry_by_schedule(case)


def _also(decision: Decision, *considered: Considered) -> Decision:
    if not considered:
        return decision
    why = replace(decision.reason, considered=(*decision.reason.considered, *considered))
    return replace(decision, reason=why)


# --- Not with this payment method -------------------------------------------------------------------------------------


def _needs_authentication(case: Case) -> RequireAction | None:
    """Only the customer can pass 3-D Secure. Not asked for if the payment method has another hard decline, too."""
    causes = {verdict.cause for verdict in case.hard_declines}
    if causes != {DeclineCause.AUTHENTICATION_REQUIRED}:
        return None
    text = "The bank asks the customer to authenticate; a charge without them fails again."
    return RequireAction(not_attempted(case, "authentication_required", text), case.deadline)


def _merchants_matter(case: Case) -> Wait | None:
    """What Stripe blocked for good for the merchant's sake, only the merchant can have tried again."""
    if not case.hard_declines or not case.hard_declines[-1].merchants_matter:
        return None
    verdict = case.hard_declines[-1]
    text = "Stripe blocked the payment; that is the merchant's matter, and the customer is not asked for anything."
    return wait(case, case.deadline, "merchants_matter", text, cause=verdict.cause, why=verdict.why)


def _no_usable_method(case: Case) -> AskNewMethod | None:
    if case.invoice.payment_method_id is None:
        text = "There is no payment method to charge."
        return AskNewMethod(not_attempted(case, "no_payment_method", text), case.deadline)
    if case.hard_declines:
        verdict = case.hard_declines[-1]
        text = "The payment method was declined for good."
        why = not_attempted(case, "hard_decline", text, cause=verdict.cause, why=verdict.why)
        return AskNewMethod(why, case.deadline)
    if case.refused is not None:
        text = "Stripe cannot charge this payment method."
        return AskNewMethod(not_attempted(case, "method_refused", text, code=case.refused.error_code), case.deadline)
    if expired(case):
        card = case.invoice.card or Card()
        why = not_attempted(
            case, "card_expired", "The card has expired.", exp_month=card.exp_month, exp_year=card.exp_year
        )
        return AskNewMethod(why, case.deadline)
    return None


# --- Not any more, or not by us ---------------------------------------------------------------------------------------


def _attempts_used_up(case: Case) -> Close | None:
    if case.budget.attempts_left > 0:
        return None
    return exhaust(case, EndReason.ATTEMPTS_USED_UP, f"All {case.policy.max_attempts} attempts are used up.")


def _stripe_makes_the_retries(case: Case) -> Wait | None:
    if case.policy.driver != "stripe":
        return None
    theirs = case.invoice.stripe_next_attempt_at
    quiet = timedelta(hours=case.policy.quiet_hours_around_stripe)
    until = theirs + quiet if theirs is not None and theirs + quiet > case.now else case.deadline
    text = "The policy leaves all retries to Stripe; we write to the customer and watch."
    return wait(case, until, "driver_is_stripe", text, stripe_next_attempt_at=None if theirs is None else iso(theirs))


def _cause_used_up(case: Case) -> Wait | AskNewMethod | None:
    cause = next_cause(case)
    most = case.policy.schedules.for_cause(cause).max_attempts
    if most is None or case.method_is_new or used_for(case, cause) < most:
        return None
    text = f"The policy makes no more than {most} attempts with one payment method after {cause}."
    return _no_more(case, "cause_used_up", text, cause=cause, most=most)


def _no_more(case: Case, rule: str, text: str, **inputs: JsonScalar) -> Wait | AskNewMethod:
    """The end of the retries with a payment method: another is asked for, unless that would not help either."""
    if not merchants_matter(case.on_method):
        return AskNewMethod(not_attempted(case, rule, text, **inputs), case.deadline)
    text = f"{text} The last one failed for what only the merchant can change; the customer is not asked for anything."
    return wait(case, case.deadline, "merchants_matter", text, **inputs)


# --- Not yet ----------------------------------------------------------------------------------------------------------


def _stripe_tries_itself(case: Case) -> Wait | None:
    """Keep away from Stripe's own attempts: the scheduled one, and the last one.

    With the driver `auto` we make no retry while Stripe has one scheduled, however far off. With `citadel`, or with a
    payment method that the customer has just brought, retries only keep out of the quiet period around it.
    """
    quiet = timedelta(hours=case.policy.quiet_hours_around_stripe)
    theirs, last = case.invoice.stripe_next_attempt_at, case.last_by_stripe
    hours = case.policy.quiet_hours_around_stripe
    if theirs is not None and case.now < theirs + quiet:
        leaves_the_field = case.policy.driver == "auto" and not case.customer_acted
        if leaves_the_field or case.now >= theirs - quiet:
            text = "Stripe has an attempt scheduled; ours waits until it is over."
            at = iso(theirs)
            until = theirs + quiet
            return wait(case, until, "stripe_tries_itself", text, stripe_next_attempt_at=at, quiet_hours=hours)
    if last is not None and not case.method_is_new and case.now < last + quiet:
        text = "Stripe has just tried; ours waits until its quiet period is over."
        return wait(case, last + quiet, "stripe_has_tried", text, stripe_tried_at=iso(last), quiet_hours=hours)
    return None


def _network_rules(case: Case) -> Wait | AskNewMethod | None:
    card, amount = case.invoice.card, case.invoice.amount_remaining
    verdict = check(
        case.rules,
        card,
        case.attempts,
        amount,
        case.now,
        elsewhere=case.same_card_elsewhere,
        method=case.invoice.payment_method_id,
    )
    named = {"network": card.network if card else None, "rules": case.rules.version}
    match verdict:
        case Allowed():
            return None
        case NotBefore(at, rule):
            return wait(case, at, "network_limit", "The card network allows no attempt yet.", limit=rule, **named)
        case Never(rule):
            text = "The card network forbids another attempt with this card."
            return _no_more(case, "network_never", text, limit=rule, **named)
    assert_never(verdict)


def _retry_by_schedule(case: Case) -> AttemptNow | Wait:
    """The last rule, which always decides: attempt now if the schedule's time has come, else wait for it."""
    method = _charged(case)
    if method is None:
        raise ValueError("without a payment method an earlier rule asks for one")
    upcoming = when_due(case)
    due, cause = upcoming.at, upcoming.cause
    inputs: dict[str, JsonScalar] = {"due": iso(due), "tries_with_method": len(case.on_method)}
    if case.named == "backup" and case.method_is_new:
        rule, text = BACKUP_METHOD, "Another payment method that the customer has on file is tried."
    elif case.named == "default" and case.method_is_new:
        rule, text = CUSTOMERS_DEFAULT, "The customer's default, which is newer than what was charged, is tried."
    elif case.method_is_new:
        rule, text = NEW_METHOD, "A payment method that was not tried yet: at once."
    else:
        rule, text = "schedule", f"The next attempt after {cause} is due at {iso(due)}."
        inputs |= {"cause": cause, "timing": case.policy.timing}
        if upcoming.planned:
            rule, text = "likeliest", f"{text} {_expected(upcoming.planned)}"
            first, last = upcoming.planned[0], upcoming.planned[-1]
            inputs |= {"chance": round(first.chance, 3), "collected": round(last.collected, 3), "by": iso(last.at)}
            if case.policy.timing == "learned" and explores(case):
                text, inputs["explores"] = f"{text} {_EXPLORES}", True
            if case.policy.timing == "learned" and case.timing.earlier and case.timing.earlier.outcomes:
                inputs["earlier_recoveries"] = len(case.timing.earlier.outcomes)
    if due <= case.now:
        road = Considered("wait", f"the attempt was due at {iso(due)}")
        expected = Prediction(upcoming.planned[0].chance, cause) if upcoming.planned else None
        return AttemptNow(reason(case, rule, text, road, **inputs), method, expected)
    if upcoming.worthless:
        text = f"After {cause} no further attempt is likely enough to succeed; messages go on until the window's end."
        return wait(case, case.deadline, "nothing_likely", text, **inputs)
    if due >= case.deadline:
        text = "The next attempt would come after the window; messages go on until its end."
        return wait(case, case.deadline, "window_ends_first", text, **inputs)
    return wait(case, due, rule, text, **inputs)


_EXPLORES = (
    "This is one of the few recoveries that also try times beside those that were learned of your customers, to see "
    "whether these are better."
)


def _expected(planned: Sequence[Planned]) -> str:
    """How likely the next attempt and those after it are to collect, and why then."""
    first, last = planned[0], planned[-1]
    why = f", because {first.why}" if first.why else ""
    later = f"; {last.collected:.0%} by {last.at:%d %b}, in {len(planned)} attempts" if len(planned) > 1 else ""
    return f"It is {first.chance:.0%} likely to succeed{why}{later}."


METHOD_RULES: tuple[Callable[[Case], Decision | None], ...] = (
    _needs_authentication,
    _merchants_matter,
    _no_usable_method,
    _attempts_used_up,
    _stripe_makes_the_retries,
    _cause_used_up,
    _stripe_tries_itself,
    _network_rules,
)
