"""No sequence of events makes the brain break a network's rule.

A state machine plays months of one card: time passes, Stripe tries by itself, we do whatever `decide` says, other
invoices use the same card, banks answer with any code, customers change cards and amounts. After every attempt of ours
the rules are checked against a second, simple reading of them, which counts by hand.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.worker.recovery import (
    AttemptNow,
    AttemptResult,
    Card,
    Decline,
    InvoiceTruth,
    OnFile,
    Origin,
    PastAttempt,
    Policy,
    RecoveryFacts,
    decide,
)
from services.worker.recovery.networks import VISA_CATEGORY_1
from shared.ids import InvoiceId, PaymentMethodId
from shared.money import Money
from tests.unit.worker.recovery.builders import METHOD, OPENED, invoice

NETWORKS = ("mastercard", "visa", "amex", "discover", "us_bank_account", "unheard_of")
SOFT = ("insufficient_funds", "do_not_honor", "try_again_later", "card_velocity_exceeded", "a_code_of_tomorrow", None)
WAITS = {"24": 1, "25": 24, "26": 48, "27": 96, "28": 144, "29": 192, "30": 240}
MONTH, DAY = timedelta(days=30), timedelta(days=1)


def _hurried(**changes: object) -> Policy:
    """As eager as a document may be, so that only the networks' rules hold the brain back."""
    every_hour = {"kind": "delays", "hours": [1]}
    causes = ("insufficient_funds", "try_later", "do_not_honor", "limit_exceeded", "not_allowed", "unknown")
    document: dict[str, object] = {
        "max_attempts": 20,
        "window_days": 60,
        "message_days": [],
        "driver": "citadel",
        "quiet_hours_around_stripe": 1,
        "backup_methods": True,
        "schedules": dict.fromkeys(causes, every_hour),
    }
    return Policy.model_validate(document | changes)


def broken_rules(
    card: Card, amount: Money, tried: Sequence[PastAttempt], at: datetime, elsewhere: Sequence[PastAttempt] = ()
) -> list[str]:
    """Which rules an attempt on `card` at `at` breaks, after all that was `tried` on it. Counted by hand.

    `tried` is for the same invoice, `elsewhere` for others.
    """
    here = [each for each in tried if each.card_fingerprint in (None, card.fingerprint)]
    tried = [*tried, *elsewhere]
    on_card = [each for each in tried if each.card_fingerprint in (None, card.fingerprint)]
    same = [each for each in on_card if each.amount == amount]
    visa, mastercard = (card.network in (name, "unheard_of") for name in ("visa", "mastercard"))
    found = []

    def within(span: timedelta, attempts: Sequence[PastAttempt]) -> int:
        return sum(each.at > at - span for each in attempts)

    if card.network in ("visa", "amex", "discover", "unheard_of") and same and within(MONTH, same[1:]) >= 20:
        found.append("20 repeats in 30 days")
    if mastercard and within(DAY, on_card) >= 10:
        found.append("Mastercard: 10 in a day")
    if mastercard and within(MONTH, same) >= 35:
        found.append("Mastercard: 35 in 30 days")
    if card.network in ("us_bank_account", "unheard_of") and here and within(timedelta(days=180), here[1:]) >= 2:
        found.append("ACH: 2 repeats in 180 days")
    if card.country == "IN" and here:
        found.append("India: no repeats")
    for each in on_card:
        said = each.decline or Decline()
        if visa and said.network_decline_code in VISA_CATEGORY_1:
            found.append(f"Visa: never after {said.network_decline_code}")
        if mastercard and said.network_advice_code in ("03", "21", "40", "41"):
            found.append(f"Mastercard: never after advice {said.network_advice_code}")
        hours = WAITS.get(said.network_advice_code or "")
        if mastercard and hours is not None and at < each.at + timedelta(hours=hours):
            found.append(f"Mastercard: {hours} hours after advice {said.network_advice_code}")
    return found


class Months(RuleBasedStateMachine):
    """One invoice, its cards, and everything that can happen to them."""

    @initialize(network=st.sampled_from(NETWORKS), country=st.sampled_from((None, "US", "DE", "IN")))
    def opened(self, network: str, country: str | None) -> None:
        self.policy = _hurried()
        self.card = Card("fp_1", network, country, 12, 2035)
        self.truth: InvoiceTruth = invoice(card=self.card)
        self.now = OPENED
        self.attempts: list[PastAttempt] = []
        self.elsewhere: list[PastAttempt] = []
        self.broken: list[str] = []
        self._declined(Origin.STRIPE, self.truth, Decline("card_declined", "do_not_honor"))

    @rule(hours=st.integers(1, 400))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def it_is_almost_as_long_as_was_advised(self) -> None:
        said = self.attempts[-1].decline or Decline()
        hours = WAITS.get(said.network_advice_code or "", 2)
        self.now = max(self.now, self.attempts[-1].at + timedelta(hours=hours, minutes=-30))
        self._step(Decline("card_declined", "do_not_honor"))

    @rule(times=st.integers(5, 30), code=st.sampled_from(SOFT))
    def we_hurry_and_the_bank_stays_vague(self, times: int, code: str | None) -> None:
        for _ in range(times):
            self._step(Decline("card_declined", code))
            self.now += timedelta(minutes=67)

    @rule(
        declined=st.sampled_from((None, "05", "51", "04", "14", "R1")),
        advised=st.sampled_from((None, "02", "03", "21", "40", "43", *WAITS)),
        unknown=st.booleans(),
    )
    def the_bank_says_more(self, declined: str | None, advised: str | None, unknown: bool) -> None:
        self._step(Decline("card_declined", "do_not_honor", None, declined, advised), lost=unknown)

    @rule(code=st.sampled_from(SOFT), advised=st.sampled_from((None, "03", *WAITS)))
    def stripe_tries_by_itself(self, code: str | None, advised: str | None) -> None:
        self._declined(Origin.STRIPE, self.truth, Decline("card_declined", code, None, None, advised))

    @rule(times=st.integers(1, 12), nameless=st.booleans())
    def another_invoice_uses_the_card(self, times: int, nameless: bool) -> None:
        for number in range(times):
            fingerprint = None if nameless else self.card.fingerprint
            at = self.now - timedelta(minutes=number)
            self.elsewhere.append(
                PastAttempt(
                    1,
                    Origin.CITADEL,
                    AttemptResult.STARTED if number == 0 else AttemptResult.DECLINED,
                    at,
                    PaymentMethodId("pm_other"),
                    fingerprint,
                    self.truth.amount_remaining,
                    None if number == 0 else Decline("card_declined", "do_not_honor"),
                )
            )

    @rule(number=st.integers(2, 4), network=st.sampled_from(NETWORKS))
    def the_customer_brings_another_card(self, number: int, network: str) -> None:
        self.card = Card(f"fp_{number}", network, "US", 12, 2035)
        self.truth = replace(self.truth, payment_method_id=PaymentMethodId(f"pm_{number}"), card=self.card)

    @rule(number=st.integers(5, 6), network=st.sampled_from(NETWORKS))
    def there_is_a_backup(self, number: int, network: str) -> None:
        backup = OnFile(PaymentMethodId(f"pm_{number}"), Card(f"fp_{number}", network, "US", 12, 2035))
        self.truth = replace(self.truth, backups=(backup,))

    @rule()
    def the_same_card_is_entered_again(self) -> None:
        self.truth = replace(self.truth, payment_method_id=PaymentMethodId(f"{self.truth.payment_method_id}x"))

    @rule(amount=st.sampled_from((1000, 2000)))
    def a_part_is_paid(self, amount: int) -> None:
        self.truth = replace(self.truth, amount_remaining=Money(amount, "eur"))

    @rule()
    def what_was_unknown_is_read(self) -> None:
        self.attempts = [
            replace(each, result=AttemptResult.DECLINED, decline=Decline("card_declined", "do_not_honor"))
            if each.unresolved
            else each
            for each in self.attempts
        ]

    @invariant()
    def no_rule_was_broken(self) -> None:
        assert getattr(self, "broken", []) == []

    def _step(self, said: Decline, *, lost: bool = False) -> None:
        decision = decide(
            self.policy,
            RecoveryFacts(OPENED, invoice_id=InvoiceId("in_1")),
            self.truth,
            self.attempts,
            self.now,
            same_card_elsewhere=self.elsewhere,
        )
        if isinstance(decision, AttemptNow):
            charged = self._charged(decision)
            assert charged.card is not None
            self.broken += broken_rules(charged.card, charged.amount_remaining, self.attempts, self.now, self.elsewhere)
            self._declined(Origin.CITADEL, charged, said, lost=lost)

    def _charged(self, decision: AttemptNow) -> InvoiceTruth:
        if decision.payment_method_id == self.truth.payment_method_id:
            return self.truth
        (found,) = [each for each in self.truth.backups if each.payment_method_id == decision.payment_method_id]
        return replace(self.truth, payment_method_id=found.payment_method_id, card=found.card)

    def _declined(self, origin: Origin, charged: InvoiceTruth, said: Decline, *, lost: bool = False) -> None:
        result = AttemptResult.UNKNOWN if lost else AttemptResult.DECLINED
        ours = sum(each.origin is origin for each in self.attempts)
        fingerprint = charged.card.fingerprint if charged.card else None
        self.attempts.append(
            PastAttempt(
                ours + 1,
                origin,
                result,
                self.now,
                charged.payment_method_id,
                fingerprint,
                charged.amount_remaining,
                None if lost else said,
            )
        )


TestMonths = Months.TestCase
TestMonths.settings = settings(max_examples=120, stateful_step_count=25)


def test_the_second_reading_finds_what_is_broken() -> None:
    """What makes the machine above worth something: blind hourly retries break rules on every network."""
    for network in NETWORKS:
        card = Card("fp_1", network, "US")
        due = Money(2000, "eur")
        hours = [OPENED + timedelta(hours=n) for n in range(40)]
        tried = [
            PastAttempt(n, Origin.CITADEL, AttemptResult.DECLINED, at, METHOD, "fp_1", due)
            for n, at in enumerate(hours)
        ]
        assert broken_rules(card, due, tried, hours[-1] + timedelta(hours=1))


@pytest.mark.parametrize("advised", WAITS)
def test_every_wait_that_is_advised_is_kept(advised: str) -> None:
    """Edges that chance seldom meets, played by hand in the same machine."""
    months = Months()
    months.opened("mastercard", "US")
    months.stripe_tries_by_itself("do_not_honor", advised)
    months.it_is_almost_as_long_as_was_advised()
    assert (months.broken, len(months.attempts)) == ([], 2)
    months.we_hurry_and_the_bank_stays_vague(3, "do_not_honor")
    assert len(months.attempts) > 2, "and after that it goes on"
    assert months.broken == []
