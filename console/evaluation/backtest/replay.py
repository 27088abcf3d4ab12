"""Replays a policy over the past: asks the live brain with what was known at each time.

The trace of a failure has all attempts that the policy could make, as if each attempt without a known success failed
with the last decline. `clearing` estimates how far along this trace a failure gets. So the rules are checked against
more attempts than would really have been made.

Known outcomes are taken from history. As long as the policy's attempts fall within an hour of those made, with
none added and none left out, each outcome is known. With the drivers `auto` and `stripe`, Stripe's retries stay as they
were. The trace ends when the customer paid or the invoice was given up.

An expired card is not tried until an event of Stripe's says that the network has renewed it, and then at once. History
shows the latest time of that event: the retry that succeeded.

Another payment method on file whose try has no known outcome is taken to be declined without a reason, and what follows
on that is tried, too. A failure of the policy's holdout is only watched: no attempt of ours, no message.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush

from console.evaluation.backtest.lessons import Lessons
from console.evaluation.backtest.messages import MessageDays
from console.evaluation.backtest.past import Past
from console.evaluation.backtest.run import Rules, Run
from console.evaluation.backtest.shortcut import Shortcuts
from console.evaluation.backtest.trace import Trace
from services.worker.recovery import Policy


class Replay:
    """One policy over the failures of one merchant.

    `lessons` is what learned timing could know. Stripe's retries teach beliefs, and no hours: so with a driver that
    leaves them as they were, no hours are known. Without `shortcuts` the brain is asked for every decision; the traces
    are the same.
    """

    def __init__(self, policy: Policy, lessons: Lessons | None = None, *, shortcuts: bool = True) -> None:
        self._backups = tries_backups(policy)
        known = lessons_for(policy, lessons or Lessons())
        known_ahead = Shortcuts(policy, known) if shortcuts else None
        self._rules = Rules(policy, policy.driver != "citadel", known, MessageDays(policy), known_ahead)

    def __call__(self, failures: Iterable[Past]) -> Iterator[Trace]:
        """The trace of each failure. Those on one card are replayed together, because the networks count by card."""
        for group in _by_card(failures, backups=self._backups):
            yield from self._group(group)

    def _group(self, group: Sequence[Past]) -> list[Trace]:
        runs = [Run(self._rules, past) for past in group]
        if len(runs) == 1:
            while runs[0].step():
                pass
        else:
            for run in runs:
                run.others = [other for other in runs if other is not run]
            waiting = [(run.now, number) for number, run in enumerate(runs)]
            heapify(waiting)
            while waiting:
                _, number = heappop(waiting)
                if runs[number].step():
                    heappush(waiting, (runs[number].now, number))
        return [run.finished() for run in runs]


def lessons_for(policy: Policy, lessons: Lessons) -> Lessons:
    """What learned timing may know of these under a policy."""
    if learns_hours(policy):
        return lessons
    return lessons.without_hours() if learns_plans(policy) else Lessons()


def learns_hours(policy: Policy) -> bool:
    """Whether learned timing has retries of ours to learn hours from."""
    return policy.learns_hours and policy.driver == "citadel"


def learns_plans(policy: Policy) -> bool:
    """Whether attempts of ours are planned by what was learned of customers."""
    return policy.timing == "learned" and policy.driver != "stripe" and policy.believes


def tries_backups(policy: Policy) -> bool:
    """Whether the policy tries other payment methods on file, for all invoices or for a segment."""
    return policy.backup_methods or any(each.then.backup_methods for each in policy.segments)


def _by_card(failures: Iterable[Past], *, backups: bool) -> Iterator[Sequence[Past]]:
    """The failures in groups: in one are those that have a card in common, directly or by way of others."""
    group_of: dict[str, list[Past]] = {}
    for past in failures:
        prints = _fingerprints(past, backups=backups)
        if not prints:
            yield [past]
            continue
        group = group_of.setdefault(prints[0], [])
        group.append(past)
        for each in prints[1:]:
            other = group_of.setdefault(each, group)
            if other is not group:
                group.extend(other)
                for one in other:
                    group_of.update(dict.fromkeys(_fingerprints(one, backups=backups), group))
    yield from {id(group): group for group in group_of.values()}.values()


def _fingerprints(past: Past, *, backups: bool) -> list[str]:
    cards = [past.failure.card, *past.failure.backups] if backups else [past.failure.card]
    return [card.fingerprint for card in cards if card.fingerprint is not None]
