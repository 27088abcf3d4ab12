"""Plans worked out plainly: stories one by one, every candidate looked at again for each attempt.

Slow on purpose, and without anything that is kept: what `planning.plan` says has to be the same to the last digit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from services.worker.recovery.attempt_times import next_open
from services.worker.recovery.belief.parts import BANKS, DELAY_NAMES, Weights
from services.worker.recovery.belief.paydays import RULES
from services.worker.recovery.belief.planning import A_DAY_COSTS, HOURS, Limits, Planned
from services.worker.recovery.belief.stories import APPROVED, PAID_AT_HOUR, Run, reset_at, runs_of
from services.worker.recovery.timezones import zone_of


@dataclass(frozen=True, slots=True)
class Story:
    """One way in which the payment becomes possible, and when its bank declines."""

    run: Run
    hours: float | None
    bank: object


class Reference:
    """The stories of a belief."""

    def __init__(self, weights: Weights, country: str | None, size: int) -> None:
        self.zone, self._country, self._size = zone_of(country), country, size
        banks = _banks(weights, size)
        self.stories: dict[int, Story] = {}
        for run in runs_of(weights, size):
            for place in range(run.count):
                hours = None
                if run.hours:
                    hours = run.hours[run.count - 1 - place if run.way in RULES else place]
                self.stories[run.first + place] = Story(run, hours, banks[run.first + place])
        random = Random("noise")  # noqa: S311 - as the belief
        self._noise = [{story for story in range(size) if random.random() < APPROVED} for _ in range(32)]
        self._accepting: dict[tuple[datetime, datetime], frozenset[int]] = {}

    def accepting(self, at: datetime, failed_at: datetime) -> frozenset[int]:
        """The numbers of the stories in which the bank accepts an attempt."""
        if (at, failed_at) not in self._accepting:
            since = dict(self._since(at))
            found = (n for n, story in self.stories.items() if self._accepts(story, at, failed_at, since))
            self._accepting[at, failed_at] = frozenset(found)
        return self._accepting[at, failed_at]

    def ruled_out(self, accepting: frozenset[int], at: datetime) -> frozenset[int]:
        """Those of them that a decline rules out."""
        return accepting & self._noise[int(at.timestamp()) // 3600 * 7919 % 32]

    def why(self, reached: frozenset[int]) -> str | None:
        """What most have in common."""
        counts: dict[str, int] = {}
        for number in self.stories:
            way = self.stories[number].run.way
            if way in RULES:
                text = f"customers are paid {RULES[way].name}"
            else:
                text = "such declines pass with time" if way in DELAY_NAMES else f"limits of a {way} are over"
            counts[text] = counts.get(text, 0) + (number in reached)
        text, most = max(counts.items(), key=lambda each: each[1], default=("", 0))
        return text if most > 0.3 * len(reached) else None

    def plan(self, declined: list[datetime], limits: Limits) -> tuple[Planned, ...]:
        """As `planning.plan`."""
        hours = [each.astimezone(UTC).replace(minute=0, second=0, microsecond=0) for each in declined]
        by_hours = replace(limits, until=limits.until.astimezone(UTC).replace(minute=0, second=0, microsecond=0))
        first, made = self._planned(hours[:1], by_hours), len(hours) - 1
        late = [at - each.at for at, each in zip(declined[1:], first, strict=False)]
        if made == 0 or len(late) < made or not all(timedelta(0) <= each < timedelta(hours=1) for each in late):
            return self._planned(hours, by_hours)
        missed = 1 - first[made - 1].collected
        return tuple(replace(each, collected=1 - (1 - each.collected) / missed) for each in first[made:])

    def _planned(self, declined: list[datetime], limits: Limits) -> tuple[Planned, ...]:
        alive = frozenset(range(self._size))
        for at in declined:
            alive -= self.ruled_out(self.accepting(at, declined[0]), at)
        first = declined[-1] + limits.after + timedelta(hours=1)
        candidates = [
            at for at in self._times(first, limits.until) if next_open(limits.times, at, limits.country) == at
        ]
        chosen: list[datetime] = []
        left = alive
        while candidates and len(chosen) < limits.most - (len(declined) - 1):

            def worth(at: datetime, left: frozenset[int] = left) -> float:
                days = (at.timestamp() - first.timestamp()) / 86_400
                return len(self.accepting(at, declined[0]) & left) * (1 - A_DAY_COSTS * days)

            best = max(candidates, key=worth)
            if len(self.accepting(best, declined[0]) & left) < limits.least_chance * len(left):
                break
            candidates.remove(best)
            if all(abs(best - other) > limits.after + limits.takes for other in chosen):
                chosen.append(best)
                left -= self.ruled_out(self.accepting(best, declined[0]), best)
        return self._in_order(declined[0], sorted(chosen), alive)

    def _in_order(self, failed_at: datetime, chosen: list[datetime], alive: frozenset[int]) -> tuple[Planned, ...]:
        found: list[Planned] = []
        left = alive
        for at in chosen:
            before = left
            left -= self.ruled_out(self.accepting(at, failed_at), at)
            chance, collected = 1 - len(left) / len(before), 1 - len(left) / len(alive)
            found.append(Planned(at, chance, collected, self.why(before - left)))
        return tuple(found)

    def _times(self, first: datetime, until: datetime) -> Iterator[datetime]:
        day = first.astimezone(self.zone).date()
        while day <= until.astimezone(self.zone).date():
            for hour in HOURS:
                at = datetime.combine(day, time(hour), self.zone).astimezone(UTC)
                if first <= at < until:
                    yield at
            day += timedelta(days=1)

    def _since(self, at: datetime) -> Iterator[tuple[str, float]]:
        """How many hours before the middle of the quarter of the day wages came, by each rule; none from 60 days on."""
        local = at.astimezone(self.zone)
        hour = local.hour // 6 * 6 + 3
        day: date = local.date() - timedelta(days=hour < PAID_AT_HOUR)
        for name, rule in RULES.items():
            days = (ago for ago in range(60) if rule.is_payday(day - timedelta(days=ago), self._country))
            found = next(days, None)
            if found is not None:
                yield name, found * 24 + (hour - PAID_AT_HOUR) % 24

    def _accepts(self, story: Story, at: datetime, failed_at: datetime, since: dict[str, float]) -> bool:
        if _declines(story.bank, at.astimezone(self.zone)):
            return False
        way = story.run.way
        if way in RULES:
            return way in since and story.hours is not None and story.hours > since[way]
        if way in DELAY_NAMES:
            return story.hours is not None and story.hours <= (at - failed_at) // timedelta(hours=1)
        return at.timestamp() >= reset_at(way, failed_at, self.zone)


def _declines(bank: object, local: datetime) -> bool:
    if isinstance(bank, tuple):
        first, hours = bank
        return bool((local.hour - first) % 24 < hours)
    return bank is not None and local.weekday() >= 5


def _banks(weights: Weights, size: int) -> list[object]:
    places = list(range(size))
    Random("banks").shuffle(places)  # noqa: S311 - as the belief
    found: list[object] = [None] * size
    used, total = 0, 0.0
    for bank, share in zip(BANKS, weights.banks, strict=True):
        total += share * size
        for place in places[used : round(total)]:
            found[place] = bank
        used = round(total)
    return found
