"""The lift: how many more of the treated recoveries were paid than of the holdout, and how certain that is.

Pure: counts in, an interval out. The outcome that is compared is "paid, by anybody". "Recovered by us" cannot be
compared, because in the holdout we recover nothing.

**The interval** of the difference of two independent proportions is Newcombe's hybrid of two Wilson scores, without a
continuity correction: method 10 in R. G. Newcombe, "Interval estimation for the difference between independent
proportions: comparison of eleven methods", Statistics in Medicine 17 (1998), 873-890; Wilson's score interval is
method 3 in his "Two-sided confidence intervals for the single proportion", the same volume, 857-872. It holds its
level for small groups and for shares near 0 and 1, where the textbook interval does not, and never leaves [-1, 1].

**Strata.** Two groups are comparable only among recoveries that were drawn with the same chance. If policies held out
different shares, each share is a stratum: the difference is the mean over the strata by Mantel and Haenszel's weights
n1·n2/(n1+n2), and each group's Wilson interval is that of its weighted mean with the effective size 1/Σ(w²/n) (Kish).
With one stratum that is Newcombe's interval itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)

ENOUGH = 30
"""The least recoveries in each group for which a difference is given: our convention."""


@dataclass(frozen=True, slots=True)
class Group:
    """How many were assigned to a group, and how many of them were paid."""

    assigned: int = 0
    paid: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.paid <= self.assigned:
            raise ValueError(f"{self.paid} of {self.assigned} cannot have been paid")

    def __add__(self, other: "Group") -> "Group":
        return Group(self.assigned + other.assigned, self.paid + other.paid)

    @property
    def share(self) -> float | None:
        """The paid share; None of an empty group."""
        return self.paid / self.assigned if self.assigned else None


@dataclass(frozen=True, slots=True)
class Stratum:
    """The two groups among recoveries that were drawn with the same chance."""

    treatment: Group
    holdout: Group


class Verdict(StrEnum):
    """What the interval says about the lift."""

    GAIN = "gain"
    LOSS = "loss"
    UNCLEAR = "unclear"
    NOT_ENOUGH_DATA = "not_enough_data"
    NO_HOLDOUT = "no_holdout"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class Lift:
    """The paid share of the treated minus that of the holdout, with its interval; None: too few data."""

    verdict: Verdict
    treatment: Group
    holdout: Group
    difference: float | None = None
    low: float | None = None
    high: float | None = None


def wilson(share: float, size: float) -> tuple[float, float]:
    """Wilson's score interval of a share of `size` (effective) observations."""
    if size <= 0:
        raise ValueError("a share of nothing has no interval")
    squared = _Z * _Z
    middle = (share + squared / (2 * size)) / (1 + squared / size)
    half = _Z / (1 + squared / size) * sqrt(share * (1 - share) / size + squared / (4 * size * size))
    # For shares of 0 and 1 an end equals 0 or 1 exactly; rounding must not move it beyond, or past the share itself.
    return (min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def lift_of(strata: Iterable[Stratum], enough: int = ENOUGH) -> Lift:
    """The lift over the strata that have both groups; no number with fewer than `enough` in one of them.

    No strata at all means that nothing was ever held out.
    """
    strata = list(strata)
    both = [each for each in strata if each.treatment.assigned and each.holdout.assigned]
    treatment = sum((each.treatment for each in both or strata), Group())
    holdout = sum((each.holdout for each in both or strata), Group())
    if not strata:
        return Lift(Verdict.NO_HOLDOUT, treatment, holdout)
    if min(treatment.assigned, holdout.assigned) < enough:
        return Lift(Verdict.NOT_ENOUGH_DATA, treatment, holdout)
    raw = [1 / (1 / each.treatment.assigned + 1 / each.holdout.assigned) for each in both]
    weights = [each / sum(raw) for each in raw]
    with_us, (low_1, high_1) = _mean(weights, [each.treatment for each in both])
    alone, (low_2, high_2) = _mean(weights, [each.holdout for each in both])
    difference = with_us - alone
    low = max(-1.0, difference - sqrt((with_us - low_1) ** 2 + (high_2 - alone) ** 2))
    high = min(1.0, difference + sqrt((high_1 - with_us) ** 2 + (alone - low_2) ** 2))
    verdict = Verdict.GAIN if low > 0 else Verdict.LOSS if high < 0 else Verdict.UNCLEAR
    return Lift(verdict, treatment, holdout, difference, low, high)


def _mean(weights: list[float], groups: list[Group]) -> tuple[float, tuple[float, float]]:
    """The weighted mean of the groups' shares, and its Wilson interval at the effective size."""
    share = sum(weight * each.paid / each.assigned for weight, each in zip(weights, groups, strict=True))
    share = min(1.0, share)
    size = 1 / sum(weight * weight / each.assigned for weight, each in zip(weights, groups, strict=True))
    return share, wilson(share, size)
