"""The parts of a belief, and their names: how payments become possible, how long money stays, when banks decline."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from services.worker.recovery.belief.paydays import CONVENTIONS, VARIANTS
from shared.policy import DeclineCause

CREDIT: Final = "credit"
"""Stripe's `card.funding` of a credit card."""
NEVER: Final = "never"
WAGES: Final = "wages"
"""The money comes with the customer's wages, and goes again."""
RESETS: Final = ("day", "week", "month")
"""A limit is over at the end of the day, the week, the month."""
DELAYS: Final = tuple(pairwise((0.3, 1.5, 5.0, 14.0, 30.0, 60.0, 110.0, 200.0, 500.0)))
"""Possible for good after so many hours, from and to; within one of them evenly on a logarithmic scale."""
DELAY_NAMES: Final = tuple(f"delay_{number}" for number in range(len(DELAYS)))
WAYS: Final = (NEVER, WAGES, *DELAY_NAMES, *RESETS)
"""How a declined payment becomes possible."""
STAYS: Final = tuple(pairwise((1.0, 8.0, 16.0, 30.0, 54.0, 100.0, 200.0, 400.0, 1440.0)))
"""How many hours money stays on an account, from and to."""
WEEKEND: Final = "weekend"
CLOSED_HOURS: Final = (4, 8, 12)
BANKS: Final = (None, WEEKEND, *((first, hours) for hours in CLOSED_HOURS for first in range(24)))
"""When a bank declines whatever the cause: never, at weekends, or by the local clock from an hour on for so many."""


def kind_of(cause: DeclineCause, *, credit: bool) -> str:
    """The kind of a decline: its cause, and whether it may be a credit card's monthly limit that is missing."""
    return f"{cause}/credit" if credit and cause is DeclineCause.INSUFFICIENT_FUNDS else str(cause)


@dataclass(frozen=True, slots=True)
class Weights:
    """What is believed after one kind of decline, as shares that add up to 1 in each part.

    ways: by name, with a payday's rule (`paydays.RULES`) instead of WAGES. stays: by STAYS. banks: by BANKS.
    """

    ways: tuple[tuple[str, float], ...]
    stays: tuple[float, ...]
    banks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of a merchant's customers, as shares that add up to 1 in each part.

    kinds: by kind of decline, the shares of WAYS. paydays: by name (`PAYDAYS`), of those who wait for wages;
    conventions: of those who are paid on days of the month, by `paydays.CONVENTIONS`. stays: by STAYS. banks: by BANKS.
    """

    kinds: Mapping[str, tuple[float, ...]]
    paydays: Mapping[str, float]
    conventions: tuple[float, ...]
    stays: tuple[float, ...]
    banks: tuple[float, ...]

    def weights(self, cause: DeclineCause, wages: Mapping[str, float], *, credit: bool) -> Weights:
        """What it says of one kind of decline. `wages`: the shares of paydays that the merchant knows."""
        shares = self.kinds.get(kind_of(cause, credit=credit)) or self.kinds[DeclineCause.UNKNOWN]
        ways = dict(zip(WAYS, shares, strict=True))
        waged = ways.pop(WAGES)
        paid = {
            rule: waged * share * part
            for name, share in among(self.paydays, wages).items()
            for rule, part in self.rules(name)
        }
        found = tuple((name, share) for name, share in (paid | ways).items() if share > 0)
        return Weights(found, self.stays, self.banks)

    def rules(self, payday: str) -> Iterator[tuple[str, float]]:
        """The rules of a payday, and the share of each."""
        variants = VARIANTS[payday]
        return zip(variants, self.conventions if len(variants) == len(CONVENTIONS) else (1.0,), strict=True)


def among(believed: Mapping[str, float], known: Mapping[str, float]) -> dict[str, float]:
    """Shares of paydays: those that are known, and of the others what is believed."""
    left = max(0.0, 1 - sum(known.values()))
    return {name: left * believed.get(name, 0.0) + known.get(name, 0.0) for name in {**believed, **known}}
