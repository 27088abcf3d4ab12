"""Events: a snapshot of what changed, in the shape that Stripe sends to Connect webhooks."""

from collections.abc import Callable

import orjson

from simulator.old_shapes import API_VERSION, in_acacia
from simulator.shapes import Json
from simulator.stripe_document import api_version
from simulator.world import Account, Event, World

Listener = Callable[[Event], None]


class EventLog:
    """Makes events and hands each to the listener (the webhook sender), in order.

    `check` gets each resource by its object name first, when the simulator watches its own shapes;
    `old_shape` decides of each event whether it comes in the shape of an API version before basil.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.listener: Listener | None = None
        self.check: Callable[[str, Json], None] | None = None
        self.old_shape: Callable[[], bool] = lambda: False

    def emit(self, account: Account, kind: str, resource: Json, previous: Json | None = None) -> Event:
        """Records that `resource` changed; `previous` holds the old values of what an update changed."""
        # The preview of an invoice has no id, which the document asks of every invoice.
        if self.check and resource["object"] != "application" and "id" in resource:
            self.check(resource["object"], resource)
        version = api_version()
        if self.old_shape():
            resource, version = in_acacia(account, resource), API_VERSION
        data: Json = {"object": resource}
        if previous is not None:
            data["previous_attributes"] = previous
        return self._record(account, kind, data, version)

    def again(self, event_id: str) -> Event:
        """The same fact once more under a new event id, as Stripe now and then sends it."""
        old = self._world.events[event_id]
        account = self._world.accounts[old.account]
        body = orjson.loads(old.body)
        return self._record(account, old.type, body["data"], body["api_version"])

    def _record(self, account: Account, kind: str, data: Json, version: str) -> Event:
        world = self._world
        listener = self.listener
        event: Json = {
            "id": world.ids.new("evt", account.id),
            "object": "event",
            "account": account.id,
            "api_version": version,
            "context": account.id,
            "created": world.clock.now,
            "data": data,
            "livemode": False,
            "pending_webhooks": 1 if listener else 0,
            "request": {
                "id": world.origin.request_id,
                "idempotency_key": world.origin.idempotency_key,
            },
            "type": kind,
        }
        made = Event(event["id"], kind, account.id, event["created"], orjson.dumps(event))
        world.events[made.id] = made
        account.events.append(made)
        if listener:
            listener(made)
        return made
