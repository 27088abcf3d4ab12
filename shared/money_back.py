"""Money that went back: what Stripe says of the refunds and disputes of a charge, and what follows for the book.

    refund    takes money from the charge when it is created; a failed or canceled one gives it back
    refunds   the sum of a charge's refunds at one moment, as the charge itself has it
    dispute   takes money when it is no inquiry; a won one gives it back

Each is one row of `money_back`, whatever the number, the order and the ids of the events about it. The book follows
from all rows of a charge (`sums_of`), so it does not depend on which event came first. A row may be there before its
charge is booked; whoever books the charge finds it. Pure; the SQL is in `booked_charges`.

Sources, read November 2026. Stripe debits the disputed amount when a dispute is opened, so `created` is the moment, and
`funds_withdrawn` says it again: https://docs.stripe.com/disputes/how-disputes-work. An inquiry has no financial impact:
https://docs.stripe.com/disputes/withdrawing. Since 2024-10-28 `refund.*` is sent for every refund, before that only
`charge.refunded` and `charge.refund.updated`: https://docs.stripe.com/changelog/acacia/2024-10-28/refund-webhook-update.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.ids import ChargeId, PaymentIntentId
from shared.money import Money
from shared.recovery_model import EntryKind


class Kind(StrEnum):
    """What a fact is about; `money_back.kind`."""

    REFUND = "refund"
    REFUNDS = "refunds"
    DISPUTE = "dispute"


@dataclass(frozen=True, slots=True)
class Fact:
    """What Stripe says of one refund, one dispute, or one charge's refunds.

    `returned` of the amount has come back, at `returned_at`. `moved_at` of REFUNDS is when the sum was so.
    """

    kind: Kind
    external_id: str
    charge_id: ChargeId | None
    payment_intent_id: PaymentIntentId | None
    taken: Money
    moved_at: datetime
    returned: int = 0
    returned_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """What of a booked charge is in the book as taken back, in minor units. `refunded` is less those that failed."""

    refunded: int = 0
    disputed: int = 0
    won_back: int = 0


def sums_of(facts: Sequence[Fact], booked: Money) -> Sums:
    """What the book says of a charge of which `booked` was booked: never more than that, in all.

    The money is gone through in the order in which it moved. What was taken first counts first, up to the booked
    amount; what is beyond it counts only when something before it comes back. So a dispute of refunded money takes
    nothing.
    """
    takings = sorted((_taking(fact, facts, booked) for fact in facts), key=lambda each: each.place)
    moves = [(each.at, False, place, each.amount) for place, each in enumerate(takings)]
    moves += [(each.back_at, True, place, -each.returned) for place, each in enumerate(takings) if each.returned > 0]
    refunded = disputed = won_back = 0
    gone, counted = [0] * len(takings), [0] * len(takings)
    for _, _, moved, amount in sorted(moves):
        gone[moved] += amount
        room = booked.amount
        for place, taking in enumerate(takings):
            counts = min(gone[place], room)
            room -= counts
            change, counted[place] = counts - counted[place], counts
            if not taking.dispute:
                refunded += change
            elif change > 0:
                disputed += change
            else:
                won_back -= change
    return Sums(refunded, disputed, won_back)


@dataclass(frozen=True, slots=True)
class _Taking:
    place: tuple[datetime, Kind, str]
    dispute: bool
    at: datetime
    amount: int
    back_at: datetime
    returned: int


def _taking(fact: Fact, facts: Sequence[Fact], booked: Money) -> _Taking:
    taken, returned = fact.taken.amount, fact.returned
    if fact.kind is Kind.REFUNDS:
        taken = _unnamed(fact, facts)
    elif fact.taken.currency != booked.currency:
        # A dispute can be in the currency of the customer's bank. Its amount cannot be compared: it counts as all.
        taken, returned = booked.amount, booked.amount if returned > 0 else 0
    at = fact.moved_at
    place = (at, fact.kind, fact.external_id)
    return _Taking(place, fact.kind is Kind.DISPUTE, at, taken, max(at, fact.returned_at or at), returned)


def _unnamed(total: Fact, facts: Sequence[Fact]) -> int:
    """What the charge's own sum has beyond the refunds that are known: their own events are late, or not sent at all.

    The sum leaves out refunds that had failed before. One that fails later, or in the same second, is taken off here.
    """
    refunds = [each for each in facts if each.kind is Kind.REFUND]
    in_force = sum(each.taken.amount - each.returned for each in refunds)
    later = sum(each.returned for each in refunds if each.returned_at is None or each.returned_at >= total.moved_at)
    return max(0, total.taken.amount - later - in_force)


_TEXTS = {
    EntryKind.REFUNDED: "Recovered money was refunded.",
    EntryKind.REFUND_FAILED: "A refund failed or was canceled: its money came back.",
    EntryKind.DISPUTED: "Recovered money was disputed, and withdrawn.",
    EntryKind.DISPUTE_WON: "A dispute was won: its money came back.",
}
_CORRECTED = "Corrected: other money of the charge had gone back before."


@dataclass(frozen=True, slots=True)
class Change:
    """A number of the book that changes, by `amount`, and what the timeline tells of it; in minor units."""

    metric_type: str
    amount: int
    kind: EntryKind
    text: str
    told_amount: int


def changes_of(before: Sums, after: Sums, fact: Fact) -> list[Change]:
    """What the book and the timeline must say when this fact has changed the sums of a charge."""
    differences = {
        EntryKind.REFUNDED: ("refunded", after.refunded - before.refunded),
        EntryKind.DISPUTED: ("disputed", after.disputed - before.disputed),
        EntryKind.DISPUTE_WON: ("won_back", after.won_back - before.won_back),
    }
    return [
        _change(kind, metric_type, amount, fact) for kind, (metric_type, amount) in differences.items() if amount != 0
    ]


def _change(kind: EntryKind, metric_type: str, amount: int, fact: Fact) -> Change:
    if amount > 0:
        return Change(metric_type, amount, kind, _TEXTS[kind], amount)
    if kind is EntryKind.REFUNDED and fact.kind is not Kind.DISPUTE:
        failed = EntryKind.REFUND_FAILED
        return Change(metric_type, amount, failed, _TEXTS[failed], -amount)
    return Change(metric_type, amount, kind, _CORRECTED, amount)
