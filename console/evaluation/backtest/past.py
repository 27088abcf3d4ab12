"""One failure of the past, as the replay needs it, and the data that it gives to the model."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

from console.evaluation.backtest.clearing import DAY, HOUR, Seen, grid_place, payday_between
from console.evaluation.history import Attempt, Failure
from console.evaluation.history import Card as GivenCard
from services.worker.recovery import (
    CURRENT_RULES,
    AttemptResult,
    Card,
    Classified,
    Decline,
    DeclineCause,
    InvoiceStatus,
    InvoiceTruth,
    Never,
    NotBefore,
    OnFile,
    Origin,
    PastAttempt,
    check,
    classify,
)
from services.worker.recovery.networks import answers
from shared.ids import PaymentMethodId
from shared.money import Money

METHOD: Final = PaymentMethodId("pm_first")
HORIZON: Final = 60 * DAY
"""How long a failure is followed: the longest window that a policy may have."""
AUTHENTICATE: Final = Classified(DeclineCause.AUTHENTICATION_REQUIRED, True, "requires_action", customer_may_know=True)
_RESULTS: Final = {
    "succeeded": AttemptResult.SUCCEEDED,
    "declined": AttemptResult.DECLINED,
    "requires_action": AttemptResult.REQUIRES_ACTION,
}


@dataclass(frozen=True)
class Past:
    """A failure, up to `until` (unix seconds), where the history ends."""

    failure: Failure
    until: int

    @cached_property
    def opened_at(self) -> int:
        """When the renewal failed."""
        return self.failure.opened_at

    @cached_property
    def opened(self) -> datetime:
        """The same as a datetime."""
        return datetime.fromtimestamp(self.opened_at, UTC)

    @cached_property
    def why(self) -> Classified:
        """Why the renewal failed."""
        return understood(self.failure.attempts[0])

    @property
    def cause(self) -> DeclineCause:
        """The cause of the renewal's decline, by which the model's rates are grouped."""
        return self.why.cause

    @cached_property
    def retries(self) -> tuple[Attempt, ...]:
        """The attempts that followed without the customer, until the customer first acted."""
        found = []
        for each in self.failure.attempts[1:]:
            if each.by == "customer":
                break
            found.append(each)
        return tuple(found)

    @cached_property
    def card(self) -> Card:
        """The card. If its fingerprint is unknown, it counts as the same card in all attempts of this failure."""
        card = self.failure.card
        return _card(card)

    @cached_property
    def amount(self) -> Money:
        """What was due."""
        return Money(self.failure.amount, self.failure.currency)

    @cached_property
    def paid_at(self) -> int | None:
        """When it was paid, by anybody; None: not while it was followed."""
        last = self.failure.attempts[-1]
        at = last.at if last.result == "succeeded" else None
        if self.failure.ending == "paid_elsewhere":
            at = self.failure.ended_at
        return at if at is not None and at < self.followed_until else None

    @cached_property
    def paid_by_retry(self) -> bool:
        """Whether a retry paid it, and not the customer."""
        last = self.failure.attempts[-1]
        return self.paid_at is not None and last.result == "succeeded" and last.by == "retry"

    @cached_property
    def followed_until(self) -> int:
        """The end of the comparison, for what happened and for what a policy would have done."""
        return min(self.until, self.opened_at + HORIZON)

    @cached_property
    def ends_at(self) -> int:
        """When it ended without a retry: the customer paid, or the invoice was given up; else `followed_until`."""
        ends = self.followed_until
        if self.paid_at is not None and not self.paid_by_retry:
            ends = min(ends, self.paid_at)
        if self.failure.ended_at is not None:
            ends = min(ends, self.failure.ended_at)
        return ends

    @cached_property
    def invoice(self) -> InvoiceTruth:
        """The invoice as the brain sees it while it is open."""
        given, subscribed = self.failure, self.failure.subscribed_at
        return InvoiceTruth(
            InvoiceStatus.OPEN,
            self.amount,
            payment_method_id=METHOD,
            card=self.card,
            backups=self.backups,
            products=frozenset(given.products),
            prices=frozenset(given.prices),
            subscribed_at=datetime.fromtimestamp(subscribed, UTC) if subscribed else None,
        )

    @cached_property
    def backups(self) -> tuple[OnFile, ...]:
        """The customer's other payment methods, in the order in which they are tried."""
        return tuple(OnFile(PaymentMethodId(each.method), _card(each)) for each in self.failure.backups)

    def card_of(self, method: PaymentMethodId) -> Card:
        """The card of a payment method; nothing is known of one that is not among the customer's."""
        if method == METHOD:
            return self.card
        return next((each.card for each in self.backups if each.payment_method_id == method and each.card), Card())

    def attempt(
        self, number: int, origin: Origin, at: datetime, said: Attempt, method: PaymentMethodId = METHOD
    ) -> PastAttempt:
        """An attempt with this payment method that ended as `said` did."""
        return PastAttempt(
            number,
            origin,
            _RESULTS[said.result],
            at,
            method,
            self.card_of(method).fingerprint,
            self.amount,
            decline_of(said),
        )

    @cached_property
    def elsewhere(self) -> tuple[PastAttempt, ...]:
        """The other charges on the card, in the order of time."""
        attempts = (
            PastAttempt(
                0,
                Origin.STRIPE,
                _RESULTS[each.result],
                datetime.fromtimestamp(each.at, UTC),
                None,
                self.card.fingerprint,
                Money(each.amount, each.currency),
                Decline(network_decline_code=each.network_decline_code, network_advice_code=each.network_advice_code),
            )
            for each in self.failure.elsewhere
        )
        return tuple(sorted(attempts, key=lambda each: each.at))

    @cached_property
    def elsewhere_answers(self) -> bool:
        """Whether a network's answer to one of the other charges may forbid an attempt on the card."""
        declines = (each.decline for each in self.elsewhere if each.decline is not None)
        return any(answers(CURRENT_RULES, self.card, self.amount, each) for each in declines)

    def hours(self, at: float) -> float:
        """The hours from the failure until then."""
        return (at - self.opened_at) / HOUR

    def teach(self, seen: Seen) -> None:
        """Add this failure's data about the bank and the customer to the counts."""
        before = self.failure.attempts[0]
        tried: set[str] = set()
        for each in self.retries:
            if each.at >= self.followed_until:
                break
            if each.method is not None:
                if each.method not in tried:  # what follows on a decline is another matter than a first try
                    seen.backups[each.result == "succeeded"] += 1
                tried.add(each.method)
                continue
            payday = self.payday_between(before.at, each.at)
            cell = (self.cause, grid_place(self.hours(before.at)), grid_place(self.hours(each.at)), payday)
            (seen.yes if each.result == "succeeded" else seen.no)[cell] += 1
            before = each
        by_customer = self.paid_at is not None and not self.paid_by_retry
        watched = self.paid_at if self.paid_by_retry and self.paid_at is not None else self.ends_at
        seen.watch(self.cause, self.hours(watched), paid=by_customer)

    def payday_between(self, after: int, at: int) -> bool:
        """Whether a likely payday in this card's country counts at `at`; for missing funds only."""
        if self.cause is not DeclineCause.INSUFFICIENT_FUNDS:
            return False
        return payday_between(after, at, self.card.country)


def _card(given: GivenCard) -> Card:
    return Card(given.fingerprint, given.network, given.country, given.exp_month, given.exp_year, funding=given.funding)


def decline_of(said: Attempt) -> Decline | None:
    """The decline that an attempt ended with."""
    if said.result != "declined":
        return None
    return Decline(said.code, said.decline_code, said.advice_code, said.network_decline_code, said.network_advice_code)


def understood(said: Attempt) -> Classified:
    """Why an attempt failed."""
    decline = decline_of(said)
    return AUTHENTICATE if decline is None else classify(decline)


AFTER_HARD: Final = "after a hard decline"


def breach(
    past: Past,
    before: list[PastAttempt],
    elsewhere: list[PastAttempt],
    at: datetime,
    method: PaymentMethodId = METHOD,
) -> str | None:
    """The rule that forbids an attempt with this payment method at `at`; None: it is allowed.

    `before`: this failure's attempts so far; `elsewhere`: others on its cards. The card networks' table is checked here
    again, independently of `decide`.
    """
    recent = [each for each in elsewhere if at - timedelta(days=60) <= each.at <= at]
    for each in before:
        hard = each.result is AttemptResult.REQUIRES_ACTION or (each.decline and classify(each.decline).hard)
        if hard and each.payment_method_id == method:
            return AFTER_HARD
    verdict = check(CURRENT_RULES, past.card_of(method), before, past.amount, at, elsewhere=recent, method=method)
    return verdict.rule if isinstance(verdict, Never | NotBefore) else None


def answered(past: Past, said: Attempt) -> bool:
    """Whether the card's network forbids another attempt, for a time or for good, after one that ended so."""
    decline = decline_of(said)
    return decline is not None and answers(CURRENT_RULES, past.card, past.amount, decline)
