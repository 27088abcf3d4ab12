"""The stories of a belief for one declined payment: of what is believed before anything was seen, or was learned."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Final

from services.worker.recovery.belief.kept import Kept
from services.worker.recovery.belief.parts import Belief
from services.worker.recovery.belief.prior import prior
from services.worker.recovery.belief.stories import Stories
from services.worker.recovery.model import Card
from shared.policy import DeclineCause

KEPT: Final = 1_024
"""So many stories (of up to 45 KB, 46 MB in all) are kept in a process, of all that was learned of whomever."""
Key = tuple[DeclineCause, str | None, bool, tuple[tuple[str, float], ...]]

_numbers = count()
_kept: Final[Kept[tuple[int, Key], Stories]] = Kept(KEPT)


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned of a merchant's customers: of all, and of those of single countries.

    Stories are kept as long as they are among the last KEPT that were made.
    """

    everywhere: Belief
    countries: Mapping[str, Belief] = field(default_factory=dict)
    _number: int = field(default_factory=lambda: next(_numbers), init=False, repr=False, compare=False)

    @property
    def number(self) -> int:
        """Of no other object of the process."""
        return self._number

    def of(self, country: str | None) -> Belief:
        """What is believed of a country's customers."""
        return self.countries.get(country or "", self.everywhere)

    def believed(self, cause: DeclineCause, card: Card | None, wages: Mapping[str, float]) -> Stories:
        """The stories after a decline of this cause."""
        key = key_of(cause, card, wages)
        found = _kept.get((self._number, key))
        if found is None:
            _, country, credit, _ = key
            weights = self.of(country).weights(cause, wages, credit=credit)
            found = _kept.keep((self._number, key), Stories(weights, country))
        return found


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
    return cause, country, card is not None and card.funding == "credit", tuple(sorted(wages.items()))
