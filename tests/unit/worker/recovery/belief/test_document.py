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
from services.worker.recovery.belief.learning import LEAST_OF_COUNTRY, learn
from services.worker.recovery.belief.parts import BANKS, DELAYS, STAYS, WAYS
from tests.unit.worker.recovery.belief.test_learning import FUNDS, NOW, paid_on, tried


@pytest.fixture(scope="module")
def learned() -> Learned:
    """Of two countries, and of all."""
    return learn([*tried("DE", LEAST_OF_COUNTRY, paid_on(5)), *tried("JP", LEAST_OF_COUNTRY, paid_on(22))], NOW)


def numbers(document: Any) -> Iterator[object]:
    match document:
        case dict():
            for each in document.values():
                yield from numbers(each)
        case list():
            for each in document:
                yield from numbers(each)
        case _:
            yield document


def test_what_is_written_is_read_as_the_same(learned: Learned) -> None:
    assert learned.countries.keys() == {"DE", "JP"}
    assert read_document(orjson.loads(orjson.dumps(to_document(learned)))) == learned


def test_cards_of_an_unknown_country_may_be_one_by_themselves(learned: Learned) -> None:
    unknown = Learned(learned.everywhere, {"": learned.of("DE")})
    assert read_document(to_document(unknown)) == unknown


def test_it_holds_shares_and_names_of_ours_and_nothing_else(learned: Learned) -> None:
    assert all(isinstance(each, float) and 0 <= each <= 1 for each in numbers(to_document(learned)))


def test_what_was_read_tells_the_same_stories(learned: Learned) -> None:
    read = read_document(to_document(learned))
    at = NOW.replace(day=5, hour=9)
    one, other = (each.believed(FUNDS, None, {}).accepting(at, NOW) for each in (read, learned))
    assert one.tobytes() == other.tobytes()


def _with(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], Any]:
    def changed(document: dict[str, Any]) -> Any:
        change(document)
        return document

    return changed


FUNDS_SHARES = "everywhere.kinds.insufficient_funds"
WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda _: None, "the document: expected countries, everywhere"),
    (lambda _: [], "the document"),
    (_with(lambda d: d.pop("countries")), r"the document: \['countries'\] missing"),
    (_with(lambda d: d.update(more=1)), r"the document: \['more'\] unknown"),
    (_with(lambda d: d.update(countries=[])), "countries: expected them by name"),
    (_with(lambda d: d["countries"].update(Germany=d["everywhere"])), "'Germany' is no country's code"),
    (_with(lambda d: d["countries"]["DE"].pop("stays")), r"countries.DE: \['stays'\] missing"),
    (_with(lambda d: d["everywhere"]["kinds"].pop("unknown")), r"everywhere.kinds: \['unknown'\] missing"),
    (_with(lambda d: d["everywhere"]["kinds"].update(bored=[1.0])), r"everywhere.kinds: \['bored'\] unknown"),
    (_with(lambda d: d["everywhere"]["kinds"]["insufficient_funds"].pop()), f"{FUNDS_SHARES}: expected {len(WAYS)}"),
    (_with(lambda d: d["everywhere"]["stays"].append(0.0)), f"everywhere.stays: expected {len(STAYS)} shares"),
    (_with(lambda d: d["everywhere"].update(banks={})), f"everywhere.banks: expected {len(BANKS)} shares"),
    (_with(lambda d: d["everywhere"]["paydays"].update(day_32=0.0)), "'day_32' is no payday's name"),
    (_with(lambda d: d["everywhere"].update(paydays=[])), "everywhere.paydays: expected shares by name"),
    (_with(lambda d: d["everywhere"]["stays"].__setitem__(0, 0.99)), "everywhere.stays: the shares add up to"),
    (_with(lambda d: d["everywhere"]["banks"].__setitem__(3, nan)), "everywhere.banks: nan is no share"),
    (_with(lambda d: d["everywhere"]["banks"].__setitem__(3, inf)), "everywhere.banks: inf is no share"),
    (_with(lambda d: d["everywhere"]["banks"].__setitem__(3, -0.1)), "everywhere.banks: -0.1 is no share"),
    (_with(lambda d: d["everywhere"]["banks"].__setitem__(3, "0.1")), "everywhere.banks: 0.1 is no share"),
    (_with(lambda d: d["everywhere"]["banks"].__setitem__(3, True)), "everywhere.banks: True is no share"),
]


@pytest.mark.parametrize(("spoil", "said"), WRONG, ids=[said for _, said in WRONG])
def test_anything_else_is_refused_with_its_place(
    learned: Learned, spoil: Callable[[dict[str, Any]], Any], said: str
) -> None:
    with pytest.raises(WrongDocument, match=said):
        read_document(spoil(copy.deepcopy(to_document(learned))))


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
