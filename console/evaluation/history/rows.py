"""Reduces Stripe's objects to what a back-test keeps: no customer's data gets past this module."""

from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import Any

Json = dict[str, Any]

# An invoice that was paid this long after its finalization was not paid by the renewal's attempt.
LATE_SECONDS = 3600


def charge_row(merchant: str, charge: Json) -> Json | None:
    """A charge that ended, by a PaymentIntent; None for others. The card's fingerprint is hashed with the merchant."""
    if charge["status"] not in {"succeeded", "failed"} or not charge.get("payment_intent"):
        return None
    details = charge.get("payment_method_details") or {}
    card = details.get("card") or {}
    fingerprint = card.get("fingerprint")
    secure = card.get("three_d_secure") or {}
    failed = charge["status"] == "failed"
    row = {
        "id": charge["id"],
        "intent": charge["payment_intent"],
        "at": charge["created"],
        "amount": charge["amount"],
        "currency": charge["currency"],
        "failed": failed,
        "method": charge.get("payment_method"),
        "fingerprint": sha256(f"{merchant}/{fingerprint}".encode()).hexdigest()[:24] if fingerprint else None,
        "network": card.get("brand") or card.get("network") or details.get("type"),
        "country": card.get("country"),
        "funding": card.get("funding"),
        "exp_month": card.get("exp_month"),
        "exp_year": card.get("exp_year"),
        "authenticated": secure.get("result") == "authenticated",
    }
    if failed:
        said = charge.get("outcome") or {}
        row |= {name: said.get(name) for name in ("advice_code", "network_decline_code", "network_advice_code")}
        row |= {"code": charge.get("failure_code"), "decline_code": said.get("reason")}
    return {name: value for name, value in row.items() if value is not None}


def invoice_row(invoice: Json, failed_intents: AbstractSet[str]) -> Json | None:
    """A renewal that may have failed; None for one that certainly did not, and for other invoices."""
    if (
        invoice.get("billing_reason") != "subscription_cycle"
        or invoice.get("collection_method") != "charge_automatically"
        or invoice["status"] == "draft"
        or invoice["amount_due"] <= 0
    ):
        return None
    payments = (invoice.get("payments") or {}).get("data", ())
    intents = [each["payment"]["payment_intent"] for each in payments if each["payment"].get("payment_intent")]
    changed = invoice.get("status_transitions") or {}
    finalized_at, paid_at = changed.get("finalized_at") or invoice["created"], changed.get("paid_at")
    late = paid_at is None or paid_at - finalized_at > LATE_SECONDS
    if invoice["status"] == "paid" and not late and failed_intents.isdisjoint(intents):
        return None
    subscription = ((invoice.get("parent") or {}).get("subscription_details") or {}).get("subscription") or {}
    if isinstance(subscription, str):
        subscription = {}
    prices = [(line.get("pricing") or {}).get("price_details") or {} for line in (invoice.get("lines") or {})["data"]]
    row = {
        "id": invoice["id"],
        "amount": invoice["amount_due"],
        "currency": invoice["currency"],
        "status": invoice["status"],
        "finalized_at": finalized_at,
        "paid_at": paid_at,
        "voided_at": changed.get("voided_at"),
        "uncollectible_at": changed.get("marked_uncollectible_at"),
        "canceled_at": subscription.get("ended_at"),
        "subscribed_at": subscription.get("start_date"),
        "intents": intents,
        "products": sorted({each["product"] for each in prices if each.get("product")}),
        "prices": sorted({each["price"] for each in prices if each.get("price")}),
    }
    return {name: value for name, value in row.items() if value is not None}


def waiting_row(payment: Json) -> Json | None:
    """An invoice's payment that waits for the customer to authenticate (3-D Secure)."""
    intent = payment["payment"].get("payment_intent")
    if isinstance(intent, dict) and intent.get("status") == "requires_action":
        return {"intent": intent["id"]}
    return None
