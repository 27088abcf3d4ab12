"""Invoices change state: finalised, credited with payments, settled, voided, written off.

draft ──finalize──> open ──credit, until nothing remains──> paid
                     │ ├──void─────> void
                     │ └───────────> uncollectible ──credit──> paid
                     └─ a failed attempt leaves it open, and its subscription past due

An invoice has a default payment, which follows what remains, and may have others that were attached to it. While one of
them is under way, the invoice is neither voided nor paid in another way.
"""

from simulator import resources
from simulator.balances import Balances
from simulator.errors import ApiError, bad_request
from simulator.events import EventLog
from simulator.shapes import Json
from simulator.world import Account, World

PAGE = "https://invoice.stripe.com/i"


class Invoices:
    """The invoices of all accounts; no money moves here."""

    def __init__(self, world: World, events: EventLog, balances: Balances) -> None:
        self._world = world
        self._events = events
        self._balances = balances

    def finalize(self, account: Account, invoice: Json) -> None:
        """draft → open, with its PaymentIntent and hosted page; → paid when nothing is due."""
        self._balances.apply(account, invoice)
        now, ids, scope = self._world.clock.now, self._world.ids, account.id
        token = ids.token("page", scope)
        self._world.links[token] = (account.id, invoice["id"])
        invoice["status"] = "open"
        invoice["effective_at"] = now
        invoice["hosted_invoice_url"] = f"{PAGE}/{account.id}/test_{token}?s=ap"
        invoice["invoice_pdf"] = f"https://pay.stripe.com/invoice/{account.id}/test_{token}/pdf?s=ap"
        invoice["status_transitions"] = {**invoice["status_transitions"], "finalized_at": now}
        if invoice["amount_due"] > 0:
            self.add_payment(account, invoice)
        self._events.emit(account, "invoice.finalized", invoice)
        if invoice["amount_due"] == 0:
            invoice["attempted"] = True
            self.settle(account, invoice)

    def add_payment(self, account: Account, invoice: Json, amount: int | None = None) -> tuple[Json, Json]:
        """The invoice's default payment, or with an `amount` another one attached to it; with its PaymentIntent."""
        now, ids, scope = self._world.clock.now, self._world.ids, account.id
        intent_id = ids.new("pi", scope)
        secret = ids.token("secret", scope)
        intent = resources.payment_intent(intent_id, invoice, secret, now=now, amount=amount)
        payment = resources.invoice_payment(ids.new("inpay", scope), invoice, intent_id, now=now, amount=amount)
        account.payments[invoice["id"]].append(payment["id"])
        account.billed[intent_id] = invoice["id"]
        return self._world.add(account, payment), self._world.add(account, intent)

    def void(self, account: Account, invoice: Json) -> None:
        """open or uncollectible → void."""
        if invoice["status"] not in {"open", "uncollectible"}:
            raise bad_request(f"You can only void an open invoice; this one is {invoice['status']}.")
        refuse_under_way(account, invoice)
        self._close(account, invoice, "void", "voided_at")
        self._events.emit(account, "invoice.voided", invoice)

    def write_off(self, account: Account, invoice: Json) -> None:
        """open → uncollectible; it can still be paid afterwards."""
        if invoice["status"] != "open":
            text = f"Only open invoices can be marked uncollectible; this one is {invoice['status']}."
            raise bad_request(text)
        invoice["status"] = "uncollectible"
        invoice["next_payment_attempt"] = None
        transitions = invoice["status_transitions"]
        now = self._world.clock.now
        invoice["status_transitions"] = {**transitions, "marked_uncollectible_at": now}
        self._events.emit(account, "invoice.marked_uncollectible", invoice)

    def _close(self, account: Account, invoice: Json, status: str, transition: str) -> None:
        now = self._world.clock.now
        invoice["status"] = status
        invoice["next_payment_attempt"] = None
        invoice["auto_advance"] = False
        invoice["status_transitions"] = {**invoice["status_transitions"], transition: now}
        self.cancel_payment(account, invoice)

    def cancel_payment(self, account: Account, invoice: Json) -> None:
        """Ends the invoice's PaymentIntent without a charge, if it has one that has not ended and is not under way."""
        now = self._world.clock.now
        found = default_payment(account, invoice)
        if found is None or found[0]["status"] != "open" or found[1]["status"] == "processing":
            return
        payment, intent = found
        payment["status"] = "canceled"
        payment["status_transitions"] = {**payment["status_transitions"], "canceled_at": now}
        intent["status"] = "canceled"
        intent["canceled_at"] = now
        intent["next_action"] = None

    def credit(self, account: Account, invoice: Json, payment: Json, amount: int) -> None:
        """Counts a payment of so much: the invoice is paid when nothing remains, and open with the rest until then.

        What is more than the invoice needed is credited to the customer's balance.
        """
        now, before = self._world.clock.now, _amounts(invoice)
        payment.update(
            status="paid",
            amount_paid=amount,
            status_transitions={**payment["status_transitions"], "paid_at": now},
        )
        needed = max(invoice["amount_due"] - invoice["amount_paid"], 0)
        over = max(amount - needed, 0)
        invoice["amount_paid"] += amount - over
        invoice["amount_overpaid"] += over
        self._events.emit(account, "invoice_payment.paid", payment)
        self._after_payment(account, invoice, before)
        if over:
            customer = account.objects["customer"].get(invoice["customer"])
            if customer is not None:  # else deleted meanwhile: nobody is left to credit
                self._balances.change(account, customer, -over, "invoice_overpaid", invoice=invoice["id"])
            self._events.emit(account, "invoice.overpaid", invoice)

    def paid_off_stripe(self, account: Account, invoice: Json) -> None:
        """Counts what remains as paid in a way that Stripe sees nothing of."""
        before = _amounts(invoice)
        invoice["amount_paid_off_stripe"] += invoice["amount_remaining"]
        invoice["amount_paid"] += invoice["amount_remaining"]
        self._after_payment(account, invoice, before)

    def lower(self, account: Account, invoice: Json, amount: int) -> None:
        """A credit note takes so much off what remains; the invoice is paid when nothing is left."""
        before = {**_amounts(invoice), "amount_due": invoice["amount_due"]}
        invoice["amount_due"] -= amount
        invoice["pre_payment_credit_notes_amount"] += amount
        self._after_payment(account, invoice, before)

    def _after_payment(self, account: Account, invoice: Json, before: Json) -> None:
        invoice["amount_remaining"] = invoice["amount_due"] - invoice["amount_paid"]
        if invoice["amount_remaining"] <= 0 and invoice["status"] in {"open", "uncollectible"}:
            self.settle(account, invoice, before)
        else:
            self.follow(account, invoice)
            self._events.emit(account, "invoice.updated", invoice, before)

    def follow(self, account: Account, invoice: Json) -> None:
        """Sets the default payment to what remains of the invoice, unless it has ended."""
        found = default_payment(account, invoice)
        if found is None or found[0]["status"] != "open":
            return
        payment, intent = found
        payment["amount_requested"] = intent["amount"] = invoice["amount_remaining"]

    def settle(self, account: Account, invoice: Json, before: Json | None = None) -> None:
        """Nothing remains: paid. `before` holds the amounts and status that it had."""
        now = self._world.clock.now
        before = _amounts(invoice) if before is None else before
        self.cancel_payment(account, invoice)
        invoice["status"] = "paid"
        invoice["next_payment_attempt"] = None
        invoice["auto_advance"] = False
        invoice["status_transitions"] = {**invoice["status_transitions"], "paid_at": now}
        self._events.emit(account, "invoice.updated", invoice, before)
        self._events.emit(account, "invoice.paid", invoice)
        self._events.emit(account, "invoice.payment_succeeded", invoice)
        subscription = subscription_of(account, invoice)
        if subscription and subscription["status"] in {"past_due", "unpaid"}:
            self._recover(account, subscription)

    def _recover(self, account: Account, subscription: Json) -> None:
        latest = account.objects["invoice"].get(subscription["latest_invoice"])
        if latest is None or latest["status"] == "paid":
            before = {"status": subscription["status"]}
            subscription["status"] = "active"
            self._events.emit(account, "customer.subscription.updated", subscription, before)


def payment_of(account: Account, invoice: Json) -> tuple[Json, Json]:
    """The invoice's default payment and its PaymentIntent; a 400 when it needed none."""
    found = default_payment(account, invoice)
    if found is None:
        raise bad_request("This invoice has no payment: nothing was due.")
    return found


def default_payment(account: Account, invoice: Json) -> tuple[Json, Json] | None:
    """The same, or None when nothing was due."""
    for ident in account.payments.get(invoice["id"], ()):
        payment = account.objects["invoice_payment"][ident]
        if payment["is_default"]:
            return payment, account.objects["payment_intent"][payment["payment"]["payment_intent"]]
    return None


def payments_of(account: Account, invoice: Json) -> list[tuple[Json, Json]]:
    """All payments of an invoice with their PaymentIntents, oldest first."""
    payments, intents = account.objects["invoice_payment"], account.objects["payment_intent"]
    found = [payments[ident] for ident in account.payments.get(invoice["id"], ())]
    return [(payment, intents[payment["payment"]["payment_intent"]]) for payment in found]


def under_way(account: Account, invoice: Json) -> bool:
    """Whether a payment of this invoice is processing: begun, with its end not known."""
    return any(intent["status"] == "processing" for _, intent in payments_of(account, invoice))


def refuse_under_way(account: Account, invoice: Json) -> None:
    """Raises the 400 of whoever would charge or void an invoice while a payment of it is processing."""
    if under_way(account, invoice):
        raise processing()


def processing() -> ApiError:
    """Stripe's words for a PaymentIntent that is under way; that `/pay` answers them is an assumption."""
    text = "You cannot confirm this PaymentIntent because it has a status of processing."
    return bad_request(text, code="payment_intent_unexpected_state", param="payment_intent")


def _amounts(invoice: Json) -> Json:
    return {name: invoice[name] for name in ("status", "amount_paid", "amount_remaining")}


def subscription_of(account: Account, invoice: Json) -> Json | None:
    """The subscription that an invoice renews, if any."""
    ident = parent_of(invoice)
    return account.objects["subscription"].get(ident) if ident else None


def parent_of(invoice: Json) -> str | None:
    """The id of the subscription that an invoice renews."""
    details = (invoice["parent"] or {}).get("subscription_details")
    ident: str | None = details["subscription"] if details else None
    return ident
