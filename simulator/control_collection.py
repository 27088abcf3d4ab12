"""The control API of collection settings: what a merchant switches, and what Stripe does by its own settings."""

from simulator.control import CONTROL, Ask
from simulator.shapes import Json


@CONTROL.route("POST", "/invoices/{invoice}/auto_advance")
async def automatic(ask: Ask) -> Json:
    """`on`: whether Stripe collects the invoice by itself."""
    account, invoice = ask.owned("invoice")
    ask.sim.collection.automatic(account, invoice, bool(ask.given["on"]))
    return invoice


@CONTROL.route("POST", "/invoices/{invoice}/collection_method")
async def collect_invoice_by(ask: Ask) -> Json:
    """`method` (`send_invoice`, `charge_automatically`), `days_until_due`."""
    account, invoice = ask.owned("invoice")
    ask.sim.collection.collect_by(account, invoice, **ask.given)
    return invoice


@CONTROL.route("POST", "/subscriptions/{subscription}/collection_method")
async def collect_subscription_by(ask: Ask) -> Json:
    """The same of the subscription's next invoices."""
    account, subscription = ask.owned("subscription")
    ask.sim.collection.collect_by(account, subscription, **ask.given)
    return subscription


@CONTROL.route("POST", "/invoices/{invoice}/stripe_retry")
async def stripe_retry(ask: Ask) -> Json:
    """Stripe tries now, at a time that `next_payment_attempt` has not announced."""
    account, invoice = ask.owned("invoice")
    ask.sim.collecting.attempt(account, invoice, "stripe_retry")
    return invoice


@CONTROL.route("POST", "/subscriptions/{subscription}/pause")
async def pause(ask: Ask) -> Json:
    """`behavior` (null: the pause is lifted), `resumes_at`."""
    account, subscription = ask.owned("subscription")
    ask.sim.collection.pause(account, subscription, ask.given["behavior"], ask.given.get("resumes_at"))
    return subscription


@CONTROL.route("POST", "/subscriptions/{subscription}/ends")
async def ends(ask: Ask) -> Json:
    """`at` a unix second, or `at_period_end`; neither: it goes on after all."""
    account, subscription = ask.owned("subscription")
    at, at_period_end = ask.given.get("at"), bool(ask.given.get("at_period_end", False))
    ask.sim.collection.ends(account, subscription, at=at, at_period_end=at_period_end)
    return subscription


@CONTROL.route("POST", "/subscriptions/{subscription}/status")
async def status(ask: Ask) -> Json:
    account, subscription = ask.owned("subscription")
    ask.sim.collection.status(account, subscription, ask.given["status"])
    return subscription


@CONTROL.route("POST", "/subscriptions/{subscription}/invoices")
async def extra_invoice(ask: Ask) -> Json:
    """An invoice between the renewals: `reason` (a billing reason), `amount`."""
    account, subscription = ask.owned("subscription")
    return ask.sim.collection.invoice(account, subscription, ask.given["reason"], ask.given.get("amount"))
