"""Whole lives of recoveries, thousands of them, made up by hypothesis: what must never happen, never does.

Each life asks `decide` again and again: it makes the attempts, draws their outcomes, lets Stripe try on its own, lets
customers change their cards, and comes late. The promises are checked from the attempts alone, by other means than the
code that keeps them.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from services.worker.recovery import (
    AskNewMethod,
    AttemptNow,
    AttemptResult,
    AwaitPayment,
    Card,
    Close,
    Decision,
    Decline,
    InvoiceStatus,
    InvoiceTruth,
    Origin,
    PastAttempt,
    Policy,
    RequireAction,
    Wait,
    decide,
)
from shared.ids import PaymentMethodId
from shared.policy import Delays, Schedules
from tests.unit.worker.recovery.builders import DUE, METHOD, OPENED, VISA, invoice, recovery

# Until every attempt is settled the brain looks again each half hour; nothing asks more often than that for long.
MOST_STEPS = 60 * 48 + 100
DAY = timedelta(days=1)
HARD_CODES = {"lost_card", "incorrect_cvc", "transaction_not_allowed", "authentication_required", "fraudulent"}
SOFT_CODES = ["insufficient_funds", "do_not_honor", "try_again_later", "card_velocity_exceeded", "never_heard_of"]

outcomes = st.one_of(
    st.builds(Decline, st.just("card_declined"), st.sampled_from(SOFT_CODES)),
    st.builds(
        Decline,
        st.just("card_declined"),
        st.sampled_from([*SOFT_CODES, *sorted(HARD_CODES)]),
        st.sampled_from([None, "try_again_later", "confirm_card_data", "do_not_try_again"]),
        st.sampled_from([None, None, "51", "41", "R1"]),
        st.sampled_from([None, None, "02", "03", "24", "28"]),
    ),
    st.sampled_from(
        [AttemptResult.FAILED, AttemptResult.ABANDONED, AttemptResult.REQUIRES_ACTION, AttemptResult.STARTED]
    ),
)
soft_outcomes = st.builds(Decline, st.just("card_declined"), st.sampled_from(SOFT_CODES))
networks = st.sampled_from(["visa", "mastercard", "amex", "us_bank_account", "jcb", None])
policies = st.builds(
    Policy,
    max_attempts=st.integers(1, 20),
    window_days=st.integers(21, 60),
    minimum_gap_hours=st.integers(1, 48),
    quiet_hours_around_stripe=st.integers(1, 48),
    schedules=st.one_of(
        st.just(Schedules()),
        st.integers(1, 30).map(lambda h: Schedules(**dict.fromkeys(Schedules.model_fields, Delays(hours=(h,))))),
    ),
)


@dataclass
class Life:
    """One recovery, lived by repeatedly asking `decide`."""

    draw: st.DataObject
    policy: Policy
    outcomes: st.SearchStrategy[Decline | AttemptResult]
    truth: InvoiceTruth
    now: datetime = OPENED
    attempts: list[PastAttempt] = field(default_factory=list)
    steps: int = 0

    @property
    def deadline(self) -> datetime:
        return OPENED + timedelta(days=self.policy.window_days)

    def live(self) -> Close:
        """Until it ends, or until it has taken more steps than any life may."""
        self.happen(Origin.STRIPE, self.draw.draw(soft_outcomes))
        while True:
            self.steps += 1
            assert self.steps < MOST_STEPS
            self.let_stripe_try()
            decision = decide(self.policy, recovery(), self.truth, self.attempts, self.now)
            assert decision == decide(self.policy, recovery(), self.truth, self.attempts[::-1], self.now)
            why = decision.reason
            assert why.text.endswith(".")
            assert why.inputs
            assert all(road.action and road.rejected_because for road in why.considered)
            assert why.considered, f"{why.rule} tells no road that was not taken"
            if isinstance(decision, Close):
                return decision
            # After the window only a card that was never tried is tried, as one that Stripe has charged since.
            assert self.now < self.deadline or why.rule == "new_payment_method"
            self.follow(decision)

    def follow(self, decision: Decision) -> None:
        match decision:
            case AttemptNow():
                self.check_before_attempt()
                self.happen(Origin.CITADEL, self.draw.draw(self.outcomes))
                self.now += timedelta(seconds=self.draw.draw(st.integers(0, 600)))
            case Wait(until, _):
                assert self.now < until <= self.deadline
                late = self.draw.draw(st.sampled_from([0, 0, 0, 1, 3600, 100_000])) if self.steps < 200 else 0
                self.now = until + timedelta(seconds=late)
                self.settle()
            case AskNewMethod(_, deadline) | RequireAction(_, deadline):
                assert deadline == self.deadline
                if self.draw.draw(st.booleans()):
                    self.now += timedelta(hours=self.draw.draw(st.integers(0, 72)))
                    self.change_method()
                else:
                    self.now = deadline
            case AwaitPayment():
                raise AssertionError("no debit is under way here")
            case Close():
                raise AssertionError("handled by live()")
            case _:
                assert_never(decision)

    def happen(self, origin: Origin, outcome: Decline | AttemptResult) -> None:
        result, decline = (outcome, None) if isinstance(outcome, AttemptResult) else (AttemptResult.DECLINED, outcome)
        fingerprint = self.truth.card.fingerprint if self.truth.card else None
        number = 1 + sum(attempt.origin is origin for attempt in self.attempts)
        method = self.truth.payment_method_id
        self.attempts.append(PastAttempt(number, origin, result, self.now, method, fingerprint, DUE, decline))

    def settle(self) -> None:
        """What was in flight is read, sooner or later."""
        if self.attempts[-1].result is AttemptResult.STARTED and self.draw.draw(st.booleans()):
            settled = self.draw.draw(st.sampled_from([AttemptResult.FAILED, AttemptResult.ABANDONED]))
            self.attempts[-1] = replace(self.attempts[-1], result=settled)

    def let_stripe_try(self) -> None:
        theirs = self.truth.stripe_next_attempt_at
        if theirs is not None and theirs <= self.now:
            self.happen(Origin.STRIPE, self.draw.draw(soft_outcomes))
            following = self.now + DAY * self.draw.draw(st.integers(1, 7)) if self.draw.draw(st.booleans()) else None
            self.truth = replace(self.truth, stripe_next_attempt_at=following)

    def change_method(self) -> None:
        n = self.draw.draw(st.integers(1, 5))
        fingerprint = self.draw.draw(st.sampled_from(["fp_1", "fp_2", "fp_3", None]))
        card = replace(self.truth.card or VISA, fingerprint=fingerprint)
        self.truth = replace(self.truth, payment_method_id=PaymentMethodId(f"pm_{n}"), card=card)

    def check_before_attempt(self) -> None:
        """What must hold of an attempt now, read off the past."""
        ours = [a for a in self.attempts if a.origin is Origin.CITADEL and a.result is not AttemptResult.ABANDONED]
        assert len(ours) < self.policy.max_attempts
        assert self.now >= OPENED
        # After the window only a card is tried on which nothing was: `counts` of none that may be this one.
        assert self.now < self.deadline or not any(a.counts and self.is_card_of(a) for a in self.attempts)
        assert all(a.result not in (AttemptResult.STARTED, AttemptResult.SUCCEEDED) for a in self.attempts)
        for past in self.attempts:
            if past.payment_method_id == self.truth.payment_method_id and self.may_be_card_of(past):
                assert past.result is not AttemptResult.REQUIRES_ACTION
                assert past.decline is None or past.decline.decline_code not in HARD_CODES
                assert past.decline is None or past.decline.advice_code in (None, "try_again_later")
                assert past.decline is None or past.decline.network_decline_code in (None, "51")
                assert past.decline is None or past.decline.network_advice_code != "03"
        theirs, quiet = self.truth.stripe_next_attempt_at, timedelta(hours=self.policy.quiet_hours_around_stripe)
        assert theirs is None or abs(self.now - theirs) >= quiet
        self.check_networks()

    def is_card_of(self, past: PastAttempt) -> bool:
        """Whether an attempt was on the card to charge, for all that is known."""
        same = past.payment_method_id in {None, self.truth.payment_method_id}
        return same and self.may_be_card_of(past)

    def may_be_card_of(self, past: PastAttempt) -> bool:
        """Whether nothing says that an attempt was on another number than the one to charge."""
        now = self.truth.card.fingerprint if self.truth.card else None
        return None in (past.card_fingerprint, now) or past.card_fingerprint == now

    def check_networks(self) -> None:
        card = self.truth.card or Card()
        tried = [a for a in self.attempts if a.result is not AttemptResult.ABANDONED and self.may_be_card_of(a)]
        times = sorted(past.at for past in tried)
        repeats = [*times, self.now][1:]
        for network, most, days in (("visa", 20, 30), ("amex", 20, 30), ("jcb", 20, 30), (None, 20, 30)):
            if card.network == network:
                assert sum(at > self.now - days * DAY for at in repeats) <= most
        by_id = card.fingerprint is None
        named = [a.at for a in tried if not by_id or a.payment_method_id == self.truth.payment_method_id]
        repeats = [*sorted(named), self.now][1:]
        if card.network in ("us_bank_account", "jcb", None):
            assert sum(at > self.now - 40 * DAY for at in repeats) <= 2
        if card.network not in ("visa", "amex", "us_bank_account"):
            assert sum(at > self.now - DAY for at in times) < 10
            for past in self.attempts:
                same = not by_id or past.payment_method_id == self.truth.payment_method_id
                if past.decline and past.card_fingerprint == card.fingerprint and same:
                    hours = {"24": 1, "28": 144}.get(past.decline.network_advice_code or "", 0)
                    assert self.now >= past.at + timedelta(hours=hours)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), policies, networks, st.sampled_from([None, 0.5, 3, 10]))
def test_every_life_keeps_every_promise_and_ends(
    draw: st.DataObject, policy: Policy, network: str | None, stripe_days: float | None
) -> None:
    theirs = None if stripe_days is None else OPENED + stripe_days * DAY
    truth = invoice(card=replace(VISA, network=network), stripe_next=theirs)
    end = Life(draw, policy, outcomes, truth).live()
    event(end.end_reason)
    assert (end.state, end.end_reason) in {("exhausted", "window_over"), ("exhausted", "attempts_used_up")}


@settings(max_examples=100)
@given(st.data(), st.integers(1, 20), st.integers(1, 24))
def test_a_life_of_soft_declines_makes_exactly_the_attempts_of_its_policy(
    draw: st.DataObject, most: int, hours: int
) -> None:
    schedules = Schedules(**dict.fromkeys(Schedules.model_fields, Delays(hours=(hours,))))
    life = Life(draw, Policy(max_attempts=most, window_days=60, schedules=schedules), soft_outcomes, invoice())
    end = life.live()
    assert end.end_reason == "attempts_used_up"
    assert sum(attempt.origin is Origin.CITADEL for attempt in life.attempts) == most


@pytest.mark.parametrize("network", ["visa", "mastercard", "us_bank_account"])
@settings(max_examples=60)
@given(draw=st.data())
def test_after_a_stop_at_any_moment_nothing_follows(network: str, draw: st.DataObject) -> None:
    life = Life(draw, Policy.default(), outcomes, invoice(card=replace(VISA, network=network)))
    life.live()
    at = OPENED + timedelta(hours=draw.draw(st.integers(0, 21 * 24)))
    so_far = [attempt for attempt in life.attempts if attempt.at <= at]
    for truth, facts in (
        (life.truth, recovery(stop="refunded")),
        (life.truth, recovery(active=False)),
        (replace(life.truth, status=InvoiceStatus.VOID), recovery()),
        (replace(life.truth, status=InvoiceStatus.UNCOLLECTIBLE), recovery()),
        (replace(life.truth, subscription_status="canceled"), recovery()),
    ):
        decision = decide(life.policy, facts, truth, so_far, at)
        assert isinstance(decision, Close)
        assert decision.state == "stopped"


@settings(max_examples=100)
@given(st.lists(soft_outcomes, min_size=1, max_size=7), st.floats(0, 0.999))
def test_asking_early_or_often_does_not_move_the_next_attempt(declines: list[Decline], part: float) -> None:
    """A wait that is asked for again while it lasts gives the same time: no wake-up pushes an attempt away."""
    past = [
        PastAttempt(n, Origin.CITADEL, AttemptResult.DECLINED, OPENED + n * DAY, METHOD, "fp_1", DUE, decline)
        for n, decline in enumerate(declines, start=1)
    ]
    start = past[-1].at
    first = decide(Policy.default(), recovery(), invoice(), past, start)
    assert isinstance(first, Wait)
    assert decide(Policy.default(), recovery(), invoice(), past, start + part * (first.until - start)) == first
    assert isinstance(decide(Policy.default(), recovery(), invoice(), past, first.until), AttemptNow)
