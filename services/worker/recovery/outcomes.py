"""What a recovery's attempts say about when its payment was possible. Pure.

An outcome is about one card: the one whose decline the recovery began with, as the bank answered for it. What the
customer did is no outcome: another card, a payment on the hosted page, 3-D Secure. Nor is what Stripe refused itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final
from uuid import UUID

from services.worker.recovery.belief.groups import Traits
from services.worker.recovery.belief.learning import Outcome
from services.worker.recovery.declines import classify
from services.worker.recovery.model import AttemptResult, Decline
from shared.ids import MerchantId
from shared.money import Money

# Stripe's `card.brand` (https://docs.stripe.com/api/payment_methods/object, read November 2026). For anything that is
# no card the rows have the payment method's type: a debit is answered days later, whenever it was begun.
_CARDS: Final = frozenset(
    {
        "amex",
        "cartes_bancaires",
        "diners",
        "discover",
        "eftpos_au",
        "interac",
        "jcb",
        "mastercard",
        "unionpay",
        "visa",
    }
)


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt's row, of a recovery of a merchant; ours or Stripe's."""

    merchant_id: MerchantId
    recovery_id: UUID
    at: datetime
    result: AttemptResult
    payment_method_id: str | None
    fingerprint: str | None
    network: str | None
    country: str | None
    funding: str | None
    amount: Money
    decline: Decline


def outcomes_of(rows: Iterable[Tried]) -> list[tuple[MerchantId, Outcome]]:
    """The outcomes of recoveries, whose attempts lie together in the order of their times; with their merchants."""
    found = []
    for _, each in groupby(rows, key=lambda row: row.recovery_id):
        attempts = list(each)
        outcome = outcome_of(attempts)
        if outcome is not None:
            found.append((attempts[0].merchant_id, outcome))
    return found


def outcome_of(attempts: Sequence[Tried]) -> Outcome | None:
    """What one recovery says by its attempts, in the order of their times; None if that is nothing.

    It takes a soft decline of a card, and an answer of the bank to another attempt with that card.
    """
    first = next(iter(attempts), None)
    if first is None or first.result is not AttemptResult.DECLINED:
        return None
    cause = classify(first.decline)
    if cause.hard or cause.merchants_matter:
        return None
    same = [each for each in attempts if _same_card(first, each)]
    networks = {each.network for each in same if each.network}
    if not networks or not networks <= _CARDS:
        return None
    declined, accepted_at = _answers(same)
    if len(declined) + (accepted_at is not None) < 2:
        return None
    country = next((each.country for each in same if each.country), None)
    funding = next((each.funding for each in same if each.funding), None)
    network = next(iter(networks)) if len(networks) == 1 else None
    traits = Traits(country.upper() if country else None, funding, network, first.amount)
    return Outcome(cause.cause, traits, declined, accepted_at, first.merchant_id)


def _same_card(first: Tried, other: Tried) -> bool:
    """Whether it is the same number; where Stripe gives none, the same payment method."""
    if first.fingerprint and other.fingerprint:
        return first.fingerprint == other.fingerprint
    return first.payment_method_id is not None and first.payment_method_id == other.payment_method_id


def _answers(attempts: Sequence[Tried]) -> tuple[tuple[datetime, ...], datetime | None]:
    """The times of the bank's declines, and of its acceptance, up to the first other answer."""
    declined: list[datetime] = []
    for each in attempts:
        if each.result is AttemptResult.SUCCEEDED:
            return tuple(declined), each.at
        if each.result is not AttemptResult.DECLINED:
            break
        cause = classify(each.decline)
        if cause.hard or cause.merchants_matter:
            break
        declined.append(each.at)
    return tuple(declined), None
