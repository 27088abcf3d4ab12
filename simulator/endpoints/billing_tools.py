"""Sessions of hosted pages, meters and test clocks."""

from simulator.endpoints.registry import Call, endpoint
from simulator.errors import bad_request, not_imitated
from simulator.meters import MeterEvent
from simulator.pagination import equals, page
from simulator.resources import template
from simulator.shapes import DAY, Json

PAST, FUTURE = 35 * DAY, 300


@endpoint("POST", "/v1/billing_portal/sessions")
def open_portal(call: Call) -> Json:
    call.only("customer", "return_url", "flow_data", "locale", "configuration", "on_behalf_of", "after_expiration")
    if not call.account.portal:
        text = "No configuration provided and your test mode default configuration has not been created."
        raise bad_request(text)
    if "customer" not in call.params:
        raise bad_request("Missing required param: customer.", code="parameter_missing", param="customer")
    flow = call.params.get("flow_data", {}).get("type")
    if flow not in {None, "payment_method_update"}:
        raise not_imitated(f"the portal flow {flow}")
    customer = call.referenced("customer", "customer")
    world = call.simulator.world
    token = world.ids.token("page", call.account.id)
    asked = call.params.get("flow_data", {}).get("after_completion", {})
    after = {"hosted_confirmation": None, "redirect": None, "type": "portal_homepage", **asked}
    empty = dict.fromkeys(("subscription_cancel", "subscription_update", "subscription_update_confirm"))
    ident = call.new_id("bps")
    world.links[token] = (call.account.id, ident)
    return call.add(
        {
            **template("billing_portal.session"),
            "id": ident,
            "after_expiration": call.params.get("after_expiration"),
            "created": call.now,
            "customer": customer["id"],
            "locale": call.params.get("locale"),
            "return_url": call.params.get("return_url"),
            "flow": {"after_completion": after, "type": flow, **empty} if flow else None,
            "url": f"https://billing.stripe.com/p/session/test_{token}",
        }
    )


@endpoint("POST", "/v1/checkout/sessions")
def open_checkout(call: Call) -> Json:
    call.only("mode", "customer", "currency", "success_url", "cancel_url", "return_url", "metadata")
    if call.params.get("mode") != "setup":
        raise not_imitated("checkout sessions of another mode than setup")
    customer = call.referenced("customer", "customer") if "customer" in call.params else None
    world = call.simulator.world
    token = world.ids.token("page", call.account.id)
    ident = f"cs_test_{token}"
    if customer:
        world.links[token] = (call.account.id, customer["id"])
    plain: Json = {name: None for name, value in template("checkout.session").items() if value is None}
    kept = ("automatic_tax", "custom_fields", "custom_text", "shipping_options", "payment_method_types")
    plain.update({name: template("checkout.session")[name] for name in kept})
    made = {
        **plain,
        "id": ident,
        "object": "checkout.session",
        "livemode": False,
        "created": call.now,
        "expires_at": call.now + DAY,
        "customer": customer["id"] if customer else None,
        "currency": call.params.get("currency"),
        "mode": "setup",
        "metadata": call.params.get("metadata") or {},
        "payment_status": "no_payment_required",
        "status": "open",
        "success_url": call.params.get("success_url"),
        "cancel_url": call.params.get("cancel_url"),
        "return_url": call.params.get("return_url"),
        "url": f"https://checkout.stripe.com/c/pay/{ident}",
    }
    return call.add({key: value for key, value in made.items() if value is not None})


@endpoint("GET", "/v1/checkout/sessions/{session}")
def retrieve_checkout(call: Call) -> Json:
    return call.account.get("checkout.session", call.id())


@endpoint("POST", "/v1/checkout/sessions/{session}/expire")
def expire_checkout(call: Call) -> Json:
    session = call.account.get("checkout.session", call.id())
    if session["status"] != "open":
        raise bad_request('Only Checkout Sessions with a status in ["open"] can be expired.')
    session["status"] = "expired"
    session.pop("url", None)
    return session


@endpoint("POST", "/v1/billing/meters")
def create_meter(call: Call) -> Json:
    call.only("display_name", "event_name", "default_aggregation", "customer_mapping", "value_settings")
    base = template("billing.meter")
    given = {name: value for name, value in call.params.items() if name != "expand"}
    times = {"created": call.now, "updated": call.now}
    return call.add({**base, **given, **times, "id": call.new_id("mtr"), "status": "active"})


@endpoint("GET", "/v1/billing/meters/{id}")
def retrieve_meter(call: Call) -> Json:
    return call.account.get("billing.meter", call.id())


@endpoint("GET", "/v1/billing/meters")
def search_meters(call: Call) -> Json:
    found = call.account.objects["billing.meter"].values()
    return page(found, call.params, "/v1/billing/meters", *equals(call.params, "status"))


@endpoint("POST", "/v1/billing/meter_events")
def report_usage(call: Call) -> Json:
    """Identifiers are unique for 24 hours; times from 35 days ago to 5 minutes ahead
    (docs.stripe.com/api/billing/meter-event/create)."""
    call.only("event_name", "payload", "identifier", "timestamp")
    simulator, now = call.simulator, call.now
    identifier = call.params.get("identifier") or call.new_id("mtrev")
    at = call.params.get("timestamp", now)
    # The product's clock goes on while the simulated one stands still between advances.
    if at > simulator.world.clock.drifted() + FUTURE:
        raise bad_request("The timestamp is more than 5 minutes in the future.", code="timestamp_in_future")
    if at < now - PAST:
        text = "The timestamp is more than 35 calendar days in the past."
        raise bad_request(text, code="timestamp_too_far_in_past")
    name, payload = call.params["event_name"], call.params["payload"]
    simulator.meters.accept(MeterEvent(call.account.id, name, identifier, at, payload, now))
    return {
        "object": "billing.meter_event",
        "created": now,
        "event_name": name,
        "identifier": identifier,
        "livemode": False,
        "payload": payload,
        "timestamp": at,
    }


@endpoint("POST", "/v1/test_helpers/test_clocks")
def create_clock(call: Call) -> Json:
    """A view of the simulation's one clock; at Stripe each has its own customers."""
    call.only("frozen_time", "name")
    if call.params["frozen_time"] < call.now:
        raise bad_request("The simulation's clock cannot go back.", param="frozen_time")
    simulator = call.simulator
    simulator.jump(call.params["frozen_time"])
    return simulator.new_test_clock(call.account, name=call.params.get("name"))


@endpoint("GET", "/v1/test_helpers/test_clocks/{test_clock}")
def retrieve_clock(call: Call) -> Json:
    clock = call.account.get("test_helpers.test_clock", call.id())
    clock["frozen_time"] = call.now + call.account.ahead[clock["id"]]
    return clock


@endpoint("POST", "/v1/test_helpers/test_clocks/{test_clock}/advance")
def advance_clock(call: Call) -> Json:
    call.only("frozen_time")
    clock = call.account.get("test_helpers.test_clock", call.id())
    ahead = call.account.ahead[clock["id"]]
    until = call.params["frozen_time"] - ahead
    if until <= call.now:
        raise bad_request("frozen_time must be later than the clock's present time.", param="frozen_time")
    call.simulator.jump(until)
    clock["frozen_time"] = call.now + ahead
    return clock
