"""How a decision is recorded: the rule, a sentence, its inputs, the actions considered and not taken."""

from datetime import datetime

from services.worker.recovery.case import Case
from services.worker.recovery.model import Close, Considered, JsonScalar, Reason, Wait
from services.worker.recovery.segments import in_holdout
from shared.recovery_model import EndReason


def reason(case: Case, rule: str, text: str, *considered: Considered, **inputs: JsonScalar) -> Reason:
    """A reason with the inputs that every decision has."""
    facts: dict[str, JsonScalar] = {
        "attempts_used": case.budget.used,
        "max_attempts": case.policy.max_attempts,
        "window_ends": iso(case.deadline),
    }
    if case.segment is not None:
        facts["segment"] = case.segment
    if case.named is not None:
        facts[case.named] = case.invoice.payment_method_id
    return Reason(rule, text, facts | inputs, considered)


def not_attempted(case: Case, rule: str, text: str, **inputs: JsonScalar) -> Reason:
    """The reason for not attempting now."""
    return reason(case, rule, text, Considered("attempt_now", text), **inputs)


def held(case: Case, rule: str, text: str, **inputs: JsonScalar) -> Reason:
    """The reason for doing nothing at all, because people say so."""
    refused = (Considered(action, text) for action in ("attempt_now", "message", "end_action"))
    return reason(case, rule, text, *refused, **inputs)


def collected(case: Case, rule: str, text: str, *considered: Considered, **inputs: JsonScalar) -> Reason:
    """The reason for an end because the invoice is paid."""
    return reason(case, rule, text, Considered("attempt_now", "nothing is left to collect"), *considered, **inputs)


def wait(case: Case, until: datetime, rule: str, text: str, **inputs: JsonScalar) -> Wait:
    """A decision to wait, never past the window."""
    return Wait(min(until, case.deadline), not_attempted(case, rule, text, **inputs))


def stop(case: Case, end_reason: EndReason, text: str) -> Close:
    """A decision to stop, for a reason from outside."""
    return Close("stopped", end_reason, not_attempted(case, end_reason, text))


def exhaust(case: Case, end_reason: EndReason, text: str) -> Close:
    """A decision to end as exhausted, with the policy's end action; the holdout has none."""
    asked = case.policy.end_action
    watched = in_holdout(case.policy, case.recovery.invoice_id)
    action = "leave" if watched else asked
    others = [name for name in ("leave", "cancel", "pause", "mark_uncollectible") if name != action]
    why = "the invoice is of the holdout, which is left alone" if watched else f"the policy's end action is {asked}"
    considered = (Considered("attempt_now", text), *(Considered(name, why) for name in others))
    return Close("exhausted", end_reason, reason(case, end_reason, text, *considered, end_action=action), action)


def iso(at: datetime) -> str:
    """A time as the timeline shows it."""
    return at.isoformat()
