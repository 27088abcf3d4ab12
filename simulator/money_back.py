"""Money that goes back: refunds by the merchant, disputes by the customer or their bank.

refund   created ─> succeeded (of a card at once, of a bank account in days)
                 └> failed: the money comes back
dispute  needs_response, money and a fee withdrawn ─> won: the money comes back, the fee does not
                                                   └> lost: nothing moves any more

Sources: https://docs.stripe.com/refunds, https://docs.stripe.com/disputes/how-disputes-work. A dispute of a bank debit
is lost at once, without appeal (https://docs.stripe.com/payments/ach-direct-debit), October 2026.
"""

from typing import Any

from simulator.book import Book
from simulator.currencies import decimals
from simulator.errors import bad_request
from simulator.events import EventLog
from simulator.resources import template
from simulator.shapes import DAY, Json
from simulator.world import Account, World

# In major units of the charge's currency. Stripe's prices differ by country and contract; 15 is that of the US.
DISPUTE_FEE = 15
# Stripe says 5 to 10 business days; until then a refund to a bank account is pending.
REFUND_TAKES = 5 * DAY


class MoneyBack:
    """Refunds and disputes of all accounts."""

    def __init__(self, world: World, events: EventLog, book: Book) -> None:
        self._world = world
        self._events = events
        self._book = book

    # -- refunds ---------------------------------------------------------------------------------

    def refund(
        self,
        account: Account,
        charge: Json,
        amount: int | None = None,
        *,
        fails: str | None = None,
        takes: int | None = None,
        **fields: Any,
    ) -> Json:
        """Refunds a charge, in full unless `amount` (minor units) says less.

        `takes` seconds it is pending (None: of a card no time, of a bank account REFUND_TAKES); then it has succeeded,
        or failed for the reason `fails` (`expired_or_canceled_card`, …).
        """
        left = charge["amount_captured"] - charge["amount_refunded"]
        amount = left if amount is None else amount
        if charge["status"] != "succeeded" or left == 0:
            text = f"Charge {charge['id']} has already been refunded or was never captured."
            raise bad_request(text, code="charge_already_refunded")
        if charge["disputed"] and not self._refundable(account, charge):
            raise bad_request(f"Charge {charge['id']} has been charged back.", code="charge_disputed")
        if not 0 < amount <= left:
            raise bad_request(f"Refund amount ({amount}) is greater than the {left} left.", param="amount")
        card = charge["payment_method_details"]["type"] == "card"
        takes = (0 if card else REFUND_TAKES) if takes is None else takes
        pending = takes > 0 or fails is not None
        base = template("refund")
        made = {
            **base,
            "id": self._world.ids.new("re" if card else "pyr", account.id),
            "amount": amount,
            "charge": charge["id"],
            "created": self._world.clock.now,
            "currency": charge["currency"],
            "payment_intent": charge["payment_intent"],
            "status": "pending" if pending else "succeeded",
            **fields,
        }
        if pending:
            made["pending_reason"] = "processing"
        if not card:
            made.pop("destination_details")
        source = "api" if self._world.origin.request_id else "merchant"
        moved = self._book.write(account, "refund", charge, -amount, source, refund=made["id"])
        made["balance_transaction"] = moved["id"]
        self._world.add(account, made)
        self._events.emit(account, "refund.created", made)
        self._set_refunded(account, charge, amount)
        if pending:
            self._world.clock.after(takes, lambda: self._refund_due(account, made, fails))
        return made

    def _refund_due(self, account: Account, refund: Json, fails: str | None) -> None:
        if refund["status"] == "pending":
            self.end_refund(account, refund, fails)

    def end_refund(self, account: Account, refund: Json, fails: str | None) -> Json:
        """A pending refund succeeds, or fails for a reason and its money comes back; others stay as they are.

        One that has succeeded can still fail, as at Stripe, where the customer's bank may send it back later.
        """
        if refund["status"] not in {"pending", "succeeded"} or (refund["status"] == "succeeded" and fails is None):
            return refund
        before = {"status": refund["status"]}
        refund.pop("pending_reason", None)
        if fails is None:
            refund["status"] = "succeeded"
        else:
            charge = account.get("charge", refund["charge"])
            moved = self._book.write(account, "refund_failed", charge, refund["amount"], "bank", refund=refund["id"])
            refund.update(status="failed", failure_reason=fails, failure_balance_transaction=moved["id"])
            charge["amount_refunded"] -= refund["amount"]
            charge["refunded"] = False
            self._events.emit(account, "refund.failed", refund)
        self._events.emit(account, "refund.updated", refund, before)
        self._events.emit(account, "charge.refund.updated", refund, before)
        return refund

    def _set_refunded(self, account: Account, charge: Json, amount: int) -> None:
        before = {name: charge[name] for name in ("amount_refunded", "refunded")}
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
        self._events.emit(account, "charge.refunded", charge, before)

    def _refundable(self, account: Account, charge: Json) -> bool:
        """Whether none of the charge's disputes has taken its money, for now or for good."""
        disputes = account.objects["dispute"].values()
        return all(found["status"] == "won" for found in disputes if found["charge"] == charge["id"])

    # -- disputes --------------------------------------------------------------------------------

    def dispute(
        self,
        account: Account,
        charge: Json,
        reason: str = "fraudulent",
        amount: int | None = None,
        *,
        ends: str | None = None,
        ends_in: int = 0,
    ) -> Json:
        """The customer's bank takes a charge back, in full unless `amount` says less, and a fee with it.

        `ends`: `won` or `lost` that many seconds later; a bank debit's dispute is lost at once.
        """
        if charge["status"] != "succeeded":
            raise bad_request("Only a successful charge can be disputed.")
        left = charge["amount_captured"] - charge["amount_refunded"]
        amount = left if amount is None else amount
        if not 0 < amount <= left:
            raise bad_request(f"Of this charge {left} can be disputed, not {amount}.")
        if not self._refundable(account, charge):
            raise bad_request("This charge is disputed already.")
        if ends not in {None, "won", "lost"}:
            raise bad_request(f"A dispute ends won or lost, not {ends!r}.")
        made = self._new_dispute(account, charge, amount, reason)
        fee = DISPUTE_FEE * 10 ** decimals(charge["currency"])
        taken = self._book.write(account, "dispute_withdrawn", charge, -amount, "bank", dispute=made["id"], fee=fee)
        made["balance_transactions"] = [taken]
        charge["disputed"] = True
        self._world.add(account, made)
        self._events.emit(account, "charge.dispute.created", made)
        self._events.emit(account, "charge.dispute.funds_withdrawn", made)
        if charge["payment_method_details"]["type"] != "card":
            account.debits[charge["payment_method"]].mandate_revoked = True
            self.end_dispute(account, made, "lost")
        elif ends is not None:
            self._world.clock.after(ends_in, lambda: self._ends(account, made, ends))
        return made

    def _ends(self, account: Account, dispute: Json, ends: str) -> None:
        if dispute["status"] == "needs_response":
            self.end_dispute(account, dispute, ends)

    def end_dispute(self, account: Account, dispute: Json, ends: str) -> Json:
        """Closes a dispute as `won` or `lost`."""
        if ends not in {"won", "lost"}:
            raise bad_request(f"A dispute ends won or lost, not {ends!r}.")
        if dispute["status"] in {"won", "lost"}:
            raise bad_request("This dispute is already closed.")
        before = {"status": dispute["status"]}
        dispute["status"] = ends
        if ends == "won":
            charge = account.get("charge", dispute["charge"])
            amount = dispute["amount"]
            given = self._book.write(account, "dispute_reinstated", charge, amount, "bank", dispute=dispute["id"])
            dispute["balance_transactions"] = [*dispute["balance_transactions"], given]
            self._events.emit(account, "charge.dispute.funds_reinstated", dispute)
        self._events.emit(account, "charge.dispute.closed", dispute, before)
        return dispute

    def _new_dispute(self, account: Account, charge: Json, amount: int, reason: str) -> Json:
        now = self._world.clock.now
        base = template("dispute")
        made = {
            **base,
            "id": self._world.ids.new("du", account.id),
            "amount": amount,
            "charge": charge["id"],
            "created": now,
            "currency": charge["currency"],
            "evidence_details": {**base["evidence_details"], "due_by": now + 7 * DAY},
            "is_charge_refundable": False,
            "payment_intent": charge["payment_intent"],
            "reason": reason,
            "status": "needs_response",
        }
        details = charge["payment_method_details"]
        if details["type"] == "card":
            card = {**base["payment_method_details"]["card"], "brand": details["card"]["brand"]}
            return {**made, "payment_method_details": {"card": card, "type": "card"}}
        # Stripe's document has no details of debits; and none can be answered.
        made.pop("payment_method_details")
        return {**made, "evidence_details": {**made["evidence_details"], "due_by": 0}}
