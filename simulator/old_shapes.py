"""Objects and events as API versions before basil (2025-03-31) showed them, and those before 2017-05-25.

A webhook endpoint is set to one API version and its events come in that version's shape, however new
the SDK is. Sources: docs.stripe.com/changelog/basil; …/2017-05-25 (`user_id` became `account`, `request` an object),
…/2018-11-08 (`closed` and `forgiven` became `auto_advance` and `status`), …/2019-03-14 (an invoice's `date` became
`created`), …/2019-10-17 (`billing` became `collection_method`).
"""

from simulator.shapes import Json
from simulator.world import Account

API_VERSION = "2024-12-18.acacia"
OLDEST_VERSION = "2017-04-06"
# What invoices did not have in 2017.
_LATER = {"auto_advance", "billing_reason", "collection_method", "created", "status", "status_transitions"}


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


def in_2017(account: Account, resource: Json) -> Json:
    """The same object as an endpoint set to the version of spring 2017 gets it."""
    old = in_acacia(account, resource)
    match resource["object"]:
        case "invoice":
            return {
                **{name: value for name, value in old.items() if name not in _LATER},
                "billing": resource["collection_method"],
                "closed": resource["status"] in {"paid", "void", "uncollectible"} or not resource["auto_advance"],
                "date": resource["created"],
                "forgiven": resource["status"] == "uncollectible",
            }
        case "subscription":
            left = {name: value for name, value in old.items() if name != "collection_method"}
            return {**left, "billing": resource["collection_method"]}
        case _:
            return old


def as_2017_event(event: Json) -> Json:
    """A Connect event as it was before 2017-05-25: of a `user_id`, its request an id."""
    left = {name: value for name, value in event.items() if name not in {"account", "context"}}
    return {**left, "user_id": event["account"], "request": event["request"]["id"]}
