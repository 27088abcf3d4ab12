"""How many attempts need not be held against the rules."""

from functools import lru_cache

from services.worker.recovery import CURRENT_RULES, Card, Decline, classify
from services.worker.recovery.networks import answers, unlimited
from shared.money import Money


def harmless(card: Card, amount: Money, decline: Decline | None) -> int:
    """So many attempts on the card that are all declined like this break no rule, at whatever times they are made.

    -1: another attempt may break one; so it is where no decline is known.
    """
    if decline is None:
        return -1
    return _harmless(card.network, card.country, amount.currency, decline)


@lru_cache(maxsize=4_096)
def _harmless(network: str | None, country: str | None, currency: str, decline: Decline) -> int:
    card, amount = Card(network=network, country=country), Money(1, currency)
    if classify(decline).hard or answers(CURRENT_RULES, card, amount, decline):
        return -1
    return unlimited(CURRENT_RULES, card, amount)
