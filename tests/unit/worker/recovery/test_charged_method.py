"""Which payment method an attempt is for: by Stripe's order, by what the customer has brought, by renewed cards."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from services.worker.recovery import (
    AskNewMethod,
    AttemptNow,
    AttemptResult,
    Card,
    Close,
    Decision,
    Decline,
    FirstDefault,
    InvoiceTruth,
    OnFile,
    PastAttempt,
    Policy,
    RecoveryFacts,
    RequireAction,
    Wait,
    decide,
)
from services.worker.recovery.declines import ROWS, DeclineRow, cured_by_a_later_date
from shared.ids import PaymentMethodId
from shared.money import Money
from shared.recovery_model import EndReason
from tests.unit.worker.recovery.builders import (
    DEADLINE,
    DEFAULT,
    METHOD,
    OPENED,
    VISA,
    attempt,
    first_failure,
    invoice,
    recovery,
)

HOUR = timedelta(hours=1)
NEW, OTHER = PaymentMethodId("pm_new"), PaymentMethodId("pm_other")
MASTER = Card(fingerprint="fp_new", network="mastercard", country="DE", exp_month=12, exp_year=2031)
BROUGHT = replace(recovery(), brought=frozenset({NEW}))
BACKUPS = Policy(backup_methods=True)


def pinned(default: OnFile | None = None, *others: OnFile) -> InvoiceTruth:
    """The subscription pins `pm_1`; the customer's default is another."""
    return replace(invoice(), customers_default=default or OnFile(NEW, MASTER), backups=others)


def decided(
    past: Iterable[PastAttempt],
    truth: InvoiceTruth,
    facts: RecoveryFacts = BROUGHT,
    *,
    policy: Policy = DEFAULT,
    at: datetime = OPENED + HOUR,
) -> Decision:
    return decide(policy, facts, truth, list(past), at)


def charged(decision: Decision) -> PaymentMethodId | None:
    return decision.payment_method_id if isinstance(decision, AttemptNow) else None


# -- consent -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "created", "new"),
    [
        (recovery(), None, False),
        (BROUGHT, None, True),
        (replace(recovery(), first_default=FirstDefault(METHOD)), None, True),
        (replace(recovery(), first_default=FirstDefault(None)), None, True),
        (replace(recovery(), first_default=FirstDefault(NEW)), None, False),
        (recovery(), OPENED - HOUR, False),
        (recovery(), OPENED, False),
        (recovery(), OPENED + timedelta(seconds=1), True),
    ],
    ids=["old", "told", "another than at first", "none at first", "the first", "older", "as old", "younger"],
)
def test_a_default_is_the_customers_answer_only_if_it_is_newer_than_the_failure(
    facts: RecoveryFacts, created: datetime | None, new: bool
) -> None:
    truth = pinned(OnFile(NEW, MASTER, created))
    assert charged(decided([first_failure("lost_card")], truth, facts)) == (NEW if new else None)


@pytest.mark.parametrize("code", ["lost_card", "expired_card", "insufficient_funds", "authentication_required"])
def test_what_was_brought_is_tried_at_once_whatever_the_decline(code: str) -> None:
    decision = decided([first_failure(code)], pinned())
    assert charged(decision) == NEW
    assert (decision.reason.rule, decision.reason.inputs["brought"]) == ("new_payment_method", NEW)


def test_what_was_attached_in_answer_is_tried_and_what_was_not_is_a_backup() -> None:
    truth = replace(invoice(), backups=(OnFile(OTHER, MASTER), OnFile(NEW, MASTER)))
    past = [first_failure("lost_card")]
    assert charged(decided(past, truth)) == NEW
    assert charged(decided(past, truth, recovery())) is None
    assert charged(decided(past, truth, recovery(), policy=BACKUPS)) == OTHER


def test_the_present_default_comes_before_what_was_brought_earlier() -> None:
    facts = replace(recovery(), brought=frozenset({NEW, OTHER}))
    truth = pinned(OnFile(OTHER, replace(MASTER, fingerprint="fp_2")), OnFile(NEW, MASTER))
    past = [first_failure("lost_card")]
    assert charged(decided(past, truth, facts)) == OTHER
    past.append(attempt("stolen_card", after=HOUR, method=OTHER, fingerprint="fp_2"))
    assert charged(decided(past, truth, facts, at=OPENED + 2 * HOUR)) == NEW


def test_a_new_method_that_stripe_takes_first_is_tried_before_what_was_brought() -> None:
    """The subscription was given another card after the failure: that is the more exact answer."""
    truth = replace(pinned(), payment_method_id=OTHER, card=replace(MASTER, fingerprint="fp_2"))
    assert charged(decided([first_failure("lost_card")], truth)) == OTHER


def test_when_what_was_brought_fails_for_good_the_order_goes_on_and_then_backups() -> None:
    lost = attempt("lost_card", after=HOUR, method=NEW, fingerprint="fp_new")
    soft = decided([first_failure(), lost], pinned(), at=OPENED + 2 * HOUR)
    assert isinstance(soft, Wait)
    assert ("brought_method pm_new", "The payment method was declined for good.") in [
        (each.action, each.rejected_because) for each in soft.reason.considered
    ]
    hard = [first_failure("lost_card"), lost]
    assert isinstance(decided(hard, pinned(), at=OPENED + 2 * HOUR), AskNewMethod)
    truth = pinned(None, OnFile(OTHER, replace(MASTER, fingerprint="fp_2")))
    assert charged(decided(hard, truth, policy=BACKUPS, at=OPENED + 2 * HOUR)) == OTHER


def test_what_was_brought_and_asks_for_the_customer_is_authenticated() -> None:
    asks = attempt(result=AttemptResult.REQUIRES_ACTION, after=HOUR, method=NEW, fingerprint="fp_new")
    assert isinstance(decided([first_failure(), asks], pinned(), at=OPENED + 2 * HOUR), RequireAction)


def test_the_same_number_that_was_entered_again_is_new_only_where_that_cures() -> None:
    again = pinned(OnFile(NEW, VISA))
    assert charged(decided([first_failure("incorrect_cvc")], again)) == NEW
    assert isinstance(decided([first_failure("lost_card")], again), AskNewMethod)
    assert isinstance(decided([first_failure()], again), Wait)


def test_a_first_payment_method_is_tried_at_once_though_nothing_was_ever_tried() -> None:
    """The renewal failed because there was none, so there is no attempt to compare with."""
    first = OnFile(NEW, MASTER)
    truth = replace(invoice(method=NEW, card=MASTER), customers_default=first)
    assert charged(decided([], truth)) == NEW
    assert isinstance(decided([], truth, recovery()), Wait)


def test_what_was_brought_is_charged_at_any_hour_and_a_backup_is_not() -> None:
    closed = Policy.model_validate({"backup_methods": True, "attempt_times": {"weekdays": ["sunday"]}})
    past = [first_failure("lost_card")]
    assert charged(decided(past, pinned(), policy=closed)) == NEW
    assert isinstance(decided(past, replace(invoice(), backups=(OnFile(OTHER, MASTER),)), policy=closed), Wait)


@pytest.mark.parametrize(
    ("code", "age", "expected"),
    [
        ("lost_card", HOUR, NEW),
        ("expired_card", HOUR, None),  # its date is not over
        ("insufficient_funds", HOUR, None),
        ("lost_card", -HOUR, None),
        ("lost_card", timedelta(0), None),
        ("lost_card", None, None),
    ],
)
def test_a_default_from_before_the_failure_is_charged_if_it_is_newer_and_the_other_one_is_done(
    code: str, age: timedelta | None, expected: PaymentMethodId | None
) -> None:
    """The customer gave it to the merchant's form, which left the subscription's own as it was."""
    then = OPENED - timedelta(days=30)
    default = OnFile(NEW, MASTER, None if age is None else then + age)
    truth = replace(pinned(default), method_created_at=then)
    facts = replace(recovery(), first_default=FirstDefault(NEW))
    at = OPENED + 24 * HOUR
    decision = decided([first_failure(code)], truth, facts, at=at)
    assert charged(decision) == expected
    if expected is NEW:
        assert decision.reason.rule == "customers_default"


def test_an_expired_card_gives_way_to_a_newer_default_from_before_the_failure() -> None:
    then = OPENED - timedelta(days=30)
    truth = replace(pinned(OnFile(NEW, MASTER, then + HOUR)), card=replace(VISA, exp_year=2025), method_created_at=then)
    facts = replace(recovery(), first_default=FirstDefault(NEW))
    assert charged(decided([first_failure("expired_card")], truth, facts)) == NEW
    assert isinstance(
        decided([first_failure("expired_card")], truth, facts, policy=Policy(driver="stripe")), AskNewMethod
    )


def test_where_stripe_makes_the_retries_nothing_is_named() -> None:
    decision = decided([first_failure("lost_card")], pinned(), policy=Policy(driver="stripe"))
    assert isinstance(decision, AskNewMethod)


# -- renewed under its id ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_another_number_under_the_same_id_is_another_card(row: DeclineRow) -> None:
    truth = invoice(card=replace(VISA, fingerprint="fp_2"))
    assert charged(decided([first_failure(row.code)], truth, recovery())) == METHOD


@pytest.mark.parametrize(
    ("decline", "cured"),
    [
        (Decline("expired_card", "expired_card"), True),
        (Decline("expired_card"), True),
        (Decline("card_declined", "expired_card", "confirm_card_data", "54", "01"), True),
        (Decline("card_declined", "invalid_expiry_month"), True),
        (Decline("invalid_expiry_year", "invalid_expiry_year", "confirm_card_data"), True),
        (Decline("card_declined", "new_account_information_available"), True),
        (Decline("card_declined", "generic_decline", "confirm_card_data"), True),
        (Decline("card_declined", "do_not_honor", None, None, "01"), True),
        (Decline("card_declined", "expired_card", None, "41"), False),
        (Decline("card_declined", "expired_card", None, "14"), False),
        (Decline("card_declined", "expired_card", None, None, "03"), False),
        (Decline("card_declined", "expired_card", "do_not_try_again"), False),
        (Decline("card_declined", "incorrect_number", "confirm_card_data", "14", "01"), False),
        (Decline("card_declined", "incorrect_cvc", "confirm_card_data"), False),
        (Decline("card_declined", "lost_card"), False),
        (Decline("card_declined", "insufficient_funds"), False),
        (Decline("card_declined", "do_not_honor"), False),
        (Decline("card_declined", "authentication_required"), False),
    ],
)
def test_a_later_date_is_a_new_card_only_after_a_decline_that_it_can_cure(decline: Decline, cured: bool) -> None:
    assert cured_by_a_later_date(decline) is cured
    past = replace(first_failure(), decline=decline, exp_month=4, exp_year=2026)
    decision = decided([past], invoice(), recovery())
    assert (charged(decision) == METHOD and decision.reason.rule == "new_payment_method") is cured


@pytest.mark.parametrize(("month", "year"), [(4, 2026), (3, 2026), (12, 2025), (None, 2026), (None, None)], ids=str)
def test_the_same_date_an_earlier_one_or_none_is_no_later_one(month: int | None, year: int | None) -> None:
    past = replace(first_failure("invalid_expiry_month"), exp_month=4, exp_year=2026)
    truth = invoice(card=replace(VISA, exp_month=month, exp_year=year))
    assert isinstance(decided([past], truth, recovery()), AskNewMethod)


def test_an_attempt_whose_date_is_unknown_was_made_with_the_card_of_today() -> None:
    assert isinstance(decided([first_failure("invalid_expiry_month")], invoice(), recovery()), AskNewMethod)


# -- without a fingerprint ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["link", "us_bank_account", None])
def test_a_method_without_a_fingerprint_is_tried_after_whatever_happened_to_others(network: str | None) -> None:
    """Else the strictest network's rule, applied to another card's attempts, would forbid it for ever."""
    rupees = Money(2000, "inr")
    past = [first_failure("lost_card"), *(attempt("lost_card", after=n * HOUR, network_decline="41") for n in (1, 2))]
    past = [replace(each, amount=rupees) for each in past]
    truth = replace(pinned(OnFile(NEW, Card(network=network))), amount_remaining=rupees)
    assert charged(decided(past, truth, at=OPENED + 3 * HOUR)) == NEW


def test_a_method_without_a_fingerprint_keeps_all_networks_rules_once_it_was_tried() -> None:
    tried = [attempt(after=n * HOUR, method=NEW, fingerprint=None, number=n) for n in range(1, 4)]
    decision = decided([first_failure("lost_card"), *tried], pinned(OnFile(NEW, Card())), at=OPENED + 90 * HOUR)
    assert isinstance(decision, Wait)
    assert decision.reason.inputs["limit"] == "ach_2_retries_in_180_days"


# -- attempts that were not made ---------------------------------------------------------------------------------------


def test_after_one_that_was_planned_for_another_card_the_next_does_not_wait() -> None:
    past = [first_failure("lost_card"), attempt(result=AttemptResult.ABANDONED, after=HOUR)]
    truth = invoice(method=NEW, card=MASTER)
    assert charged(decided(past, truth, recovery())) == NEW


def test_after_one_that_was_planned_without_its_fingerprint_the_next_does_not_wait() -> None:
    past = [
        first_failure("lost_card"),
        attempt(result=AttemptResult.ABANDONED, after=HOUR, method=NEW, fingerprint=None),
    ]
    assert charged(decided(past, invoice(method=NEW, card=MASTER), recovery())) == NEW


def test_what_flips_between_two_cards_is_slowed_down_all_the_same() -> None:
    flips = [
        attempt(result=AttemptResult.ABANDONED, after=n * HOUR / 60, number=n, method=method, fingerprint=fingerprint)
        for n, (method, fingerprint) in enumerate([(NEW, "fp_new"), (OTHER, "fp_2")] * 2, start=1)
    ]
    decision = decided([first_failure("lost_card"), *flips], invoice(method=NEW, card=MASTER), recovery())
    assert isinstance(decision, Wait)
    assert decision.until == flips[2].at + 2 * HOUR


def test_a_confirmation_is_asked_for_before_another_card_and_says_what_the_others_said() -> None:
    """The default was declined for good, the other card that was brought asks for the customer."""
    facts = replace(recovery(), brought=frozenset({NEW, OTHER}))
    past = [
        first_failure("lost_card"),
        attempt("stolen_card", method=NEW, fingerprint="fp_new"),
        attempt("authentication_required", method=OTHER, fingerprint="fp_2"),
    ]
    other = OnFile(OTHER, replace(VISA, fingerprint="fp_2"))
    decision = decided(past, pinned(None, other), facts)
    assert isinstance(decision, RequireAction)
    roads = [(each.action, each.rejected_because) for each in decision.reason.considered]
    assert ("brought_method pm_new", "The payment method was declined for good.") in roads
    assert not any(action == "brought_method pm_other" for action, _ in roads)


def test_what_was_brought_last_and_may_be_tried_again_comes_before_a_confirmation() -> None:
    facts = replace(recovery(), brought=frozenset({NEW, OTHER}))
    past = [
        first_failure("lost_card"),
        attempt("authentication_required", method=NEW, fingerprint="fp_new"),
        attempt("insufficient_funds", method=OTHER, fingerprint="fp_2"),
    ]
    other = OnFile(OTHER, replace(VISA, fingerprint="fp_2"))
    decision = decided(past, pinned(None, other), facts)
    assert isinstance(decision, Wait)
    assert decision.reason.rule == "likeliest"
    assert any(each.action == "brought_method pm_new" for each in decision.reason.considered)


# -- at the window's end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=9)])
def test_what_was_brought_and_never_tried_is_tried_before_the_window_ends_the_recovery(late: timedelta) -> None:
    past = [first_failure("lost_card")]
    assert charged(decided(past, pinned(), at=DEADLINE + late)) == NEW
    past.append(attempt("do_not_honor", method=NEW, fingerprint="fp_new", after=timedelta(days=22)))
    decision = decided(past, pinned(), at=DEADLINE + late + timedelta(days=2))
    assert isinstance(decision, Close)
    assert decision.end_reason == EndReason.WINDOW_OVER


def test_the_window_ends_it_if_what_was_brought_may_not_be_charged_now() -> None:
    used_up = [attempt(number=n, after=timedelta(days=n)) for n in range(1, DEFAULT.max_attempts + 1)]
    decision = decided([first_failure(), *used_up], pinned(), at=DEADLINE)
    assert isinstance(decision, Close)
    quiet = replace(pinned(), stripe_next_attempt_at=DEADLINE + HOUR)
    assert isinstance(decided([first_failure("lost_card")], quiet, at=DEADLINE), Close)
