"""Money that goes back: refunds by the merchant, disputes by the customer."""

from typing import Any

from simulator.errors import bad_request
from simulator.events import EventLog
from simulator.resources import template
from simulator.shapes import DAY, Json
from simulator.world import Account, World


class MoneyBack:
    """Refunds and disputes of all accounts."""

    def __init__(self, world: World, events: EventLog) -> None:
        self._world = world
        self._events = events

    def refund(self, account: Account, charge: Json, amount: int | None = None, **fields: Any) -> Json:
        """Refunds a charge, in full unless `amount` (minor units) says less."""
        left = charge["amount_captured"] - charge["amount_refunded"]
        amount = left if amount is None else amount
        if charge["status"] != "succeeded" or left == 0:
            text = f"Charge {charge['id']} has already been refunded or was never captured."
            raise bad_request(text, code="charge_already_refunded")
        if not 0 < amount <= left:
            raise bad_request(f"Refund amount ({amount}) is greater than the {left} left.", param="amount")
        made = {
            **template("refund"),
            "id": self._world.ids.new("re", account.id),
            "amount": amount,
            "charge": charge["id"],
            "created": self._world.clock.now,
            "currency": charge["currency"],
            "payment_intent": charge["payment_intent"],
            **fields,
        }
        before = {name: charge[name] for name in ("amount_refunded", "refunded")}
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
        self._world.add(account, made)
        self._events.emit(account, "charge.refunded", charge, before)
        return made

    def dispute(self, account: Account, charge: Json, reason: str = "fraudulent") -> Json:
        """The customer's bank takes a charge back."""
        if charge["status"] != "succeeded":
            raise bad_request("Only a successful charge can be disputed.")
        now = self._world.clock.now
        base = template("dispute")
        card = charge["payment_method_details"]["card"]
        details = {**base["payment_method_details"]["card"], "brand": card["brand"]}
        made = {
            **base,
            "id": self._world.ids.new("du", account.id),
            "amount": charge["amount"],
            "charge": charge["id"],
            "created": now,
            "currency": charge["currency"],
            "evidence_details": {**base["evidence_details"], "due_by": now + 7 * DAY},
            "is_charge_refundable": False,
            "payment_intent": charge["payment_intent"],
            "payment_method_details": {"card": details, "type": "card"},
            "reason": reason,
            "status": "needs_response",
        }
        charge["disputed"] = True
        self._world.add(account, made)
        self._events.emit(account, "charge.dispute.created", made)
        return made
