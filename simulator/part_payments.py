"""Payments of a part of an invoice: the merchant charges the customer, and attaches the payment to the invoice.

Each has a PaymentIntent and an invoice payment of its own; the invoice's default payment follows what remains.
Source: https://docs.stripe.com/invoicing/partial-payments, October 2026.
"""

from simulator.collecting import RESTRICTED, Collecting, too_small
from simulator.errors import bad_request
from simulator.events import EventLog
from simulator.invoicing import Invoices, refuse_under_way
from simulator.shapes import Json
from simulator.world import Account, World


class PartPayments:
    """The attached payments of all accounts."""

    def __init__(self, world: World, events: EventLog, invoices: Invoices, collecting: Collecting) -> None:
        self._world = world
        self._events = events
        self._invoices = invoices
        self._collecting = collecting

    def attach(self, account: Account, invoice: Json, method: Json, amount: int) -> Json:
        """Charges `amount` (minor units) with a payment method towards an open invoice; the invoice payment.

        It may be more than what remains: the rest is credited to the customer's balance. A card that is declined leaves
        the payment open and the invoice as it was, without an event about the invoice.
        """
        if invoice["status"] not in {"open", "uncollectible"}:
            raise bad_request(f"Only an open invoice takes payments; this one is {invoice['status']}.")
        refuse_under_way(account, invoice)
        if not account.resource["charges_enabled"]:
            raise bad_request(RESTRICTED)
        if method["customer"] != invoice["customer"]:
            text = "The provided PaymentMethod is not attached to the invoice's customer."
            raise bad_request(text, param="payment_method")
        problem = too_small(amount, invoice["currency"])
        if problem:
            raise problem
        payment, intent = self._invoices.add_payment(account, invoice, amount)
        self._collecting.charge_part(account, invoice, payment, intent, method)
        return payment
