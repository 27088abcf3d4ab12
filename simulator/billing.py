"""Subscriptions: they renew when their period ends, and end when they are told to."""

from simulator import resources
from simulator.collecting import Collecting
from simulator.events import EventLog
from simulator.invoicing import Invoices, parent_of, subscription_of
from simulator.shapes import DAY, HOUR, Json
from simulator.world import Account, World


class Billing:
    """The subscriptions of all accounts."""

    def __init__(self, world: World, events: EventLog, invoices: Invoices, collecting: Collecting) -> None:
        self._world = world
        self._events = events
        self._invoices = invoices
        self._collecting = collecting
        collecting.out_of_retries = self._out_of_retries

    def schedule(self, account: Account, subscription: Json) -> None:
        """Sets the timer for the subscription's next renewal."""
        ident = subscription["id"]
        renews_at = _item(subscription)["current_period_end"]
        self._world.clock.at(renews_at, lambda: self._due(account, ident))
        if account.upcoming_days and renews_at - account.upcoming_days * DAY > self._world.clock.now:
            self._world.clock.at(renews_at - account.upcoming_days * DAY, lambda: self._announce(account, ident))

    def _announce(self, account: Account, ident: str) -> None:
        """Tells of a renewal that is ahead: a preview of its invoice, which has no id
        (docs.stripe.com/billing/subscriptions/webhooks)."""
        subscription = account.objects["subscription"][ident]
        item = _item(subscription)
        if subscription["status"] == "canceled" or _ends_with_its_period(subscription):
            return
        preview = resources.invoice(
            "in_preview",
            "il_preview",
            subscription,
            account.get("customer", subscription["customer"]),
            start=item["current_period_start"],
            end=item["current_period_end"],
            amount=item["price"]["unit_amount"],
            number=None,
            billing_reason="upcoming",
            country=account.resource["country"],
            account_name=account.resource["business_profile"]["name"],
            now=self._world.clock.now,
        )
        self._events.emit(account, "invoice.upcoming", {name: preview[name] for name in preview if name != "id"})

    def _due(self, account: Account, ident: str) -> None:
        subscription = account.objects["subscription"][ident]
        if subscription["status"] == "canceled":
            return
        if _item(subscription)["current_period_end"] > self._world.clock.now:
            return  # It was renewed early, and has a timer of its own.
        self.renew(account, subscription)

    def renew(self, account: Account, subscription: Json) -> Json | None:
        """Starts the next period and makes its draft invoice, which is finalised an hour later.

        The invoice, or None when the subscription ends instead.
        """
        if _ends_with_its_period(subscription):
            self.cancel(account, subscription, "cancellation_requested")
            return None
        item = _item(subscription)
        start = item["current_period_end"]
        interval = item["price"]["recurring"]["interval"]
        end = resources.following(start, subscription["billing_cycle_anchor"], interval)
        before = {"items": subscription["items"], "latest_invoice": subscription["latest_invoice"]}
        invoice = self._draft(account, subscription, (start, end))
        renewed = {**item, "current_period_start": start, "current_period_end": end}
        subscription["items"] = {**subscription["items"], "data": [renewed]}
        subscription["latest_invoice"] = invoice["id"]
        self._events.emit(account, "customer.subscription.updated", subscription, before)
        self.schedule(account, subscription)
        self._world.clock.after(HOUR, lambda: self._advance(account, invoice))
        return invoice

    def add_invoice(self, account: Account, subscription: Json, reason: str, amount: int | None) -> Json:
        """A draft between the renewals, for the present period; the renewal stays where it is."""
        item = _item(subscription)
        period = item["current_period_start"], item["current_period_end"]
        invoice = self._draft(account, subscription, period, reason, amount)
        if reason == "manual":
            invoice["parent"] = None
        else:
            subscription["latest_invoice"] = invoice["id"]
        return invoice

    def schedule_end(self, account: Account, subscription: Json) -> None:
        """Sets the timer for a subscription's `cancel_at`; a later change of mind makes it do nothing."""
        when = subscription["cancel_at"]

        def end() -> None:
            if subscription["cancel_at"] == when and subscription["status"] != "canceled":
                self.cancel(account, subscription, "cancellation_requested")

        if when is not None:
            self._world.clock.at(when, end)

    def _out_of_retries(self, account: Account, invoice: Json) -> None:
        """What the account's settings say for after Stripe's last attempt."""
        subscription = subscription_of(account, invoice)
        if subscription and subscription["status"] != "canceled":
            if account.after_retries == "cancel":
                self.cancel(account, subscription, "payment_failed")
            elif account.after_retries == "unpaid":
                before = {"status": subscription["status"]}
                subscription["status"] = "unpaid"
                self._events.emit(account, "customer.subscription.updated", subscription, before)
        if account.write_off_after_retries and invoice["status"] == "open":
            self._invoices.write_off(account, invoice)

    def _draft(
        self,
        account: Account,
        subscription: Json,
        period: tuple[int, int],
        reason: str = "subscription_cycle",
        amount: int | None = None,
    ) -> Json:
        ids, scope = self._world.ids, account.id
        customer = account.get("customer", subscription["customer"])
        number = customer["next_invoice_sequence"]
        customer["next_invoice_sequence"] = number + 1
        invoice = resources.invoice(
            ids.new("in", scope),
            ids.new("il", scope),
            subscription,
            customer,
            start=period[0],
            end=period[1],
            amount=_item(subscription)["price"]["unit_amount"] if amount is None else amount,
            number=f"{customer['invoice_prefix']}-{number:04d}",
            billing_reason=reason,
            country=account.resource["country"],
            account_name=account.resource["business_profile"]["name"],
            now=self._world.clock.now,
        )
        invoice["collection_method"] = subscription["collection_method"]
        if subscription["days_until_due"] is not None:
            invoice["due_date"] = self._world.clock.now + subscription["days_until_due"] * DAY
        if subscription["status"] == "unpaid":
            # Drafts of an unpaid subscription stay drafts (docs.stripe.com/billing/subscriptions/overview#unpaid).
            invoice["auto_advance"] = False
        self._world.add(account, invoice)
        self._events.emit(account, "invoice.created", invoice)
        return invoice

    def _advance(self, account: Account, invoice: Json) -> None:
        """What Stripe does by itself with a draft when its hour is over."""
        if invoice["status"] != "draft" or not invoice["auto_advance"]:
            return
        subscription = subscription_of(account, invoice)
        pause = subscription["pause_collection"] if subscription else None
        if pause and pause["behavior"] == "keep_as_draft":
            return
        self._invoices.finalize(account, invoice)
        if invoice["status"] == "paid":
            return  # Nothing was due.
        if pause and pause["behavior"] == "void":
            self._invoices.void(account, invoice)
        elif pause:
            self._invoices.write_off(account, invoice)
        else:
            self._collecting.attempt(account, invoice, "renewal")

    def cancel(self, account: Account, subscription: Json, reason: str, **details: str | None) -> None:
        """Ends a subscription now; its open invoices stay open and are no longer collected by Stripe."""
        now = self._world.clock.now
        subscription["status"] = "canceled"
        subscription["canceled_at"] = subscription["canceled_at"] or now
        subscription["ended_at"] = now
        subscription["cancellation_details"] = {
            "comment": details.get("comment"),
            "feedback": details.get("feedback"),
            "reason": reason,
        }
        for invoice in account.objects["invoice"].values():
            if invoice["status"] in {"open", "draft"} and parent_of(invoice) == subscription["id"]:
                invoice["auto_advance"] = False
                invoice["next_payment_attempt"] = None
        self._events.emit(account, "customer.subscription.deleted", subscription)


def _ends_with_its_period(subscription: Json) -> bool:
    """Whether the subscription is to end when its period does, or before."""
    at = subscription["cancel_at"]
    return subscription["cancel_at_period_end"] or (at is not None and at <= _item(subscription)["current_period_end"])


def _item(subscription: Json) -> Json:
    item: Json = subscription["items"]["data"][0]
    return item
