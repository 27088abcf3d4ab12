"""Learned timing in a replay: from the retries on record, in the order of time, week by week."""

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from console.evaluation.backtest.lessons import WEEKS_OF_STEP, Beliefs, Lessons, outcome
from console.evaluation.backtest.past import Past
from console.evaluation.backtest.replay import Replay, learns_hours, learns_plans
from console.evaluation.backtest.trace import Trace
from console.evaluation.history import Attempt, Failure
from console.evaluation.learning import REMEMBERED
from services.worker.recovery import DeclineCause, Likeliest, Policy, Schedules
from services.worker.recovery.belief.beliefs import traits_of
from services.worker.recovery.belief.groups import LARGE, SMALL, Traits
from services.worker.recovery.belief.learning import LEAST_OF_GROUP, Outcome, learn
from services.worker.recovery.case import is_explored
from services.worker.recovery.estimator import Estimator, Observed
from shared.money import Money
from tests.unit.console.evaluation.backtest.synthetic import CITADEL, OPENED, UNTIL, at, declined, failure, paid

LEARNED = Policy.model_validate(
    {
        "schema_version": 4,
        "driver": "citadel",
        "timing": "learned",
        "schedules": {"try_later": {"kind": "delays", "hours": [24]}},
        "max_attempts": 4,
    }
)
GOOD_HOUR = 9


def by_the_hour(count: int) -> list[Failure]:
    """Failures whose retries work only between 9 and 10 (UTC), whenever they failed."""
    random = Random(5)  # noqa: S311 - a test has to be repeatable
    return [_one(random, number) for number in range(count)]


def _one(random: Random, number: int) -> Failure:
    moment = random.randrange(150 * 24)
    attempts = [declined(moment / 24, "try_again_later")]
    for _ in range(6):
        moment += random.randrange(12, 36)
        if (OPENED + timedelta(hours=moment)).hour == GOOD_HOUR:
            attempts.append(paid(moment / 24))
            break
        attempts.append(declined(moment / 24, "try_again_later"))
    return failure(*attempts, invoice=f"in_{number}", card={"fingerprint": f"f{number}", "network": "visa"})


PASTS = [Past(each, UNTIL) for each in by_the_hour(600)]


def traces(policy: Policy, pasts: list[Past], *, shortcuts: bool = True) -> dict[str, Trace]:
    return {each.past.failure.invoice: each for each in Replay(policy, Lessons(pasts), shortcuts=shortcuts)(pasts)}


def test_what_was_learned_moves_attempts_to_better_hours_and_breaks_no_rule() -> None:
    found = traces(LEARNED, PASTS).values()
    steps = [step for trace in found for step in trace.steps]
    good = sum(datetime.fromtimestamp(step.at, UTC).hour == GOOD_HOUR for step in steps)
    assert sum(trace.moved for trace in found) > len(steps) / 4
    assert good > len(steps) / 4
    rules = traces(LEARNED.model_copy(update={"timing": "rules"}), PASTS).values()
    assert sum(trace.moved for trace in rules) == 0
    assert not any(trace.breaches for trace in found)


@pytest.mark.parametrize("window", [1, 3, 21])
def test_shortcuts_lead_the_same_way_with_what_was_learned(window: int) -> None:
    policy = LEARNED.model_copy(update={"window_days": window, "max_attempts": 20, "message_days": ()})
    assert traces(policy, PASTS) == traces(policy, PASTS, shortcuts=False)


def test_what_comes_later_teaches_nothing_before() -> None:
    """Whatever was retried from day 100 on, every attempt before it is at the same time."""
    until = at(100)
    before = [each for each in PASTS if each.failure.attempts[-1].at < until]
    later = [each for each in PASTS if each.opened_at >= until]
    told, told_more = traces(LEARNED, before), traces(LEARNED, [*before, *later])
    assert sum(trace.moved for trace in told.values()) > 0
    for invoice, trace in told.items():
        assert [step.at for step in trace.steps if step.at < until] == [
            step.at for step in told_more[invoice].steps if step.at < until
        ]


def test_it_learns_on_mondays_from_the_last_retries_before() -> None:
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    days = [(monday - OPENED) / timedelta(days=1) + hours / 24 for hours in (-30, -2, 1, 30)]
    past = Past(failure(declined(days[0] - 1), *(declined(day) for day in days), card={"network": "visa"}), UNTIL)
    lessons = Lessons([past])
    assert lessons.retries == 4
    assert (
        lessons.week(monday - timedelta(seconds=1)) + 1 == lessons.week(monday) == lessons.week(monday + timedelta(6))
    )
    assert lessons.at(monday) is lessons.at(monday + timedelta(days=6, hours=23))
    observed = [Observed(DeclineCause.DO_NOT_HONOR, OPENED + timedelta(days=day), succeeded=False) for day in days[:2]]
    assert lessons.estimator(monday) == Estimator.learn(observed)


def test_only_the_last_two_thousand_are_remembered() -> None:
    pasts = [
        Past(failure(declined(0), declined(1 + number / 10_000), invoice=f"in_{number}"), UNTIL)
        for number in range(REMEMBERED + 100)
    ]
    estimator = Lessons(pasts).estimator(OPENED + timedelta(days=30))
    assert estimator.counts["all"] == (REMEMBERED, 0)


def test_a_retry_counts_for_the_decline_before_it_and_not_without_one() -> None:
    given = failure(
        Attempt(at=at(0), result="requires_action"),
        declined(1, "insufficient_funds"),
        declined(2, "lost_card"),
        paid(3, by="customer"),
    )
    estimator = Lessons([Past(given, UNTIL)]).estimator(OPENED + timedelta(days=30))
    assert estimator.counts["all"] == (1, 0)
    assert estimator.counts[DeclineCause.INSUFFICIENT_FUNDS] == (1, 0)


@pytest.mark.parametrize("driver", ["auto", "stripe"])
def test_stripes_retries_teach_nothing(driver: str) -> None:
    policy = LEARNED.model_copy(update={"driver": driver})
    assert not learns_hours(policy)
    assert sum(trace.moved for trace in traces(policy, PASTS[:100]).values()) == 0


def test_without_retries_the_schedules_hold() -> None:
    assert Lessons().estimator(OPENED) == Estimator({})
    now = OPENED
    timing = Lessons().at(now)
    question = (DeclineCause.TRY_LATER, now, (now, now + timedelta(hours=9)))
    assert timing.pick(*question, ZoneInfo("UTC")) == now


# -- what is believed of customers -------------------------------------------------------------------------------------

PLANNED = CITADEL.model_copy(
    update={"timing": "learned", "schedules": Schedules(insufficient_funds=Likeliest()), "max_attempts": 4}
)
PAYDAY = 12


def paid_on_the_12th(count: int) -> list[Past]:
    """Failures whose retries work only on the 12th and the day after, whenever they failed; some on credit cards."""
    random = Random(6)  # noqa: S311 - a test has to be repeatable
    return [Past(_waged(random, number), UNTIL) for number in range(count)]


def _waged(random: Random, number: int, *, payday: int = PAYDAY) -> Failure:
    moment = random.randrange(150 * 24)
    attempts = [declined(moment / 24, "insufficient_funds")]
    for _ in range(20):
        moment += random.randrange(20, 30)
        if (OPENED + timedelta(hours=moment)).day in (payday, payday + 1):
            attempts.append(paid(moment / 24))
            break
        attempts.append(declined(moment / 24, "insufficient_funds"))
    funding = random.choice(("credit", "debit", None))
    card = {"fingerprint": f"w{number}", "network": "visa", "country": "DE", "funding": funding}
    return failure(*attempts, invoice=f"in_{number}", card=card)


WAGED = paid_on_the_12th(150)


def on_payday(pasts: list[Past], policy: Policy) -> float:
    """The share of the failures after the first two months that have an attempt on a payday."""
    found = [each for each in traces(policy, pasts).values() if each.past.opened_at > at(60)]
    tried = [any(datetime.fromtimestamp(step.at, UTC).day == PAYDAY for step in trace.steps) for trace in found]
    return sum(tried) / len(tried)


def test_a_payday_that_is_on_record_is_planned_for() -> None:
    by_rules = PLANNED.model_copy(update={"timing": "rules"})
    assert on_payday(WAGED, PLANNED) > on_payday(WAGED, by_rules) + 0.2
    assert not any(trace.breaches for trace in traces(PLANNED, WAGED).values())


@pytest.mark.parametrize("driver", ["citadel", "auto"])
@pytest.mark.parametrize("code", ["insufficient_funds", "try_again_later"])
def test_shortcuts_plan_by_what_was_learned(driver: str, code: str) -> None:
    schedules = Schedules(insufficient_funds=Likeliest(), try_later=Likeliest(least_chance=0.05))
    policy = PLANNED.model_copy(update={"driver": driver, "schedules": schedules, "max_attempts": 9})
    pasts = WAGED if code == "insufficient_funds" else PASTS[:150]
    assert traces(policy, pasts) == traces(policy, pasts, shortcuts=False)


# Half a year of two kinds of cards, which are paid on different days, and of small and large amounts.
MANY = [
    Past(
        Failure.model_validate(
            _waged(Random(number), number, payday=(12, 25)[number % 2]).model_dump()  # noqa: S311 - see above
            | {
                "amount": (500, 900, 9_900)[number // 2 % 3],
                "card": {
                    "fingerprint": f"m{number}",
                    "network": ("visa", "mastercard")[number // 6 % 2],
                    "country": "DE",
                    "funding": ("debit", "prepaid")[number % 2],
                },
            }
        ),
        UNTIL,
    )
    for number in range(8 * LEAST_OF_GROUP)
]


def test_shortcuts_plan_by_the_group_that_a_failure_belongs_to_and_by_whether_it_explores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lessons = Lessons(MANY)
    asked = sorted((each for each in MANY if each.opened_at > at(110)), key=lambda each: each.opened_at)[:240]

    def replayed(*, shortcuts: bool = True) -> dict[str, Trace]:
        found = Replay(PLANNED, lessons, shortcuts=shortcuts)(asked)
        return {trace.past.failure.invoice: trace for trace in found}

    quick = replayed()
    assert quick == replayed(shortcuts=False)
    learned = lessons.learned(OPENED + timedelta(days=130))
    assert learned is not None
    paths = {learned.path(traits_of(each.card, each.amount)) for each in asked}
    assert {path[0] for path in paths} == {"debit", "prepaid"}
    assert {SMALL, LARGE} <= {name for path in paths for name in path}
    explored = {each.failure.invoice for each in asked if is_explored(each.failure.invoice)}
    assert len(explored) > 5
    monkeypatch.setattr("services.worker.recovery.case.EXPLORED", 0)
    differ = {invoice for invoice, trace in replayed().items() if trace.steps != quick[invoice].steps}
    assert differ
    assert differ <= explored


def test_beliefs_are_learned_every_fourth_week_from_what_was_before() -> None:
    beliefs, lessons = Beliefs(WAGED), Lessons(WAGED)
    now = OPENED + timedelta(days=100)
    step = lessons.step(now)
    begins = next(day for day in (now - timedelta(days=n) for n in range(40)) if lessons.step(day) != step) + timedelta(
        days=1
    )
    begins = begins.replace(hour=0, minute=0)
    assert begins.weekday() == 0
    assert {lessons.step(begins + timedelta(weeks=n)) for n in range(WEEKS_OF_STEP)} == {step}
    known = [found for each in WAGED if (found := outcome(each, begins.timestamp())) is not None]
    assert 0 < len(known) < beliefs.recoveries
    assert all(each.last_at < begins for each in known)
    assert beliefs.at(step) == learn(known, begins)
    assert lessons.learned(now) is lessons.learned(now)


def test_before_anything_is_on_record_nothing_is_learned() -> None:
    lessons = Lessons(WAGED)
    assert lessons.learned(OPENED - timedelta(weeks=9)) is None
    assert Lessons().learned(OPENED) is None


def test_an_outcome_ends_with_the_success_the_customer_or_a_decline_for_good() -> None:
    def told(*attempts: Attempt, card: object = None) -> Outcome | None:
        given = failure(declined(0, "insufficient_funds"), *attempts)
        if card is not None:
            given = Failure.model_validate(given.model_dump() | {"card": card})
        return outcome(Past(given, UNTIL))

    def days(*numbers: float) -> tuple[datetime, ...]:
        return tuple(datetime.fromtimestamp(at(number), UTC) for number in numbers)

    no, funds = "insufficient_funds", DeclineCause.INSUFFICIENT_FUNDS
    american = Traits("US", None, "visa", Money(1000, "usd"))
    german = Traits("DE", "credit", None, Money(1000, "usd"))
    assert told(declined(1, no), paid(2)) == Outcome(funds, american, days(0, 1), days(2)[0])
    assert told(declined(1, no), paid(2, by="customer")) == Outcome(funds, american, days(0, 1))
    assert told(declined(1, no), declined(2, "lost_card"), declined(3, no)) == Outcome(funds, american, days(0, 1))
    assert told(declined(1, no, method="pm_9"), declined(2, no)) == Outcome(funds, american, days(0, 2))
    assert told(paid(1, by="customer")) is None
    assert told() is None
    assert outcome(Past(failure(declined(0, "lost_card"), declined(1)), UNTIL)) is None
    credit = told(paid(1), card={"country": "DE", "funding": "credit"})
    assert credit == Outcome(funds, german, days(0), days(1)[0])


def test_stripes_retries_teach_beliefs() -> None:
    """When a bank accepts does not depend on who asks."""
    auto = PLANNED.model_copy(update={"driver": "auto"})
    assert learns_plans(auto)
    assert not learns_hours(auto)
    assert not learns_plans(PLANNED.model_copy(update={"driver": "stripe"}))
    assert not learns_plans(LEARNED)
    lessons = Lessons(WAGED)
    assert lessons.without_hours().retries == 0
    assert lessons.without_hours().learned(OPENED + timedelta(days=90)) is lessons.learned(OPENED + timedelta(days=90))
