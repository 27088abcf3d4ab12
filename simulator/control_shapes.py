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


@CONTROL.route("POST", "/events")
async def emit(ask: Ask) -> Json:
    """An event of `type` about the object `object`, with `changes` to its fields, `without` some, and `previous`.

    The object itself stays as it is, and an object that is changed so is not held against Stripe's schemas.
    """
    account = ask.sim.world.account_of(ask.given["object"])
    found = account.find(ask.given["object"])
    if found is None:
        raise missing("object", ask.given["object"])
    left = set(ask.given.get("without", ()))
    resource = {name: value for name, value in {**found, **ask.given.get("changes", {})}.items() if name not in left}
    odd = bool(left or ask.given.get("changes"))
    previous = ask.given.get("previous")
    return {"event": ask.sim.events.emit(account, ask.given["type"], resource, previous, checked=not odd).id}


@CONTROL.route("POST", "/customers/{customer}/person")
async def change_person(ask: Ask) -> Json:
    """`email`, `name`, `phone`, … that the merchant adds or corrects; announced."""
    account, customer = ask.owned("customer")
    unknown = set(ask.given) - {"address", "email", "name", "phone", "preferred_locales"}
    if unknown:
        raise ValueError(f"unknown of a person: {sorted(unknown)}")
    before = {name: customer[name] for name, value in ask.given.items() if customer[name] != value}
    customer.update(ask.given)
    ask.sim.people.give_out(ask.given)
    ask.sim.events.emit(account, "customer.updated", customer, before)
    return customer


@CONTROL.route("POST", "/customers/{customer}/delete")
async def delete_customer(ask: Ask) -> Json:
    """The merchant deletes the customer: subscriptions end, cards go, open invoices stay
    (docs.stripe.com/api/customers/delete); what names the customer then is a 404."""
    account, customer = ask.owned("customer")
    ident = customer["id"]
    for subscription in account.objects["subscription"].values():
        if subscription["customer"] == ident and subscription["status"] != "canceled":
            ask.sim.billing.cancel(account, subscription, "cancellation_requested")
    for method in account.methods.pop(ident, []):
        account.get("payment_method", method)["customer"] = None
    ask.sim.events.emit(account, "customer.deleted", customer)
    del account.objects["customer"][ident]
    account.objects["deleted"][ident] = {"id": ident, "object": "customer", "deleted": True}
    return account.objects["deleted"][ident]


@CONTROL.route("POST", "/customers/{customer}/as_account")
async def as_account(ask: Ask) -> Json:
    """From now on the customer's objects say `customer_account` and no `customer`; its id."""
    account, customer = ask.owned("customer")
    customer["customer_account"] = ask.sim.world.ids.new("acct", account.id)[:21]
    account.as_accounts[customer["id"]] = customer["customer_account"]
    return {"customer_account": customer["customer_account"]}


@CONTROL.route("POST", "/customers/{customer}/test_clock")
async def on_a_test_clock(ask: Ask) -> Json:
    """A test clock of the customer's own, `ahead` seconds of everybody else's (negative: behind)."""
    account, customer = ask.owned("customer")
    clock = ask.sim.new_test_clock(account, ahead=int(ask.given["ahead"]))
    account.clocks[customer["id"]] = clock["id"]
    return clock


@CONTROL.route("POST", "/meter_errors")
async def meter_error(ask: Ask) -> Json:
    """`account`, `code` (of `meters.ERRORS`), `identifiers` of meter events, `meter`; the event with its data."""
    account = ask.sim.world.account(ask.given["account"])
    return ask.sim.meters.report(account, ask.given["code"], ask.given.get("identifiers", []), ask.given.get("meter"))


@CONTROL.route("POST", "/meter_duplicates")
async def meter_duplicates(ask: Ask) -> Json:
    """How a repeated identifier is answered: `status`, `code`, `param`, `type`, `message`."""
    unknown = set(ask.given) - {"status", "code", "param", "type", "message"}
    if unknown:
        raise ValueError(f"unknown of an error: {sorted(unknown)}")
    ask.sim.meters.duplicate = dict(ask.given)
    return ask.sim.meters.duplicate
