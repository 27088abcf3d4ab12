"""Invoices change state: finalised, settled, voided, written off.

draft ──finalize──> open ──settle──> paid
                     │ ├──void─────> void
                     │ └───────────> uncollectible ──settle──> paid
                     └─ a failed attempt leaves it open, and its subscription past due
"""

from simulator import resources
from simulator.errors import bad_request
from simulator.events import EventLog
from simulator.shapes import Json
from simulator.world import Account, World

PAGE = "https://invoice.stripe.com/i"


class Invoices:
    """The invoices of all accounts; no money moves here."""

    def __init__(self, world: World, events: EventLog) -> None:
        self._world = world
        self._events = events

    def finalize(self, account: Account, invoice: Json) -> None:
        """draft → open, with its PaymentIntent and hosted page."""
        now, ids, scope = self._world.clock.now, self._world.ids, account.id
        token = ids.token("page", scope)
        self._world.links[token] = (account.id, invoice["id"])
        invoice["status"] = "open"
        invoice["effective_at"] = now
        invoice["hosted_invoice_url"] = f"{PAGE}/{account.id}/test_{token}?s=ap"
        invoice["invoice_pdf"] = f"https://pay.stripe.com/invoice/{account.id}/test_{token}/pdf?s=ap"
        invoice["status_transitions"] = {**invoice["status_transitions"], "finalized_at": now}
        intent_id = ids.new("pi", scope)
        secret = ids.token("secret", scope)
        self._world.add(account, resources.payment_intent(intent_id, invoice, secret, now=now))
        payment = resources.invoice_payment(ids.new("inpay", scope), invoice, intent_id, now=now)
        self._world.add(account, payment)
        account.payments[invoice["id"]].append(payment["id"])
        self._events.emit(account, "invoice.finalized", invoice)

    def void(self, account: Account, invoice: Json) -> None:
        """open or uncollectible → void."""
        if invoice["status"] not in {"open", "uncollectible"}:
            raise bad_request(f"You can only void an open invoice; this one is {invoice['status']}.")
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
        """Ends the invoice's PaymentIntent without a charge."""
        now = self._world.clock.now
        payment, intent = payment_of(account, invoice)
        payment["status"] = "canceled"
        payment["status_transitions"] = {**payment["status_transitions"], "canceled_at": now}
        intent["status"] = "canceled"
        intent["canceled_at"] = now
        intent["next_action"] = None

    def settle(self, account: Account, invoice: Json, *, charged: bool) -> None:
        now = self._world.clock.now
        before = {name: invoice[name] for name in ("status", "amount_paid", "amount_remaining")}
        invoice["status"] = "paid"
        invoice["amount_paid"] = invoice["amount_due"] if charged else 0
        invoice["amount_remaining"] = 0
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
    """The invoice's payment and its PaymentIntent."""
    payment = account.get("invoice_payment", account.payments[invoice["id"]][-1])
    return payment, account.get("payment_intent", payment["payment"]["payment_intent"])


def subscription_of(account: Account, invoice: Json) -> Json | None:
    """The subscription that an invoice renews, if any."""
    ident = parent_of(invoice)
    return account.objects["subscription"].get(ident) if ident else None


def parent_of(invoice: Json) -> str | None:
    """The id of the subscription that an invoice renews."""
    details = (invoice["parent"] or {}).get("subscription_details")
    ident: str | None = details["subscription"] if details else None
    return ident
