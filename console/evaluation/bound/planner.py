"""Our planner's choice beside the best one, for its own stories.

The planner chooses times one by one (`services/worker/recovery/belief/planning.py`). Here it does so for stories in
which a bank that would accept always accepts, and the best schedule for the same stories, times and gap is computed
beside it. Two figures: for the stories with one span each, the best exactly; for all of them, an upper bound of it:
beside any times S, n others reach at most what S does and what each of the n best adds to S alone (Leskovec et al.
2007, Cost-effective outbreak detection in networks, section 3.2, https://doi.org/10.1145/1281192.1281239).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from console.evaluation.bound.best import Floats, Gains, Places, Schedule, best
from console.evaluation.bound.law import Law
from services.worker.recovery import Policy
from services.worker.recovery.belief.parts import Weights
from services.worker.recovery.belief.planning import HOURS, Limits, plan
from services.worker.recovery.belief.stories import SIZE, Bits, Stories
from shared.policy import Likeliest

Accepted = npt.NDArray[np.bool_]
_AN_HOUR: Final = timedelta(hours=1)


class SureStories(Stories):
    """The stories of a belief; a decline rules out all that accept. `among`: of these alone, by number."""

    def __init__(self, weights: Weights, country: str | None, among: Places | None = None) -> None:
        super().__init__(weights, country)
        if among is not None:
            kept = np.zeros(SIZE, np.bool_)
            kept[among] = True
            self.all = np.packbits(kept, bitorder="little").view(np.uint64)

    def ruled_out(self, accepting: Bits, at: float) -> Bits:  # noqa: ARG002 - no chance declines here, at no time
        """All that accept."""
        return accepting


@dataclass(frozen=True, slots=True)
class Choice:
    """The planner's schedule for the stories with one span, and the best one; what they collect, of these stories.

    single: the share of the stories that have one span or none, of those that the failure leaves. of_all: for all
    stories, the worth of the planner's schedule as a share of the upper bound.
    """

    chosen: Schedule
    best: Schedule
    price: float
    single: float
    of_all: float

    @property
    def of_best(self) -> float:
        """The worth of what was chosen, as a share of the best."""
        worth = self.best.worth(self.price)
        return self.chosen.worth(self.price) / worth if worth else 1.0


def choose(weights: Weights, country: str | None, law: Law, policy: Policy, schedule: Likeliest) -> Choice:
    """Both for failures at a law's time. The price of an attempt is the policy's `least_chance`."""
    price, gap = schedule.least_chance, timedelta(hours=schedule.after_hours)
    failed_at = datetime.fromtimestamp(law.opened_at, UTC)
    until = failed_at + timedelta(days=policy.window_days)
    limits = Limits(gap, until, policy.max_attempts, price, policy.attempt_times, country)
    everything = SureStories(weights, country)
    at, part = _candidates(law, failed_at + gap + _AN_HOUR, until)
    accepted = _bits([everything.accepting(each, failed_at) for each in at])
    alive = np.flatnonzero(_bits([everything.all])[0] & ~_bits([everything.accepting(failed_at, failed_at)])[0])
    classes = _classes(accepted[:, alive], part)
    single = alive[classes >= 0]
    seconds = np.array([each.timestamp() for each in at])
    gains = _of_single(seconds, part, accepted[:, single], classes[classes >= 0])
    # More than the gap: the planner keeps more than `after_hours` between two attempts.
    apart = gap.total_seconds() + 1
    chosen = [each.at for each in plan(SureStories(weights, country, single), [failed_at], limits)]
    for_all = [each.at for each in plan(everything, [failed_at], limits)]
    reached = _reached(accepted[:, alive], [at.index(each) for each in for_all])
    upper = _at_most(accepted[:, alive], price, policy.max_attempts)
    return Choice(
        Schedule.of(gains, [at.index(each) for each in chosen]),
        best(gains, price, policy.max_attempts, apart),
        price,
        len(single) / len(alive),
        reached.worth(price) / upper if upper else 1.0,
    )


def _candidates(law: Law, first: datetime, until: datetime) -> tuple[list[datetime], Places]:
    """The times that the planner looks at, and the part of the day of each."""
    found = []
    day, last = (each.astimezone(law.zone).date() for each in (first, until))
    while day <= last:
        local = (datetime(day.year, day.month, day.day, hour, tzinfo=law.zone) for hour in HOURS)
        found += [each.astimezone(UTC) for each in local if first <= each < until]
        day += timedelta(days=1)
    return found, np.array([law.part_of(each.timestamp()) for each in found], np.intp)


def _bits(rows: Sequence[Bits]) -> Accepted:
    """By time, by story."""
    return np.unpackbits(np.stack(rows).view(np.uint8), axis=1, bitorder="little").astype(np.bool_)


def _classes(accepted: Accepted, part: Places) -> Places:
    """For each story the part of the day in which its bank is closed, the number of parts for none; -1 for a story that
    has several spans however its bank is closed."""
    parts = int(part.max()) + 1
    found = np.full(accepted.shape[1], -1, np.intp)
    for closed in range(parts):
        seen = part != closed
        found[_is_one_span(accepted[seen]) & ~accepted[~seen].any(axis=0)] = closed
    found[_is_one_span(accepted)] = parts
    return found


def _is_one_span(accepted: Accepted) -> Accepted:
    rises = accepted[0].astype(np.intp) + (accepted[1:] & ~accepted[:-1]).sum(axis=0)
    found: Accepted = rises <= 1
    return found


def _of_single(at: Floats, part: Places, accepted: Accepted, classes: Places) -> Gains:
    """Whom attempts reach, of stories with one span each; all of them are one whole."""
    parts, count = int(part.max()) + 1, len(at)
    beginning = np.zeros((parts + 1, count, count))
    begins = accepted.argmax(axis=0)
    for time in range(count):
        np.add.at(beginning[:, :, time], (classes[accepted[time]], begins[accepted[time]]), 1 / accepted.shape[1])
    return Gains.of(at, part, beginning)


def _at_most(accepted: Accepted, price: float, most: int) -> float:
    """More than any schedule is worth, whatever spans there are and however near its attempts."""
    stories = accepted.shape[1]
    left, collected = np.ones(stories, np.bool_), np.full(most + 1, np.inf)
    for _ in range(most + 1):
        adds = (accepted & left).sum(axis=1) / stories
        sums = np.concatenate(([0.0], np.cumsum(np.sort(adds)[::-1][:most])))
        collected[: len(sums)] = np.minimum(collected[: len(sums)], 1 - left.mean() + sums)
        left &= ~accepted[int(adds.argmax())]
    # Each attempt is made for all whom those before it do not reach.
    collected = np.minimum(collected, 1)
    attempts = np.concatenate(([0.0], np.cumsum(1 - collected[:-1])))
    return float((collected - price * attempts).max())


def _reached(accepted: Accepted, chosen: Sequence[int]) -> Schedule:
    """What attempts at these times collect."""
    left, attempts = np.ones(accepted.shape[1], np.bool_), 0.0
    for time in chosen:
        attempts += left.mean()
        left &= ~accepted[time]
    return Schedule((), float(1 - left.mean()), float(attempts), 1.0)
