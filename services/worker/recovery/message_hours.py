"""In which hour of the customer's day a message that is due goes out. Pure: equal arguments give the same moment.

With `likeliest` it waits, for less than a day, for the hour in which an answer is worth most: the hour's factor, less
what waiting costs. As that cost is a share of what is left, an hour that was worth waiting for is still the best one
when it has come, so that nobody waits twice. One message in ten tries another hour of the day, so that hours at which
nobody is written to are learned of, too; which one, and at which hour, is drawn by the recovery's key (Thompson
sampling: an hour is drawn as often as it may be the best one; Russo et al., 2018, https://arxiv.org/abs/1707.02038). At
night nothing is tried.
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
    paused) is late: it waits for an hour from now on. None: nobody asks whether it is late. `tries`: whether one
    message in ten tries another hour; there is no use in it where nothing is learned.
    """

    rule: MessageHours = ANY_HOUR
    country: str | None = None
    key: str = ""
    answers: Answers = NOTHING_LEARNED
    now: datetime | None = None
    tries: bool = True

    def moment(self, due: datetime, ends: datetime) -> Moment:
        """When a message that is due then goes out, in UTC: not before, less than a day later, and while there is time
        to answer before the window `ends`. A late one: by the same rule from `now` on, without trying any."""
        if isinstance(self.rule, AnyHour):
            return Moment(due)
        found = self._after(self.rule, as_utc("due", due), ends, tries=self.tries)
        if self.now is None or self.now - found.at < ONE_HOUR:
            return found
        again = self._after(self.rule, as_utc("now", self.now), ends, tries=False)
        return Moment(again.at, again.why or found.why)  # why it waited is true, however late it is

    def _after(self, rule: HourWindow | LikeliestHour, due: datetime, ends: datetime, *, tries: bool) -> Moment:
        match rule:
            case HourWindow():
                return self._within(rule, due, ends)
            case LikeliestHour():
                return self._likeliest(due, ends, tries=tries)
            case _:
                assert_never(rule)

    def _within(self, rule: HourWindow, due: datetime, ends: datetime) -> Moment:
        zone = zone_of(self.country) if rule.zone == "card_country" else ZoneInfo(rule.zone)
        for waited, hour, at in self._candidates(due, ends, zone):
            if rule.holds(hour):
                why = f"the policy writes to customers between {rule.from_hour} and {rule.until_hour}"
                return Moment(at, why if waited else None)
        return Moment(due, "too little time is left to wait for the policy's hours")

    def _likeliest(self, due: datetime, ends: datetime, *, tries: bool) -> Moment:
        candidates = list(self._candidates(due, ends, zone_of(self.country)))
        best, key = self._best(candidates), f"{self.key}/{due.isoformat()}"
        by_day = [each for each in candidates if each[1] not in NIGHT]
        if not tries or spread(key, 0) >= TRIED or not by_day:
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

    def _candidates(self, due: datetime, ends: datetime, zone: ZoneInfo) -> Iterator[tuple[int, int, datetime]]:
        """(full hours waited, local hour, when) for the hour of `due` and the 23 after it, while there is time to
        answer; in each but the first, the recovery's key says when, so that what waits together does not go out
        together."""
        local = due.astimezone(zone)
        yield 0, local.hour, due
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        begins, share = due - into, spread(self.key, 0)
        for waited in HOURS[1:]:
            at = begins + (waited + share) * ONE_HOUR
            if at > ends - LEFT_TO_ANSWER:
                return
            yield waited, at.astimezone(zone).hour, at


UNTIMED: Final = HourOfMessages()
"""Messages go out when they are due."""
