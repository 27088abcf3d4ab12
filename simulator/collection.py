"""What a merchant sets about collecting: an invoice's automatic collection, how it is collected, pauses, ends.

Sources (docs.stripe.com, 2026-11): invoicing/integration/automatic-advancement-collection, billing/collection-method,
billing/subscriptions/pause-payment, billing/subscriptions/cancel, billing/subscriptions/overview#subscription-statuses.
"""

from typing import Any

from simulator.billing import Billing
from simulator.collecting import Collecting
from simulator.errors import bad_request
from simulator.events import EventLog
from simulator.invoicing import Invoices
from simulator.shapes import DAY, HOUR, Json
from simulator.world import Account, World

# Why an invoice was made (docs.stripe.com/api/invoices/object#invoice_object-billing_reason).
REASONS = {
    "automatic_pending_invoice_item_invoice",
    "manual",
    "subscription_create",
    "subscription_cycle",
    "subscription_threshold",
    "subscription_update",
}
STATUSES = {"active", "past_due", "unpaid", "paused", "canceled"}


class Collection:
    """The settings of all accounts' invoices and subscriptions."""

    def __init__(
        self, world: World, events: EventLog, billing: Billing, invoices: Invoices, collecting: Collecting
    ) -> None:
        self._world = world
        self._events = events
        self._billing = billing
        self._invoices = invoices
        self._collecting = collecting
        self._planned: dict[str, int | None] = {}

    def automatic(self, account: Account, invoice: Json, on: bool) -> None:
        """Turns Stripe's automatic collection of an invoice off, which forgets its next attempt, or on again.

        Turned on, the old time holds if it is still ahead; else Stripe tries in an hour, if it has tries left.
        """
        if invoice["auto_advance"] == on:
            return
        before = {"auto_advance": not on}
        planned = invoice["next_payment_attempt"]
        invoice["auto_advance"] = on
        if not on:
            self._planned[invoice["id"]] = planned
        elif invoice["status"] == "open" and (known := self._planned.pop(invoice["id"], None)) is not None:
            invoice["next_payment_attempt"] = self._again(account, invoice, known)
        if not on and planned is not None:
            invoice["next_payment_attempt"] = None
        if invoice["next_payment_attempt"] != planned:
            before["next_payment_attempt"] = planned
        self._events.emit(account, "invoice.updated", invoice, before)

    def _again(self, account: Account, invoice: Json, planned: int) -> int:
        now = self._world.clock.now
        if planned > now:
            return planned  # Its timer still runs.
        self._collecting.retry_at(account, invoice, now + HOUR)
        return now + HOUR

    def collect_by(self, account: Account, resource: Json, method: str, days_until_due: int = 30) -> None:
        """`charge_automatically` or `send_invoice`, of an invoice or of a subscription's next ones."""
        if method not in {"charge_automatically", "send_invoice"}:
            raise bad_request(f"Unknown collection method {method!r}.")
        changes: Json = {"collection_method": method}
        sent = method == "send_invoice"
        if resource["object"] == "subscription":
            changes["days_until_due"] = days_until_due if sent else None
        else:
            changes["due_date"] = self._world.clock.now + days_until_due * DAY if sent else None
            if sent:
                changes["next_payment_attempt"] = None
        self._change(account, resource, changes)

    def pause(self, account: Account, subscription: Json, behavior: str | None, resumes_at: int | None = None) -> None:
        """`keep_as_draft`, `mark_uncollectible` or `void` for invoices to come (not for open ones); None lifts it."""
        paused = {"behavior": behavior, "resumes_at": resumes_at} if behavior else None
        self._change(account, subscription, {"pause_collection": paused})
        self.resumes(account, subscription)

    def resumes(self, account: Account, subscription: Json) -> None:
        """Sets the timer of a pause that ends by itself."""
        paused = subscription["pause_collection"]
        if not paused or not paused["resumes_at"]:
            return

        def lift() -> None:
            if subscription["pause_collection"] == paused and subscription["status"] != "canceled":
                self._change(account, subscription, {"pause_collection": None})

        self._world.clock.at(paused["resumes_at"], lift)

    def ends(self, account: Account, subscription: Json, *, at: int | None, at_period_end: bool = False) -> None:
        """The subscription is to end `at` a second or at its period's end; neither: it goes on after all."""
        period_end = subscription["items"]["data"][0]["current_period_end"]
        at = period_end if at_period_end else at
        planned = at is not None
        details = {**subscription["cancellation_details"], "reason": "cancellation_requested" if planned else None}
        changes = {
            "cancel_at": at,
            "cancel_at_period_end": at_period_end,
            "canceled_at": self._world.clock.now if planned else None,
            "cancellation_details": details,
        }
        self._change(account, subscription, changes)
        self._billing.schedule_end(account, subscription)

    def status(self, account: Account, subscription: Json, status: str) -> None:
        """As Stripe's settings for failed payments leave it: past_due, unpaid, canceled; or active, or paused."""
        if status not in STATUSES:
            raise bad_request(f"Unknown status {status!r}; known: {sorted(STATUSES)}.")
        if status == "canceled":
            self._billing.cancel(account, subscription, "payment_failed")
        else:
            self._change(account, subscription, {"status": status})

    def invoice(self, account: Account, subscription: Json, reason: str, amount: int | None = None) -> Json:
        """An invoice between the renewals, finalised and tried now; a `manual` one is no subscription's."""
        if reason not in REASONS:
            raise bad_request(f"Unknown billing reason {reason!r}; known: {sorted(REASONS)}.")
        made = self._billing.add_invoice(account, subscription, reason, amount)
        self._invoices.finalize(account, made)
        self._collecting.attempt(account, made, "renewal")
        return made

    def _change(self, account: Account, resource: Json, changes: dict[str, Any]) -> None:
        before = {name: resource[name] for name, value in changes.items() if resource[name] != value}
        resource.update(changes)
        if before:
            kind = "customer.subscription.updated" if resource["object"] == "subscription" else "invoice.updated"
            self._events.emit(account, kind, resource, before)
