"""Cards from before payment methods (`card_…`, `src_…`), which Stripe also shows as payment methods of the same id."""

from simulator.resources import template
from simulator.shapes import Json

_BRANDS = {"visa": "Visa", "mastercard": "MasterCard", "amex": "American Express", "discover": "Discover"}


def source_of(method: Json) -> Json:
    """A payment method as the object that sources were: a `card`, or a `source` of type card."""
    card = method["card"]
    shown = {name: card[name] for name in ("country", "exp_month", "exp_year", "fingerprint", "funding", "last4")}
    shown["brand"] = _BRANDS.get(card["brand"], "Unknown")
    if method["id"].startswith("src_"):
        return {
            "id": method["id"],
            "object": "source",
            "amount": None,
            "card": {**shown, "cvc_check": "unchecked", "three_d_secure": "optional"},
            "client_secret": f"{method['id']}_secret",
            "created": method["created"],
            "currency": None,
            "customer": method["customer"],
            "flow": "none",
            "livemode": False,
            "metadata": {},
            "statement_descriptor": None,
            "status": "chargeable",
            "type": "card",
            "usage": "reusable",
        }
    return {
        **template("card"),
        **shown,
        "id": method["id"],
        "object": "card",
        "customer": method["customer"],
        "name": method["billing_details"]["name"],
    }
