"""The truth about an invoice at one moment, read from the simulation itself and not through its API.

It is what a message, a charge or an end is measured by.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from simulator import Simulator
from simulator.errors import ApiError
from simulator.invoicing import payments_of, subscription_of
from simulator.payment import Approved, NeedsAction
from simulator.world import Account

Json = dict[str, Any]
MADE_BY_STRIPE = frozenset({"subscription_cycle", "subscription_threshold", "automatic_pending_invoice_item_invoice"})
WAITS_FOR_THE_BANK = frozenset({"processing"})


@dataclass(frozen=True, slots=True)
class Method:
    """A payment method; `good`: its bank would say yes now. `expired` is by its date."""

    id: str
    kind: str
    fingerprint: str
    good: bool
    expired: bool
    needs_3ds: bool


@dataclass(frozen=True, slots=True)
class Truth:
    """One invoice, its subscription and its customer. Times are simulated unix seconds, amounts minor units.

    `method` is what Stripe would charge now, `default` the customer's own choice, which a subscription's pin may hide;
    `automatic_reason` says that Stripe made the invoice by itself; `paused` and `ends_at` are the subscription's;
    `latest` whether no later invoice of the subscription is there, `later_paid` whether a later one is paid; `charges`
    is the money that has moved for it, by charge.
    """

    at: int
    invoice: str
    status: str
    currency: str
    remaining: int
    paid: int
    due: int
    processing: bool
    asks_3ds: bool
    automatic: bool
    collection: str
    next_attempt: int | None
    customer: str | None
    email: str | None
    deleted: bool
    subscription: str | None
    subscription_status: str | None
    paused: bool
    ends_at: int | None
    latest: bool
    later_paid: bool
    method: "Method | None"
    default: "Method | None"
    connected: bool
    restricted: bool
    automatic_reason: bool
    charges: dict[str, int] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether there is still something to pay, that nobody is paying."""
        return self.status == "open" and self.remaining > 0

    @property
    def goes_on(self) -> bool:
        """Whether the subscription goes on as it is."""
        alive = self.subscription_status in {"active", "past_due", "trialing", "unpaid"}
        return alive and self.ends_at is None and not self.paused


def truth_of(simulation: Simulator, invoice_id: str) -> Truth | None:
    """The truth about this invoice now; None when there is no such invoice."""
    world = simulation.world
    owner = world.owners.get(invoice_id)
    if owner is None:
        return None
    account = world.accounts[owner]
    invoice = account.objects["invoice"][invoice_id]
    subscription = subscription_of(account, invoice)
    customer = account.objects["customer"].get(invoice["customer"] or "")
    intents = [intent for _, intent in payments_of(account, invoice)]
    others = _siblings(account, invoice, subscription)
    moved = {
        movement.charge: movement.amount
        for movement in simulation.book.movements
        if movement.kind == "charge" and movement.invoice == invoice_id
    }
    return Truth(
        at=world.clock.now,
        invoice=invoice_id,
        status=invoice["status"],
        currency=invoice["currency"],
        remaining=invoice["amount_remaining"],
        paid=invoice["amount_paid"],
        due=invoice["amount_due"],
        processing=any(intent["status"] in WAITS_FOR_THE_BANK for intent in intents),
        asks_3ds=any(intent["status"] == "requires_action" for intent in intents),
        automatic=bool(invoice["auto_advance"]),
        collection=invoice["collection_method"],
        next_attempt=invoice["next_payment_attempt"],
        customer=invoice["customer"],
        email=customer["email"] if customer else None,
        deleted=customer is None,
        subscription=subscription["id"] if subscription else None,
        subscription_status=subscription["status"] if subscription else None,
        paused=bool(subscription and subscription["pause_collection"]),
        ends_at=_end_of(subscription),
        latest=all(other["created"] <= invoice["created"] for other in others),
        later_paid=any(
            other["status"] == "paid" and other["created"] > invoice["created"] and other["amount_paid"] > 0
            for other in others
        ),
        method=_method(simulation, account, invoice),
        default=_default(simulation, account, customer),
        connected=account.connected,
        automatic_reason=invoice["billing_reason"] in MADE_BY_STRIPE,
        restricted=not account.resource["charges_enabled"],
        charges=moved,
    )


def _end_of(subscription: Json | None) -> int | None:
    if subscription is None:
        return None
    if subscription["cancel_at"] is not None:
        return int(subscription["cancel_at"])
    if subscription["cancel_at_period_end"]:
        return int(subscription["items"]["data"][0]["current_period_end"])
    return None


def _siblings(account: Account, invoice: Json, subscription: Json | None) -> list[Json]:
    if subscription is None:
        return []
    found = []
    for other in account.objects["invoice"].values():
        theirs = subscription_of(account, other)
        if theirs is not None and theirs["id"] == subscription["id"] and other["id"] != invoice["id"]:
            found.append(other)
    return found


def _method(simulation: Simulator, account: Account, invoice: Json) -> Method | None:
    try:
        return _shown(simulation, account, simulation.collecting._method(account, invoice, None))
    except (ApiError, KeyError):
        return None


def _default(simulation: Simulator, account: Account, customer: Json | None) -> Method | None:
    ident = customer["invoice_settings"]["default_payment_method"] if customer else None
    method = account.objects["payment_method"].get(ident or "")
    return None if method is None else _shown(simulation, account, method)


def _shown(simulation: Simulator, account: Account, method: Json) -> Method:
    ident, kind, now = method["id"], method["type"], simulation.world.clock.now
    details = method[kind]
    debit, script = account.debits.get(ident), account.scripts.get(ident)
    if debit is not None:
        # Looks, and does not count as a try.
        good = not debit.mandate_revoked and replace(debit).end(now) is None and debit.takes is not None
        return Method(ident, kind, details.get("fingerprint", ""), good, False, False)
    answer = Approved() if script is None else replace(script).answer(now, details.get("brand", ""))
    when = datetime.fromtimestamp(now, UTC)
    expired = (details["exp_year"], details["exp_month"]) < (when.year, when.month)
    needs = isinstance(answer, NeedsAction)
    return Method(ident, kind, details["fingerprint"], isinstance(answer, Approved), expired, needs)
