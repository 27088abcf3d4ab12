"""Accounts, and the events that happened in them."""

import orjson

from simulator.endpoints.registry import Call, endpoint
from simulator.errors import account_invalid, bad_request, missing
from simulator.pagination import page, within
from simulator.shapes import DAY, Json
from simulator.simulation import PLATFORM
from simulator.world import Event

EVENTS_KEPT = 30 * DAY


@endpoint("GET", "/v1/account")
def own(call: Call) -> Json:
    return call.account.resource


@endpoint("GET", "/v1/accounts/{account}")
def retrieve(call: Call) -> Json:
    ident = call.id()
    found = call.simulator.world.accounts.get(ident)
    allowed = found and (found is call.account or (call.account.id == PLATFORM and found.connected))
    if not found or not allowed:
        raise account_invalid(ident)
    return found.resource


@endpoint("GET", "/v1/events")
def search(call: Call) -> Json:
    """The account's events of the last 30 days (docs.stripe.com/api/events/list)."""
    if "type" in call.params and "types" in call.params:
        raise bad_request("You may only specify one of these parameters: type, types.")
    types = call.params.get("types") or ([call.params["type"]] if "type" in call.params else None)
    if types and len(types) > 20:
        raise bad_request("You can list at most 20 types.", param="types")
    oldest = call.now - EVENTS_KEPT
    asked = call.params.get("delivery_success")
    index = [
        {"id": event.id, "created": event.created}
        for event in call.account.events
        if event.created >= oldest
        and (types is None or any(_is(event.type, wanted) for wanted in types))
        and (asked is None or _delivered(event) == asked)
    ]
    found = page(index, call.params, "/v1/events", *within(call.params))
    return {**found, "data": [_shown(call, item["id"]) for item in found["data"]]}


@endpoint("GET", "/v1/events/{id}")
def retrieve_event(call: Call) -> Json:
    event = call.simulator.world.events.get(call.id())
    if event is None or event.account != call.account.id:
        raise missing("event", call.id())
    return _shown(call, event.id)


def _is(kind: str, wanted: str) -> bool:
    return kind.startswith(wanted[:-1]) if wanted.endswith("*") else kind == wanted


def _delivered(event: Event) -> bool:
    return event.delivered or not event.wanted


def _shown(call: Call, ident: str) -> Json:
    event = call.simulator.world.events[ident]
    made: Json = orjson.loads(event.body)
    made["pending_webhooks"] = 0 if _delivered(event) else 1
    # `account` is in what a Connect webhook gets, not in the account's own list.
    made.pop("account")
    made.pop("context")
    return made
