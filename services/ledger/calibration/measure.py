"""How predicted chances compare with what came: bins, intervals, the expected calibration error.

Pure: counts in, figures out. **The error** is the expected calibration error over bins of equal width: the mean over
the attempts of |mean predicted - share that succeeded| of their bin (Naeini, Cooper and Hauskrecht, "Obtaining well
calibrated probabilities using Bayesian binning", AAAI 2015). It is never quite 0, because shares of few attempts stray
from the truth. So beside it stands what chance alone makes of it if every prediction is right: its mean, the mean
deviations of binomial shares, exactly, by De Moivre's formula (Diaconis and Zabell, "Closed form summation for
classical distributions", Statistical Science 6 (1991), 284-302), and its limit, 1.96 standard deviations above that.

**The interval** of a share is Wilson's, as for the lift. It takes the attempts for independent, which several of one
recovery are not quite. But each is predicted for the case that those before it failed, so where the predictions are
right, their deviations are uncorrelated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, floor, lgamma, log, log1p, sqrt

from services.ledger.reports.lift import ENOUGH, wilson

BINS = 10
_STANDARD_DEVIATIONS = 1.96
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Bin:
    """Attempts whose outcome is known: how many, the sum of their predicted chances, and how many succeeded."""

    attempts: int = 0
    expected: float = 0.0
    succeeded: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.succeeded <= self.attempts and 0 <= self.expected <= self.attempts + _ROUNDING):
            raise ValueError(f"of {self.attempts} attempts, {self.succeeded} succeeded and {self.expected} expected?")

    def __add__(self, other: "Bin") -> "Bin":
        return Bin(self.attempts + other.attempts, self.expected + other.expected, self.succeeded + other.succeeded)

    @property
    def predicted(self) -> float | None:
        """The mean predicted chance; None of an empty bin."""
        return min(1.0, self.expected / self.attempts) if self.attempts else None

    @property
    def observed(self) -> float | None:
        """The share that succeeded; None of an empty bin."""
        return self.succeeded / self.attempts if self.attempts else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the share; None of an empty bin."""
        return wilson(self.succeeded / self.attempts, self.attempts) if self.attempts else None


@dataclass(frozen=True, slots=True)
class ByChance:
    """The error of so many attempts if every prediction is right: on average, and the most that chance explains."""

    mean: float
    limit: float


class Agreement(StrEnum):
    """What the interval of the observed share says about the mean predicted chance, and the error about single ones."""

    RIGHT_ON_AVERAGE = "right_on_average"
    AS_PREDICTED = "as_predicted"
    LESS_THAN_PREDICTED = "less_than_predicted"
    MORE_THAN_PREDICTED = "more_than_predicted"
    NOT_ENOUGH_DATA = "not_enough_data"


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """The expected calibration error, from 0 to 1; None without attempts."""
    attempts = sum(each.attempts for each in bins)
    return sum(abs(each.expected - each.succeeded) for each in bins) / attempts if attempts else None


def error_by_chance(bins: Sequence[Bin]) -> ByChance | None:
    """The error that is to be expected of as many attempts if every prediction is right; None without attempts."""
    attempts = sum(each.attempts for each in bins)
    if not attempts:
        return None
    total = variance = 0.0
    for n, p in ((each.attempts, each.predicted) for each in bins):
        deviation = 0.0 if p is None else _mean_deviation(n, p)
        total += deviation
        variance += 0.0 if p is None else max(0.0, n * p * (1 - p) - deviation**2)
    return ByChance(total / attempts, min(1.0, (total + _STANDARD_DEVIATIONS * sqrt(variance)) / attempts))


def _mean_deviation(n: int, p: float) -> float:
    """E|K - np| of a binomial K: 2v(1-p)·P(K = v) with v = floor(np) + 1."""
    if not 0 < p < 1:
        return 0.0
    v = floor(n * p) + 1
    ways = lgamma(n + 1) - lgamma(v + 1) - lgamma(n - v + 1)
    return 2 * v * (1 - p) * exp(ways + v * log(p) + (n - v) * log1p(-p))


def agreement(bins: Sequence[Bin], enough: int = ENOUGH) -> Agreement:
    """Whether so many attempts succeeded as predicted, in all and bin by bin; no verdict on fewer than `enough`."""
    whole = sum(bins, Bin())
    predicted, interval = whole.predicted, whole.interval
    error, chance = calibration_error(bins), error_by_chance(bins)
    if predicted is None or interval is None or error is None or chance is None or whole.attempts < enough:
        return Agreement.NOT_ENOUGH_DATA
    low, high = interval
    if predicted > high:
        return Agreement.LESS_THAN_PREDICTED
    if predicted < low:
        return Agreement.MORE_THAN_PREDICTED
    both_ways = error > abs(whole.expected - whole.succeeded) / whole.attempts + _ROUNDING
    return Agreement.RIGHT_ON_AVERAGE if both_ways and error > chance.limit + _ROUNDING else Agreement.AS_PREDICTED


def told(whole: Bin, verdict: Agreement) -> str:
    """The verdict for people: `predicted 41.0%, succeeded 39.0% (35.1% to 43.0%): as predicted`."""
    predicted, observed, interval = whole.predicted, whole.observed, whole.interval
    if predicted is None or observed is None or interval is None:
        return "no attempt whose outcome is known was predicted"
    figures = f"predicted {predicted:.1%}, succeeded {observed:.1%} ({interval[0]:.1%} to {interval[1]:.1%})"
    match verdict:
        case Agreement.NOT_ENOUGH_DATA:
            return f"{figures}: too few to tell, fewer than {ENOUGH} attempts"
        case Agreement.AS_PREDICTED:
            return f"{figures}: as predicted"
        case Agreement.RIGHT_ON_AVERAGE:
            return f"{figures}: right on average, but too high for some attempts and too low for others"
        case Agreement.LESS_THAN_PREDICTED:
            return f"{figures}: less often than predicted"
        case Agreement.MORE_THAN_PREDICTED:
            return f"{figures}: more often than predicted"
