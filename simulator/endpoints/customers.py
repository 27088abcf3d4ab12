"""Customers and their payment methods."""

from simulator.endpoints.registry import Call, changed, endpoint, merged_metadata
from simulator.errors import bad_request
from simulator.pagination import equals, page, within
from simulator.shapes import Json

_EDITABLE = (
    "address",
    "description",
    "email",
    "invoice_settings",
    "metadata",
    "name",
    "phone",
    "preferred_locales",
)


@endpoint("GET", "/v1/customers/{customer}")
def retrieve(call: Call) -> Json:
    """The customer; of a deleted one only that it is (docs.stripe.com/api/customers/delete)."""
    return call.account.objects["deleted"].get(call.id()) or call.account.get("customer", call.id())


@endpoint("GET", "/v1/customers")
def search(call: Call) -> Json:
    found = call.account.objects["customer"].values()
    filters = [*equals(call.params, "email"), *within(call.params)]
    return page(found, call.params, "/v1/customers", *filters)


@endpoint("POST", "/v1/customers/{customer}")
def update(call: Call) -> Json:
    call.only(*_EDITABLE)
    customer = call.account.get("customer", call.id())
    changes = {name: value for name, value in call.params.items() if name != "expand"}
    if "metadata" in changes:
        changes["metadata"] = merged_metadata(customer, changes)
    if "invoice_settings" in changes:
        changes["invoice_settings"] = _settings(call, customer, changes["invoice_settings"])
    if "address" in changes:
        changes["address"] = {**(customer["address"] or {}), **(changes["address"] or {})}
    call.simulator.people.give_out(changes)
    before = changed(customer, changes)
    if before:
        call.emit("customer.updated", customer, before)
    return customer


def _settings(call: Call, customer: Json, given: Json) -> Json:
    method = given.get("default_payment_method")
    if method:
        _attached(call, customer, method)
    return {**customer["invoice_settings"], **given}


def _attached(call: Call, customer: Json, ident: str) -> None:
    found = call.account.objects["payment_method"].get(ident)
    if found is None or found["customer"] != customer["id"]:
        raise bad_request(
            f"No such PaymentMethod: '{ident}'; it must be attached to the customer first.",
            code="resource_missing",
            param="invoice_settings[default_payment_method]",
        )


@endpoint("GET", "/v1/customers/{customer}/payment_methods")
def methods_of(call: Call) -> Json:
    customer = call.account.get("customer", call.id())
    return _methods(call, customer["id"], f"/v1/customers/{customer['id']}/payment_methods")


@endpoint("GET", "/v1/payment_methods")
def search_methods(call: Call) -> Json:
    if "customer" in call.params:
        call.referenced("customer", "customer")
    return _methods(call, call.params.get("customer"), "/v1/payment_methods")


def _methods(call: Call, customer: str | None, url: str) -> Json:
    idents = call.account.methods.get(customer, []) if customer else []
    found = [call.account.objects["payment_method"][ident] for ident in idents]
    return page(found, call.params, url, *equals(call.params, "type", "allow_redisplay"))


@endpoint("GET", "/v1/payment_methods/{payment_method}")
def retrieve_method(call: Call) -> Json:
    return call.account.get("payment_method", call.id())


@endpoint("POST", "/v1/payment_methods/{payment_method}/attach")
def attach(call: Call) -> Json:
    call.only("customer")
    method = call.account.get("payment_method", call.id())
    if "customer" not in call.params:
        raise bad_request("Missing required param: customer.", code="parameter_missing", param="customer")
    customer = call.referenced("customer", "customer")
    if method["customer"] not in {None, customer["id"]}:
        raise bad_request(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    if method["customer"] is None:
        method["customer"] = customer["id"]
        call.account.methods[customer["id"]].append(method["id"])
        call.emit("payment_method.attached", method)
    return method


@endpoint("POST", "/v1/payment_methods/{payment_method}/detach")
def detach(call: Call) -> Json:
    method = call.account.get("payment_method", call.id())
    owner = method["customer"]
    if owner is None:
        raise bad_request("The payment method you provided is not attached to a customer.")
    method["customer"] = None
    call.account.methods[owner].remove(method["id"])
    customer = call.account.get("customer", owner)
    settings = customer["invoice_settings"]
    if settings["default_payment_method"] == method["id"]:
        customer["invoice_settings"] = {**settings, "default_payment_method": None}
    if customer["default_source"] == method["id"]:
        customer["default_source"] = None
    for subscription in call.account.objects["subscription"].values():
        if subscription["default_payment_method"] == method["id"]:
            subscription["default_payment_method"] = None
    call.emit("payment_method.detached", method, {"customer": owner})
    return method
