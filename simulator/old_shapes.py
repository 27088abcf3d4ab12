"""Objects as API versions before basil (2025-03-31) showed them in events.

A webhook endpoint is set to one API version and its events come in that version's shape, however new
the SDK is. Source: docs.stripe.com/changelog/basil.
"""

from simulator.shapes import Json
from simulator.world import Account

API_VERSION = "2024-12-18.acacia"


def in_acacia(account: Account, resource: Json) -> Json:
    """The same object as acacia showed it; objects that did not change are returned as they are."""
    match resource["object"]:
        case "invoice":
            return _invoice(account, resource)
        case "subscription":
            item = resource["items"]["data"][0]
            periods = {name: item[name] for name in ("current_period_start", "current_period_end")}
            return {**resource, **periods}
        case _:
            return resource


def _invoice(account: Account, invoice: Json) -> Json:
    details = (invoice["parent"] or {}).get("subscription_details") or {}
    intent: Json | None = None
    for ident in account.payments.get(invoice["id"], ()):
        payment = account.get("invoice_payment", ident)
        if payment["is_default"]:
            intent = account.get("payment_intent", payment["payment"]["payment_intent"])
    old = {name: value for name, value in invoice.items() if name not in {"parent", "payments"}}
    return {
        **old,
        "charge": intent["latest_charge"] if intent else None,
        "paid": invoice["status"] == "paid",
        "paid_out_of_band": invoice["amount_paid_off_stripe"] > 0,
        "payment_intent": intent["id"] if intent else None,
        "subscription": details.get("subscription"),
        "subscription_details": {"metadata": details.get("metadata")} if details else None,
    }
