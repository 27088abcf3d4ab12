"""The one type that every module shares: a JSON object as Stripe sends it."""

from typing import Any

# Stripe's objects are open, versioned JSON; the OpenAPI document, not Python's types, says what is in them.
Json = dict[str, Any]

DAY = 86_400
HOUR = 3_600
