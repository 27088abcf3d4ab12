"""Where customers differ, said plainly; nothing where it is not clear, and nothing of what nobody has seen."""

from datetime import timedelta
from random import Random

import pytest

from services.worker.recovery import DeclineCause
from services.worker.recovery.belief.differences import ENOUGH, About, Difference, differences
from services.worker.recovery.belief.groups import Traits
from services.worker.recovery.belief.learning import Outcome
from services.worker.recovery.belief.paydays import RULES
from services.worker.recovery.belief.prior import payday_shares
from tests.unit.worker.recovery.belief.test_learning import FUNDS, NOW, ZONES, Accepts, paid_on, tried


def about(found: tuple[Difference, ...], what: About) -> Difference:
    (one,) = (each for each in found if each.about is what)
    return one


def test_a_payday_is_told_with_its_figures() -> None:
    (one,) = differences(tried("DE", 300, paid_on(25)), NOW)
    assert one.about is About.PAYDAY
    share, expected = f"{one.share:.0%}", f"{one.expected:.0%}"
    assert one.text == (
        "Most of your customers seem to be paid on the 25th "
        f"({share} of those who wait for wages; {expected} expected)."
    )
    assert one.share > 0.6
    assert one.expected == pytest.approx(payday_shares("DE")["day_25"])


@pytest.mark.parametrize(("day", "spoken"), [(1, "1st"), (3, "3rd"), (11, "11th"), (22, "22nd")])
def test_days_are_spoken(day: int, spoken: str) -> None:
    assert f" on the {spoken} (" in about(differences(tried("JP", 300, paid_on(day)), NOW), About.PAYDAY).text


def test_two_paydays_are_both_told() -> None:
    seen = [*tried("DE", 400, paid_on(8)), *tried("DE", 400, paid_on(22), seed=2)]
    texts = [each.text for each in differences(seen, NOW) if each.about is About.PAYDAY]
    assert len(texts) == 2
    assert all(text.startswith("Many of your customers") for text in texts)
    assert any("8th" in text for text in texts)
    assert any("22nd" in text for text in texts)


def nights() -> list[Outcome]:
    return [
        each
        for country in ZONES
        for cause in (DeclineCause.TRY_LATER, DeclineCause.DO_NOT_HONOR)
        for each in tried(country, 250, lambda at: 6 <= at.hour < 22, cause=cause, seed=len(country))
    ]


def test_hours_at_which_banks_decline_are_told_over_midnight() -> None:
    one = about(differences(nights(), NOW), About.BANK_HOURS)
    assert one.text.startswith("Banks seem to decline from 22 to 6, by your customers' clocks (")
    assert one.share > 0.5
    assert one.expected < 0.15


def test_weekends_are_told() -> None:
    seen = tried("DE", 500, lambda at: at.weekday() < 5, cause=DeclineCause.TRY_LATER)
    assert about(differences(seen, NOW), About.WEEKEND).text.startswith("Banks seem to decline at weekends (")


def test_money_that_is_gone_soon_is_told() -> None:
    one = about(differences(tried("DE", 600, paid_on(12, for_hours=9)), NOW), About.STAY)
    assert "gone within a day" in one.text
    assert one.share > one.expected


def test_money_that_is_gone_by_the_afternoon_is_not_taken_for_banks_that_decline_then() -> None:
    found = differences(tried("DE", 2_000, paid_on(25, for_hours=12)), NOW)
    assert {each.about for each in found} <= {About.PAYDAY, About.STAY}


def test_from_few_nothing_is_said() -> None:
    seen = tried("DE", ENOUGH, paid_on(25))
    assert differences(seen, NOW)
    assert differences(seen[: ENOUGH - 1], NOW) == ()
    assert differences([], NOW) == ()


def test_what_only_one_half_says_is_not_told() -> None:
    """Every second recovery, by time, is of customers who are paid on the 25th; the others never pay."""
    by_time = sorted(tried("DE", 600, paid_on(25)), key=lambda each: each.last_at)
    mixed = [
        each if place % 2 else Outcome(FUNDS, Traits("DE"), (each.declined[0], each.last_at))
        for place, each in enumerate(by_time)
    ]
    assert [each for each in differences(mixed, NOW) if each.about is About.PAYDAY] == []


def as_expected(seed: int, count: int) -> list[Outcome]:
    """Customers whose paydays are those that are expected of their country, with money for some days."""
    random = Random(seed)  # noqa: S311 - repeatable
    shares = payday_shares("DE")

    def of_one() -> Accepts:
        (name,) = random.choices(list(shares), list(shares.values()))
        stays = random.choice((1, 2, 4, 8))

        def accepts(at: object) -> bool:
            day = at.date()  # type: ignore[attr-defined]
            return any(RULES[name].is_payday(day - timedelta(days=back), "DE") for back in range(stays))

        return accepts

    return [tried("DE", 1, of_one(), seed=random.randrange(10**6))[0] for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_of_customers_as_expected_nothing_is_said(seed: int) -> None:
    assert differences(as_expected(seed, 300), NOW) == ()


def test_attempts_that_succeed_by_chance_say_nothing() -> None:
    random = Random(5)  # noqa: S311 - repeatable
    assert differences(tried("DE", 300, lambda _: random.random() < 0.2), NOW) == ()
