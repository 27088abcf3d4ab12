"""`expand[]`: ids in an answer replaced by what they name.

Stripe allows four levels, counts `data` of lists as one, and refuses more with
`property_expansion_max_depth` (docs.stripe.com/expand): `payments.data.payment.payment_intent` of an
invoice passes, `….payment_intent.latest_charge` does not. The charge's codes are also in the
PaymentIntent's `last_payment_error`, and `data.payment.payment_intent.latest_charge` of
`GET /v1/invoice_payments` has four levels.
"""

from typing import Any

from simulator.errors import ApiError, bad_request
from simulator.legacy import source_of
from simulator.resources import listing
from simulator.shapes import Json
from simulator.world import Account

LEVELS = 4

# Fields that hold an id which can be replaced by its object.
EXPANDABLE = {
    "charge",
    "customer",
    "default_payment_method",
    "default_price",
    "invoice",
    "latest_charge",
    "latest_invoice",
    "payment_intent",
    "payment_method",
    "price",
    "product",
    "subscription",
    "test_clock",
}

# Fields that are in the document as an id, and whose objects the simulator does not have.
WITHOUT_OBJECT = {"balance_transaction", "application", "on_behalf_of", "default_source", "review"}
# The only one of them with an object: a legacy card, kept as a payment method of the same id.
SOURCE = "default_source"


def expand(account: Account, answer: Json, paths: list[str], levels: int = LEVELS) -> Json:
    """The answer with every path expanded; ApiError 400 for one that Stripe would refuse."""
    check_levels(paths, levels)
    for path in paths:
        answer = _walk(account, answer, path.split("."), answer)
    return answer


def check_levels(paths: list[str], levels: int = LEVELS) -> None:
    """Raises Stripe's 400 for a path of too many levels."""
    for path in paths:
        if path.count(".") >= levels:
            text = f"You cannot expand more than {levels} levels of a property. Property: {path}"
            raise bad_request(text, code="property_expansion_max_depth")


def _walk(account: Account, node: Any, segments: list[str], root: Json) -> Any:
    if isinstance(node, list):
        return [_walk(account, item, segments, root) for item in node]
    if isinstance(node, str):
        found = account.find(node)
        return node if found is None else _walk(account, found, segments, root)
    if not segments or node is None:
        return node
    field, rest = segments[0], segments[1:]
    if field == "payments" and node.get("object") == "invoice":
        node = with_payments(account, node)
    if field not in node or (not rest and not _replaceable(node[field], field)):
        raise _refused(root, field)
    if isinstance(node[field], str) and field not in EXPANDABLE | WITHOUT_OBJECT:
        raise _refused(root, field)
    if field == SOURCE and isinstance(node[field], str):
        method = account.objects["payment_method"].get(node[field])
        return {**node, field: source_of(method) if method else node[field]}
    return {**node, field: _walk(account, node[field], rest, root)}


def _replaceable(value: Any, field: str) -> bool:
    return field in EXPANDABLE | WITHOUT_OBJECT or isinstance(value, dict | list)


def _refused(root: Json, field: str) -> ApiError:
    text = f"This property cannot be expanded ({field})."
    if root.get("object") == "list":
        text += f" You may want to try expanding 'data.{field}' instead."
    return bad_request(text)


def with_payments(account: Account, invoice: Json) -> Json:
    """An invoice with its `payments`, which Stripe includes only when asked to."""
    if "payments" in invoice:
        return invoice
    idents = account.payments.get(invoice["id"], [])
    data = [account.objects["invoice_payment"][ident] for ident in idents]
    return {**invoice, "payments": listing(data, "/v1/invoice_payments")}
