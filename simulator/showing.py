"""How an account's objects look from outside, where that differs from how they are kept.

Two things are put on when an object goes out, in answers, errors and events:

- A customer on a **test clock** that is ahead of everybody else's, or behind: every time in the customer's objects is
  the clock's (docs.stripe.com/billing/testing/test-clocks). In the simulation they live by the one clock there is.
- A customer who is an **account** (Accounts v2): objects say `customer_account` and no `customer`
  (docs.stripe.com/changelog/clover/2025-12-15/accounts-v2). That `customer` is then null is assumed; the OpenAPI
  document lets it be so in some objects and is amended for the others (`stripe_document`).
"""

from typing import Any

from simulator.shapes import Json
from simulator.world import Account

# Fields that hold a time, of objects that belong to a customer.
TIMES = {
    "automatically_finalizes_at",
    "billing_cycle_anchor",
    "cancel_at",
    "canceled_at",
    "created",
    "current_period_end",
    "current_period_start",
    "due_date",
    "effective_at",
    "end",
    "ended_at",
    "finalized_at",
    "marked_uncollectible_at",
    "next_payment_attempt",
    "paid_at",
    "period_end",
    "period_start",
    "resumes_at",
    "start",
    "start_date",
    "voided_at",
}
# Objects that have the fields.
ON_A_CLOCK = {"customer", "invoice", "invoiceitem", "subscription"}
OF_AN_ACCOUNT = {
    "billing_portal.session",
    "checkout.session",
    "invoice",
    "invoiceitem",
    "payment_intent",
    "payment_method",
    "setup_intent",
    "subscription",
}
# Objects that are nobody's, wherever they are nested.
_SHARED = {"price", "product"}


def shown(account: Account, resource: Any) -> Any:
    """The resource, list or error as its reader sees it."""
    return _shown(account, resource, 0) if account.clocks or account.as_accounts else resource


def shown_change(account: Account, resource: Json, previous: Json) -> Json:
    """An update's old values, in the times of the resource that they are of."""
    clock = account.clocks.get(_owner(account, resource) or "")
    made: Json = _shown(account, previous, account.ahead[clock]) if clock else previous
    return made


def _shown(account: Account, node: Any, ahead: int) -> Any:
    if isinstance(node, list):
        return [_shown(account, item, ahead) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("object")
    if kind == "event":
        return node  # What it holds was put on when it happened.
    owner, clock = _owner(account, node), None
    if kind in _SHARED:
        ahead = 0
    elif owner is not None:
        clock = account.clocks.get(owner)
        ahead = account.ahead[clock] if clock else 0
    made = {name: _moved(account, name, value, ahead) for name, value in node.items()}
    if clock and kind in ON_A_CLOCK:
        made["test_clock"] = clock
    if owner in account.as_accounts and kind != "customer" and "customer" in made:
        made["customer"] = None
        if kind in OF_AN_ACCOUNT:
            made["customer_account"] = account.as_accounts[owner]
    return made


def _moved(account: Account, name: str, value: Any, ahead: int) -> Any:
    if name in TIMES and isinstance(value, int):
        return value + ahead
    return _shown(account, value, ahead) if isinstance(value, dict | list) else value


def _owner(account: Account, node: Json) -> str | None:
    """The id of the customer whose object this is, as far as it says."""
    if node.get("object") == "customer":
        return str(node["id"])
    if node.get("object") == "invoice_payment":
        invoice = node["invoice"]
        found = account.objects["invoice"].get(invoice if isinstance(invoice, str) else invoice["id"], {})
        return found.get("customer")
    customer = node.get("customer")
    return customer["id"] if isinstance(customer, dict) else customer if isinstance(customer, str) else None
