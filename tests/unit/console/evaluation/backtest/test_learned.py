"""What was learned of groups is told with whom it is of."""

from dataclasses import replace

from console.evaluation.backtest.learned import told
from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.groups import REST, SMALL, Group, Trait
from services.worker.recovery.belief.prior import prior


def paid(day: int) -> Group:
    return Group(replace(prior("DE"), paydays={f"day_{day}": 1.0}))


def test_each_group_is_told_with_its_traits_and_the_rest_is_what_is_told_of_all() -> None:
    small = replace(paid(7), by=Trait.NETWORK, parts={"visa": paid(9), "": paid(10), REST: paid(7)})
    prepaid = replace(paid(5), by=Trait.AMOUNT, parts={SMALL: small, REST: paid(5)})
    germany = replace(paid(3), by=Trait.FUNDING, parts={"prepaid": prepaid, REST: paid(3)})
    root = replace(paid(1), by=Trait.COUNTRY, parts={"DE": germany, "": paid(12), REST: paid(1)})
    begins = [text.split(" (100%)")[0] for text in told(Learned(root))]
    assert begins == [
        "paid on the 1.",
        "in an unknown country: paid on the 12.",
        "in DE: paid on the 3.",
        "in DE, prepaid cards: paid on the 5.",
        "in DE, prepaid cards, small amounts: paid on the 7.",
        "in DE, prepaid cards, small amounts, an unknown network: paid on the 10.",
        "in DE, prepaid cards, small amounts, visa: paid on the 9.",
    ]


def test_a_group_of_the_rest_is_told_by_its_own_trait_alone() -> None:
    rest = replace(paid(1), by=Trait.FUNDING, parts={"prepaid": paid(5), "": paid(6), REST: paid(1)})
    root = replace(paid(1), by=Trait.COUNTRY, parts={"DE": paid(3), REST: rest})
    begins = [text.split(": ")[0] for text in told(Learned(root))[1:]]
    assert begins == ["cards of unknown funding", "prepaid cards", "in DE"]


def test_of_nothing_nothing_is_told() -> None:
    assert told(None) == ()
