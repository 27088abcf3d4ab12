"""What a merchant's own recoveries say: the belief after them, from the belief before.

Each recovery is held against every way in which its payment could have become possible, every stay of the money and
every bank: how likely they make its declines and, if it has one, its success. The shares move to what explains them
best: expectation and maximization for the shares of a mixture (Dempster, Laird and Rubin 1977,
https://doi.org/10.1111/j.2517-6161.1977.tb01600.x). The belief before counts as so many recoveries more, so that few
change little; older recoveries count less, so that what has changed is forgotten. Paydays, stays and banks are the same
after every cause, so that all recoveries speak for them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from statistics import median_low
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.groups import REST, Group, Trait, Traits
from services.worker.recovery.belief.parts import (
    BANKS,
    CREDIT,
    DELAYS,
    NEVER,
    RESETS,
    STAYS,
    WAGES,
    WAYS,
    Belief,
    kind_of,
)
from services.worker.recovery.belief.paydays import CONVENTIONS, RULES, VARIANTS
from services.worker.recovery.belief.prior import prior_among
from services.worker.recovery.belief.stories import hours_since, reset_at
from services.worker.recovery.timezones import zone_of
from shared.policy import DeclineCause
from shared.policy.paydays import PAYDAYS

Shares = npt.NDArray[np.float64]
Likelihoods = npt.NDArray[np.float32]

REMEMBERED: Final = 2_000
"""How many recoveries are learned from at most: the latest."""
HALF_LIFE: Final = timedelta(days=180)
LEAST_OF_GROUP: Final = 150
"""From how many recoveries on a group is learned about by itself."""
# How often a bank accepts an attempt that is possible: lower than in a plan, because a decline at a time at which money
# should have been there happens for more reasons than are believed in.
_APPROVED: Final = 0.75
# A success that nothing explains.
_UNEXPLAINED: Final = 1e-3
_SATURDAY: Final = 5

_RULES: Final = tuple(RULES)
_WAGED: Final = len(_RULES) * len(STAYS)
# The payday of each rule; and its convention, or that it has none.
_PAYDAY_OF: Final = np.array(
    [number for rule in _RULES for number, name in enumerate(PAYDAYS) if rule in VARIANTS[name]]
)
_NO_CONVENTION: Final = len(CONVENTIONS)
_CONVENTION_OF: Final = np.array(
    [
        VARIANTS[PAYDAYS[payday]].index(rule) if len(VARIANTS[PAYDAYS[payday]]) > 1 else _NO_CONVENTION
        for rule, payday in zip(_RULES, _PAYDAY_OF, strict=True)
    ]
)
# Each rule with each stay, then the delays and the resets.
_EXPLANATIONS: Final = _WAGED + len(DELAYS) + len(RESETS)
_AT_NEVER, _AT_WAGES = WAYS.index(NEVER), WAYS.index(WAGES)
_STAYS_FROM, _STAYS_TO = (np.log([each[end] for each in STAYS]) for end in (0, 1))
_DELAYS_FROM, _DELAYS_TO = (np.log([each[end] for each in DELAYS]) for end in (0, 1))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the attempts of one recovery; `declined` are their times, the failure first.

    `whose`: the merchant's id, where several teach. `cause` is the failure's; `traits` are its card's and what was due.
    `accepted_at`: when an attempt succeeded; None if none has, so far.
    """

    cause: DeclineCause
    traits: Traits
    declined: tuple[datetime, ...]
    accepted_at: datetime | None = None
    whose: str = ""

    @property
    def last_at(self) -> datetime:
        """The time of the last attempt."""
        return self.accepted_at or self.declined[-1]


@dataclass(frozen=True, slots=True)
class Strength:
    """As how many recoveries the belief before counts, for each part; and how often the shares are moved."""

    ways: float
    paydays: float
    conventions: float
    stays: float
    banks: float
    rounds: int


_OF_ALL: Final = Strength(ways=30, paydays=15, conventions=10, stays=20, banks=15, rounds=25)
_OF_GROUP: Final = Strength(ways=60, paydays=40, conventions=30, stays=60, banks=30, rounds=12)


def learn(
    outcomes: Sequence[Outcome], now: datetime, before: Learned | None = None, *, least_merchants: int = 1
) -> Learned:
    """What is believed after these outcomes, at `now`; `before` them it was the prior, if it is not given.

    The same outcomes give the same answer. Without outcomes it is what was believed before. `least_merchants`: from so
    many merchants the outcomes of each group have to come, so that no group is one of them.
    """
    latest = sorted(outcomes, key=lambda each: each.last_at)[-REMEMBERED:]
    medians = _medians(latest, least_merchants)
    seen = [_seen(each, now, medians) for each in latest]
    countries = Counter(each.values[Trait.COUNTRY] or None for each in seen)
    everywhere = _moved(before.everywhere if before else prior_among(countries), seen, _OF_ALL)
    return Learned(_grown(everywhere, seen, tuple(Trait), least_merchants), medians)


def _medians(outcomes: Sequence[Outcome], least_merchants: int) -> dict[str, int]:
    """The median amount of each currency, where there are enough for a group: of few it would be one invoice's."""
    amounts: defaultdict[str, list[int]] = defaultdict(list)
    whose: defaultdict[str, set[str]] = defaultdict(set)
    for each in outcomes:
        if each.traits.amount is not None:
            amounts[each.traits.amount.currency].append(each.traits.amount.amount)
            whose[each.traits.amount.currency].add(each.whose)
    return {
        currency: median_low(each)
        for currency, each in sorted(amounts.items())
        if len(each) >= LEAST_OF_GROUP and len(whose[currency]) >= least_merchants
    }


def _grown(belief: Belief, seen: "Sequence[_Seen]", traits: Sequence[Trait], least_merchants: int) -> Group:
    """A group with this belief, and its parts by the first of the traits that tells enough recoveries from others."""
    for number, trait in enumerate(traits):
        parts: defaultdict[str, list[_Seen]] = defaultdict(list)
        for each in seen:
            parts[each.values[trait]].append(each)
        large = {
            name
            for name, part in parts.items()
            if len(part) >= LEAST_OF_GROUP and len({each.whose for each in part}) >= least_merchants
        }
        if len(parts) > 1 and large:
            below = traits[number + 1 :]
            rest = [each for name, part in parts.items() if name not in large for each in part]
            found = {
                name: _grown(_moved(belief, parts[name], _OF_GROUP), parts[name], below, least_merchants)
                for name in sorted(large)
            }
            return Group(belief, trait, found | {REST: _grown(belief, rest, below, least_merchants)})
    return Group(belief)


def moved(
    before: Belief, outcomes: Sequence[Outcome], now: datetime, strength: Strength, half_life: timedelta = HALF_LIFE
) -> Belief:
    """The belief after these outcomes, at `now`, each of which counts half after `half_life`."""
    return _moved(before, [_seen(each, now, {}, half_life) for each in outcomes], strength)


# --- What one recovery says -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """How likely each explanation (a column) makes an outcome, by the pattern of open banks (a row).

    `banks`: the row of each bank. `never`: how likely it is if the payment never becomes possible. `counts`: as how
    many recoveries it counts. `values`: its groups' names. `whose`: the merchant's id.
    """

    kind: str
    likely: Likelihoods
    banks: npt.NDArray[np.intp]
    never: float
    counts: float
    values: Mapping[Trait, str]
    whose: str


def _seen(outcome: Outcome, now: datetime, medians: Mapping[str, int], half_life: timedelta = HALF_LIFE) -> _Seen:
    country = outcome.traits.country
    zone, failed_at = zone_of(country), outcome.declined[0]
    times = [*outcome.declined, *([outcome.accepted_at] if outcome.accepted_at else [])]
    possible = np.empty((len(times), _EXPLANATIONS), np.float32)
    is_open = np.empty((len(BANKS), len(times)), np.float32)
    for number, at in enumerate(times):
        local = at.astimezone(zone)
        possible[number, :_WAGED] = _money(country, local.date(), local.hour)
        elapsed = np.log(max(0.01, (at - failed_at).total_seconds() / 3600))
        delayed = (elapsed - _DELAYS_FROM) / (_DELAYS_TO - _DELAYS_FROM)
        possible[number, _WAGED : _WAGED + len(DELAYS)] = np.clip(delayed, 0, 1)
        possible[number, _WAGED + len(DELAYS) :] = [
            at.timestamp() >= reset_at(window, failed_at, zone) for window in RESETS
        ]
        is_open[:, number] = _OPEN[:, int(local.weekday() >= _SATURDAY), local.hour]
    patterns, banks = np.unique(is_open, axis=0, return_inverse=True)
    count = len(outcome.declined)
    likely = np.empty((len(patterns), _EXPLANATIONS), np.float32)
    for row, pattern in enumerate(patterns):
        accepted = _APPROVED * pattern[:, None] * possible
        likely[row] = (1 - accepted[:count]).prod(axis=0)
        if outcome.accepted_at is not None:
            likely[row] *= accepted[count] + _UNEXPLAINED
    kind = kind_of(outcome.cause, credit=outcome.traits.funding == CREDIT)
    never = 1.0 if outcome.accepted_at is None else _UNEXPLAINED
    counts = 0.5 ** max(0.0, (now - outcome.last_at) / half_life)
    values = {trait: outcome.traits.value(trait, medians) for trait in Trait}
    return _Seen(kind, likely, banks.reshape(-1), never, counts, values, outcome.whose)


@lru_cache(maxsize=20_000)
def _money(country: str | None, day: date, hour: int) -> Likelihoods:
    """How likely there is money at a local hour: for each rule, by each stay."""
    gone = np.log(np.maximum(0.5, hours_since(country, day, hour)))[:, None]
    part: Likelihoods = np.clip((_STAYS_TO - gone) / (_STAYS_TO - _STAYS_FROM), 0, 1).reshape(-1).astype(np.float32)
    return part


def _open_hours() -> Likelihoods:
    """By bank, on a weekday or at the weekend, by local hour: 1 where it is open, else 0."""
    found = np.ones((len(BANKS), 2, 24), np.float32)
    for number, bank in enumerate(BANKS):
        if isinstance(bank, str):
            found[number, 1] = 0
        elif bank is not None:
            first, hours = bank
            found[number, :, [hour % 24 for hour in range(first, first + hours)]] = 0
    return found


_OPEN: Final = _open_hours()

# --- The shares that explain them best --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sums:
    """Shares as arrays, or how many recoveries speak for each."""

    ways: dict[str, Shares]
    paydays: Shares
    conventions: Shares
    stays: Shares
    banks: Shares

    @classmethod
    def of(cls, belief: Belief) -> "_Sums":
        return cls(
            {kind: np.array(shares) for kind, shares in belief.kinds.items()},
            np.array([belief.paydays.get(name, 0.0) for name in PAYDAYS]),
            np.array(belief.conventions),
            np.array(belief.stays),
            np.array(belief.banks),
        )

    def times(self, strength: Strength) -> "_Sums":
        return _Sums(
            {kind: strength.ways * shares for kind, shares in self.ways.items()},
            strength.paydays * self.paydays,
            strength.conventions * self.conventions,
            strength.stays * self.stays,
            strength.banks * self.banks,
        )

    def whole(self) -> "_Sums":
        """As shares that add up to 1."""
        ways = {kind: sums / sums.sum() for kind, sums in self.ways.items()}
        parts = (self.paydays, self.conventions, self.stays, self.banks)
        return _Sums(ways, *(sums / sums.sum() for sums in parts))

    def rules(self) -> Shares:
        """The share of each rule among those who wait for wages."""
        by_convention = np.append(self.conventions, 1.0)
        shares: Shares = self.paydays[_PAYDAY_OF] * by_convention[_CONVENTION_OF]
        return shares


def _moved(before: Belief, seen: Sequence[_Seen], strength: Strength) -> Belief:
    """The belief after what was seen."""
    own = _Sums.of(before)
    by_kind: defaultdict[str, list[_Seen]] = defaultdict(list)
    for each in seen:
        by_kind[each.kind if each.kind in own.ways else DeclineCause.UNKNOWN].append(each)
    believed = own
    for _ in range(strength.rounds):
        sums = own.times(strength)
        for kind, part in by_kind.items():
            _count(part, believed, kind, sums)
        believed = sums.whole()
    return Belief(
        {kind: _plain(shares) for kind, shares in believed.ways.items()},
        dict(zip(PAYDAYS, _plain(believed.paydays), strict=True)),
        _plain(believed.conventions),
        _plain(believed.stays),
        _plain(believed.banks),
    )


def _count(seen: Iterable[_Seen], believed: _Sums, kind: str, sums: _Sums) -> None:
    """Add for which explanations these recoveries speak, by what is believed so far."""
    ways = believed.ways[kind]
    waged = (ways[_AT_WAGES] * believed.rules()[:, None] * believed.stays[None, :]).reshape(-1)
    shares = np.concatenate([waged, ways[_AT_WAGES + 1 :]])
    single = shares.astype(np.float32)
    explained, never = np.zeros(_EXPLANATIONS), 0.0
    for each in seen:
        by_pattern = each.likely @ single
        open_so = np.bincount(each.banks, weights=believed.banks, minlength=len(each.likely))
        of_never = ways[_AT_NEVER] * each.never
        one = each.counts / (float(by_pattern @ open_so) + of_never)
        explained += (one * open_so) @ each.likely
        sums.banks += one * by_pattern[each.banks] * believed.banks
        never += one * of_never
    explained *= shares
    by_rule = explained[:_WAGED].reshape(len(_RULES), len(STAYS))
    of_rules = by_rule.sum(axis=1)
    sums.paydays += np.bincount(_PAYDAY_OF, weights=of_rules, minlength=len(PAYDAYS))
    sums.conventions += np.bincount(_CONVENTION_OF, weights=of_rules, minlength=len(CONVENTIONS) + 1)[:_NO_CONVENTION]
    sums.stays += by_rule.sum(axis=0)
    sums.ways[kind] += np.concatenate([[never, of_rules.sum()], explained[_WAGED:]])


def _plain(shares: npt.NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(share) for share in shares)
