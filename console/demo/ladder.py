"""The same failed renewals under the fixed ladders that others use, computed from the simulator's own data.

The simulator draws before any attempt when each card clears and how each customer reacts to emails, whoever retries
(`GET /_sim/fates`). A ladder sends the default policy's emails, so that only the attempts differ. Assumptions are in
the ladder's favour: its attempts and customers have until the end of the story, ours until the end of the policy's
window; and all that Stripe's ladder skips after a hard decline it tries again once the card is renewed under its id.

Bank debits are left out, ours too: Stripe retries them by settings of their own, the other ladders are made for cards,
and when a debit fails depends on when it was begun. Refunds and disputes play no part: they are drawn by invoice,
whoever collected it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Any, Final

from console.evaluation.ladders import LADDERS, Rungs
from console.evaluation.strategies import asks_for
from console.evaluation.writing import message_gaps
from services.worker.recovery import Decline, MessageKind, Policy, classify

_DAY: Final = 86_400

Fate = Mapping[str, Any]
"""One of `SimulatorClient.fates()`."""


@dataclass(frozen=True, slots=True)
class LadderOutcome:
    """The outcome of one failed renewal. `paid_at`: unix seconds, None when nobody has paid.

    `after_hard`: attempts on a card after a hard decline.
    """

    paid_at: float | None
    attempts: int
    after_hard: int


def climb(rungs: Rungs, fates: Iterable[Fate], ends: float) -> dict[str, LadderOutcome]:
    """The outcomes of all failed renewals under a ladder, by invoice. `ends`: the story's last second."""
    policy = Policy.default()
    # The simulator's customers answer at any hour, so no email waits for one.
    gaps = {kind: message_gaps(policy, kind) for kind in MessageKind}
    outcomes = {}
    for fate in fates:
        tries = [fate["failed_at"] + gap.total_seconds() for gap in accumulate(rungs.gaps)]
        emails = [fate["failed_at"] + gap for gap in gaps[asks_for(decline_of(fate))]]
        outcomes[fate["invoice"]] = play(fate, tries, emails, ends, obeys_hard=rungs.obeys_hard)
    return outcomes


def play(
    fate: Fate, tries: Sequence[float], emails: Sequence[float], ends: float, *, obeys_hard: bool = False
) -> LadderOutcome:
    """Play one failed renewal with these attempts and emails (unix seconds, rising) until it is paid.

    `obeys_hard`: no attempt on a card after a hard decline, until it is renewed or there is another card.
    """
    decline = decline_of(fate)
    hard = classify(decline).hard
    acts_at = _customer_acts(fate, emails)
    # An email about another card leads to a form, which collects nothing; all other emails lead to the invoice.
    brings_card = fate["reaction"] == "new_card" and asks_for(decline) is MessageKind.NEW_METHOD_NEEDED
    made = after_hard = 0
    for at in tries:
        if at > ends or (acts_at <= at and not brings_card):
            break
        if acts_at <= at:
            return LadderOutcome(at, made + 1, after_hard)
        dead = hard and not _renewed(fate, at)
        if dead and obeys_hard:
            continue
        made += 1
        after_hard += dead
        if _clear(fate, at, declines=made):
            return LadderOutcome(at, made, after_hard)
    paid = acts_at <= ends and not brings_card
    return LadderOutcome(acts_at if paid else None, made, after_hard)


def decline_of(fate: Fate) -> Decline:
    """The bank's decline of the renewal."""
    if fate["needs_3ds"]:
        return Decline("authentication_required", "authentication_required")
    names = ("code", "decline_code", "advice_code", "network_decline_code", "network_advice_code")
    return Decline(*(fate[name] for name in names))


def _customer_acts(fate: Fate, emails: Sequence[float]) -> float:
    """When the customer acts, if the invoice is still unpaid at the email to which they react."""
    if fate["reaction"] == "ignore" or len(emails) < fate["on_email"]:
        return inf
    email: int = fate["on_email"]
    return emails[email - 1] + float(fate["delay"])


def _clear(fate: Fate, at: float, declines: int) -> bool:
    """Whether a charge succeeds at this time, after so many declines, including the renewal's own."""
    if fate["needs_3ds"]:
        return False
    if _renewed(fate, at):
        return True
    if fate["clears_at"] is not None and at >= fate["clears_at"]:
        return True
    return fate["clears_after"] is not None and declines >= fate["clears_after"]


def _renewed(fate: Fate, at: float) -> bool:
    """Whether the card updater has renewed the card by then."""
    return fate["renewed_at"] is not None and at >= fate["renewed_at"]


# -- side by side --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """The results of one way to retry: recovered renewals by cause, attempts, attempts on cards after a hard decline,
    and the mean days until a recovered one was paid (None without any)."""

    name: str
    recovered: Counter[str]
    attempts: int
    after_hard: int
    days: float | None

    @classmethod
    def of(
        cls, name: str, outcomes: Mapping[str, LadderOutcome], fates: Iterable[Fate], causes: Mapping[str, str]
    ) -> "Way":
        """`outcomes` and `causes` by invoice."""
        failed_at = {fate["invoice"]: fate["failed_at"] for fate in fates}
        paid = {invoice: each.paid_at for invoice, each in outcomes.items() if each.paid_at is not None}
        days = [(at - failed_at[invoice]) / _DAY for invoice, at in paid.items()]
        return cls(
            name,
            Counter(causes[invoice] for invoice in paid),
            sum(each.attempts for each in outcomes.values()),
            sum(each.after_hard for each in outcomes.values()),
            sum(days) / len(days) if days else None,
        )


def side_by_side(
    fates: Sequence[Fate],
    tries: Iterable[Mapping[str, Any]],
    causes: Mapping[str, str],
    recovered: Set[str],
    ends: float,
) -> list[Way]:
    """Our results, and those of each ladder. `tries`: the simulator's attempt log; `causes` and `recovered` are from
    our rows, by invoice. A failed renewal without a row of ours is left out here; the checks report it. So is a bank
    debit, which has no fate."""
    fates = [fate for fate in fates if fate["invoice"] in causes]
    ours = Way.of("The Citadel", as_it_went(fates, tries, recovered), fates, causes)
    return [ours, *(Way.of(each.name, climb(each, fates, ends), fates, causes) for each in LADDERS)]


def as_it_went(
    fates: Iterable[Fate], tries: Iterable[Mapping[str, Any]], recovered: Set[str]
) -> dict[str, LadderOutcome]:
    """The real outcome of each failed renewal, by the simulator's attempt log."""
    log: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for each in tries:
        log[each["invoice"]].append(each)
    outcomes = {}
    for fate in fates:
        ours = [each for each in log[fate["invoice"]] if each["source"] == "api_pay"]
        same_card = sum(
            each["payment_method"] == fate["payment_method"] and not _renewed(fate, each["at"]) for each in ours
        )
        paid = (each["at"] for each in log[fate["invoice"]] if each["outcome"] == "succeeded")
        outcomes[fate["invoice"]] = LadderOutcome(
            next(paid, None) if fate["invoice"] in recovered else None,
            len(ours),
            same_card if classify(decline_of(fate)).hard else 0,
        )
    return outcomes
