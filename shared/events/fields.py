"""Reads single fields of Stripe's JSON, whatever they hold: what is not as it should be is None.

A text that does not look like an id is dropped, so that no name or address can pass as one.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from shared.ids import SubscriptionId
from shared.money import Money

Json = Mapping[str, Any]

Id = TypeVar("Id", bound=str)

_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CURRENCY = re.compile(r"[a-z]{3}")
# Far above Stripe's largest amount (12 digits, https://docs.stripe.com/currencies), and small enough that sums fit into
# a bigint.
MAX_AMOUNT = 10**15
_MAX_TIME = datetime(3000, 1, 1, tzinfo=UTC).timestamp()
NOTHING: Json = {}


def mapping_of(value: object) -> Json:
    """An object in the object; an empty one where there is none."""
    return value if isinstance(value, Mapping) else NOTHING


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def code_of(value: object) -> str | None:
    """A code, such as a status or a reason."""
    return _matching(_ID, value)


def version_of(value: object) -> str | None:
    """The name of a version of Stripe's API."""
    return _matching(_VERSION, value)


def id_of(value: object, kind: Callable[[str], Id]) -> Id | None:
    """An id of this kind, or the id of an expanded object; `kind` is what the field says, not what the text shows."""
    found = _matching(_ID, value.get("id") if isinstance(value, Mapping) else value)
    return None if found is None else kind(found)


def amount_of(value: object) -> int | None:
    """A count, or an amount in minor units."""
    # JSON's true equals 1 in Python, and is not an amount.
    return value if type(value) is int and 0 <= value <= MAX_AMOUNT else None


def flag_of(value: object) -> bool | None:
    """True or false."""
    return value if isinstance(value, bool) else None


def time_of(value: object) -> datetime | None:
    """A time, which Stripe gives in unix seconds."""
    if type(value) is not int or not 0 <= value <= _MAX_TIME:
        return None
    return datetime.fromtimestamp(value, UTC)


def money_in(resource: Json, *fields: str) -> Money | None:
    """The amount in the first of the fields that exists, in the object's currency."""
    currency = _matching(_CURRENCY, resource.get("currency"))
    amount = next((read for field in fields if (read := amount_of(resource.get(field))) is not None), None)
    return None if currency is None or amount is None else Money(amount, currency)


def subscription_of(invoice: Json) -> SubscriptionId | None:
    """An invoice's subscription, in the shape of any API version."""
    details = mapping_of(mapping_of(invoice.get("parent")).get("subscription_details"))
    return id_of(details.get("subscription"), SubscriptionId) or id_of(invoice.get("subscription"), SubscriptionId)
