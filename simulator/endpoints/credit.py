"""Credit notes, customers' balances, and the transactions of the merchant's own balance."""

from simulator.endpoints.registry import Call, endpoint
from simulator.errors import bad_request
from simulator.pagination import equals, page, within
from simulator.shapes import Json


@endpoint("POST", "/v1/credit_notes")
def issue(call: Call) -> Json:
    amounts = ("refund_amount", "credit_amount", "out_of_band_amount")
    call.only("invoice", "amount", *amounts, "reason", "memo", "metadata")
    invoice = call.referenced("invoice", "invoice")
    if "amount" not in call.params:
        raise bad_request(
            "One of amount, lines or shipping_cost is required.", code="parameter_missing", param="amount"
        )
    return call.simulator.credit_notes.issue(
        call.account,
        invoice,
        call.params["amount"],
        **{name: call.params[name] for name in amounts if name in call.params},
        reason=call.params.get("reason"),
        memo=call.params.get("memo"),
        metadata=call.params.get("metadata") or {},
    )


@endpoint("GET", "/v1/credit_notes/{id}")
def retrieve(call: Call) -> Json:
    return call.account.get("credit_note", call.id())


@endpoint("GET", "/v1/credit_notes")
def search(call: Call) -> Json:
    filters = [*equals(call.params, "customer", "invoice"), *within(call.params)]
    return page(call.account.objects["credit_note"].values(), call.params, "/v1/credit_notes", *filters)


@endpoint("POST", "/v1/customers/{customer}/balance_transactions")
def change_balance(call: Call) -> Json:
    call.only("amount", "currency", "description", "metadata")
    customer = call.account.get("customer", call.id())
    if call.params["currency"] != customer["currency"]:
        raise bad_request(f"The customer's balance is in {customer['currency']}.", param="currency")
    return call.simulator.balances.change(
        call.account,
        customer,
        call.params["amount"],
        description=call.params.get("description"),
        metadata=call.params.get("metadata") or {},
    )


@endpoint("GET", "/v1/customers/{customer}/balance_transactions")
def balance_of(call: Call) -> Json:
    customer = call.account.get("customer", call.id())
    found = (
        each
        for each in call.account.objects["customer_balance_transaction"].values()
        if each["customer"] == customer["id"]
    )
    filters = [*equals(call.params, "invoice"), *within(call.params)]
    return page(found, call.params, f"/v1/customers/{customer['id']}/balance_transactions", *filters)


@endpoint("GET", "/v1/balance_transactions/{id}")
def retrieve_transaction(call: Call) -> Json:
    return call.account.get("balance_transaction", call.id())


@endpoint("GET", "/v1/balance_transactions")
def search_transactions(call: Call) -> Json:
    filters = [*equals(call.params, "currency", "source", "type"), *within(call.params)]
    found = call.account.objects["balance_transaction"].values()
    return page(found, call.params, "/v1/balance_transactions", *filters)


@endpoint("POST", "/v1/disputes/{dispute}/close")
def close_dispute(call: Call) -> Json:
    dispute = call.account.get("dispute", call.id())
    return call.simulator.money_back.end_dispute(call.account, dispute, "lost")
