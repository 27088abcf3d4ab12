"""Events to route: Stripe's own examples, and invoices in the shapes of old and new API versions."""

from pathlib import Path
from typing import Any

import orjson

from shared.events.intents import Intent
from shared.events.routing import route

FOLDER = Path(__file__).parents[3] / "data" / "stripe_events"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def example(name: str) -> dict[str, Any]:
    """One of the stored payloads, in today's shape."""
    event: dict[str, Any] = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    return event


def event_of(kind: str, resource: dict[str, Any], previous: dict[str, Any] | None = None, **fields: Any) -> Any:
    """An event of that type about `resource`."""
    data: dict[str, Any] = {"object": resource}
    if previous is not None:
        data["previous_attributes"] = previous
    return {
        "id": "evt_1",
        "object": "event",
        "account": "acct_1",
        "created": 1_790_000_000,
        "data": data,
        "livemode": False,
        "type": kind,
        **fields,
    }


def invoice(**fields: Any) -> dict[str, Any]:
    """A renewal's open invoice over 20 USD, in the shape of 2025-03-31 (basil) and later."""
    return {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "amount_due": 2000,
        "amount_paid": 0,
        "amount_remaining": 2000,
        "currency": "usd",
        "status": "open",
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
        **fields,
    }


def invoice_of_2019(**fields: Any) -> dict[str, Any]:
    """The same invoice before basil and before `collection_method` had its name."""
    return {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "billing": "charge_automatically",
        "billing_reason": "subscription_cycle",
        "amount_due": 2000,
        "amount_paid": 0,
        "amount_remaining": 2000,
        "charge": "ch_1",
        "currency": "usd",
        "paid": False,
        "payment_intent": "pi_1",
        "status": "open",
        "subscription": "sub_1",
        **fields,
    }


def invoice_of_2014(**fields: Any) -> dict[str, Any]:
    """The same invoice in the oldest shape: no amounts but what is due, no payment intent, no way to collect."""
    return {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "billing_reason": "subscription_cycle",
        "amount_due": 2000,
        "charge": "ch_1",
        "closed": False,
        "currency": "usd",
        "paid": False,
        "subscription": "sub_1",
        **fields,
    }


def intent(kind: str, resource: dict[str, Any], previous: dict[str, Any] | None = None) -> Intent:
    """What an event of this type, about this object, means."""
    return route(event_of(kind, resource, previous)).intent
