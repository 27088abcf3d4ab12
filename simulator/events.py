"""Events: a snapshot of what changed, in the shape that Stripe sends to Connect webhooks."""

from collections.abc import Callable

import orjson

from simulator.old_shapes import API_VERSION, OLDEST_VERSION, as_2017_event, in_2017, in_acacia
from simulator.shapes import Json
from simulator.showing import shown, shown_change
from simulator.stripe_document import api_version
from simulator.world import Account, Event, World

Listener = Callable[[Event], None]


class EventLog:
    """Makes events and hands each to the listener (the webhook sender), in order.

    `check` gets each resource by its object name first, when the simulator watches its own shapes;
    `old_shape` decides of each event whether it comes in the shape of an API version before basil, and
    `oldest_shape` whether in that of one before 2017-05-25.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.listener: Listener | None = None
        self.check: Callable[[str, Json], None] | None = None
        self.old_shape: Callable[[], bool] = lambda: False
        self.oldest_shape: Callable[[], bool] = lambda: False

    def emit(
        self, account: Account, kind: str, resource: Json, previous: Json | None = None, *, checked: bool = True
    ) -> Event:
        """Records that `resource` changed; `previous` holds the old values of what an update changed.

        `checked` false: the resource is odd on purpose.
        """
        # The preview of an invoice has no id, which the document asks of every invoice.
        if checked and self.check and resource["object"] != "application" and "id" in resource:
            self.check(resource["object"], shown(account, resource))
        version = api_version()
        made = resource
        if self.oldest_shape():
            made, version = in_2017(account, resource), OLDEST_VERSION
        elif self.old_shape():
            made, version = in_acacia(account, resource), API_VERSION
        data: Json = {"object": shown(account, made)}
        if previous is not None:
            data["previous_attributes"] = shown_change(account, resource, previous)
        return self._record(account, kind, data, version)

    def again(self, event_id: str) -> Event:
        """The same fact once more under a new event id, as Stripe now and then sends it."""
        old = self._world.events[event_id]
        account = self._world.accounts[old.account]
        body = orjson.loads(old.body)
        if body["object"] != "event":
            ident = f"evt_test_{self._world.ids.token('thin', account.id, 40)}"
            return self.publish(account, ident, old.type, {**body, "id": ident}, listed=False)
        return self._record(account, old.type, body["data"], body["api_version"])

    def _record(self, account: Account, kind: str, data: Json, version: str) -> Event:
        world = self._world
        event: Json = {
            "id": world.ids.new("evt", account.id),
            "object": "event",
            "account": account.id,
            "api_version": version,
            "context": account.id,
            "created": world.clock.now,
            "data": data,
            "livemode": False,
            "pending_webhooks": 1 if self.listener else 0,
            "request": {
                "id": world.origin.request_id,
                "idempotency_key": world.origin.idempotency_key,
            },
            "type": kind,
        }
        if version == OLDEST_VERSION:
            event = as_2017_event(event)
        return self.publish(account, event["id"], kind, event)

    def publish(self, account: Account, ident: str, kind: str, body: Json, *, listed: bool = True) -> Event:
        """Freezes an event as the JSON that goes out, and hands it to the listener; `listed`: in the account's list."""
        made = Event(ident, kind, account.id, self._world.clock.now, orjson.dumps(body))
        self._world.events[made.id] = made
        if listed:
            account.events.append(made)
        if self.listener:
            self.listener(made)
        return made
