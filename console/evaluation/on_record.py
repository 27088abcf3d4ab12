"""What is on record of a failure that was played: its attempts and messages, and what they say."""

from dataclasses import dataclass
from datetime import UTC, datetime

from console.evaluation.play import ALONE, MESSAGE, RETRY, play
from console.evaluation.population import Failure, Kind, cause_of
from console.evaluation.strategies import Strategy, amount_of
from services.worker.recovery.belief.beliefs import traits_of
from services.worker.recovery.belief.learning import Outcome


@dataclass(frozen=True, slots=True)
class OnRecord:
    """A failure of the past, the times of its attempts, and whether the last one was paid. `renewed`: the last one was
    made with a renewed card. `messages` are those that went out; `customer_paid_at`: when the customer paid it."""

    kind: Kind
    attempts: tuple[float, ...]
    paid: bool
    renewed: bool
    messages: tuple[float, ...] = ()
    customer_paid_at: float | None = None


def outcome_of(strategy: Strategy, failure: Failure, until: float) -> Outcome | None:
    """What the rows say of a failure that was played and had ended by then; None if it had not, or they say nothing."""
    fate, ends = play(strategy, failure), strategy.plan(failure.kind).ends
    if min(fate.paid_at, ends) > until:
        return None
    return outcome_until(past_of(strategy, failure), until)


def past_of(strategy: Strategy, failure: Failure) -> OnRecord:
    """What is on record of a failure that was played."""
    fate, plan = play(strategy, failure), strategy.plan(failure.kind)
    times = [step.at for step, _ in zip(plan.attempts, range(fate.attempts), strict=False)]
    renewed = len(times) < fate.attempts
    if renewed:  # the attempts with a renewed card are in no plan; the first is made when it comes
        times.append(failure.fate.updated_at)
    paid = fate.by == RETRY and fate.paid_at in times
    written = plan.messages[: fate.messages]
    by_customer = fate.paid_at if fate.by in (MESSAGE, ALONE) else None
    return OnRecord(failure.kind, tuple(times), paid, renewed, written, by_customer)


def outcome_until(past: OnRecord, until: float) -> Outcome | None:
    """What is known of a failure's attempts with its first card at a time; None if that is nothing: it takes an answer
    of the bank beside the first."""
    made = past.attempts[:-1] if past.renewed else past.attempts
    times = [datetime.fromtimestamp(at, UTC) for at in (past.kind.opened_at, *made) if at < until]
    paid = past.paid and not past.renewed and past.attempts[-1] < until
    declined, accepted_at = (times[:-1], times[-1]) if paid else (times, None)
    if len(times) < 2:
        return None
    traits = traits_of(past.kind.card, amount_of(past.kind))
    return Outcome(cause_of(past.kind.code), traits, tuple(declined), accepted_at)
