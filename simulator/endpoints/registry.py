"""Which function answers which operation of Stripe's document."""

from collections.abc import Callable
from dataclasses import dataclass

from simulator.errors import missing_param, not_imitated
from simulator.shapes import Json
from simulator.simulation import Simulator
from simulator.world import Account


@dataclass(frozen=True, slots=True)
class Call:
    """One validated request for one account."""

    simulator: Simulator
    account: Account
    path: dict[str, str]
    params: Json
    url: str

    @property
    def now(self) -> int:
        return self.simulator.world.clock.now

    def id(self) -> str:
        """The (only) id in the path."""
        return next(iter(self.path.values()))

    def only(self, *known: str) -> None:
        """Refuses parameters that Stripe has and the simulator would ignore."""
        for name in self.params:
            if name != "expand" and name not in known:
                raise not_imitated(f"the parameter {name} of {self.url}")

    def referenced(self, kind: str, param: str) -> Json:
        """The resource whose id is in a parameter; a 400 when this account does not have it."""
        ident = self.params[param]
        found = self.account.objects[kind].get(ident)
        if found is None:
            raise missing_param(kind, ident, param)
        return found

    def new_id(self, prefix: str) -> str:
        return self.simulator.world.ids.new(prefix, self.account.id)

    def add(self, resource: Json) -> Json:
        return self.simulator.world.add(self.account, resource)

    def emit(self, kind: str, resource: Json, previous: Json | None = None) -> None:
        self.simulator.events.emit(self.account, kind, resource, previous)


Endpoint = Callable[[Call], Json]
ENDPOINTS: dict[tuple[str, str], Endpoint] = {}


def endpoint(method: str, template: str) -> Callable[[Endpoint], Endpoint]:
    """Registers a function for an operation, by the document's own path template."""

    def register(function: Endpoint) -> Endpoint:
        ENDPOINTS[method, template] = function
        return function

    return register


def changed(resource: Json, changes: Json) -> Json:
    """Applies changes to a resource; the old values of what really changed."""
    before = {name: resource[name] for name, value in changes.items() if resource.get(name) != value}
    resource.update(changes)
    return before


def merged_metadata(resource: Json, params: Json) -> Json:
    """`metadata` as Stripe updates it: an empty value removes its key, an empty string all of it."""
    given = params["metadata"]
    if given == "":
        return {}
    kept = {**(resource["metadata"] or {}), **given}
    return {key: value for key, value in kept.items() if value != ""}
