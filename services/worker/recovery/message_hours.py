"""In which hour of the customer's day a message that is due goes out. Pure: equal arguments give the same moment.

With `likeliest` it waits, for less than a day, for the hour in which an answer is worth most: the hour's factor, less
what waiting costs. As that cost is a share of what is left, an hour that was worth waiting for is still the best one
when it has come, so that nobody waits twice. A late message avoids the night, and waits for nothing else.

One message in ten tries another hour of the day, so that hours at which nobody is written to are learned of, too; which
one, and at which hour, is drawn by the recovery's key (Thompson sampling: an hour is drawn as often as it may be the
best one; Russo et al., 2018, https://arxiv.org/abs/1707.02038). At night nothing is tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import Final, assert_never
from zoneinfo import ZoneInfo

from services.worker.recovery.message_answers import HOURS, NIGHT, NOTHING_LEARNED, Answers
from services.worker.recovery.model import as_utc
from services.worker.recovery.schedule import spread
from services.worker.recovery.timezones import zone_of
from shared.policy import AnyHour, HourWindow, LikeliestHour, MessageHours

ONE_HOUR: Final = timedelta(hours=1)
ONE_DAY: Final = timedelta(days=1)
LEFT_TO_ANSWER: Final = timedelta(hours=12)
"""No message waits longer than until so long before the window's end: an email that nobody can answer helps nobody."""
A_DAY_LATER: Final = 0.9
"""What an answer a day later is worth. Assumed: the sooner the customer knows, the less has changed meanwhile."""
TRIED: Final = 0.1
"""The share of messages that try another hour."""
# Hours beside the best one are named with it while they are better than usual by at least half as much as it is.
_NAMED: Final = 0.5
ANY_HOUR: Final = AnyHour()
_NORMAL: Final = NormalDist()
_WORTH: Final = tuple(A_DAY_LATER ** (waited / 24) for waited in HOURS)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a message goes out, and why then, for the merchant; None: it goes out when it is due."""

    at: datetime
    why: str | None = None


@dataclass(frozen=True, slots=True)
class HourOfMessages:
    """One recovery's hours: the policy's rule, the country of its card, its own key, and what was learned.

    `now`: when it is asked. A message that should have gone out an hour before or more (no worker ran, its merchant was
    paused) is late. None: nobody asks whether it is late. `tries`: whether one message in ten tries another hour; there
    is no use in it where nothing is learned.
    """

    rule: MessageHours = ANY_HOUR
    country: str | None = None
    key: str = ""
    answers: Answers = NOTHING_LEARNED
    now: datetime | None = None
    tries: bool = True

    def moment(self, due: datetime, ends: datetime) -> Moment:
        """When a message that is due then goes out, in UTC: not before, less than a day later, and while there is time
        to answer before the window `ends`. One that is late by an hour goes out now, but not at night or outside of the
        policy's window while that ends within its day: however often it is late, a day after it was due it waits for
        nothing."""
        if isinstance(self.rule, AnyHour):
            return Moment(due)
        due = as_utc("due", due)
        before = min(due + ONE_DAY, ends - LEFT_TO_ANSWER)
        match self.rule:
            case HourWindow() as rule:
                found = self._within(rule, due, before) or Moment(due)
            case LikeliestHour():
                found = self._likeliest(due, before)
            case _:
                assert_never(self.rule)
        if self.now is None or self.now - found.at < ONE_HOUR:
            return found
        now = as_utc("now", self.now)
        again = self._within(self.rule, now, before) if isinstance(self.rule, HourWindow) else self._by_day(now, before)
        # Why it did not go out when it was due is true, however late it is.
        return Moment(now, found.why) if again is None or again.at == now else again

    def last_due(self, ends: datetime) -> datetime:
        """The latest time at which a message is due, in a window that `ends` then: a day before. A policy's window that
        opens too late after that has it due in its last hour before."""
        last = as_utc("ends", ends) - ONE_DAY
        if not isinstance(self.rule, HourWindow) or self._within(self.rule, last, ends - LEFT_TO_ANSWER) is not None:
            return last
        zone = self._zone
        share, begins = spread(self.key, 0), last - _into(last.astimezone(zone))
        sooner = (begins + (share - back) * ONE_HOUR for back in HOURS[1:])
        return next((at for at in sooner if self.rule.holds(at.astimezone(zone).hour)), last)

    @property
    def _zone(self) -> ZoneInfo:
        if isinstance(self.rule, HourWindow) and self.rule.zone != "card_country":
            return ZoneInfo(self.rule.zone)
        return zone_of(self.country)

    def _within(self, rule: HourWindow, due: datetime, before: datetime) -> Moment | None:
        """When the policy's hours have come; None: not before that time."""
        for waited, hour, at in self._candidates(due, before):
            if rule.holds(hour):
                why = f"the policy writes to customers between {rule.from_hour} and {rule.until_hour}"
                return Moment(at, why if waited else None)
        return None

    def _by_day(self, now: datetime, before: datetime) -> Moment | None:
        """When it is not night; None: not before that time. A night in which customers answer is none."""
        factors = self.answers.factors
        for waited, hour, at in self._candidates(now, before):
            if hour not in NIGHT or (not waited and factors[hour] >= sum(factors) / len(factors)):
                return Moment(at, "a late message does not go out at night" if waited else None)
        return None

    def _likeliest(self, due: datetime, before: datetime) -> Moment:
        candidates = list(self._candidates(due, before))
        best, key = self._best(candidates), f"{self.key}/{due.isoformat()}"
        by_day = [each for each in candidates if each[1] not in NIGHT]
        if not self.tries or spread(key, 0) >= TRIED or not by_day:
            return best
        tried = max(by_day, key=lambda each: self._drawn(each[1], key) * _WORTH[each[0]])[2]
        if tried == best.at:
            return best
        if tried == due:
            return Moment(due)
        return Moment(tried, "one message in ten tries another hour, so that it is learned when customers answer")

    def _best(self, candidates: list[tuple[int, int, datetime]]) -> Moment:
        factors = self.answers.factors
        waited, hour, at = max(candidates, key=lambda each: factors[each[1]] * _WORTH[each[0]])
        if not waited:
            return Moment(at)
        if not self.answers.messages:
            return Moment(at, "at night customers are taken to answer less; nothing was learned so far")
        due_hour, usual = candidates[0][1], sum(factors) / len(factors)
        named = self._around(hour, usual + _NAMED * (factors[hour] - usual))
        if due_hour in NIGHT and len(named) > len(HOURS) // 3:
            return Moment(at, "at night customers answer less, and by day no hour stands out")
        return Moment(at, f"customers answer most between {named[0]} and {(named[-1] + 1) % 24}")

    def _around(self, hour: int, least: float) -> list[int]:
        """The hours side by side, with this one among them, whose factors are at least that."""
        found = [hour]
        while len(found) < len(HOURS) and self.answers.factors[(found[-1] + 1) % 24] >= least:
            found.append((found[-1] + 1) % 24)
        while len(found) < len(HOURS) and self.answers.factors[found[0] - 1] >= least:
            found.insert(0, (found[0] - 1) % 24)
        return found

    def _drawn(self, hour: int, key: str) -> float:
        """A factor that this hour may have."""
        share = min(max(spread(key, 1 + hour), 1e-6), 1 - 1e-6)
        return self.answers.factors[hour] + self.answers.unsure[hour] * _NORMAL.inv_cdf(share)

    def _candidates(self, due: datetime, before: datetime) -> Iterator[tuple[int, int, datetime]]:
        """(full hours waited, local hour, when) for the hour of `due`, and for the 23 after it up to `before`; in each
        but the first, the recovery's key says when, so that what waits together does not go out together."""
        zone = self._zone
        local = due.astimezone(zone)
        yield 0, local.hour, due
        begins, share = due - _into(local), spread(self.key, 0)
        for waited in HOURS[1:]:
            at = begins + (waited + share) * ONE_HOUR
            if at >= before:
                return
            yield waited, at.astimezone(zone).hour, at


def _into(local: datetime) -> timedelta:
    """How much of its hour is over."""
    return timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


UNTIMED: Final = HourOfMessages()
"""Messages go out when they are due."""
