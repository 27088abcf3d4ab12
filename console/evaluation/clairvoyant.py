"""The clairvoyant: what could be had at most, under the same rules.

It has the window, the messages, the number of attempts, the minimum gap and the attempt times of a policy, obeys hard
declines and the networks' limits, and knows the failure's fate and every draw. It makes the attempts that are paid
soonest, and knows in which hour of the day from when it is due each message is answered. The draw of the next attempt
may be a luckier one, so it may try in vain before, as early as the rules allow.

No strategy that obeys the same rules has a failure paid that it has not: such a strategy's n-th attempt is never
earlier than the clairvoyant's n-th could be, and that attempts in vain were made earlier only helps, because networks'
limits and banks that want rest look back. Only an attempt against a rule, or after the window, is paid beyond it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from console.evaluation.play import ALONE, MESSAGE, NOBODY, RETRY, Fate, messages_until, paid_by_customer
from console.evaluation.population import NEVER, Failure, Kind
from console.evaluation.strategies import Plan, Planned, Step, declined, invoice_of, segment_for
from console.evaluation.writing import Writer, answered_soonest
from services.worker.recovery import CURRENT_RULES, NotBefore, Origin, Policy, check, classify
from services.worker.recovery.attempt_times import next_open
from services.worker.recovery.networks import Never

CLAIRVOYANT: Final = "clairvoyant"


class Clairvoyant:
    """Knows the fate, and keeps the rules of a policy."""

    name = CLAIRVOYANT

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._always = policy.attempt_times.always and not policy.segments
        # Its plan's attempts are the earliest that the rules allow; it makes them only as far as they help.
        self._planned = Planned(
            self.name,
            policy,
            lambda kind: _earliest(policy, kind),
            in_detail=bool(policy.segments),
            writer=Writer(foreseen=True),
        )

    def earliest(self, kind: Kind) -> Sequence[Step]:
        """The earliest attempts that the rules allow after a failure of this kind, if all are in vain."""
        return self._planned.plan(kind).attempts

    def play(self, failure: Failure) -> Fate:
        """The best that can become of a failure: paid as soon as possible, with as few attempts as that takes."""
        plan = self._planned.plan(failure.kind)
        paid_at, by = self._by_customer(plan, failure)
        until, made = min(paid_at, plan.ends), 0
        if failure.fate.spans:
            tried = [failure.kind.opened_at]
            for number, step in enumerate(plan.attempts):
                if step.at >= until:
                    break
                at = self._soonest(failure, number, step.at, tried, until)
                if at < until:
                    paid_at, until, by, made = at, at, RETRY, number + 1
                    if failure.fate.bank is None:
                        break  # a luckier draw cannot come sooner: it does not open the bank
                tried.append(step.at)
            updated_at = failure.fate.updated_at
            if updated_at < until:
                # Other attempts before it give it another draw, as in `play`.
                for number in range(1, len(plan.attempts) + 2):
                    if failure.approves(updated_at, number, tried):
                        paid_at, by, made = updated_at, RETRY, number
                        break
        return Fate(paid_at, by if paid_at < NEVER else NOBODY, made, 0, messages_until(plan, paid_at))

    def _by_customer(self, plan: Plan, failure: Failure) -> tuple[float, str]:
        """As `paid_by_customer`, but each message goes out in the first hour in which it is answered, whatever the
        policy says of hours: others may wait for it."""
        if failure.attention is None:
            return paid_by_customer(plan, failure)
        paid_at, by = failure.alone_at, ALONE
        for number, due_at in enumerate(plan.messages[: len(failure.answers)]):
            if due_at >= paid_at:
                break
            answered_at = answered_soonest(failure, number, due_at, plan.ends)
            if answered_at < paid_at:
                paid_at, by = answered_at, MESSAGE
        return paid_at, by

    def _soonest(self, failure: Failure, number: int, not_before: float, tried: list[float], until: float) -> float:
        """When the `number`-th attempt (from 0) would first succeed, if it is not made before; NEVER by `until`."""
        fate, draw = failure.fate, failure.draws[number % len(failure.draws)]
        bank = fate.bank
        if draw >= (fate.approves if bank is None else fate.approves * bank.best):
            return NEVER
        if fate.rest is not None:
            not_before = max(not_before, fate.rest.over_at(tried))
        for begins, ends in fate.spans:
            at = max(begins, not_before)
            while at < ends and at < until:
                open_at = at if self._always else self._open(failure.kind, at)
                if open_at > at:
                    at = open_at
                elif bank is None or draw < fate.approves * bank.lets_through(at):
                    return at
                else:
                    at = bank.next_change(at)
        return NEVER

    def _open(self, kind: Kind, at: float) -> float:
        times = self._policy.segment(segment_for(self._policy, kind)).attempt_times
        return next_open(times, datetime.fromtimestamp(at, UTC), kind.country).timestamp()


def _earliest(policy: Policy, kind: Kind) -> Iterator[Step]:
    """The earliest attempts that the rules allow."""
    policy = policy.segment(segment_for(policy, kind))
    if classify(kind.decline).hard or policy.driver == "stripe":
        return
    gap, now, amount = timedelta(hours=policy.minimum_gap_hours), kind.opened, invoice_of(kind).amount_remaining
    ends = now + timedelta(days=policy.window_days)
    attempts = [declined(kind, 1, Origin.STRIPE, now)]
    for number in range(policy.max_attempts):
        now += gap
        while (allowed := next_open(policy.attempt_times, now, kind.country)) < ends:
            now = allowed
            verdict = check(CURRENT_RULES, kind.card, attempts, amount, now)
            if isinstance(verdict, Never):
                return
            if not isinstance(verdict, NotBefore):
                break
            now = verdict.at
        if allowed >= ends:
            return
        yield Step(now.timestamp(), breach=False)
        attempts.append(declined(kind, number + 2, Origin.CITADEL, now))
