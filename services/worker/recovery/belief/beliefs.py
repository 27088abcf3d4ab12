"""The stories of a belief for one declined payment: of what is believed before anything was seen, or was learned."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from services.worker.recovery.belief.parts import Belief
from services.worker.recovery.belief.prior import prior
from services.worker.recovery.belief.stories import Stories
from services.worker.recovery.model import Card
from shared.policy import DeclineCause

_Key = tuple[DeclineCause, str | None, bool, tuple[tuple[str, float], ...]]

# Stories may take half a megabyte: this many are kept in a process, of all that was learned of whomever.
KEPT_STORIES: Final = 256
_kept: OrderedDict[tuple[object, _Key], Stories] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned of a merchant's customers: of all, and of those of single countries.

    Stories are made once, as long as they are among the last KEPT_STORIES that were asked for.
    """

    everywhere: Belief
    countries: Mapping[str, Belief] = field(default_factory=dict)
    _itself: object = field(default_factory=object, init=False, repr=False, compare=False)

    def of(self, country: str | None) -> Belief:
        """What is believed of a country's customers."""
        return self.countries.get(country or "", self.everywhere)

    def believed(self, cause: DeclineCause, card: Card | None, wages: Mapping[str, float]) -> Stories:
        """The stories after a decline of this cause."""
        key = _key(cause, card, wages)
        found = _kept.pop((self._itself, key), None)
        if found is None:
            _, country, credit, _ = key
            found = Stories(self.of(country).weights(cause, wages, credit=credit), country)
            if len(_kept) >= KEPT_STORIES:
                _kept.popitem(last=False)
        _kept[self._itself, key] = found
        return found


def believed_before(cause: DeclineCause, card: Card | None, wages: Mapping[str, float]) -> Stories:
    """The stories of the prior after a decline of this cause."""
    return _before(_key(cause, card, wages))


@lru_cache(maxsize=256)
def _before(key: _Key) -> Stories:
    cause, country, credit, wages = key
    return Stories(prior(country).weights(cause, dict(wages), credit=credit), country)


def _key(cause: DeclineCause, card: Card | None, wages: Mapping[str, float]) -> _Key:
    country = card.country.upper() if card and card.country else None
    return cause, country, card is not None and card.funding == "credit", tuple(sorted(wages.items()))
