"""Groups of a merchant's recoveries that are learned about by themselves.

A tree: all recoveries; those of single countries; of these the ones with a kind of card (`card.funding`), with small or
large amounts, with a network. A group is learned from the belief of the group that it is a part of, so that nothing is
counted twice, and only where it has enough recoveries; what belongs to none goes on as the rest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from services.worker.recovery.belief.parts import Belief
from shared.money import Money

REST: Final = "*"
"""The name of what belongs to no group of its own."""
SMALL, LARGE = "small", "large"


class Trait(StrEnum):
    """What groups are made by, the first one first."""

    COUNTRY = "country"
    FUNDING = "funding"
    AMOUNT = "amount"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a failed payment, and groups are made by; None where Stripe does not say.

    `country` is the card's, ISO 3166 alpha-2 in capitals; `funding` and `network` are Stripe's `card.funding` and
    `card.brand`; `amount` is what is due.
    """

    country: str | None = None
    funding: str | None = None
    network: str | None = None
    amount: Money | None = None

    def value(self, trait: Trait, medians: Mapping[str, int]) -> str:
        """The name of the group by this trait; empty where it is not known. `medians`: amounts by currency."""
        match trait:
            case Trait.COUNTRY:
                return self.country or ""
            case Trait.FUNDING:
                return self.funding or ""
            case Trait.NETWORK:
                return self.network or ""
            case Trait.AMOUNT:
                if self.amount is None or self.amount.currency not in medians:
                    return ""
                return SMALL if self.amount.amount <= medians[self.amount.currency] else LARGE


Path = tuple[str, ...]
"""The names of the groups that a payment belongs to, from the first trait that splits them on."""


@dataclass(frozen=True, slots=True)
class Group:
    """What is believed of a group, and its parts by the values of a trait; none if `by` is None."""

    belief: Belief
    by: Trait | None = None
    parts: Mapping[str, "Group"] = field(default_factory=dict)

    def find(self, traits: Traits, medians: Mapping[str, int]) -> tuple[Path, "Group"]:
        """The smallest group that a payment belongs to."""
        path: list[str] = []
        group = self
        while group.by is not None:
            value = traits.value(group.by, medians)
            name = value if value in group.parts else REST
            path.append(name)
            group = group.parts[name]
        return tuple(path), group

    def each(self) -> Iterator[tuple[tuple[tuple[Trait, str], ...], "Group"]]:
        """All groups that something was learned about, this one first; each with the traits and values that it is made
        by."""
        yield (), self
        for name, part in sorted(self.parts.items()):
            for traits, group in part.each():
                if name != REST:
                    yield (((self.by, name), *traits) if self.by else traits), group
                elif traits:
                    yield traits, group
