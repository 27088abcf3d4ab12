"""What was learned, as JSON that can be kept, and back: read strictly, so that no share is ever taken for another.

The arrays of a document have no names for their places; what the places mean is the LAYOUT, which is kept beside it.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import isfinite
from re import compile as pattern
from typing import Any, Final

import orjson

from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.groups import LARGE, REST, SMALL, Group, Trait
from services.worker.recovery.belief.parts import BANKS, DELAYS, RESETS, STAYS, WAYS, Belief
from services.worker.recovery.belief.paydays import CONVENTIONS, RULES
from services.worker.recovery.belief.prior import prior
from shared.policy.paydays import PAYDAYS

_KINDS: Final = frozenset(map(str, prior(None).kinds))
# To be raised when the same names come to mean something else.
_MEANING: Final = 2
LAYOUT: Final = sha256(
    orjson.dumps([_MEANING, WAYS, DELAYS, RESETS, STAYS, BANKS, list(CONVENTIONS), sorted(RULES), sorted(_KINDS)])
).hexdigest()[:16]
"""Names what the places of a document's arrays mean; it changes with the arrays of `parts`, the paydays and the kinds
of declines."""
_ADD_UP_TO_ONE: Final = 1e-6
_PARTS: Final = frozenset({"kinds", "paydays", "conventions", "stays", "banks"})
_SPLIT: Final = frozenset({"by", "parts"})
# Where Stripe does not say, the value is the empty text, which may be a group as well.
_VALUES: Final = {
    Trait.COUNTRY: pattern(r"([A-Z]{2})?"),
    Trait.FUNDING: pattern(r"[a-z_]{0,40}"),
    Trait.AMOUNT: pattern(rf"({SMALL}|{LARGE})?"),
    Trait.NETWORK: pattern(r"[a-z_]{0,40}"),
}
_CURRENCY: Final = pattern(r"[a-z]{3}")


class WrongDocument(ValueError):
    """A document is not one that `to_document` has made with this layout; says where it is wrong."""


def to_document(learned: Learned) -> dict[str, Any]:
    """What was learned as JSON: `all` and the `medians` by currency.

    A group has its `belief` (`kinds`, `paydays`, `conventions`, `stays` and `banks`, whose shares add up to 1), and the
    trait `by` which it has `parts`, by the trait's value; the part that is the rest has no belief of its own.
    """
    return {"all": _group_written(learned.root), "medians": dict(learned.medians)}


def read_document(document: Any) -> Learned:
    """What `to_document` was given. Raises WrongDocument."""
    whole = _named(document, "the document", frozenset({"all", "medians"}))
    return Learned(_group(whole["all"], "all", tuple(Trait)), _medians(whole["medians"]))


def _group_written(group: Group) -> dict[str, Any]:
    return {"belief": _written(group.belief), **_split_written(group)}


def _split_written(group: Group) -> dict[str, Any]:
    parts = {name: _split_written(part) if name == REST else _group_written(part) for name, part in group.parts.items()}
    return {"by": group.by, "parts": parts}


def _group(document: Any, place: str, traits: Sequence[Trait]) -> Group:
    """A group that may be split by one of the traits, and its parts by those that come after it."""
    fields = _named(document, place, _SPLIT | {"belief"})
    return _split(fields, place, traits, _read(fields["belief"], f"{place}.belief"))


def _split(fields: Mapping[str, Any], place: str, traits: Sequence[Trait], belief: Belief) -> Group:
    by, parts = fields["by"], fields["parts"]
    if by is None and parts == {}:
        return Group(belief)
    if by not in traits:
        raise WrongDocument(f"{place}.by: {str(by)[:20]!r} splits no group here")
    trait = Trait(by)
    if not isinstance(parts, Mapping) or REST not in parts:
        raise WrongDocument(f"{place}.parts: expected groups by name, and the rest")
    below, found = traits[traits.index(trait) + 1 :], {}
    for name, part in parts.items():
        if name == REST:
            found[name] = _split(_named(part, f"{place}.parts.{REST}", _SPLIT), f"{place}.parts.{REST}", below, belief)
        elif isinstance(name, str) and _VALUES[trait].fullmatch(name):
            found[name] = _group(part, f"{place}.parts.{name}", below)
        else:
            raise WrongDocument(f"{place}.parts: {str(name)[:20]!r} is no {trait}")
    return Group(belief, trait, found)


def _medians(document: Any) -> Mapping[str, int]:
    if not isinstance(document, Mapping):
        raise WrongDocument("medians: expected amounts by currency")
    for currency, amount in document.items():
        if not (isinstance(currency, str) and _CURRENCY.fullmatch(currency)):
            raise WrongDocument(f"medians: {str(currency)[:20]!r} is no currency")
        if isinstance(amount, bool) or not isinstance(amount, int) or amount < 0:
            raise WrongDocument(f"medians.{currency}: {str(amount)[:20]} is no amount")
    return dict(document)


def _written(belief: Belief) -> dict[str, Any]:
    return {
        "kinds": {str(kind): list(shares) for kind, shares in belief.kinds.items()},
        "paydays": dict(belief.paydays),
        "conventions": list(belief.conventions),
        "stays": list(belief.stays),
        "banks": list(belief.banks),
    }


def _read(document: Any, place: str) -> Belief:
    parts = _named(document, place, _PARTS)
    kinds = _named(parts["kinds"], f"{place}.kinds", _KINDS)
    return Belief(
        {kind: _shares(shares, len(WAYS), f"{place}.kinds.{kind}") for kind, shares in kinds.items()},
        _paydays(parts["paydays"], f"{place}.paydays"),
        _shares(parts["conventions"], len(CONVENTIONS), f"{place}.conventions"),
        _shares(parts["stays"], len(STAYS), f"{place}.stays"),
        _shares(parts["banks"], len(BANKS), f"{place}.banks"),
    )


def _paydays(document: Any, place: str) -> Mapping[str, float]:
    if not isinstance(document, Mapping):
        raise WrongDocument(f"{place}: expected shares by name")
    for name in document:
        if name not in PAYDAYS:
            raise WrongDocument(f"{place}: {str(name)[:40]!r} is no payday's name")
    return dict(zip(document, _shares(list(document.values()), len(document), place), strict=True))


def _named(document: Any, place: str, names: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise WrongDocument(f"{place}: expected {', '.join(sorted(names))}")
    unknown, missing = document.keys() - names, names - document.keys()
    if unknown or missing:
        said = [
            f"{sorted(map(str, each))} {what}" for each, what in ((unknown, "unknown"), (missing, "missing")) if each
        ]
        raise WrongDocument(f"{place}: {', '.join(said)}")
    return document


def _shares(document: Any, count: int, place: str) -> tuple[float, ...]:
    """So many shares that add up to 1."""
    if not isinstance(document, list) or len(document) != count:
        raise WrongDocument(f"{place}: expected {count} shares")
    for share in document:
        if isinstance(share, bool) or not isinstance(share, int | float) or not (isfinite(share) and 0 <= share <= 1):
            raise WrongDocument(f"{place}: {str(share)[:20]} is no share")
    if abs(sum(document) - 1) > _ADD_UP_TO_ONE:
        raise WrongDocument(f"{place}: the shares add up to {sum(document):.6f}, not to 1")
    return tuple(float(share) for share in document)
