"""What a customer's own earlier recoveries say: much of paydays and banks, little of all else, nothing without them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.worker.recovery import BY_THE_RULES, AttemptNow, Card, DeclineCause, Likeliest, Policy, Schedules, Timing
from services.worker.recovery.belief import customers
from services.worker.recovery.belief.beliefs import Learned, believed_before
from services.worker.recovery.belief.customers import HALF_LIFE, OF_CUSTOMER, Earlier
from services.worker.recovery.belief.groups import REST, Group, Trait, Traits
from services.worker.recovery.belief.kept import Kept
from services.worker.recovery.belief.learning import Outcome, moved
from services.worker.recovery.belief.parts import BANKS, Belief
from services.worker.recovery.belief.planning import Limits, Planned, plan
from services.worker.recovery.belief.prior import prior
from services.worker.recovery.decide import decide
from shared.policy import AttemptTimes
from tests.unit.worker.recovery.builders import OPENED, VISA, attempt, first_failure, invoice, recovery

FUNDS = DeclineCause.INSUFFICIENT_FUNDS
CARD = Card(country="DE")
FAILED = datetime(2026, 11, 5, 8, tzinfo=UTC)
LIMITS = Limits(timedelta(hours=16), FAILED + timedelta(days=25), 15, 0.01, AttemptTimes(), "DE")


def paid_on(day: int, *months: int, year: int = 2026, hour: int = 9) -> tuple[Outcome, ...]:
    """Recoveries of these months that failed on the 5th, were tried every third day, and paid on this day."""
    return tuple(_paid(datetime(year, month, 5, 8, tzinfo=UTC), day, hour) for month in months)


def _paid(failed: datetime, day: int, hour: int) -> Outcome:
    accepted_at = failed.replace(day=day, hour=hour)
    times = [failed + timedelta(days=3 * number, hours=1) for number in range(1, 10)]
    return Outcome(
        FUNDS, Traits("DE"), (failed, *[at for at in times if at < accepted_at - timedelta(days=1)]), accepted_at
    )


def planned(outcomes: Sequence[Outcome], learned: Learned | None = None) -> tuple[Planned, ...]:
    timing = Timing(learned=learned, earlier=Earlier(tuple(outcomes), FAILED))
    return plan(timing.believed(FUNDS, CARD, None, {}), [FAILED], LIMITS)


def after(outcomes: Sequence[Outcome], at: datetime = FAILED, before: Belief | None = None) -> Belief:
    return moved(before or prior("DE"), outcomes, at, OF_CUSTOMER, HALF_LIFE)


def best(plans: Sequence[Planned]) -> Planned:
    return max(plans, key=lambda each: each.chance)


def test_who_paid_on_the_25th_twice_is_tried_on_the_25th_and_the_reason_says_so() -> None:
    assert best(planned(())).at.day != 25, "in Germany most are paid on the last business day"
    found = best(planned(paid_on(25, 9, 8)))
    assert (found.at.month, found.at.day) == (11, 25)
    assert found.why == "this customer paid on 25 Aug and 25 Sep before, so wages seem to come on the 25."
    assert "customers are paid on the last business day" in {each.why for each in planned(paid_on(25, 9, 8))}


def test_the_more_payments_the_surer_and_one_alone_leaves_other_paydays_in_the_plan() -> None:
    shares = [after(paid_on(25, *months)).paydays["day_25"] for months in ((), (9,), (9, 8), (9, 8, 7), (9, 8, 7, 6))]
    assert shares == sorted(shares)
    assert shares[0] < 0.1 < shares[1] < 0.35, "one payment may be chance"
    assert 0.5 < shares[-1] < 0.9
    kept = {each.at.day for each in planned(paid_on(25, 9))}
    assert {13, 30} <= kept, "the 15th is a Sunday"


def test_without_earlier_recoveries_nothing_differs_and_nothing_is_worked_out() -> None:
    for earlier in (None, Earlier((), FAILED)):
        assert Timing(earlier=earlier).believed(FUNDS, CARD, None, {}) is believed_before(FUNDS, CARD, {})


def test_an_outcome_fades_with_the_years_and_does_not_while_a_recovery_goes_on() -> None:
    new, old = (after(paid_on(25, 8, 9, year=year)).paydays["day_25"] for year in (2026, 2019))
    assert new > 4 * old
    assert old < prior("DE").paydays["day_25"] * 1.5
    half = after(paid_on(25, 9), FAILED + HALF_LIFE).paydays["day_25"]
    assert prior("DE").paydays["day_25"] < half < after(paid_on(25, 9)).paydays["day_25"]
    policy = Policy(timing="learned", schedules=Schedules(insufficient_funds=Likeliest()))
    timing = Timing(earlier=Earlier(paid_on(25, 8, 9, year=OPENED.year - 1), OPENED))
    made, now = [first_failure()], OPENED
    times: list[datetime] = []
    truth = invoice(card=replace(VISA, country="DE"))
    promised = plan(
        timing.believed(FUNDS, truth.card, truth.amount_remaining, {}),
        [OPENED],
        replace(LIMITS, until=OPENED + timedelta(days=policy.window_days)),
    )
    while len(times) < 4:
        decision = decide(policy, recovery(), truth, made, now, timing=timing)
        if isinstance(decision, AttemptNow):
            times.append(now.replace(minute=0, second=0, microsecond=0))
            made.append(attempt(after=now - OPENED, number=len(made)))
        else:
            now = decision.until  # type: ignore[union-attr]
    assert times == [each.at for each in promised[:4]]


def test_a_bank_that_answered_at_night_only_is_asked_at_night() -> None:
    """Declined on each of six days by day, and accepted the night after each."""
    outcomes = []
    for month in (5, 6, 7, 8, 9):
        failed = datetime(2026, month, 5, 12, tzinfo=UTC)
        by_day = tuple(failed + timedelta(days=number) for number in range(3))
        outcomes.append(Outcome(DeclineCause.DO_NOT_HONOR, Traits("DE"), by_day, failed + timedelta(days=2, hours=10)))
    belief = after(outcomes)

    def closed_at_noon(each: Belief) -> float:
        hours = (
            share
            for bank, share in zip(BANKS, each.banks, strict=True)
            if isinstance(bank, tuple) and (13 - bank[0]) % 24 < bank[1]
        )
        return sum(hours)

    assert closed_at_noon(belief) > 1.5 * closed_at_noon(prior("DE"))


def test_why_it_failed_now_is_hardly_what_it_was_before() -> None:
    never = [
        Outcome(FUNDS, Traits("DE"), tuple(FAILED - timedelta(days=30 * n + 3 * k) for k in range(6, -1, -1)))
        for n in (1, 2, 3)
    ]
    belief = after(never)
    kind = str(FUNDS)
    assert belief.kinds[kind][0] == pytest.approx(prior("DE").kinds[kind][0], abs=0.03)


def test_it_begins_with_what_was_learned_of_the_merchants_customers_and_what_the_merchant_knows() -> None:
    fifth = replace(prior("DE"), paydays={"day_12": 1.0})
    learned = Learned(Group(fifth))
    assert best(planned(paid_on(25, 9), learned=learned)).at.day in (11, 12, 13)
    timing = Timing(earlier=Earlier(paid_on(25, 9, 8), FAILED))
    stories = timing.believed(FUNDS, CARD, None, {"day_12": 0.5})
    days = [each.at.day for each in sorted(plan(stories, [FAILED], LIMITS), key=lambda each: -each.chance)[:4]]
    assert 12 in days
    assert 25 in days


def test_the_same_outcomes_give_the_same_stories_which_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customers, "_kept", Kept(2))
    timings = [Timing(earlier=Earlier(paid_on(day, 9), FAILED)) for day in (8, 15, 25)]
    first = timings[0].believed(FUNDS, CARD, None, {})
    assert Timing(earlier=Earlier(paid_on(8, 9), FAILED)).believed(FUNDS, CARD, None, {}) is first
    before = plan(first, [FAILED], LIMITS)
    for timing in timings[1:]:
        timing.believed(FUNDS, CARD, None, {})
    again = timings[0].believed(FUNDS, CARD, None, {})
    assert again is not first, "it was forgotten"
    assert plan(again, [FAILED], LIMITS) == before


@pytest.mark.parametrize("timing", ["rules", "learned"])
def test_a_policy_by_the_rules_knows_no_customer(timing: str) -> None:
    policy = Policy(timing=timing, schedules=Schedules(insufficient_funds=Likeliest()))
    earlier = Earlier(paid_on(25, 8, 9, year=OPENED.year - 1), OPENED)

    def waits(known: Timing) -> object:
        return decide(policy, recovery(), invoice(), [first_failure()], OPENED, timing=known).reason.inputs

    one, other = waits(BY_THE_RULES), waits(Timing(earlier=earlier))
    assert (one == other) is (timing == "rules")
    if timing == "learned":
        assert other["earlier_recoveries"] == 2  # type: ignore[index]


def test_a_customer_s_belief_begins_with_that_of_the_card_s_own_group() -> None:
    """Debit cards are paid on the 10th, prepaid ones on the 20th; the customer paid once, which says neither."""
    groups = {
        "debit": Group(replace(prior("DE"), paydays={"day_10": 1.0})),
        "prepaid": Group(replace(prior("DE"), paydays={"day_20": 1.0})),
        REST: Group(prior("DE")),
    }
    learned = Learned(Group(prior("DE"), Trait.FUNDING, groups))
    timing = Timing(learned=learned, earlier=Earlier(paid_on(28, 9), FAILED))
    days = {}
    for funding in ("debit", "prepaid"):
        stories = timing.believed(FUNDS, Card(country="DE", funding=funding), None, {})
        days[funding] = best(plan(stories, [FAILED], LIMITS)).at.day
    assert days["debit"] in range(9, 13)
    assert days["prepaid"] in range(19, 24)
