"""The control API of shapes: what a merchant's or Stripe's ways make objects and events look like."""

import orjson

from simulator.control import CONTROL, Ask
from simulator.errors import missing
from simulator.shapes import Json


@CONTROL.route("GET", "/events/{event}")
async def whole_event(ask: Ask) -> Json:
    """One event as its webhook carries it."""
    if ask.path["event"] not in ask.sim.world.events:
        raise missing("event", ask.path["event"])
    found: Json = orjson.loads(ask.sim.world.events[ask.path["event"]].body)
    return found
