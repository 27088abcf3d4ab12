"""Cards that change under their id, that are pinned, or that are older than payment methods.

Stripe's card updater gets new details from the networks: a new number (with a new fingerprint) or only a new date, and
the payment method keeps its id (docs.stripe.com/payments/cards/overview#automatic-card-updates, read 2026-11). What is
paid from, in this order: docs.stripe.com/api/subscriptions/object#subscription_object-default_payment_method.
"""

from simulator.errors import bad_request
from simulator.events import EventLog
from simulator.legacy import source_of
from simulator.payment import Script
from simulator.people import CARD_FIELDS, SCRIPT_FIELDS, People
from simulator.shapes import Json
from simulator.world import Account, Renewal, World

# What tells of a card that changed under its id. The first two are of payment methods (the second is the first's name
# before API version 2020-08-27), the last two of sources (the very last is older than sources).
AUTOMATIC = "payment_method.automatically_updated"
RENEWALS = (
    AUTOMATIC,
    "payment_method.card_automatically_updated",
    "payment_method.updated",
    "customer.source.updated",
    "customer.card.updated",
)
_OF_SOURCES = {"customer.source.updated", "customer.card.updated"}


class Cards:
    """The cards of all accounts, beyond being added and charged."""

    def __init__(self, world: World, events: EventLog, people: People) -> None:
        self._world = world
        self._events = events
        self._people = people

    def renew(self, account: Account, method: Json, given: Json, *, number: bool, events: tuple[str, ...]) -> Json:
        """The same payment method with another number or only another date.

        `given`: card fields that are to be, and a script (without one the renewed card is good). Without a field a new
        number gets a fingerprint and last digits of its own, and any renewal five more years.
        """
        unknown = set(given) - CARD_FIELDS - SCRIPT_FIELDS
        if unknown or not set(events) <= set(RENEWALS):
            raise bad_request(f"Unknown: {sorted(unknown) + sorted(set(events) - set(RENEWALS))}; events: {RENEWALS}.")
        old = method["card"]
        changes: Json = {"exp_year": old["exp_year"] + 5}
        if number:
            token = self._world.ids.token("card", account.id, 16)
            changes |= {"fingerprint": token, "last4": f"{int.from_bytes(token.encode()) % 10_000:04d}"}
        changes |= {name: value for name, value in given.items() if name in CARD_FIELDS}
        before = {name: old[name] for name, value in changes.items() if old[name] != value}
        method["card"] = {**old, **changes}
        account.renewals.setdefault(method["id"], Renewal(self._world.clock.now, account.scripts[method["id"]]))
        account.scripts[method["id"]] = self._people.script(given) if SCRIPT_FIELDS & set(given) else Script()
        for kind in events:
            if kind in _OF_SOURCES:
                self._events.emit(account, kind, source_of(method), before)
            else:
                self._events.emit(account, kind, method, {"card": before})
        return method

    def default_by_form(self, account: Account, customer: Json, method_id: str | None) -> None:
        """A merchant's own form makes a method the customer's default; a subscription that pins another keeps it."""
        settings = customer["invoice_settings"]
        before = {"invoice_settings": {"default_payment_method": settings["default_payment_method"]}}
        customer["invoice_settings"] = {**settings, "default_payment_method": method_id}
        self._events.emit(account, "customer.updated", customer, before)

    def pin(self, account: Account, subscription: Json, method_id: str | None) -> None:
        """The subscription's own default, which wins over the customer's; None: it has none."""
        before = {"default_payment_method": subscription["default_payment_method"]}
        subscription["default_payment_method"] = method_id
        self._events.emit(account, "customer.subscription.updated", subscription, before)

    def add_source(
        self, account: Account, customer: Json, card: Json, *, prefix: str, default: bool, announce: bool = True
    ) -> Json:
        """A legacy card (`card_…`) or source (`src_…`), which Stripe also shows as a payment method of that id.

        As the default it is `customer.default_source`; `invoice_settings` stay as they are.
        """
        if prefix not in {"card", "src"}:
            raise bad_request("A source's prefix is card or src.")
        method = self._people.add_card(account, customer, card, default=False, announce=False, prefix=prefix)
        if announce:
            self._events.emit(account, "customer.source.created", source_of(method))
        if default:
            before = {"default_source": customer["default_source"]}
            customer["default_source"] = method["id"]
            if announce:
                self._events.emit(account, "customer.updated", customer, before)
        return method
