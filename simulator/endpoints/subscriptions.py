"""Subscriptions, prices and products."""

from simulator.endpoints.registry import Call, changed, endpoint, merged_metadata
from simulator.errors import bad_request, missing, not_imitated
from simulator.pagination import equals, page, within
from simulator.shapes import Json


@endpoint("GET", "/v1/subscriptions/{subscription_exposed_id}")
def retrieve(call: Call) -> Json:
    return call.account.get("subscription", call.id())


@endpoint("GET", "/v1/subscriptions")
def search(call: Call) -> Json:
    filters = [*equals(call.params, "customer"), *within(call.params)]
    wanted = call.params.get("status")
    if wanted is None:
        filters.append(lambda item: item["status"] != "canceled")
    elif wanted != "all":
        filters.append(lambda item: item["status"] == wanted)
    found = call.account.objects["subscription"].values()
    return page(found, call.params, "/v1/subscriptions", *filters)


@endpoint("POST", "/v1/subscriptions/{subscription_exposed_id}")
def update(call: Call) -> Json:
    call.only(
        "cancel_at",
        "cancel_at_period_end",
        "collection_method",
        "days_until_due",
        "default_payment_method",
        "metadata",
        "pause_collection",
    )
    subscription = call.account.get("subscription", call.id())
    if subscription["status"] == "canceled":
        raise bad_request("A canceled subscription can only update its cancellation_details and metadata.")
    changes = {name: value for name, value in call.params.items() if name != "expand"}
    if "metadata" in changes:
        changes["metadata"] = merged_metadata(subscription, changes)
    if "default_payment_method" in changes:
        changes["default_payment_method"] = _default(call, subscription)
    if "pause_collection" in changes:
        asked = changes["pause_collection"]
        changes["pause_collection"] = {"resumes_at": None, **asked} if asked else None
    if "cancel_at" in changes:
        changes["cancel_at"] = _moment(changes["cancel_at"])
        changes["canceled_at"] = None if changes["cancel_at"] is None else call.now
    if changes.get("cancel_at_period_end") is True:
        changes["canceled_at"] = call.now
        changes["cancel_at"] = subscription["items"]["data"][0]["current_period_end"]
    elif changes.get("cancel_at_period_end") is False:
        changes["canceled_at"] = changes["cancel_at"] = None
    before = changed(subscription, changes)
    if before:
        call.emit("customer.subscription.updated", subscription, before)
    if "pause_collection" in before:
        call.simulator.collection.resumes(call.account, subscription)
    if "cancel_at" in before:
        call.simulator.billing.schedule_end(call.account, subscription)
    return subscription


def _moment(given: int | str) -> int | None:
    """`cancel_at`: a unix second, or an empty string that unsets it."""
    if given == "":
        return None
    if isinstance(given, str):
        raise not_imitated(f"cancel_at={given}")
    return given


def _default(call: Call, subscription: Json) -> str | None:
    if not call.params["default_payment_method"]:
        return None
    method = call.referenced("payment_method", "default_payment_method")
    if method["customer"] != subscription["customer"]:
        raise bad_request(
            "The payment method is not attached to the subscription's customer.",
            param="default_payment_method",
        )
    return str(method["id"])


@endpoint("DELETE", "/v1/subscriptions/{subscription_exposed_id}")
def cancel(call: Call) -> Json:
    call.only("cancellation_details")
    subscription = call.account.get("subscription", call.id())
    if subscription["status"] == "canceled":
        raise missing("subscription", call.id())
    details = call.params.get("cancellation_details", {})
    call.simulator.billing.cancel(call.account, subscription, "cancellation_requested", **details)
    return subscription


@endpoint("GET", "/v1/prices/{price}")
def retrieve_price(call: Call) -> Json:
    return call.account.get("price", call.id())


@endpoint("GET", "/v1/prices")
def search_prices(call: Call) -> Json:
    filters = [*equals(call.params, "active", "currency", "product", "type"), *within(call.params)]
    return page(call.account.objects["price"].values(), call.params, "/v1/prices", *filters)


@endpoint("GET", "/v1/products/{id}")
def retrieve_product(call: Call) -> Json:
    return call.account.get("product", call.id())


@endpoint("GET", "/v1/products")
def search_products(call: Call) -> Json:
    filters = [*equals(call.params, "active"), *within(call.params)]
    return page(call.account.objects["product"].values(), call.params, "/v1/products", *filters)
