"""What a customer has in credit or owes: applied when their next invoice is finalised.

Negative is credit, positive is owed, as at Stripe. Each change is a transaction that is never changed. No money moves
here. Source: https://docs.stripe.com/billing/customer/balance, October 2026.
"""

from simulator.currencies import minimum
from simulator.events import EventLog
from simulator.shapes import Json
from simulator.world import Account, World


class Balances:
    """The balances of all customers."""

    def __init__(self, world: World, events: EventLog) -> None:
        self._world = world
        self._events = events

    def change(
        self,
        account: Account,
        customer: Json,
        amount: int,
        kind: str = "adjustment",
        *,
        invoice: str | None = None,
        credit_note: str | None = None,
        **fields: object,
    ) -> Json:
        """Adds `amount` (minor units, negative for credit) to a balance; the transaction."""
        before = {"balance": customer["balance"]}
        customer["balance"] += amount
        made = {
            "id": self._world.ids.new("cbtxn", account.id),
            "object": "customer_balance_transaction",
            "amount": amount,
            "checkout_session": None,
            "created": self._world.clock.now,
            "credit_note": credit_note,
            "currency": customer["currency"],
            "customer": customer["id"],
            "customer_account": None,
            "description": None,
            "ending_balance": customer["balance"],
            "invoice": invoice,
            "livemode": False,
            "metadata": {},
            "type": kind,
            **fields,
        }
        self._world.add(account, made)
        self._events.emit(account, "customer.updated", customer, before)
        return made

    def apply(self, account: Account, invoice: Json) -> None:
        """Applies the customer's balance to an invoice that is being finalised, and sets what is due.

        Credit lowers the amount due, at most to 0; what is owed raises it. An amount below the least that Stripe
        charges is not charged: the customer owes it on their next invoice (docs.stripe.com/api/invoices/object,
        amount_due).
        """
        customer = account.get("customer", invoice["customer"])
        balance = customer["balance"] if customer["currency"] == invoice["currency"] else 0
        owed = invoice["total"] + balance
        applied = -balance if owed >= 0 else invoice["total"]
        if applied:
            self.change(account, customer, applied, "applied_to_invoice", invoice=invoice["id"])
        due = max(owed, 0)
        if 0 < due < minimum(invoice["currency"]):
            self.change(account, customer, due, "invoice_too_small", invoice=invoice["id"])
            due = 0
        invoice.update(
            amount_due=due,
            amount_remaining=due,
            starting_balance=balance,
            ending_balance=customer["balance"],
        )
