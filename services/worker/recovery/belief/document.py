"""What was learned, as JSON that can be kept, and back: read strictly, so that no share is ever taken for another.

The arrays of a document have no names for their places; what the places mean is the LAYOUT, which is kept beside it.
"""

from collections.abc import Mapping
from hashlib import sha256
from math import isfinite
from re import compile as pattern
from typing import Any, Final

import orjson

from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.parts import BANKS, DELAYS, RESETS, STAYS, WAYS, Belief
from services.worker.recovery.belief.paydays import CONVENTIONS, RULES
from services.worker.recovery.belief.prior import prior
from shared.policy.paydays import PAYDAYS

_KINDS: Final = frozenset(map(str, prior(None).kinds))
# To be raised when the same names come to mean something else.
_MEANING: Final = 1
LAYOUT: Final = sha256(
    orjson.dumps([_MEANING, WAYS, DELAYS, RESETS, STAYS, BANKS, list(CONVENTIONS), sorted(RULES), sorted(_KINDS)])
).hexdigest()[:16]
"""Names what the places of a document's arrays mean; it changes with the arrays of `parts`, the paydays and the kinds
of declines."""
_ADD_UP_TO_ONE: Final = 1e-6
_PARTS: Final = frozenset({"kinds", "paydays", "conventions", "stays", "banks"})
# The cards whose country is not known are one as well: the empty text.
_COUNTRY: Final = pattern(r"([A-Z]{2})?")


class WrongDocument(ValueError):
    """A document is not one that `to_document` has made with this layout; says where it is wrong."""


def to_document(learned: Learned) -> dict[str, Any]:
    """What was learned as JSON: `everywhere`, and by name the `countries`; each with `kinds`, `paydays`, `conventions`,
    `stays` and `banks`, whose shares add up to 1."""
    countries = {name: _written(belief) for name, belief in learned.countries.items()}
    return {"everywhere": _written(learned.everywhere), "countries": countries}


def read_document(document: Any) -> Learned:
    """What `to_document` was given. Raises WrongDocument."""
    whole = _named(document, "the document", frozenset({"everywhere", "countries"}))
    countries = whole["countries"]
    if not isinstance(countries, Mapping):
        raise WrongDocument("countries: expected them by name")
    for name in countries:
        if not (isinstance(name, str) and _COUNTRY.fullmatch(name)):
            raise WrongDocument(f"countries: {str(name)[:20]!r} is no country's code")
    read = {name: _read(belief, f"countries.{name}") for name, belief in countries.items()}
    return Learned(_read(whole["everywhere"], "everywhere"), read)


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
