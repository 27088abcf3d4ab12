"""What one customer's own earlier recoveries say: the merchant's belief, moved by them.

People keep their payday and their bank, so a few of their own payments say more about these than those of thousands of
others. How long their money stays varies more from month to month, and why this payment failed is another matter than
why an earlier one did: of these the merchant's belief is moved little.

The belief is the one at the failure: what is known later does not change it, so that a plan is followed to its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.worker.recovery.belief.beliefs import Key, Learned, key_of, traits_of
from services.worker.recovery.belief.doubt import PLANS
from services.worker.recovery.belief.groups import Path
from services.worker.recovery.belief.kept import Kept
from services.worker.recovery.belief.learning import Outcome, Strength, moved
from services.worker.recovery.belief.parts import Belief, among
from services.worker.recovery.belief.paydays import RULES, VARIANTS
from services.worker.recovery.belief.prior import prior
from services.worker.recovery.belief.stories import Stories, hours_since
from services.worker.recovery.model import Card
from services.worker.recovery.timezones import zone_of
from shared.money import Money
from shared.policy import DeclineCause

HALF_LIFE: Final = timedelta(days=365)
"""After so long an outcome counts half: people change jobs and banks. Assumed."""
OF_CUSTOMER: Final = Strength(ways=100, paydays=2, conventions=3, stays=40, banks=4, rounds=4)
"""As how many of a customer's own recoveries the merchant's belief counts."""
KEPT: Final = 512
"""So many stories (of up to 45 KB, 23 MB in all) are kept in a process, of all customers."""
# A payday is told as this customer's own if the belief in it has grown by so many times, and an earlier payment was
# accepted within so many hours after one.
_GROWN: Final = 2.0
_SOON_H: Final = 72
_PLACE_OF_RULE: Final = {rule: place for place, rule in enumerate(RULES)}


@dataclass(frozen=True, slots=True)
class Earlier:
    """A customer's recoveries that had ended when another one began, `at` its failure; without outcomes nothing is
    known of the customer."""

    outcomes: tuple[Outcome, ...]
    at: datetime


_Key = tuple[tuple[int, float, Path] | None, Key, Earlier]
_kept: Final[Kept[_Key, Stories]] = Kept(KEPT)


def believed_of(
    earlier: Earlier,
    learned: Learned | None,
    cause: DeclineCause,
    card: Card | None,
    amount: Money | None,
    wages: Mapping[str, float],
    doubt: float = PLANS,
) -> Stories:
    """The stories of this customer after a decline of this cause; `learned` of the merchant's, or None for the prior.

    `wages`: the shares of paydays that the merchant knows of all customers.
    """
    common = key_of(cause, card, wages)
    traits = traits_of(card, amount)
    key = (None if learned is None else (learned.number, doubt, learned.path(traits)), common, earlier)
    found = _kept.get(key)
    if found is None:
        _, country, credit, _ = common
        before = prior(country) if learned is None else learned.doubted(traits, doubt)
        before = replace(before, paydays=among(before.paydays, wages))
        after = moved(before, earlier.outcomes, earlier.at, OF_CUSTOMER, HALF_LIFE)
        weights = after.weights(cause, {}, credit=credit)
        found = _kept.keep(key, Stories(weights, country, told=_told(before, after, earlier)))
    return found


def _told(before: Belief, after: Belief, earlier: Earlier) -> dict[str, str]:
    """The reasons of the paydays that are now believed in because of this customer's own payments, by rule."""
    accepted = sorted(
        (each.accepted_at, each.traits.country) for each in earlier.outcomes if each.accepted_at is not None
    )
    found: dict[str, str] = {}
    for payday, share in after.paydays.items():
        if share < _GROWN * before.paydays.get(payday, 0.0):
            continue
        days = []
        for at, country in accepted:
            local = at.astimezone(zone_of(country))
            since = hours_since(country, local.date(), local.hour)
            if any(since[_PLACE_OF_RULE[rule]] <= _SOON_H for rule in VARIANTS[payday]):
                days.append(f"{local:%d %b}")
        if days:
            text = f"this customer paid on {_and(days)} before, so wages seem to come {RULES[payday].name}"
            found |= dict.fromkeys(VARIANTS[payday], text)
    return found


def _and(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
