"""The rulebook, rule by rule: what decides, in which order, and to the attempt and the moment."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from services.worker.recovery import (
    AskNewMethod,
    AttemptNow,
    AttemptResult,
    AwaitPayment,
    Card,
    Close,
    Decision,
    Decline,
    Delays,
    InvoiceStatus,
    InvoiceTruth,
    Origin,
    PastAttempt,
    Policy,
    RecoveryFacts,
    RequireAction,
    Schedules,
    Wait,
    attribute_payment,
    decide,
)
from services.worker.recovery.declines import ROWS, DeclineRow, Hardness
from shared.ids import PaymentMethodId
from shared.money import Money
from shared.recovery_model import EndReason
from tests.unit.worker.recovery.builders import (
    DEADLINE,
    DEFAULT,
    DUE,
    FIXED,
    METHOD,
    OPENED,
    VISA,
    attempt,
    first_failure,
    invoice,
    recovery,
)

DAY, HOUR, A_MOMENT = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
HOURLY = Policy(schedules=Schedules(**dict.fromkeys(Schedules.model_fields, Delays(hours=(1,)))))


def decided(
    *attempts: PastAttempt,
    truth: InvoiceTruth | None = None,
    facts: RecoveryFacts | None = None,
    after: timedelta = 10 * DAY,
    policy: Policy = DEFAULT,
) -> Decision:
    return decide(policy, facts or recovery(), truth or invoice(), attempts, OPENED + after)


def ours(count: int, result: AttemptResult = AttemptResult.DECLINED) -> list[PastAttempt]:
    return [attempt("do_not_honor", after=n * HOUR, number=n, result=result) for n in range(1, count + 1)]


# --- Stops and ends ---------------------------------------------------------------------------------------------------

STOPS = [
    (invoice(), recovery(stop="disputed"), "disputed"),
    (invoice(InvoiceStatus.PAID), recovery(stop="refunded", messages=1), "refunded"),
    (invoice(), recovery(active=False), "merchant_gone"),
    (invoice(InvoiceStatus.VOID), recovery(), "voided"),
    (invoice(InvoiceStatus.UNCOLLECTIBLE), recovery(), "marked_uncollectible"),
    (invoice(subscription="canceled"), recovery(), "subscription_canceled"),
    (invoice(subscription="incomplete_expired"), recovery(), "subscription_canceled"),
    (invoice(collection_method="send_invoice"), recovery(), "collected_by_hand"),
]
MOMENTS = [timedelta(0), DAY, 21 * DAY, 400 * DAY]
PASTS: list[list[PastAttempt]] = [
    [],
    [first_failure()],
    [first_failure("lost_card")],
    [first_failure("authentication_required")],
    [first_failure(), *ours(1, AttemptResult.STARTED)],
    [first_failure(), *ours(8)],
]


@pytest.mark.parametrize(("truth", "facts", "end_reason"), STOPS, ids=[stop[2] for stop in STOPS])
@pytest.mark.parametrize("past", PASTS, ids=lambda past: f"{len(past)} attempts")
def test_a_stop_always_wins(
    truth: InvoiceTruth, facts: RecoveryFacts, end_reason: str, past: list[PastAttempt]
) -> None:
    for after in MOMENTS:
        decision = decided(*past, truth=truth, facts=facts, after=after)
        assert isinstance(decision, Close)
        assert (decision.state, decision.end_reason) == ("stopped", end_reason)


@pytest.mark.parametrize("status", ["active", "past_due", "unpaid", "trialing", "paused", None])
def test_a_subscription_that_goes_on_stops_nothing(status: str | None) -> None:
    assert isinstance(decided(first_failure(), truth=invoice(subscription=status)), AttemptNow)


@pytest.mark.parametrize("truth", [invoice(InvoiceStatus.PAID), invoice(remaining=Money(0, "eur"))])
@pytest.mark.parametrize("after", MOMENTS)
def test_a_paid_invoice_is_closed_by_who_paid_it(truth: InvoiceTruth, after: timedelta) -> None:
    won = attempt(after=DAY, result=AttemptResult.SUCCEEDED)
    by_retry = decided(first_failure(), won, truth=truth, after=after)
    by_message = decided(first_failure(), truth=truth, facts=recovery(messages=1), after=after)
    elsewhere = decided(first_failure(), truth=truth, after=after)
    assert isinstance(by_retry, Close)
    assert isinstance(by_message, Close)
    assert isinstance(elsewhere, Close)
    assert (by_retry.state, by_retry.end_reason) == ("recovered", "paid_by_retry")
    assert (by_message.state, by_message.end_reason) == ("recovered", "paid_after_message")
    assert (elsewhere.state, elsewhere.end_reason) == ("stopped", "paid_elsewhere")


@pytest.mark.parametrize("facts", [recovery(stop="paid_elsewhere"), recovery(active=False)])
def test_money_that_our_attempt_collected_counts_though_a_stop_arrived_meanwhile(facts: RecoveryFacts) -> None:
    won = attempt(after=DAY, result=AttemptResult.SUCCEEDED)
    decision = decided(won, truth=invoice(InvoiceStatus.PAID), facts=facts)
    assert isinstance(decision, Close)
    assert (decision.state, decision.end_reason) == ("recovered", "paid_by_retry")


def test_a_paid_invoice_of_a_canceled_subscription_is_paid() -> None:
    decision = decided(truth=invoice(InvoiceStatus.PAID, subscription="canceled"), facts=recovery(messages=1))
    assert isinstance(decision, Close)
    assert decision.end_reason == EndReason.PAID_AFTER_MESSAGE


@pytest.mark.parametrize(
    ("results", "messages", "out_of_band", "expected"),
    [
        ([], 0, False, ("stopped", "paid_elsewhere")),
        ([], 3, False, ("recovered", "message")),
        ([], 3, True, ("stopped", "paid_elsewhere")),
        ([(Origin.CITADEL, "succeeded")], 0, False, ("recovered", "retry")),
        ([(Origin.CITADEL, "succeeded")], 3, True, ("recovered", "retry")),
        ([(Origin.STRIPE, "succeeded")], 3, False, ("stopped", "paid_elsewhere")),
        ([(Origin.CITADEL, "started")], 0, False, ("stopped", "paid_elsewhere")),
        ([(Origin.CITADEL, "unknown")], 1, False, ("recovered", "message")),
        ([(Origin.CITADEL, "declined"), (Origin.CITADEL, "failed")], 0, False, ("stopped", "paid_elsewhere")),
    ],
)
def test_only_money_that_can_be_shown_to_be_ours_is_ours(
    results: list[tuple[Origin, str]], messages: int, out_of_band: bool, expected: tuple[str, str]
) -> None:
    attempts = [attempt(origin=origin, result=AttemptResult(result)) for origin, result in results]
    assert attribute_payment(attempts, messages, paid_out_of_band=out_of_band) == expected


# --- Budget and window ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 8, 20])
def test_exactly_as_many_attempts_as_the_policy_allows(most: int) -> None:
    policy = HOURLY.model_copy(update={"max_attempts": most})
    assert isinstance(decided(first_failure(), *ours(most - 1), policy=policy), AttemptNow)
    end = decided(first_failure(), *ours(most), policy=policy)
    assert isinstance(end, Close)
    assert (end.state, end.end_reason) == ("exhausted", "attempts_used_up")


def test_neither_stripes_attempts_nor_those_that_never_left_use_up_the_budget() -> None:
    theirs = [attempt("do_not_honor", origin=Origin.STRIPE, after=n * HOUR) for n in range(10)]
    assert isinstance(decided(*theirs, *ours(7), *ours(9, AttemptResult.ABANDONED)), AttemptNow)


@pytest.mark.parametrize("result", ["failed", "declined"])
def test_an_attempt_that_reached_stripe_uses_up_the_budget(result: str) -> None:
    every = ours(DEFAULT.max_attempts, AttemptResult(result))
    assert isinstance(decided(first_failure(), *every), Close)
    assert not isinstance(decided(first_failure(), *every[1:]), Close)


@pytest.mark.parametrize("past", PASTS[:-1], ids=lambda past: f"{len(past)} attempts")
def test_the_window_closes_everything_at_its_end_and_nothing_before(past: list[PastAttempt]) -> None:
    before = decided(*past, after=21 * DAY - A_MOMENT)
    assert not isinstance(before, Close)
    end = decided(*past, after=21 * DAY)
    assert isinstance(end, Close)
    assert (end.state, end.end_reason) == ("exhausted", "window_over")
    assert end.reason.inputs["end_action"] == "leave"


def test_an_attempt_that_would_come_after_the_window_is_not_made() -> None:
    late = attempt("do_not_honor", after=20 * DAY)
    decision = decided(late, after=20 * DAY + HOUR, policy=FIXED)
    assert isinstance(decision, Wait)
    assert (decision.until, decision.reason.rule) == (DEADLINE, "window_ends_first")


# --- What is unknown is never charged ---------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", list(Origin))
@pytest.mark.parametrize("result", ["started", "unknown", "succeeded"])
def test_an_attempt_that_may_have_charged_is_waited_for(origin: Origin, result: str) -> None:
    decision = decided(first_failure(), attempt(after=DAY, origin=origin, result=AttemptResult(result)))
    assert isinstance(decision, Wait)
    assert decision.reason.rule == "outcome_unknown"


def test_a_draft_is_waited_for() -> None:
    decision = decided(first_failure(), truth=invoice(InvoiceStatus.DRAFT))
    assert isinstance(decision, Wait)
    assert decision.reason.rule == "invoice_is_draft"


# --- The payment method -----------------------------------------------------------------------------------------------

NEW = invoice(method=PaymentMethodId("pm_2"), card=replace(VISA, fingerprint="fp_2"))


HARD = [r for r in ROWS if r.hardness is Hardness.HARD]


@pytest.mark.parametrize("row", [r for r in HARD if r.merchants_matter], ids=lambda row: row.code)
@pytest.mark.parametrize("origin", list(Origin))
def test_what_stripe_blocks_for_good_waits_for_the_merchant_and_a_new_method_is_tried_at_once(
    row: DeclineRow, origin: Origin
) -> None:
    blocked = attempt(row.code, origin=origin)
    for after in (timedelta(0), DAY, 20 * DAY):
        decision = decided(blocked, after=after)
        assert isinstance(decision, Wait)
        assert decision.reason.rule == "merchants_matter"
    assert isinstance(decided(blocked, after=HOUR, truth=NEW), AttemptNow)


@pytest.mark.parametrize("row", [r for r in HARD if not r.merchants_matter], ids=lambda row: row.code)
@pytest.mark.parametrize("origin", list(Origin))
def test_a_hard_decline_is_never_tried_again_and_a_new_method_at_once(row: DeclineRow, origin: Origin) -> None:
    hard = attempt(row.code, origin=origin)
    for after in (timedelta(0), DAY, 20 * DAY):
        assert isinstance(decided(hard, after=after), AskNewMethod | RequireAction)
    soft_later = attempt("try_again_later", after=2 * DAY, number=2)
    assert isinstance(decided(hard, soft_later), AskNewMethod | RequireAction)
    at_once = decided(hard, after=HOUR, truth=NEW)
    assert isinstance(at_once, AttemptNow)
    assert at_once.reason.rule == "new_payment_method"


@pytest.mark.parametrize("row", [r for r in ROWS if r.hardness is Hardness.SOFT], ids=lambda row: row.code)
def test_a_soft_decline_is_tried_again_later(row: DeclineRow) -> None:
    soft = attempt(row.code, after=DAY)
    first = decided(soft, after=DAY)
    assert isinstance(first, Wait)
    assert first.reason.inputs["cause"] == row.cause
    assert isinstance(decided(soft, after=first.until - OPENED), AttemptNow)
    assert isinstance(decided(soft, after=first.until - OPENED - A_MOMENT), Wait)


@pytest.mark.parametrize("method", [METHOD, None])
def test_an_attempt_that_does_not_say_with_what_speaks_of_the_current_method(method: PaymentMethodId | None) -> None:
    assert isinstance(decided(attempt("lost_card", method=method, fingerprint=None)), AskNewMethod)


@pytest.mark.parametrize(
    ("code", "cured"),
    [("lost_card", False), ("do_not_try_again", False), ("incorrect_cvc", True), ("authentication_required", True)],
)
def test_the_same_card_entered_again_is_new_only_where_entering_it_helps(code: str, cured: bool) -> None:
    decision = decided(attempt(code), after=HOUR, truth=invoice(method=PaymentMethodId("pm_2"), card=VISA))
    assert isinstance(decision, AttemptNow if cured else AskNewMethod)


def test_authentication_is_asked_for_until_the_end_of_the_window() -> None:
    for past in (attempt("authentication_required"), attempt(result=AttemptResult.REQUIRES_ACTION)):
        decision = decided(past)
        assert isinstance(decision, RequireAction)
        assert decision.deadline == DEADLINE


def test_authentication_does_not_help_a_stolen_card() -> None:
    past = [attempt(result=AttemptResult.REQUIRES_ACTION), attempt("stolen_card", after=HOUR, number=2)]
    assert isinstance(decided(*past), AskNewMethod)


def test_without_a_payment_method_one_is_asked_for() -> None:
    decision = decided(first_failure(), truth=invoice(method=None, card=None))
    assert isinstance(decision, AskNewMethod)
    assert (decision.reason.rule, decision.deadline) == ("no_payment_method", DEADLINE)


def test_a_card_is_good_through_its_last_month_and_not_tried_after_it() -> None:
    truth = invoice(card=replace(VISA, exp_month=9, exp_year=2026))
    past = first_failure()
    for at, expected in (
        (datetime(2026, 9, 27, tzinfo=UTC), AttemptNow),
        (datetime(2026, 10, 1, 11, 59, tzinfo=UTC), AttemptNow),  # still September in the last time zone
        (datetime(2026, 10, 1, 12, 0, tzinfo=UTC), AskNewMethod),
    ):
        long = Policy(window_days=60)
        assert isinstance(decide(long, recovery(), truth, [past], at), expected)


def test_december_has_a_month_after_it() -> None:
    truth = invoice(card=replace(VISA, exp_month=12, exp_year=2025))
    assert isinstance(decided(first_failure(), truth=truth), AskNewMethod)


def test_an_expired_card_that_was_renewed_is_tried_and_one_of_unknown_date_is_not() -> None:
    assert isinstance(decided(first_failure("expired_card"), policy=FIXED), AttemptNow)
    undated = replace(VISA, exp_month=None, exp_year=None)
    assert isinstance(decided(first_failure("expired_card"), truth=invoice(card=undated)), AskNewMethod)
    assert isinstance(decided(first_failure(), truth=invoice(card=undated), policy=FIXED), AttemptNow)


# --- Stripe's own schedule and the networks ---------------------------------------------------------------------------


@pytest.mark.parametrize("days", [9.5, 10, 11, 15])
def test_what_stripe_has_scheduled_is_left_to_stripe(days: float) -> None:
    decision = decided(first_failure(), truth=invoice(stripe_next=OPENED + days * DAY))
    assert isinstance(decision, Wait)
    assert (decision.until, decision.reason.rule) == (OPENED + (days + 1) * DAY, "stripe_tries_itself")


def test_a_quiet_day_after_stripes_attempt_it_is_our_turn() -> None:
    truth = invoice(stripe_next=OPENED + 9 * DAY)
    assert isinstance(decided(first_failure(), truth=truth, after=10 * DAY - A_MOMENT), Wait)
    assert isinstance(decided(first_failure(), truth=truth, after=10 * DAY), AttemptNow)


def test_a_new_method_is_tried_at_once_but_not_in_stripes_quiet_period() -> None:
    for days, expected in ((12, AttemptNow), (10.9, Wait), (9.1, Wait)):
        truth = replace(NEW, stripe_next_attempt_at=OPENED + days * DAY)
        assert isinstance(decided(first_failure(), truth=truth), expected)


def test_waiting_for_stripe_ends_with_the_window() -> None:
    decision = decided(first_failure(), truth=invoice(stripe_next=OPENED + 30 * DAY))
    assert isinstance(decision, Wait)
    assert decision.until == DEADLINE


def test_a_network_limit_is_waited_for_and_a_network_never_asks_for_another_card() -> None:
    debit = invoice(card=Card(fingerprint="fp_1", network="us_bank_account"))
    three = [attempt("insufficient_funds", after=n * DAY, number=n) for n in (1, 2, 3)]
    limit = decided(*three, truth=debit)
    assert isinstance(limit, Wait)
    assert (limit.reason.inputs["limit"], limit.until) == ("ach_2_retries_in_180_days", DEADLINE)
    never = decided(first_failure(), truth=invoice(card=replace(VISA, country="IN")))
    assert isinstance(never, AskNewMethod)
    assert never.reason.inputs["limit"] == "india_no_retries"


def test_nobody_is_asked_for_another_card_after_what_only_the_merchant_can_change() -> None:
    blocked = replace(first_failure(), decline=Decline(decline_code="rule"))
    refused = replace(first_failure(), result=AttemptResult.FAILED, decline=None, error_code="charges_not_enabled")
    for last in (blocked, refused):
        never = decided(last, truth=invoice(card=replace(VISA, country="IN")))
        assert isinstance(never, Wait)
        assert (never.reason.rule, never.reason.inputs["limit"]) == ("merchants_matter", "india_no_retries")


def test_attempts_for_other_invoices_count_for_the_network_and_not_for_the_budget() -> None:
    card = replace(VISA, network="mastercard")
    others = [attempt("do_not_honor", after=10 * DAY - HOUR, number=n) for n in range(1, 11)]
    now = OPENED + 10 * DAY
    alone = decide(DEFAULT, recovery(), invoice(card=card), [first_failure()], now)
    beside = decide(DEFAULT, recovery(), invoice(card=card), [first_failure()], now, same_card_elsewhere=others)
    assert isinstance(alone, AttemptNow)
    assert isinstance(beside, Wait)
    assert beside.reason.inputs["limit"] == "mastercard_10_in_24_hours"


# --- The schedule -----------------------------------------------------------------------------------------------------


def test_missing_money_is_asked_for_on_the_next_payday_in_the_cards_morning() -> None:
    decision = decided(first_failure(), after=timedelta(0), policy=FIXED)
    assert isinstance(decision, Wait)
    friday_eight_in_berlin = datetime(2026, 9, 11, 6, 0, tzinfo=UTC)
    assert friday_eight_in_berlin <= decision.until < friday_eight_in_berlin + 2 * HOUR


def test_without_any_attempt_on_record_the_schedule_runs_from_the_opening() -> None:
    decision = decided(after=timedelta(0))
    assert isinstance(decision, Wait)
    assert decision.until > OPENED + DAY


def test_the_ladder_is_climbed_by_the_attempts_on_this_method_only() -> None:
    ladder = Policy(schedules=Schedules(do_not_honor=Delays(hours=(10, 100, 200))))
    others = [
        attempt("do_not_honor", after=n * HOUR, method=PaymentMethodId("pm_0"), fingerprint="fp_0") for n in range(4)
    ]
    on_this = [attempt("do_not_honor", after=DAY + n * HOUR, number=n + 1) for n in range(3)]
    for tries, hours in ((1, 10), (2, 100), (3, 200)):
        decision = decided(*others, *on_this[:tries], after=2 * DAY - 15 * HOUR, policy=ladder)
        assert isinstance(decision, Wait)
        assert hours * HOUR <= decision.until - on_this[tries - 1].at < 1.1 * hours * HOUR


def test_a_failure_that_was_no_decline_is_tried_again_soon() -> None:
    decision = decided(first_failure(), attempt(after=DAY, result=AttemptResult.FAILED), after=DAY)
    assert isinstance(decision, Wait)
    assert decision.reason.inputs["cause"] == "try_later"


def test_attempts_that_never_left_are_repeated_ever_more_slowly() -> None:
    past, gaps, at = [first_failure()], list[float](), OPENED + 10 * DAY
    for number in range(1, 9):
        past.append(attempt(after=at - OPENED, result=AttemptResult.ABANDONED, number=number))
        decision = decide(Policy(window_days=60), recovery(), invoice(), past, at)
        assert isinstance(decision, Wait)
        gaps.append((decision.until - at) / HOUR)
        at = decision.until
    assert gaps == [1, 2, 4, 8, 16, 24, 24, 24]


def test_the_minimum_gap_holds_whatever_the_schedule_says() -> None:
    policy = HOURLY.model_copy(update={"minimum_gap_hours": 48})
    decision = decided(attempt("do_not_honor", after=10 * DAY), policy=policy)
    assert isinstance(decision, Wait)
    assert decision.until == OPENED + 12 * DAY


# --- Form -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("past", PASTS, ids=lambda past: f"{len(past)} attempts")
def test_every_decision_says_why_in_plain_json(past: list[PastAttempt]) -> None:
    for truth in (invoice(), invoice(InvoiceStatus.PAID), invoice(stripe_next=OPENED + 10 * DAY), NEW):
        reason = decided(*past, truth=truth).reason
        assert orjson.loads(orjson.dumps(reason.as_json())) == reason.as_json()
        assert reason.rule
        assert reason.text.endswith(".")


def test_the_order_of_the_attempts_handed_in_does_not_matter() -> None:
    past = [first_failure(), *ours(3), attempt("lost_card", after=5 * DAY, number=4)]
    assert decided(*past) == decided(*reversed(past))


def test_the_same_moment_in_another_zone_is_the_same_decision() -> None:
    elsewhere = (OPENED + DAY).astimezone(tz=None)
    here = decide(DEFAULT, recovery(), invoice(), [first_failure()], OPENED + DAY)
    assert decide(DEFAULT, recovery(), invoice(), [first_failure()], elsewhere) == here


def test_naive_datetimes_are_refused_wherever_they_enter() -> None:
    naive = datetime(2026, 9, 7)  # noqa: DTZ001 the naive one is the subject
    for build in (
        lambda: RecoveryFacts(naive),
        lambda: invoice(stripe_next=naive),
        lambda: PastAttempt(1, Origin.CITADEL, AttemptResult.DECLINED, naive, None, None, DUE),
        lambda: decide(DEFAULT, recovery(), invoice(), [], naive),
    ):
        with pytest.raises(ValueError, match="aware"):
            build()


# --- A payment under way ----------------------------------------------------------------------------------------------


def _held(decision: Decision) -> AwaitPayment:
    assert isinstance(decision, AwaitPayment)
    assert decision.reason.rule == "payment_under_way"
    assert {road.action for road in decision.reason.considered} == {"attempt_now", "message", "end"}
    return decision


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("after", [timedelta(hours=1), timedelta(days=40)], ids=["in the window", "after it"])
@pytest.mark.parametrize("stop", [None, EndReason.SUBSCRIPTION_CANCELED])
def test_a_payment_under_way_is_waited_for_above_every_stop_and_end(
    ours: bool, after: timedelta, stop: EndReason | None
) -> None:
    begun = [attempt(None, result=AttemptResult.PROCESSING)] if ours else []
    now = OPENED + after
    decision = _held(
        decide(
            DEFAULT,
            replace(recovery(), stop_requested=stop),
            replace(invoice(), payment_under_way=not ours),
            [first_failure(), *begun],
            now,
        )
    )
    assert decision.until > now


def test_a_payment_that_never_ends_is_looked_for_at_a_growing_pace_of_at_most_a_day() -> None:
    waits = []
    now = OPENED
    for _ in range(30):
        begun = attempt(None, result=AttemptResult.PROCESSING)
        until = _held(decide(DEFAULT, recovery(), invoice(), [first_failure(), begun], now)).until
        waits.append(until - now)
        now = until
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (timedelta(hours=1), timedelta(days=1))


def test_our_attempt_that_collected_comes_before_anything_under_way() -> None:
    paid = replace(invoice(InvoiceStatus.PAID), payment_under_way=True)
    decision = decide(DEFAULT, recovery(), paid, [attempt(None, result=AttemptResult.SUCCEEDED)], OPENED)
    assert isinstance(decision, Close)
    assert decision.end_reason is EndReason.PAID_BY_RETRY


@pytest.mark.parametrize(
    ("before", "paid", "end"), [(0, 0, "credited"), (500, 500, "credited"), (500, 501, "paid_elsewhere")]
)
def test_an_invoice_of_which_nothing_was_paid_since_the_opening_was_credited(before: int, paid: int, end: str) -> None:
    settled = replace(invoice(InvoiceStatus.PAID), amount_paid=Money(paid, "eur"))
    decision = decide(
        DEFAULT, replace(recovery(), paid_before=before, messages_sent=0), settled, [first_failure()], OPENED
    )
    assert isinstance(decision, Close)
    assert (decision.state, decision.end_reason) == ("stopped", end)


def test_what_the_merchant_charged_in_parts_is_not_ours_after_a_message() -> None:
    settled = replace(invoice(InvoiceStatus.PAID), charged=False)
    decision = decide(DEFAULT, replace(recovery(), messages_sent=1), settled, [first_failure()], OPENED)
    assert isinstance(decision, Close)
    assert decision.end_reason is EndReason.PAID_ELSEWHERE


def test_a_schedule_counts_from_when_a_debit_failed_and_not_from_when_it_began() -> None:
    failed_at = OPENED + timedelta(days=4)
    debit = replace(attempt("do_not_honor"), answered_at=failed_at)
    decision = decide(DEFAULT, recovery(), invoice(), [first_failure("do_not_honor"), debit], failed_at)
    assert isinstance(decision, Wait)
    assert decision.until >= failed_at + timedelta(days=1)
