"""In which hours of their day customers answer messages: what is counted, and what is believed by the counts.

For each local hour there is one factor: by what an answer is likelier to a message that is sent then than to one like
it at a usual hour. What is like it: messages of the same kind and number, of the same merchant, because first messages
are answered more often than fourth ones, and merchants' customers differ. So an hour's answers are held against those
that its messages would have had at usual hours (indirect standardization), and the factor is the mean of a Gamma
distribution over a Poisson count: answers on top of a prior (Gelman et al., Bayesian Data Analysis, 3rd ed., section
2.6).

Three levels, each the prior of the next: what is assumed, all merchants of the pool, the merchant. Hours side by side
count for each other by half. Old messages fade. Only counts are kept, and nothing of any single customer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from math import isfinite, sqrt
from typing import Any, Final, Self

ANSWERED_WITHIN: Final = timedelta(hours=72)
"""A payment by the customer counts as an answer up to this long after a message, and before the next one."""
REMEMBERED: Final = 2_000
"""Of so many recoveries the messages are counted."""
LAYOUT: Final = "answered, usual by local hour/1"
"""What the places of kept counts mean."""

HOURS: Final = range(24)
NIGHT: Final = frozenset({22, 23, *range(7)})
AT_NIGHT: Final = 0.75
"""Before anything was seen: by what a message at night (22 to 7) is answered less. Assumed, no source."""
PRIOR_ANSWERS: Final = 20.0
"""How many answers the prior of an hour weighs as much as."""
BESIDE: Final = 0.5
"""How much an hour's messages count for the hours beside it."""
HALF_LIFE: Final = timedelta(days=180)
"""After this time a message counts half, as a recovery does for what is learned of customers."""
# A class of messages (merchant, kind, number) is answered like that kind and number everywhere until it has had about
# this many; and that like one in ten (assumed).
_LIKE_ALL: Final = 20.0
_USUALLY, _AS_MANY = 0.1, 10.0
# Third, fourth and further messages are counted together.
_LATER: Final = 3

ASSUMED: Final = tuple(AT_NIGHT if hour in NIGHT else 1.0 for hour in HOURS)
"""The factors before anything was seen."""


@dataclass(frozen=True, slots=True)
class Written:
    """A message that was sent, to learn from. `number` counts a recovery's messages from 1; `hour` is the local one at
    which it went out, `answered` whether the customer paid by it. `whose`: the merchant's id."""

    kind: str
    number: int
    at: datetime
    hour: int
    answered: bool
    whose: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Faded sums by local hour: `answered` messages, and the answers that as many like them have at a `usual` hour.
    `messages`: how many were counted."""

    messages: int
    answered: tuple[float, ...]
    usual: tuple[float, ...]

    @classmethod
    def of(cls, written: Iterable[Written], until: datetime) -> Self:
        """The counts of messages that were sent before `until`."""
        weighed = [(each, 0.5 ** ((until - each.at) / HALF_LIFE)) for each in written]
        everywhere, own = _Rates(), _Rates()
        for each, weight in weighed:
            step = min(each.number, _LATER)
            everywhere.add((each.kind, step), each, weight)
            own.add((each.whose, each.kind, step), each, weight)
        answered, usual = [0.0] * 24, [0.0] * 24
        for each, weight in weighed:
            step = min(each.number, _LATER)
            like_all = everywhere.rate((each.kind, step), _USUALLY, _AS_MANY)
            answered[each.hour] += weight * each.answered
            usual[each.hour] += weight * own.rate((each.whose, each.kind, step), like_all, _LIKE_ALL)
        return cls(len(weighed), tuple(answered), tuple(usual))

    def as_document(self) -> dict[str, list[float]]:
        """What is kept."""
        return {
            "answered": [round(each, 3) for each in self.answered],
            "usual": [round(each, 3) for each in self.usual],
        }


def read_counts(messages: int, document: Any) -> Counts | None:
    """Counts as they are kept; None: they are not what `as_document` makes."""
    if not isinstance(document, Mapping):
        return None
    answered, usual = _by_hour(document.get("answered")), _by_hour(document.get("usual"))
    return None if answered is None or usual is None else Counts(messages, answered, usual)


class _Rates:
    """How often classes of messages are answered at usual hours, by what is assumed of hours."""

    def __init__(self) -> None:
        self._sums: defaultdict[tuple[str | int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, key: tuple[str | int, ...], each: Written, weight: float) -> None:
        sums = self._sums[key]
        sums[0] += weight * each.answered
        # At night a message is worth less of one: else a merchant that writes by night only would seem to lack nothing.
        sums[1] += weight * ASSUMED[each.hour]

    def rate(self, key: tuple[str | int, ...], prior: float, weight: float) -> float:
        answered, sent = self._sums[key]
        return (answered + prior * weight) / (sent + weight)


@dataclass(frozen=True, slots=True)
class Answers:
    """What is believed: by local hour the factor by which an answer is likelier than at a usual hour, and how uncertain
    that is (standard deviations). `messages`: how many it was learned from, the pool's included; 0: it is assumed."""

    factors: tuple[float, ...]
    unsure: tuple[float, ...]
    messages: int = 0


@lru_cache(maxsize=512)
def believed(pool: Counts | None = None, own: Counts | None = None) -> Answers:
    """What is believed of a merchant's customers by the pool's counts and its own."""
    factors: Sequence[float] = ASSUMED
    unsure: Sequence[float] = [sqrt(each / PRIOR_ANSWERS) for each in factors]
    for counts in (pool, own):
        if counts is None:
            continue
        answered, usual = _with_neighbours(counts.answered), _with_neighbours(counts.usual)
        shapes = [PRIOR_ANSWERS * prior + more for prior, more in zip(factors, answered, strict=True)]
        rates = [PRIOR_ANSWERS + more for more in usual]
        factors = [shape / rate for shape, rate in zip(shapes, rates, strict=True)]
        # What others' customers do leaves as much open of these as what is assumed does.
        weights = rates if counts is own else [PRIOR_ANSWERS] * 24
        unsure = [sqrt(factor / weight) for factor, weight in zip(factors, weights, strict=True)]
    messages = sum(counts.messages for counts in (pool, own) if counts is not None)
    return Answers(tuple(factors), tuple(unsure), messages)


NOTHING_LEARNED: Final = believed()
"""What is believed before anything was seen."""


# --- Rows in order ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that went out, as a recovery's rows tell it."""

    kind: str
    at: datetime
    hour: int


def written_of(sent: Sequence[Sent], paid_at: datetime | None, until: datetime, whose: str = "") -> list[Written]:
    """A recovery's messages, in the order of time, with what each of them brought by `until`.

    `paid_at`: when the customer paid, on the hosted page or with another card; None: never, or without a message. The
    messages that can still be answered are left out, whatever came: else early answers would count, and late ones not.
    """
    found = []
    after = [following.at for _, following in pairwise(sent)]
    for number, each in enumerate(sent, 1):
        ends = each.at + ANSWERED_WITHIN
        if number <= len(after):
            ends = min(ends, after[number - 1])
        if ends > until:
            break
        answered = paid_at is not None and each.at <= paid_at < ends
        found.append(Written(each.kind, number, each.at, each.hour, answered, whose))
    return found


def _with_neighbours(values: Sequence[float]) -> list[float]:
    return [values[hour] + BESIDE * (values[hour - 1] + values[(hour + 1) % 24]) for hour in HOURS]


def _by_hour(values: Any) -> tuple[float, ...] | None:
    if not isinstance(values, Sequence) or len(values) != len(HOURS):
        return None
    if not all(isinstance(each, int | float) and isfinite(each) and each >= 0 for each in values):
        return None
    return tuple(float(each) for each in values)
