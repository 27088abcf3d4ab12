"""The stories of a belief for one declined payment: of what is believed before anything was seen, or was learned."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Final

from services.worker.recovery.belief.doubt import PLANS, doubted
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
Key = tuple[DeclineCause, str | None, bool, tuple[tuple[str, float], ...]]

_numbers = count()
_kept: Final[Kept[tuple[int, float, Path, Key], Stories]] = Kept(KEPT)


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
    def number(self) -> int:
        """Of no other object of the process."""
        return self._number

    @property
    def everywhere(self) -> Belief:
        """What is believed of all."""
        return self.root.belief

    def of(self, traits: Traits) -> Belief:
        """What was learned of the customers whose payments are like this one."""
        return self.root.find(traits, self.medians)[1].belief

    def doubted(self, traits: Traits, doubt: float) -> Belief:
        """The same with doubt."""
        return doubted(self.of(traits), doubt)

    def path(self, traits: Traits) -> Path:
        """The groups that such a payment belongs to: with the same, and a card of the same country, stories are the
        same."""
        return self.root.find(traits, self.medians)[0]

    def believed(
        self,
        cause: DeclineCause,
        card: Card | None,
        amount: Money | None,
        wages: Mapping[str, float],
        doubt: float = PLANS,
    ) -> Stories:
        """The stories after a decline of this cause, with so much doubt of what was learned."""
        common, traits = key_of(cause, card, wages), traits_of(card, amount)
        key = (self._number, doubt, self.path(traits), common)
        found = _kept.get(key)
        if found is None:
            _, country, credit, _ = common
            weights = self.doubted(traits, doubt).weights(cause, wages, credit=credit)
            found = _kept.keep(key, Stories(weights, country))
        return found


def traits_of(card: Card | None, amount: Money | None) -> Traits:
    """By what groups are made, of a card and what is due."""
    if card is None:
        return Traits(amount=amount)
    return Traits(card.country.upper() if card.country else None, card.funding, card.network, amount)


def believed_before(cause: DeclineCause, card: Card | None, wages: Mapping[str, float]) -> Stories:
    """The stories of the prior after a decline of this cause."""
    return _before(key_of(cause, card, wages))


@lru_cache(maxsize=256)
def _before(key: Key) -> Stories:
    cause, country, credit, wages = key
    return Stories(prior(country).weights(cause, dict(wages), credit=credit), country)


def key_of(cause: DeclineCause, card: Card | None, wages: Mapping[str, float]) -> Key:
    """What stories depend on beside the belief: the cause, the card's country, whether it is a credit card, and the
    shares of paydays that the merchant knows."""
    country = card.country.upper() if card and card.country else None
    return cause, country, card is not None and card.funding == CREDIT, tuple(sorted(wages.items()))
