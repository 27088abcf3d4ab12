"""The stories of a belief for one declined payment: of what is believed before anything was seen, or was learned."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Final

from services.worker.recovery.belief.groups import Group, Path, Traits
from services.worker.recovery.belief.kept import Kept
from services.worker.recovery.belief.parts import CREDIT, Belief
from services.worker.recovery.belief.prior import prior
from services.worker.recovery.belief.stories import Stories
from services.worker.recovery.model import Card
from shared.money import Money
from shared.policy import DeclineCause

KEPT: Final = 1_024
"""So many stories (of up to 45 KB, 46 MB in all) are kept in a process, of all that was learned of whomever."""
_Key = tuple[DeclineCause, str | None, bool, tuple[tuple[str, float], ...]]

_numbers = count()
_kept: Final[Kept[tuple[int, Path, _Key], Stories]] = Kept(KEPT)


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned of a merchant's customers: of all, and of groups of them.

    `medians`: the amounts, by currency, up to which one is small. Stories are kept as long as they are among the last
    KEPT that were made.
    """

    root: Group
    medians: Mapping[str, int] = field(default_factory=dict)
    _number: int = field(default_factory=lambda: next(_numbers), init=False, repr=False, compare=False)

    @property
    def everywhere(self) -> Belief:
        """What is believed of all."""
        return self.root.belief

    def of(self, traits: Traits) -> Belief:
        """What is believed of the customers whose payments are like this one."""
        return self.root.find(traits, self.medians)[1].belief

    def path(self, traits: Traits) -> Path:
        """The groups that such a payment belongs to: with the same, and a card of the same country, stories are the
        same."""
        return self.root.find(traits, self.medians)[0]

    def believed(
        self, cause: DeclineCause, card: Card | None, amount: Money | None, wages: Mapping[str, float]
    ) -> Stories:
        """The stories after a decline of this cause."""
        key = _key(cause, card, wages)
        path, group = self.root.find(traits_of(card, amount), self.medians)
        found = _kept.get((self._number, path, key))
        if found is None:
            _, country, credit, _ = key
            weights = group.belief.weights(cause, wages, credit=credit)
            found = _kept.keep((self._number, path, key), Stories(weights, country))
        return found


def traits_of(card: Card | None, amount: Money | None) -> Traits:
    """By what groups are made, of a card and what is due."""
    if card is None:
        return Traits(amount=amount)
    return Traits(card.country.upper() if card.country else None, card.funding, card.network, amount)


def believed_before(cause: DeclineCause, card: Card | None, wages: Mapping[str, float]) -> Stories:
    """The stories of the prior after a decline of this cause."""
    return _before(_key(cause, card, wages))


@lru_cache(maxsize=256)
def _before(key: _Key) -> Stories:
    cause, country, credit, wages = key
    return Stories(prior(country).weights(cause, dict(wages), credit=credit), country)


def _key(cause: DeclineCause, card: Card | None, wages: Mapping[str, float]) -> _Key:
    country = card.country.upper() if card and card.country else None
    return cause, country, card is not None and card.funding == CREDIT, tuple(sorted(wages.items()))
