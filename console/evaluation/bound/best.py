"""The best attempts for customers who can pay during one span of time each, by dynamic programming.

After a failure only declines are seen until the end, so whoever does not know the customer has nothing to go by but the
times tried so far: any strategy is a list of times fixed at the failure. A customer pays at the first attempt that is
within the span and at which the bank is open. A bank is closed in one *part* of the day, or never; the parts do not
overlap.

Which customers an attempt at t reaches first depends on little of what was tried before. For a bank that is open at the
last attempt s, they are those whose span begins after s and is not over at t: who had money at an earlier attempt has
paid by then, or the money was gone before s. For a bank that is closed in the part of s, the same holds with the last
attempt o outside of that part in the place of s. So (s, o) is all that has to be remembered.

With n attempts of which the j-th collects g(j), q = all - g(1) - ... - g(j) have not paid after it, and the next one is
made for these only. So an attempt that costs `price` has been made `all - g(1) - ... - g(j-1)` times, and

    sum g(j) - price * sum (all - g(1) - ... - g(j-1))  =  sum g(j) * (1 + price * (n - j)) - price * n * all

of which each term depends on (s, o), on the next time, and on how many attempts are still to come. Without a price and
parts this is maximum coverage by points on a line (Hassin and Tamir 1991, Improved complexity bounds for location
problems on the real line, Operations Research Letters 10, 395-402).
`tests/unit/console/evaluation/bound/test_best.py` holds it against all lists of times of small instances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
_IMPOSSIBLE: Final = -np.inf


@dataclass(frozen=True, slots=True)
class Gains:
    """Whom attempts reach.

    at: the times at which an attempt may be made, rising, in seconds. part: the part of the day of each, from 0 on.
    waiting[c, s, t]: how many customers an attempt at `at[t]` reaches whose bank is closed in part c (the last c: in
    none) and whose span began after `at[s - 1]` (s = 0: at any time); none where t is in part c. whole: all customers,
    also those who can never pay. Customers are counted by weight: 1 for a share of one whole.
    """

    at: Floats
    part: Places
    waiting: Floats
    whole: float = 1.0

    @classmethod
    def of(cls, at: Floats, part: Places, beginning: Floats, whole: float = 1.0) -> "Gains":
        """`beginning[c, b, t]`: as `waiting`, of those whose span begins after `at[b - 1]` and by `at[b]`."""
        count = len(at)
        waiting = np.zeros((len(beginning), count + 1, count))
        waiting[:, :count] = np.cumsum(beginning[:, ::-1], axis=1)[:, ::-1]
        for time, closed in enumerate(part):
            waiting[closed, :, time] = 0
        return cls(at, part, waiting, whole)

    @property
    def changes(self) -> Places:
        """The times that are worth an attempt where attempts may be as near to each other as times are: at which a span
        begins or another part of the day. Any other time reaches nobody whom the one before it does not reach."""
        begins = (self.waiting[:, :-1] - self.waiting[:, 1:]).max(axis=(0, 2)) > 0
        opens = np.ones(len(self.at), np.bool_)
        opens[1:] = self.part[1:] != self.part[:-1]
        found: Places = np.flatnonzero((begins | opens) & (self.waiting[:, 0].max(axis=0) > 0))
        return found

    def only(self, times: Places) -> "Gains":
        """With these times alone (places in `at`, rising)."""
        since = np.concatenate(([0], times + 1))
        return Gains(self.at[times], self.part[times], self.waiting[:, since][:, :, times], self.whole)

    def reached(self, chosen: Sequence[int]) -> list[float]:
        """How many customers each of these times (places in `at`, rising) reaches first."""
        found, last, other = [], 0, 0
        for time in chosen:
            found.append(float(self._gain(last, other, time)))
            last, other = self.after(last, other, time)
        return found

    def _gain(self, last: int, other: int, time: int) -> float:
        """Whom an attempt reaches first. `last`, `other`: the last attempt, and the last one in another part of the day
        than that; one more than the place in `at`, 0 for none."""
        waiting: float = self.waiting[:, last, time].sum()
        if last:
            closed = self.part[last - 1]
            waiting += self.waiting[closed, other, time] - self.waiting[closed, last, time]
        return waiting

    def after(self, last: int, other: int, time: int) -> tuple[int, int]:
        """What has to be remembered after an attempt."""
        return time + 1, other if last and self.part[last - 1] == self.part[time] else last


@dataclass(frozen=True, slots=True)
class Schedule:
    """Attempts at these times (seconds, rising): how many customers have paid, and how many attempts are made in all,
    each only for those who have not paid by then. `whole`: all customers."""

    at: tuple[float, ...]
    collected: float
    attempts: float
    whole: float

    @classmethod
    def of(cls, gains: Gains, chosen: Sequence[int]) -> "Schedule":
        """At these times (places in `gains.at`, rising)."""
        left, attempts = gains.whole, 0.0
        for reached in gains.reached(chosen):
            attempts += left
            left -= reached
        return cls(tuple(gains.at[list(chosen)].tolist()), gains.whole - left, attempts, gains.whole)

    def worth(self, price: float) -> float:
        """What is collected, less the price of the attempts (in customers' payments)."""
        return self.collected - price * self.attempts


def best(gains: Gains, price: float, most: int, gap: float = 0.0) -> Schedule:
    """The schedule of at most `most` attempts that is worth most, if each costs `price`. `gap`: the least seconds
    between two.

    Exact where `gains` are of customers with one span each. Where `waiting` says of all earlier attempts but the last
    too little (customers with several spans), the worth by this count, `bound`, is an upper bound.
    """
    table = _Table(gains, price, most, gap)
    return Schedule.of(gains, table.chosen())


def bound(gains: Gains, price: float, most: int, gap: float = 0.0) -> float:
    """What the best schedule is worth, each attempt counted with what it reaches beside (s, o) alone."""
    return _Table(gains, price, most, gap).worth


def greedy(gains: Gains, price: float, most: int, gap: float = 0.0) -> Schedule:
    """Times chosen one by one, each the one that adds most to those before it, while the last one's chance is `price`
    or more if all others fail: as our planner chooses them."""
    chosen: list[int] = []
    free = np.ones(len(gains.at), np.bool_)
    collected = 0.0
    while len(chosen) < most and free.any():
        sums = {int(time): sum(gains.reached(sorted([*chosen, int(time)]))) for time in np.flatnonzero(free)}
        time = max(sums, key=lambda each: sums[each])
        if sums[time] - collected < max(price * (gains.whole - collected), 1e-12):
            break
        chosen.append(time)
        collected = sums[time]
        free &= np.abs(gains.at - gains.at[time]) >= max(gap, 1e-9)
    return Schedule.of(gains, sorted(chosen))


class _Table:
    """The worth of exactly k attempts more, for each (s, o), from the last k to the first.

    A worth counts what is still to come only: the gains, each with all attempts after it that it saves, less the price
    of k attempts for everybody.
    """

    def __init__(self, gains: Gains, price: float, most: int, gap: float) -> None:
        self._gains, self._cost, self._price = gains, price * gains.whole, price
        count = len(gains.at)
        self._next = np.maximum(np.searchsorted(gains.at, gains.at + gap), np.arange(count) + 1)
        # Those whose bank is open at the last attempt: all but one row of `waiting`.
        everybody = gains.waiting.sum(axis=0)
        self._open = everybody[1:] - gains.waiting[gains.part, np.arange(count) + 1]
        self._at_first = everybody[0]
        # worth[k][o, s]: places from 1 on, 0 for none.
        self._worth = [np.zeros((count + 1, count + 1))]
        self.worth, self._attempts = 0.0, 0
        for k in range(1, most + 1):
            first = self._choices(k, 0, 0)
            if first.size and first.max() > self.worth:
                self.worth, self._attempts = float(first.max()), k
            if k < most:
                self._worth.append(self._layer(k))

    def chosen(self) -> list[int]:
        """The best schedule, as places in `at`."""
        found: list[int] = []
        last, other = 0, 0
        for k in range(self._attempts, 0, -1):
            choices = self._choices(k, last, other)
            time = len(self._gains.at) - choices.size + int(choices.argmax())
            found.append(time)
            last, other = self._gains.after(last, other, time)
        return found

    def _layer(self, k: int) -> Floats:
        """The worth of k attempts more for all (o, s)."""
        count = len(self._gains.at)
        found = np.full((count + 1, count + 1), _IMPOSSIBLE)
        for last in range(1, count + 1):
            choices = self._all_choices(k, last)
            if choices.shape[1]:
                found[:last, last] = choices.max(axis=1)
        return found

    def _choices(self, k: int, last: int, other: int) -> Floats:
        """The worth of k attempts more, by the time of the first of them: of the last times there are."""
        if last:
            found: Floats = self._all_choices(k, last)[other]
            return found
        worth: Floats = self._at_first * (1 + self._price * (k - 1)) - self._cost + self._worth[k - 1][0, 1:]
        return worth

    def _all_choices(self, k: int, last: int) -> Floats:
        """For each o (a row) before s, by the time of the next attempt."""
        gains, after = self._gains, self._worth[k - 1]
        first = self._next[last - 1]
        closed, saved = gains.part[last - 1], 1 + self._price * (k - 1)
        same = gains.part[first:] == closed
        # In the same part o stays, and its bank is closed; in another one s takes its place.
        worth = np.where(same, after[:last, first + 1 :], after[last, first + 1 :])
        worth += saved * (self._open[last - 1, first:] + gains.waiting[closed, :last, first:]) - self._cost
        return worth
