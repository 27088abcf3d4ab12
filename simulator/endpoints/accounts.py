"""Accounts, and the events that happened in them."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice

import orjson

from simulator.endpoints.registry import Call, endpoint
from simulator.errors import account_invalid, bad_request, missing, missing_param
from simulator.pagination import within
from simulator.resources import listing
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
    limit = call.params.get("limit", 10)
    if not 1 <= limit <= 100:
        raise bad_request("Invalid integer: limit must be from 1 to 100.", param="limit")
    asked = call.params.get("delivery_success")
    created = within(call.params)
    found: list[str] = []
    for event in _asked_for(call):
        wanted = types is None or any(_is(event.type, kind) for kind in types)
        if (
            wanted
            and (asked is None or _delivered(event) == asked)
            and all(accepts({"created": event.created}) for accepts in created)
        ):
            found.append(event.id)
            if len(found) > limit:
                break
    page = found[:limit]
    if "ending_before" in call.params:
        page.reverse()
    return listing([_shown(call, ident) for ident in page], "/v1/events", has_more=len(found) > limit)


def _asked_for(call: Call) -> Iterator[Event]:
    """The kept events from the page's place on: newest first, or from `ending_before` on towards the newest.

    The place is an event of the account, whether or not it is among those that are asked for.
    """
    events = call.account.events
    after, before = call.params.get("starting_after"), call.params.get("ending_before")
    if after and before:
        raise bad_request("You can only specify one of starting_after and ending_before.")
    oldest = bisect_left(events, call.now - EVENTS_KEPT, key=lambda event: event.created)
    if before:
        return islice(events, _place(events, before, oldest, "ending_before") + 1, None)
    newest = _place(events, after, oldest, "starting_after") if after else len(events)
    return (events[place] for place in range(newest - 1, oldest - 1, -1))


def _place(events: list[Event], ident: str, oldest: int, param: str) -> int:
    for place in range(len(events) - 1, oldest - 1, -1):
        if events[place].id == ident:
            return place
    raise missing_param("event", ident, param)


@endpoint("GET", "/v1/events/{id}")
def retrieve_event(call: Call) -> Json:
    event = call.simulator.world.events.get(call.id())
    if event is None or event.account != call.account.id:
        raise missing("event", call.id())
    return _shown(call, event.id)


def _is(kind: str, wanted: str) -> bool:
    return kind.startswith(wanted[:-1]) if wanted.endswith("*") else kind == wanted


def _delivered(event: Event) -> bool:
    """Whether nothing is left to deliver: a 2xx came, or no endpoint was there to send it to."""
    return event.delivered or not event.wanted


def _shown(call: Call, ident: str) -> Json:
    event = call.simulator.world.events[ident]
    made: Json = orjson.loads(event.body)
    made["pending_webhooks"] = 0 if _delivered(event) else 1
    # `account` is in what a Connect webhook gets, not in the account's own list.
    for name in ("account", "context", "user_id"):
        made.pop(name, None)
    return made
