"""PaymentIntents, charges, refunds and disputes."""

from simulator.endpoints.registry import Call, endpoint
from simulator.errors import bad_request
from simulator.pagination import equals, page, within
from simulator.shapes import Json


@endpoint("GET", "/v1/payment_intents/{intent}")
def retrieve_intent(call: Call) -> Json:
    return call.account.get("payment_intent", call.id())


@endpoint("GET", "/v1/payment_intents")
def search_intents(call: Call) -> Json:
    filters = [*equals(call.params, "customer"), *within(call.params)]
    found = call.account.objects["payment_intent"].values()
    return page(found, call.params, "/v1/payment_intents", *filters)


@endpoint("GET", "/v1/charges/{charge}")
def retrieve_charge(call: Call) -> Json:
    return call.account.get("charge", call.id())


@endpoint("GET", "/v1/charges")
def search_charges(call: Call) -> Json:
    filters = [*equals(call.params, "customer", "payment_intent"), *within(call.params)]
    found = call.account.objects["charge"].values()
    return page(found, call.params, "/v1/charges", *filters)


@endpoint("POST", "/v1/refunds")
def refund(call: Call) -> Json:
    call.only("charge", "payment_intent", "amount", "reason", "metadata")
    if "charge" in call.params:
        charge = call.referenced("charge", "charge")
    elif "payment_intent" in call.params:
        intent = call.referenced("payment_intent", "payment_intent")
        charge = call.account.get("charge", intent["latest_charge"] or "")
    else:
        raise bad_request("One of charge or payment_intent is required.", code="parameter_missing")
    amount = call.params.get("amount")
    return call.simulator.money_back.refund(
        call.account,
        charge,
        amount,
        reason=call.params.get("reason"),
        metadata=call.params.get("metadata") or {},
    )


@endpoint("GET", "/v1/refunds/{refund}")
def retrieve_refund(call: Call) -> Json:
    return call.account.get("refund", call.id())


@endpoint("GET", "/v1/refunds")
def search_refunds(call: Call) -> Json:
    filters = [*equals(call.params, "charge", "payment_intent"), *within(call.params)]
    return page(call.account.objects["refund"].values(), call.params, "/v1/refunds", *filters)


@endpoint("GET", "/v1/disputes/{dispute}")
def retrieve_dispute(call: Call) -> Json:
    return call.account.get("dispute", call.id())


@endpoint("GET", "/v1/disputes")
def search_disputes(call: Call) -> Json:
    filters = [*equals(call.params, "charge", "payment_intent"), *within(call.params)]
    return page(call.account.objects["dispute"].values(), call.params, "/v1/disputes", *filters)
