"""New resources in Stripe's shape, each on the fixture of its kind so that it validates.

Nested objects that never change are shared between resources, which keeps thousands of them small:
nothing here or elsewhere changes a nested object in place, it is replaced.
"""

import calendar
from datetime import UTC, datetime
from functools import cache
from typing import Any

from simulator.bank_accounts import charged
from simulator.payment import Verdict, outcome
from simulator.shapes import Json
from simulator.stripe_document import document, fixtures

# What a charge says about a customer who passed 3-D Secure.
AUTHENTICATED: Json = {
    "authentication_flow": "challenge",
    "electronic_commerce_indicator": "05",
    "exemption_indicator": None,
    "result": "authenticated",
    "result_reason": None,
    "transaction_id": None,
    "version": "2.2.0",
}

_NO_ADDRESS: Json = {
    "city": None,
    "country": None,
    "line1": None,
    "line2": None,
    "postal_code": None,
    "state": None,
}

# What the fixtures fill with examples that would be untrue of a plain resource.
_PLAIN: dict[str, Json] = {
    "account": {"external_accounts": None, "controller": {"type": "application"}},
    "customer": {"discount": None, "shipping": None, "invoice_prefix": None},
    "payment_method": {"metadata": {}, "allow_redisplay": "always"},
    "subscription": {
        "billing_cycle_anchor_config": None,
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "canceled_at": None,
        "ended_at": None,
        "managed_payments": None,
        "next_pending_invoice_item_invoice": None,
        "pause_collection": None,
        "pending_invoice_item_interval": None,
        "pending_update": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": None,
        "trial_start": None,
        "billing_mode": {"type": "classic"},
        "cancel_at_period_end": False,
    },
    "subscription_item": {"billing_thresholds": None},
    "invoice": {
        "amount_overpaid": 0,
        "amount_paid_off_stripe": 0,
        "automatically_finalizes_at": None,
        "customer_shipping": None,
        "due_date": None,
        "from_invoice": None,
        "last_finalization_error": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "webhooks_delivered_at": None,
    },
    "line_item": {"subscription": None},
    "payment_intent": {
        "amount_details": {"tip": {}},
        "automatic_payment_methods": None,
        "canceled_at": None,
        "last_payment_error": None,
        "managed_payments": None,
        "next_action": None,
        "payment_method_configuration_details": None,
        "processing": None,
        "shipping": None,
        "transfer_data": None,
        "setup_future_usage": "off_session",
    },
    "charge": {
        "balance_transaction": None,
        "description": "Subscription update",
        "receipt_url": None,
        "shipping": None,
        "source": None,
        "transfer_data": None,
        "captured": True,
    },
    "price": {"custom_unit_amount": None, "transform_quantity": None},
    "product": {"default_price": None, "description": None, "package_dimensions": None},
    "dispute": {"enhanced_eligibility_types": []},
    "billing_portal.session": {"flow": None, "livemode": False},
}


@cache
def template(kind: str) -> Json:
    """The plain resource of this kind; copy it (`{**template(kind), …}`), never change it."""
    known = fixtures()[kind]
    plain = {key: value for key, value in _PLAIN.get(kind, {}).items() if _fits(kind, key)}
    made = {**known, **plain}
    for field in ("plan", "refunds", "trial_settings", "managed_payments"):
        if made.get(field) is None or field in {"plan", "refunds"}:
            made.pop(field, None)
    return made


def _fits(kind: str, field: str) -> bool:
    return field in document()["components"]["schemas"][kind]["properties"]


def listing(data: list[Json], url: str, *, has_more: bool = False) -> Json:
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def account(
    ident: str,
    *,
    email: str,
    name: str,
    country: str,
    currency: str,
    now: int,
    color: str | None = None,
    support_email: str | None = None,
) -> Json:
    base = template("account")
    branding = {**base["settings"]["branding"], "primary_color": color}
    return {
        **{key: value for key, value in base.items() if key != "external_accounts"},
        "id": ident,
        "business_profile": {**base["business_profile"], "name": name, "support_email": support_email},
        "settings": {**base["settings"], "branding": branding},
        "charges_enabled": True,
        "payouts_enabled": True,
        "details_submitted": True,
        "country": country,
        "created": now,
        "default_currency": currency,
        "email": email,
    }


def customer(ident: str, person: Json, *, currency: str, now: int) -> Json:
    """`person`: name, email, phone, address, locale; each may be missing."""
    base = template("customer")
    address = person.get("address")
    return {
        **base,
        "id": ident,
        "address": {**_NO_ADDRESS, **address} if address else None,
        "created": now,
        "currency": currency,
        "email": person.get("email"),
        "name": person.get("name"),
        "phone": person.get("phone"),
        "preferred_locales": [person["locale"]] if person.get("locale") else [],
        "invoice_prefix": ident[-8:].upper(),
    }


def payment_method(ident: str, card: Json, person: Json, *, now: int) -> Json:
    """`card`: brand, country, exp_month, exp_year, funding, last4, fingerprint."""
    base = template("payment_method")
    details = {
        **base["card"],
        **card,
        "display_brand": card["brand"],
        "networks": {"available": [card["brand"]], "preferred": None},
        "generated_from": None,
        "wallet": None,
    }
    return {
        **base,
        "id": ident,
        "billing_details": _billing(base, person),
        "card": details,
        "created": now,
        "customer": None,
    }


def other_method(ident: str, kind: str, shown: Json, person: Json, *, now: int) -> Json:
    """A payment method that is no card: `shown` is what it shows of itself under its `kind`."""
    base = {name: value for name, value in template("payment_method").items() if name != "card"}
    return {
        **base,
        "id": ident,
        "billing_details": _billing(base, person),
        "created": now,
        "customer": None,
        "type": kind,
        kind: shown,
    }


def _billing(base: Json, person: Json) -> Json:
    address = person.get("address")
    return {
        **base["billing_details"],
        "address": {**_NO_ADDRESS, **address} if address else _NO_ADDRESS,
        "email": person.get("email"),
        "name": person.get("name"),
        "phone": person.get("phone"),
    }


def product(ident: str, name: str, *, now: int) -> Json:
    return {**template("product"), "id": ident, "name": name, "created": now, "updated": now}


def price(ident: str, product_id: str, amount: int, currency: str, interval: str, now: int) -> Json:
    base = template("price")
    return {
        **base,
        "id": ident,
        "product": product_id,
        "currency": currency,
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
        "recurring": {**base["recurring"], "interval": interval},
        "created": now,
    }


def subscription(ident: str, item_id: str, customer_id: str, plan: Json, *, start: int, end: int, now: int) -> Json:
    base = template("subscription")
    item = {
        **template("subscription_item"),
        "id": item_id,
        "subscription": ident,
        "price": plan,
        "created": now,
        "current_period_start": start,
        "current_period_end": end,
    }
    return {
        **base,
        "id": ident,
        "billing_cycle_anchor": end,
        "created": now,
        "currency": plan["currency"],
        "customer": customer_id,
        "items": listing([item], f"/v1/subscription_items?subscription={ident}"),
        "start_date": start,
        "status": "active",
    }


def invoice(ident: str, line_id: str, subscription: Json, customer: Json, **parts: Any) -> Json:
    """A draft invoice of one line for the period from `start` to `end` of a subscription.

    `parts`: start, end, amount, number, billing_reason, country, account_name, now.
    """
    amount = parts["amount"]
    item = subscription["items"]["data"][0]
    line = {
        **template("line_item"),
        "id": line_id,
        "invoice": ident,
        "amount": amount,
        "subtotal": amount,
        "currency": subscription["currency"],
        "description": "Membership",
        "period": {"start": parts["start"], "end": parts["end"]},
        "parent": {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": None,
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
        },
        "pricing": {
            "type": "price_details",
            "unit_amount_decimal": str(amount),
            "price_details": {"price": item["price"]["id"], "product": item["price"]["product"]},
        },
    }
    line.pop("subscription", None)
    return {
        **template("invoice"),
        "id": ident,
        "account_country": parts["country"],
        "account_name": parts["account_name"],
        "amount_due": amount,
        "amount_remaining": amount,
        "auto_advance": True,
        "billing_reason": parts["billing_reason"],
        "created": parts["now"],
        "currency": subscription["currency"],
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "default_payment_method": None,
        "effective_at": None,
        "lines": listing([line], f"/v1/invoices/{ident}/lines"),
        "next_payment_attempt": None,
        "number": parts["number"],
        "parent": {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {"metadata": {}, "subscription": subscription["id"]},
        },
        "period_start": parts["start"],
        "period_end": parts["end"],
        "starting_balance": customer["balance"],
        "status": "draft",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
    }


def payment_intent(ident: str, invoice: Json, secret: str, *, now: int, amount: int | None = None) -> Json:
    """For what remains of an invoice, or for `amount` of it."""
    return {
        **template("payment_intent"),
        "id": ident,
        "amount": invoice["amount_remaining"] if amount is None else amount,
        "client_secret": f"{ident}_secret_{secret}",
        "created": now,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": "Subscription update",
        "status": "requires_payment_method",
    }


def invoice_payment(ident: str, invoice: Json, intent_id: str, *, now: int, amount: int | None = None) -> Json:
    """The invoice's default payment, or with an `amount` one that is attached to it."""
    return {
        **template("invoice_payment"),
        "id": ident,
        "amount_requested": invoice["amount_remaining"] if amount is None else amount,
        "created": now,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": amount is None,
        "livemode": False,
        "payment": {"type": "payment_intent", "payment_intent": intent_id},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }


def charge(ident: str, intent: Json, method: Json, verdict: Verdict, *, now: int, authenticated: bool = False) -> Json:
    """One attempt at the networks, successful or not; `authenticated`: the customer has passed 3-D Secure for it."""
    result = outcome(verdict)
    failed = result["type"] != "authorized"
    base = template("charge")
    if method["type"] == "card":
        shown = _charged_card(method["card"], intent["amount"], authenticated=authenticated)
    else:
        shown = charged(method)
    return {
        **base,
        "id": ident,
        "amount": intent["amount"],
        "amount_captured": 0 if failed else intent["amount"],
        "billing_details": method["billing_details"],
        "captured": not failed,
        "created": now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "failure_code": None,
        "failure_message": None,
        "outcome": result,
        "paid": not failed,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": shown,
        "status": "failed" if failed else "succeeded",
    }


def _charged_card(card: Json, amount: int, *, authenticated: bool) -> Json:
    shown = {
        **template("charge")["payment_method_details"]["card"],
        **{name: card[name] for name in ("brand", "country", "exp_month", "exp_year", "last4")},
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "network": card["brand"],
        "installments": None,
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "three_d_secure": AUTHENTICATED if authenticated else None,
        "wallet": None,
    }
    return {"card": shown, "type": "card"}


def next_month(moment: int, anchor: int) -> int:
    """One month later, on the anchor's day of the month or the month's last day, as Stripe bills."""
    at, day = datetime.fromtimestamp(moment, UTC), datetime.fromtimestamp(anchor, UTC).day
    year, month = (at.year + 1, 1) if at.month == 12 else (at.year, at.month + 1)
    last = calendar.monthrange(year, month)[1]
    return int(at.replace(year=year, month=month, day=min(day, last)).timestamp())


def following(moment: int, anchor: int, interval: str) -> int:
    """The end of the period that starts at `moment`."""
    match interval:
        case "day":
            return moment + 86_400
        case "week":
            return moment + 7 * 86_400
        case "year":
            for _ in range(12):
                moment = next_month(moment, anchor)
            return moment
        case _:
            return next_month(moment, anchor)
