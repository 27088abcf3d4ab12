"""Credit notes: first they lower what remains of an invoice, then what was paid goes back.

The part before payment moves no money. The part after payment is refunded, credited to the customer's balance, or
given back outside Stripe, as the note says. Source: https://docs.stripe.com/api/credit_notes/create, since API version
2025-05-28.
"""

from typing import Any

from simulator.balances import Balances
from simulator.errors import bad_request
from simulator.events import EventLog
from simulator.invoicing import Invoices, payments_of, refuse_under_way
from simulator.money_back import MoneyBack
from simulator.resources import listing, template
from simulator.shapes import Json
from simulator.world import Account, World


class CreditNotes:
    """The credit notes of all accounts."""

    def __init__(
        self, world: World, events: EventLog, invoices: Invoices, balances: Balances, money_back: MoneyBack
    ) -> None:
        self._world = world
        self._events = events
        self._invoices = invoices
        self._balances = balances
        self._money_back = money_back

    def issue(
        self,
        account: Account,
        invoice: Json,
        amount: int,
        *,
        refund_amount: int = 0,
        credit_amount: int = 0,
        out_of_band_amount: int = 0,
        **fields: Any,
    ) -> Json:
        """A credit note of `amount` (minor units) on a finalised invoice.

        What exceeds the invoice's remaining amount has to be shared out over the three other amounts exactly.
        """
        if invoice["status"] not in {"open", "paid", "uncollectible"}:
            raise bad_request(f"A credit note needs a finalized invoice; this one is {invoice['status']}.")
        refuse_under_way(account, invoice)
        issued = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
        if not 0 < amount <= invoice["total"] - issued:
            left = invoice["total"] - issued
            raise bad_request(f"The credit note's amount ({amount}) must be within the {left} left.", param="amount")
        before = min(amount, invoice["amount_remaining"])
        after = amount - before
        if refund_amount + credit_amount + out_of_band_amount != after:
            raise bad_request(
                "The sum of credit amount, refund amount and out of band amount must equal the post payment amount "
                f"({after}) of the credit note."
            )
        made = self._new(account, invoice, amount, before, **fields)
        if refund_amount:
            made["refunds"] = [self._refund(account, invoice, refund_amount)]
        if credit_amount:
            customer = account.get("customer", invoice["customer"])
            change = self._balances.change(
                account, customer, -credit_amount, "credit_note", invoice=invoice["id"], credit_note=made["id"]
            )
            made["customer_balance_transaction"] = change["id"]
        made["out_of_band_amount"] = out_of_band_amount or None
        self._world.add(account, made)
        self._events.emit(account, "credit_note.created", made)
        if after:
            was = {"post_payment_credit_notes_amount": invoice["post_payment_credit_notes_amount"]}
            invoice["post_payment_credit_notes_amount"] += after
            self._events.emit(account, "invoice.updated", invoice, was)
        if before:
            self._invoices.lower(account, invoice, before)
        return made

    def _refund(self, account: Account, invoice: Json, amount: int) -> Json:
        """Refunds so much of the invoice's latest charge that can bear it."""
        for _, intent in reversed(payments_of(account, invoice)):
            charge = account.objects["charge"].get(intent["latest_charge"] or "")
            if charge and charge["status"] == "succeeded" and charge["amount"] - charge["amount_refunded"] >= amount:
                refund = self._money_back.refund(account, charge, amount)
                return {
                    "amount_refunded": amount,
                    "payment_record_refund": None,
                    "refund": refund["id"],
                    "type": "refund",
                }
        raise bad_request(f"No charge of this invoice can be refunded by {amount}.", param="refund_amount")

    def _new(self, account: Account, invoice: Json, amount: int, before: int, **fields: Any) -> Json:
        ids, now = self._world.ids, self._world.clock.now
        ident = ids.new("cn", account.id)
        count = sum(1 for note in account.objects["credit_note"].values() if note["invoice"] == invoice["id"])
        line = {
            **template("credit_note")["lines"]["data"][1],
            "id": ids.new("cnli", account.id),
            "amount": amount,
            "description": "Credit",
            "pretax_credit_amounts": [],
            "unit_amount": amount,
            "unit_amount_decimal": str(amount),
        }
        return {
            **template("credit_note"),
            "id": ident,
            "amount": amount,
            "created": now,
            "currency": invoice["currency"],
            "customer": invoice["customer"],
            "effective_at": now,
            "invoice": invoice["id"],
            "lines": listing([line], f"/v1/credit_notes/{ident}/lines"),
            "number": f"{invoice['number']}-CN-{count + 1:02d}",
            "pdf": f"https://pay.stripe.com/credit_notes/{account.id}/{ident}/pdf?s=ap",
            "post_payment_amount": amount - before,
            "pre_payment_amount": before,
            "pretax_credit_amounts": [],
            "refunds": [],
            "shipping_cost": None,
            "subtotal": amount,
            "subtotal_excluding_tax": amount,
            "total": amount,
            "total_excluding_tax": amount,
            "type": "pre_payment" if before == amount else "post_payment" if before == 0 else "mixed",
            "voided_at": None,
            **fields,
        }
