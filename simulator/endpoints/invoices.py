"""Invoices and their payments."""

from simulator.endpoints.registry import Call, changed, endpoint, merged_metadata
from simulator.errors import not_imitated
from simulator.invoicing import parent_of
from simulator.pagination import equals, page, within
from simulator.shapes import Json


@endpoint("GET", "/v1/invoices/{invoice}")
def retrieve(call: Call) -> Json:
    return call.account.get("invoice", call.id())


@endpoint("GET", "/v1/invoices")
def search(call: Call) -> Json:
    filters = equals(call.params, "status", "customer", "collection_method")
    if "subscription" in call.params:
        wanted = call.params["subscription"]
        filters.append(lambda item: parent_of(item) == wanted)
    found = call.account.objects["invoice"].values()
    return page(found, call.params, "/v1/invoices", *filters, *within(call.params))


@endpoint("POST", "/v1/invoices/{invoice}")
def update(call: Call) -> Json:
    call.only("auto_advance", "default_payment_method", "metadata", "description")
    invoice = call.account.get("invoice", call.id())
    changes = {name: value for name, value in call.params.items() if name != "expand"}
    if "metadata" in changes:
        changes["metadata"] = merged_metadata(invoice, changes)
    if changes.get("default_payment_method"):
        call.referenced("payment_method", "default_payment_method")
    on = changes.pop("auto_advance", None)
    before = changed(invoice, changes)
    if before:
        call.emit("invoice.updated", invoice, before)
    if on is not None:
        call.simulator.collection.automatic(call.account, invoice, on)
    return invoice


@endpoint("POST", "/v1/invoices/{invoice}/pay")
def pay(call: Call) -> Json:
    # `off_session` changes nothing here: the customer is never there when the API pays.
    call.only("payment_method", "source", "off_session", "paid_out_of_band")
    invoice = call.account.get("invoice", call.id())
    collecting = call.simulator.collecting
    if call.params.get("paid_out_of_band"):
        collecting.paid_elsewhere(call.account, invoice)
    else:
        method = call.params.get("payment_method", call.params.get("source"))
        collecting.pay(call.account, invoice, method)
    return invoice


@endpoint("POST", "/v1/invoices/{invoice}/finalize")
def finalize(call: Call) -> Json:
    call.only("auto_advance")
    invoice = call.account.get("invoice", call.id())
    if invoice["status"] == "draft":
        call.simulator.invoices.finalize(call.account, invoice)
    return invoice


@endpoint("POST", "/v1/invoices/{invoice}/void")
def void(call: Call) -> Json:
    invoice = call.account.get("invoice", call.id())
    call.simulator.invoices.void(call.account, invoice)
    return invoice


@endpoint("POST", "/v1/invoices/{invoice}/mark_uncollectible")
def mark_uncollectible(call: Call) -> Json:
    invoice = call.account.get("invoice", call.id())
    call.simulator.invoices.write_off(call.account, invoice)
    return invoice


@endpoint("GET", "/v1/invoice_payments")
def search_payments(call: Call) -> Json:
    filters = [*equals(call.params, "invoice", "status"), *within(call.params)]
    asked = call.params.get("payment")
    if asked:
        if asked["type"] != "payment_intent":
            raise not_imitated(f"payments of type {asked['type']}")
        filters.append(lambda item: item["payment"]["payment_intent"] == asked.get("payment_intent"))
    found = call.account.objects["invoice_payment"].values()
    return page(found, call.params, "/v1/invoice_payments", *filters)


@endpoint("GET", "/v1/invoice_payments/{invoice_payment}")
def retrieve_payment(call: Call) -> Json:
    return call.account.get("invoice_payment", call.id())
