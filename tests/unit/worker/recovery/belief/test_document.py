"""What was learned, written and read back: the same, or refused with its place."""

import copy
from collections.abc import Callable, Iterator
from math import inf, nan
from typing import Any

import orjson
import pytest

from services.worker.recovery.belief import document as module
from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.document import LAYOUT, WrongDocument, read_document, to_document
from services.worker.recovery.belief.groups import LARGE, REST, SMALL, Group, Trait, Traits
from services.worker.recovery.belief.learning import LEAST_OF_GROUP, learn
from services.worker.recovery.belief.parts import BANKS, DELAYS, STAYS, WAYS
from shared.money import Money
from tests.unit.worker.recovery.belief.test_learning import FUNDS, NOW, paid_on, tried, with_traits


@pytest.fixture(scope="module")
def learned() -> Learned:
    """Of two countries, of a rest that is split by funding, and of small and large amounts in one country."""
    german = [Traits("DE", "debit", "visa", Money(amount, "eur")) for amount in (500, 9_000)]
    others = [Traits(country, funding) for country in ("FR", "AT", "IT", "") for funding in ("debit", "prepaid")]
    return learn(
        [
            *with_traits(tried("DE", 2 * LEAST_OF_GROUP, paid_on(5)), *german),
            *with_traits(tried("JP", LEAST_OF_GROUP, paid_on(22)), Traits("JP", "credit", "jcb", Money(700, "jpy"))),
            *with_traits(tried("DE", 8 * (LEAST_OF_GROUP // 4) + 8, paid_on(12)), *others),
        ],
        NOW,
    )


def leaves(document: Any) -> Iterator[object]:
    match document:
        case dict():
            for each in document.values():
                yield from leaves(each)
        case list():
            for each in document:
                yield from leaves(each)
        case _:
            yield document


def written(learned: Learned) -> Any:
    return orjson.loads(orjson.dumps(to_document(learned)))


def test_what_is_written_is_read_as_the_same(learned: Learned) -> None:
    root = learned.root
    splits = [(each.by, set(each.parts)) for each in (root, root.parts["DE"], root.parts["JP"], root.parts[REST])]
    assert splits == [
        (Trait.COUNTRY, {"DE", "JP", REST}),
        (Trait.AMOUNT, {SMALL, LARGE, REST}),
        (None, set()),
        (Trait.FUNDING, {"debit", "prepaid", REST}),
    ]
    assert learned.medians == {"eur": 500, "jpy": 700}
    read = read_document(written(learned))
    assert read == learned
    assert read.root.parts[REST].belief == learned.everywhere, "the rest has no belief of its own"


def test_the_rest_is_written_without_a_belief(learned: Learned) -> None:
    parts = written(learned)["all"]["parts"]
    assert parts[REST].keys() == {"by", "parts"}
    assert parts[REST]["parts"][REST] == {"by": None, "parts": {}}
    assert parts["DE"].keys() == {"by", "parts", "belief"}


def test_what_stripe_does_not_say_may_be_a_group_by_itself(learned: Learned) -> None:
    for trait in Trait:
        unknown = Learned(
            Group(learned.everywhere, trait, {"": learned.root.parts["JP"], REST: Group(learned.everywhere)})
        )
        assert read_document(written(unknown)) == unknown


def test_a_lesson_without_groups_is_one_belief(learned: Learned) -> None:
    alone = Learned(Group(learned.everywhere))
    assert written(alone)["all"].keys() == {"belief", "by", "parts"}
    assert read_document(written(alone)) == alone


def test_it_holds_shares_medians_and_names_of_ours_and_nothing_else(learned: Learned) -> None:
    document = written(learned)
    traits = [each for each in leaves(document["all"]) if not isinstance(each, float)]
    assert set(traits) == {None, "country", "funding", "amount"}
    assert all(0 <= each <= 1 for each in leaves(document["all"]) if isinstance(each, float))


def test_what_was_read_tells_the_same_stories(learned: Learned) -> None:
    read = read_document(written(learned))
    at = NOW.replace(day=5, hour=9)
    one, other = (each.believed(FUNDS, None, Money(1, "eur"), {}).accepting(at, NOW) for each in (read, learned))
    assert one.tobytes() == other.tobytes()


def _with(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], Any]:
    def changed(document: dict[str, Any]) -> Any:
        change(document)
        return document

    return changed


def _all(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], Any]:
    """A change of the group of all."""
    return _with(lambda document: change(document["all"]))


def _believing(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], Any]:
    """A change of what is believed of all."""
    return _with(lambda document: change(document["all"]["belief"]))


def _germany(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], Any]:
    return _with(lambda document: change(document["all"]["parts"]["DE"]))


def _rest(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], Any]:
    return _with(lambda document: change(document["all"]["parts"][REST]))


FUNDS_SHARES = "all.belief.kinds.insufficient_funds"
GERMANY = r"^all\.parts\.DE"
OF_REST = r"^all\.parts\.\*"
NOTHING: dict[str, Any] = {"by": None, "parts": {}}
WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda _: None, "the document: expected all, medians"),
    (lambda _: [], "the document"),
    (_with(lambda d: d.pop("medians")), r"the document: \['medians'\] missing"),
    (_with(lambda d: d.update(more=1)), r"the document: \['more'\] unknown"),
    # Beliefs.
    (_believing(lambda d: d.pop("stays")), r"^all.belief: \['stays'\] missing"),
    (_germany(lambda d: d["belief"].pop("stays")), rf"{GERMANY}.belief: \['stays'\] missing"),
    (_believing(lambda d: d["kinds"].pop("unknown")), r"^all.belief.kinds: \['unknown'\] missing"),
    (_believing(lambda d: d["kinds"].update(bored=[1.0])), r"^all.belief.kinds: \['bored'\] unknown"),
    (_believing(lambda d: d["kinds"]["insufficient_funds"].pop()), f"^{FUNDS_SHARES}: expected {len(WAYS)}"),
    (_believing(lambda d: d["stays"].append(0.0)), f"^all.belief.stays: expected {len(STAYS)} shares"),
    (_believing(lambda d: d.update(banks={})), f"^all.belief.banks: expected {len(BANKS)} shares"),
    (_believing(lambda d: d["paydays"].update(day_32=0.0)), "'day_32' is no payday's name"),
    (_believing(lambda d: d.update(paydays=[])), "^all.belief.paydays: expected shares by name"),
    (_believing(lambda d: d["stays"].__setitem__(0, 0.99)), "^all.belief.stays: the shares add up to"),
    (_believing(lambda d: d["banks"].__setitem__(3, nan)), "^all.belief.banks: nan is no share"),
    (_believing(lambda d: d["banks"].__setitem__(3, inf)), "^all.belief.banks: inf is no share"),
    (_believing(lambda d: d["banks"].__setitem__(3, -0.1)), "^all.belief.banks: -0.1 is no share"),
    (_believing(lambda d: d["banks"].__setitem__(3, "0.1")), "^all.belief.banks: 0.1 is no share"),
    (_believing(lambda d: d["banks"].__setitem__(3, True)), "^all.belief.banks: True is no share"),
    # Groups.
    (_with(lambda d: d.update(all=[])), "^all: expected belief, by, parts"),
    (_all(lambda d: d.pop("belief")), r"^all: \['belief'\] missing"),
    (_all(lambda d: d.update(more=1)), r"^all: \['more'\] unknown"),
    (_all(lambda d: d.update(by="mood")), "^all.by: 'mood' splits no group here"),
    (_all(lambda d: d.update(by=["country"])), "^all.by: .* splits no group here"),
    (_all(lambda d: d.update(by=None)), "^all.by: 'None' splits no group here"),
    (_all(lambda d: d.update(parts={})), "^all.parts: expected groups by name, and the rest"),
    (_all(lambda d: d.update(parts=[])), "^all.parts: expected groups by name, and the rest"),
    (_all(lambda d: d["parts"].pop(REST)), "^all.parts: expected groups by name, and the rest"),
    (_all(lambda d: d["parts"].update(Germany=d["parts"]["DE"])), "^all.parts: 'Germany' is no country"),
    (_all(lambda d: d["parts"].update(de=d["parts"]["DE"])), "^all.parts: 'de' is no country"),
    (_all(lambda d: d["parts"].update(FR=NOTHING)), r"^all.parts.FR: \['belief'\] missing"),
    (_all(lambda d: d["parts"].update(FR=None)), "^all.parts.FR: expected belief, by, parts"),
    (_germany(lambda d: d.update(by="country")), rf"{GERMANY}.by: 'country' splits no group here"),
    (_germany(lambda d: d["parts"].pop(REST)), rf"{GERMANY}.parts: expected groups by name, and the rest"),
    (_germany(lambda d: d["parts"].update(middling=d["parts"]["small"])), rf"{GERMANY}.parts: 'middling' is no amount"),
    (
        _germany(lambda d: d["parts"]["small"].update(by="funding", parts={REST: NOTHING})),
        rf"{GERMANY}.parts.small.by: 'funding' splits no group here",
    ),
    (
        _germany(lambda d: d["parts"]["small"].update(by="amount", parts={REST: NOTHING})),
        rf"{GERMANY}.parts.small.by: 'amount' splits no group here",
    ),
    (
        _germany(lambda d: d["parts"]["small"].update(by="network", parts={REST: NOTHING, "VISA": d})),
        rf"{GERMANY}.parts.small.parts: 'VISA' is no network",
    ),
    (_rest(lambda d: d.update(belief={})), rf"{OF_REST}: \['belief'\] unknown"),
    (_rest(lambda d: d.update(by="country")), rf"{OF_REST}.by: 'country' splits no group here"),
    (_rest(lambda d: d["parts"].pop(REST)), rf"{OF_REST}.parts: expected groups by name, and the rest"),
    (_rest(lambda d: d["parts"].update({REST: []})), rf"{OF_REST}.parts.\*: expected by, parts"),
    (
        _rest(lambda d: d["parts"].update({"pre paid": d["parts"]["prepaid"]})),
        rf"{OF_REST}.parts: 'pre paid' is no funding",
    ),
    # Medians.
    (_with(lambda d: d.update(medians=[])), "^medians: expected amounts by currency"),
    (_with(lambda d: d.update(medians=None)), "^medians: expected amounts by currency"),
    (_with(lambda d: d["medians"].update(EUR=1)), "^medians: 'EUR' is no currency"),
    (_with(lambda d: d["medians"].update(euro=1)), "^medians: 'euro' is no currency"),
    (_with(lambda d: d["medians"].update(eur=-1)), "^medians.eur: -1 is no amount"),
    (_with(lambda d: d["medians"].update(eur=1.5)), "^medians.eur: 1.5 is no amount"),
    (_with(lambda d: d["medians"].update(eur=True)), "^medians.eur: True is no amount"),
    (_with(lambda d: d["medians"].update(eur=None)), "^medians.eur: None is no amount"),
]


@pytest.mark.parametrize(("spoil", "said"), WRONG, ids=[f"{number} {said}" for number, (_, said) in enumerate(WRONG)])
def test_anything_else_is_refused_with_its_place(
    learned: Learned, spoil: Callable[[dict[str, Any]], Any], said: str
) -> None:
    with pytest.raises(WrongDocument, match=said):
        read_document(spoil(copy.deepcopy(written(learned))))


def _layout_with(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> str:
    """The layout that the module would have with other parts."""
    with monkeypatch.context() as changed:
        for name, value in parts.items():
            changed.setattr(f"services.worker.recovery.belief.parts.{name}", value)
        namespace: dict[str, Any] = {"__name__": "a_copy"}
        assert module.__file__
        with open(module.__file__) as source:  # noqa: PTH123 - read once
            exec(compile(source.read(), module.__file__, "exec"), namespace)  # noqa: S102 - our own module
        return str(namespace["LAYOUT"])


def test_the_layout_is_another_when_a_place_means_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _layout_with(monkeypatch) == LAYOUT
    others = {
        _layout_with(monkeypatch, WAYS=(WAYS[1], WAYS[0], *WAYS[2:])),
        _layout_with(monkeypatch, DELAYS=((0.5, 1.5), *DELAYS[1:])),
        _layout_with(monkeypatch, STAYS=(*STAYS[:-1], (400.0, 2000.0))),
        _layout_with(monkeypatch, BANKS=(*BANKS[:-1], (0, 13))),
    }
    assert len(others) == 4
    assert LAYOUT not in others
