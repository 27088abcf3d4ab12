"""Whom something is learned of by itself: where there are enough of them, and others; and what plans make of it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.recovery import Card
from services.worker.recovery.belief.beliefs import Learned, traits_of
from services.worker.recovery.belief.groups import LARGE, REST, SMALL, Group, Trait, Traits
from services.worker.recovery.belief.learning import LEAST_OF_GROUP, Outcome, learn
from services.worker.recovery.belief.planning import Limits, Planned, plan
from services.worker.recovery.belief.prior import prior
from services.worker.recovery.belief.stories import SIZE, how_many
from shared.money import Money
from shared.policy import AttemptTimes
from tests.unit.worker.recovery.belief.test_learning import FUNDS, NOW, paid_on, payday_days, tried, with_traits

FAILED = datetime(2026, 11, 1, 9, tzinfo=UTC)
LIMITS = Limits(timedelta(hours=16), FAILED + timedelta(days=28), 4, 0.01, AttemptTimes(), "DE")
DEBIT, PREPAID = Traits("DE", "debit"), Traits("DE", "prepaid")
SOME = tried("DE", 3 * LEAST_OF_GROUP, paid_on(12))
"""Where only their number matters."""


def of_each(*given: tuple[Traits, int]) -> list[Outcome]:
    """So many recoveries with these traits."""
    traits = [each for each, count in given for _ in range(count)]
    return [one for outcome, each in zip(SOME, traits, strict=False) for one in with_traits([outcome], each)]


def splits(group: Group) -> tuple[Trait | None, set[str]]:
    return group.by, set(group.parts)


def best(learned: Learned, card: Card, amount: Money | None = None) -> Planned:
    return max(plan(learned.believed(FUNDS, card, amount, {}), [FAILED], LIMITS), key=lambda each: each.chance)


# --- How the tree grows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("debit", "prepaid", "groups"),
    [
        (LEAST_OF_GROUP, LEAST_OF_GROUP, {"debit", "prepaid"}),
        (LEAST_OF_GROUP, LEAST_OF_GROUP - 1, {"debit"}),
        (LEAST_OF_GROUP, 1, {"debit"}),
        (LEAST_OF_GROUP - 1, LEAST_OF_GROUP - 1, set()),
        (2 * LEAST_OF_GROUP, 0, set()),
    ],
)
def test_a_group_has_enough_recoveries_and_there_are_others(debit: int, prepaid: int, groups: set[str]) -> None:
    learned = learn(of_each((DEBIT, debit), (PREPAID, prepaid)), NOW)
    expected = (Trait.FUNDING, groups | {REST}) if groups else (None, set())
    assert splits(learned.root) == expected


def test_a_trait_that_tells_nobody_from_others_is_passed_over() -> None:
    """All are debit cards of Germany with amounts that are as small as the median or larger, on two networks."""
    seen = of_each(
        *(
            (Traits("DE", "debit", network, Money(amount, "eur")), 75)
            for network in ("visa", "mastercard")
            for amount in (500, 900)
        )
    )
    learned = learn(seen, NOW)
    assert splits(learned.root) == (Trait.AMOUNT, {SMALL, LARGE, REST})
    assert {name: splits(part) for name, part in learned.root.parts.items()} == dict.fromkeys(
        (SMALL, LARGE, REST), (None, set())
    )
    by_network = learn(
        of_each(*((Traits("DE", "debit", each), LEAST_OF_GROUP) for each in ("visa", "mastercard"))), NOW
    )
    assert splits(by_network.root) == (Trait.NETWORK, {"visa", "mastercard", REST})


def test_what_belongs_to_no_group_goes_on_together_and_may_be_split_by_the_next_trait() -> None:
    small = ("FR", "AT", "IT")
    seen = [
        *with_traits(tried("DE", LEAST_OF_GROUP, paid_on(3)), Traits("DE", "debit")),
        *with_traits(tried("DE", LEAST_OF_GROUP, paid_on(12)), *(Traits(each, "debit") for each in small)),
        *with_traits(tried("DE", LEAST_OF_GROUP, paid_on(22)), *(Traits(each, "prepaid") for each in small)),
    ]
    learned = learn(seen, NOW)
    rest = learned.root.parts[REST]
    assert splits(learned.root) == (Trait.COUNTRY, {"DE", REST})
    assert splits(rest) == (Trait.FUNDING, {"debit", "prepaid", REST})
    assert rest.belief == rest.parts[REST].belief == learned.everywhere
    for country in (*small, "ES"):
        assert learned.path(Traits(country, "prepaid")) == (REST, "prepaid")
        assert payday_days(learned.of(Traits(country, "prepaid")), 21, 22) > 0.4
        assert payday_days(learned.of(Traits(country, "debit")), 11, 12) > 0.4
        assert learned.of(Traits(country, "credit")) == learned.everywhere
    assert payday_days(learned.of(Traits("DE", "prepaid")), 2, 3) > 0.4, "of few of a country the country is believed"


def test_a_group_of_a_group_begins_with_what_that_one_says() -> None:
    """Whoever is paid on the 5th in Germany says so of both kinds of cards there, whatever Japan says."""
    seen = [
        *with_traits(tried("DE", 2 * LEAST_OF_GROUP, paid_on(5)), DEBIT, PREPAID),
        *with_traits(tried("JP", 2 * LEAST_OF_GROUP, paid_on(22)), Traits("JP", "debit")),
    ]
    learned = learn(seen, NOW)
    germany = learned.root.parts["DE"]
    assert splits(germany) == (Trait.FUNDING, {"debit", "prepaid", REST})
    assert germany.parts[REST].belief == germany.belief != learned.everywhere
    for each in germany.parts.values():
        assert payday_days(each.belief, 4, 5) > payday_days(learned.everywhere, 4, 5) + 0.2
    assert learned.root.parts["JP"].by is None


def test_what_is_not_known_is_a_value_as_any_other() -> None:
    unknown = [Traits(None, None, None, None), Traits("", "", "", Money(1, "xau"))]
    seen = [
        *with_traits(tried("DE", LEAST_OF_GROUP, paid_on(5)), Traits(None)),
        *with_traits(tried("DE", LEAST_OF_GROUP, paid_on(22)), Traits("DE")),
    ]
    learned = learn(seen, NOW)
    assert splits(learned.root) == (Trait.COUNTRY, {"", "DE", REST})
    for each in unknown:
        assert learned.path(each) == ("",)
        assert [each.value(trait, {"eur": 5}) for trait in Trait] == [""] * len(Trait)
    assert payday_days(learned.of(Traits()), 4, 5) > 0.4
    assert learned.of(Traits("FR")) == learned.everywhere


def test_up_to_the_median_of_its_currency_an_amount_is_small() -> None:
    amounts = [
        Money(each, currency)
        for currency, times in (("eur", 1), ("jpy", 100))
        for each in (times, 2 * times, 9 * times)
    ]
    learned = learn(of_each(*((Traits("DE", amount=each), 75) for each in amounts)), NOW)
    assert learned.medians == {"eur": 2, "jpy": 200}
    assert splits(learned.root) == (Trait.AMOUNT, {SMALL, LARGE, REST})
    asked = [Money(2, "eur"), Money(3, "eur"), Money(200, "jpy"), Money(201, "jpy"), Money(2, "usd"), None]
    found = [learned.path(Traits("DE", amount=each)) for each in asked]
    assert found == [(SMALL,), (LARGE,), (SMALL,), (LARGE,), (REST,), (REST,)]


def test_few_amounts_of_a_currency_have_no_median_that_would_be_one_invoice_s() -> None:
    euros, yen = Traits("DE", amount=Money(900, "eur")), Traits("JP", amount=Money(123_457, "jpy"))
    assert learn(of_each((euros, LEAST_OF_GROUP), (yen, LEAST_OF_GROUP - 1)), NOW).medians == {"eur": 900}


@pytest.mark.parametrize(("merchants", "groups"), [(1, set()), (2, set()), (3, {"debit", "prepaid"})])
def test_a_group_of_several_merchants_is_never_one_or_two_of_them(merchants: int, groups: set[str]) -> None:
    """Else whoever plans by it would be told what one other merchant's customers do."""
    euros = Money(900, "eur")
    debit, prepaid = replace(DEBIT, amount=euros), replace(PREPAID, amount=euros)
    seen = of_each((debit, LEAST_OF_GROUP), (prepaid, LEAST_OF_GROUP))
    pooled = [replace(each, whose=f"acct_{number % merchants}") for number, each in enumerate(seen)]
    learned = learn(pooled, NOW, least_merchants=3)
    assert splits(learned.root) == ((Trait.FUNDING, groups | {REST}) if groups else (None, set()))
    assert learned.medians == ({"eur": 900} if groups else {})


def test_every_group_is_told_with_the_traits_that_it_is_made_by_and_the_rest_by_none() -> None:
    belief = prior("DE")
    by_funding = Group(belief, Trait.FUNDING, {"debit": Group(belief), REST: Group(belief)})
    root = Group(belief, Trait.COUNTRY, {"DE": by_funding, "": Group(belief), REST: by_funding})
    assert [path for path, _ in root.each()] == [
        (),
        ((Trait.COUNTRY, ""),),
        ((Trait.FUNDING, "debit"),),
        ((Trait.COUNTRY, "DE"),),
        ((Trait.COUNTRY, "DE"), (Trait.FUNDING, "debit")),
    ]


# --- Which group a payment belongs to ---------------------------------------------------------------------------------

MEDIANS = {"eur": 500}
VALUES = {
    Trait.COUNTRY: ["", "DE", "JP"],
    Trait.FUNDING: ["", "debit", "prepaid"],
    Trait.AMOUNT: ["", SMALL, LARGE],
    Trait.NETWORK: ["", "visa", "jcb"],
}
anything = st.builds(
    Traits,
    st.sampled_from([None, "DE", "JP", "FR"]),
    st.sampled_from([None, "debit", "prepaid", "credit"]),
    st.sampled_from([None, "visa", "jcb", "amex"]),
    st.sampled_from([None, Money(500, "eur"), Money(501, "eur"), Money(1, "usd")]),
)


def groups(traits: tuple[Trait, ...] = tuple(Trait)) -> st.SearchStrategy[Group]:
    """Any tree by these traits, in their order."""
    leaf = st.just(Group(prior(None)))
    if not traits:
        return leaf
    by, below = traits[0], groups(traits[1:])
    parts = st.tuples(st.dictionaries(st.sampled_from(VALUES[by]), below, min_size=1), below)
    return st.one_of(leaf, below, parts.map(lambda each: Group(prior(None), by, {**each[0], REST: each[1]})))


@given(groups(), anything)
def test_a_payment_belongs_to_the_smallest_group_of_its_own_values(root: Group, traits: Traits) -> None:
    path, found = root.find(traits, MEDIANS)
    group = root
    for name in path:
        assert group.by is not None
        value = traits.value(group.by, MEDIANS)
        assert name == (value if value in group.parts else REST)
        group = group.parts[name]
    assert group is found
    assert found.by is None, "there is no smaller one"


@given(groups())
def test_each_group_is_told_once(root: Group) -> None:
    def inner(group: Group) -> Iterator[Group]:
        yield group
        for each in group.parts.values():
            yield from inner(each)

    paths = [path for path, _ in root.each()]
    assert len(set(paths)) == len(paths)
    assert all(name != REST for path in paths for _, name in path)
    named = sum(name != REST for group in inner(root) for name in group.parts)
    assert len(paths) == 1 + named


# --- What plans make of it --------------------------------------------------------------------------------------------


def test_prepaid_cards_that_are_paid_on_another_day_are_planned_on_theirs() -> None:
    seen = [
        *with_traits(tried("DE", 250, paid_on(24)), DEBIT),
        *with_traits(tried("DE", 250, paid_on(10)), PREPAID),
    ]
    learned = learn(seen, NOW)
    debit, prepaid = (best(learned, Card(country="DE", funding=each)) for each in ("debit", "prepaid"))
    assert debit.at.day in (24, 25)
    assert prepaid.at.day in (10, 11)
    assert debit.why == "customers are paid on the 24."
    assert prepaid.why == "customers are paid on the 10."
    for each, other in ((debit, prepaid), (prepaid, debit)):
        assert each.chance > 0.3
        assert each.at.day != other.at.day


def test_small_amounts_whose_money_stays_longer_are_worth_an_attempt_days_later() -> None:
    small, large = Money(400, "eur"), Money(9_000, "eur")
    seen = [
        *with_traits(tried("DE", 400, paid_on(12, for_hours=200)), Traits("DE", amount=small)),
        *with_traits(tried("DE", 400, paid_on(12, for_hours=9), seed=2), Traits("DE", amount=large)),
    ]
    learned = learn(seen, NOW)
    assert sum(learned.of(Traits("DE", amount=large)).stays[:2]) > 0.4
    assert sum(learned.of(Traits("DE", amount=small)).stays[:2]) < 0.15
    three_days_later = datetime(2026, 11, 15, 9, tzinfo=UTC)
    card = Card(country="DE")
    of_small, of_large = (
        how_many(learned.believed(FUNDS, card, each, {}).accepting(three_days_later, FAILED)) / SIZE
        for each in (small, large)
    )
    assert of_small > 2 * of_large
    assert learned.believed(FUNDS, card, Money(399, "eur"), {}) is learned.believed(FUNDS, card, small, {})
    assert learned.believed(FUNDS, card, Money(401, "eur"), {}) is learned.believed(FUNDS, card, large, {})


def test_a_country_in_small_letters_is_the_same_country() -> None:
    learned = learn([*tried("DE", LEAST_OF_GROUP, paid_on(5)), *tried("JP", LEAST_OF_GROUP, paid_on(22))], NOW)
    assert traits_of(Card(country="de", funding="debit", network="visa"), None) == Traits("DE", "debit", "visa")
    small, large = (learned.believed(FUNDS, Card(country=each), None, {}) for each in ("de", "DE"))
    assert small is large
    assert payday_days(learned.of(traits_of(Card(country="jp"), None)), 21, 22) > 0.4


def test_those_of_one_group_share_their_stories_and_those_of_others_do_not() -> None:
    seen = [*with_traits(tried("DE", 2 * LEAST_OF_GROUP, paid_on(12)), DEBIT, PREPAID)]
    learned = learn(seen, NOW)

    def stories(funding: str | None, network: str, amount: int) -> object:
        return learned.believed(FUNDS, Card(network=network, country="DE", funding=funding), Money(amount, "eur"), {})

    assert stories("debit", "visa", 1) is stories("debit", "jcb", 9_000)
    assert stories(None, "visa", 1) is stories("charge", "visa", 1), "both are the rest"
    found = {id(stories(funding, "visa", 1)) for funding in ("debit", "prepaid", None, "credit")}
    assert len(found) == 4, "a credit card may have its limit back instead"
