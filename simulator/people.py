"""Customers and what they do: get cards, pay on hosted pages, authenticate, react to emails."""

from typing import Any

from simulator import bank_accounts, resources
from simulator.bank_accounts import CURRENCIES, DEBIT_OF, FAILURES, TAKES_DAYS, DebitScript
from simulator.collecting import Collecting
from simulator.errors import ApiError, bad_request
from simulator.events import EventLog
from simulator.invoicing import payment_of, processing, under_way
from simulator.payment import DECLINES, Script
from simulator.shapes import DAY, Json
from simulator.world import Account, Reaction, World

SCRIPT_FIELDS = {"decline", "clears_at", "clears_in", "clears_after", "needs_3ds", "authenticated", "without_charge"}
CARD_FIELDS = {"brand", "country", "exp_month", "exp_year", "funding", "last4", "fingerprint"}
# Stripe says "short-lived" and no more (docs.stripe.com/api/customer_portal/sessions).
PORTAL_LIVES = 300
REACTIONS = {"ignore", "pay", "pay_by_debit", "authenticate", "new_card"}


class People:
    """All customers of all accounts."""

    def __init__(self, world: World, events: EventLog, collecting: Collecting) -> None:
        self._world = world
        self._events = events
        self._collecting = collecting

    def add_customer(self, account: Account, person: Json, *, currency: str) -> Json:
        """A new customer; all that is personal about them is remembered as given out."""
        ident = self._world.ids.new("cus", account.id)
        made = resources.customer(ident, person, currency=currency, now=self._world.clock.now)
        self.give_out(person)
        return self._world.add(account, made)

    def give_out(self, person: Json) -> None:
        """Notes name, email, phone and street as personal data that the simulator has given out."""
        address = person.get("address") or {}
        self._world.give_out(person.get("name"), person.get("email"), person.get("phone"))
        self._world.give_out(address.get("line1"))

    def add_card(
        self, account: Account, customer: Json, card: Json, *, default: bool, announce: bool, prefix: str = "pm"
    ) -> Json:
        """A card with its script, attached to the customer; announced by events if asked. `prefix` is of its id."""
        unknown = set(card) - SCRIPT_FIELDS - CARD_FIELDS
        if unknown:
            raise bad_request(f"A card has no {sorted(unknown)}; it has {CARD_FIELDS | SCRIPT_FIELDS}.")
        shown = self._shown(account, {key: card[key] for key in CARD_FIELDS & set(card)}, card)
        ident = self._world.ids.new(prefix, account.id)
        method = resources.payment_method(ident, shown, _person(customer), now=self._world.clock.now)
        account.scripts[ident] = self.script(card)
        return self._attach(account, customer, method, default=default, announce=announce)

    def add_debit(self, account: Account, customer: Json, debit: Json, *, default: bool, announce: bool) -> Json:
        """A bank account that can be debited, with its script: `type` is `sepa_debit`, `us_bank_account` or
        `bacs_debit`; the rest is in `bank_accounts.ACCOUNT_FIELDS` and `DebitScript`."""
        unknown = set(debit) - bank_accounts.ACCOUNT_FIELDS - bank_accounts.SCRIPT_FIELDS
        if unknown:
            known = bank_accounts.ACCOUNT_FIELDS | bank_accounts.SCRIPT_FIELDS
            raise bad_request(f"A debit has no {sorted(unknown)}; it has {sorted(known)}.")
        kind = debit["type"]
        if CURRENCIES.get(kind) != customer["currency"]:
            raise bad_request(f"{kind} is debited in {CURRENCIES.get(kind)}, not in {customer['currency']}.")
        ident = self._world.ids.new("pm", account.id)
        shown = bank_accounts.shown(kind, debit, self._world.ids.token("bank", account.id, 16))
        method = resources.other_method(ident, kind, shown, _person(customer), now=self._world.clock.now)
        account.debits[ident] = self.debit_script(kind, debit)
        return self._attach(account, customer, method, default=default, announce=announce)

    def _attach(self, account: Account, customer: Json, method: Json, *, default: bool, announce: bool) -> Json:
        method["customer"] = customer["id"]
        account.methods[customer["id"]].append(method["id"])
        self._world.add(account, method)
        if announce:
            self._events.emit(account, "payment_method.attached", method)
        if default:
            self.set_default(account, customer, method["id"], announce=announce)
        return method

    def debit_script(self, kind: str, debit: Json) -> DebitScript:
        """The script in a bank account's description; `clears_in` counts from now, `takes_days: null` is never."""
        for name in ("fails", "returns"):
            if debit.get(name) is not None and debit[name] not in FAILURES:
                raise bad_request(f"Unknown failure {debit[name]!r}; known: {sorted(FAILURES)}.")
        days = debit.get("takes_days", TAKES_DAYS[kind])
        clears_at = debit.get("clears_at")
        if debit.get("clears_in") is not None:
            clears_at = self._world.clock.now + debit["clears_in"]
        return DebitScript(
            takes=None if days is None else int(days * DAY),
            fails=debit.get("fails"),
            clears_at=clears_at,
            clears_after=debit.get("clears_after"),
            returns=debit.get("returns"),
            returns_in=int(debit.get("returns_days", 3) * DAY),
            mandate_revoked=bool(debit.get("mandate_revoked")),
        )

    def script(self, card: Json) -> Script:
        """The script in a card's description; `clears_in` counts from now."""
        if card.get("decline") is not None and card["decline"] not in DECLINES:
            raise bad_request(f"Unknown decline {card['decline']!r}; known: {sorted(DECLINES)}.")
        clears_at = card.get("clears_at")
        if card.get("clears_in") is not None:
            clears_at = self._world.clock.now + card["clears_in"]
        return Script(
            decline=card.get("decline"),
            clears_at=clears_at,
            clears_after=card.get("clears_after"),
            needs_3ds=bool(card.get("needs_3ds")),
            authenticated=bool(card.get("authenticated")),
            without_charge=bool(card.get("without_charge")),
        )

    def _shown(self, account: Account, given: Json, script: Json) -> Json:
        # An expired card's date is past; others expire in three years.
        expired = script.get("decline") == "expired_card"
        token = self._world.ids.token("card", account.id, 16)
        number = int.from_bytes(token.encode()) % 10_000
        return {
            "brand": "visa",
            "country": "US",
            "exp_month": 4 if expired else 11,
            "exp_year": 2024 if expired else 2031,
            "funding": "credit",
            "last4": f"{number:04d}",
            "fingerprint": token,
            **given,
        }

    def set_default(self, account: Account, customer: Json, method_id: str, *, announce: bool) -> None:
        """Makes a payment method the customer's default for invoices, and that of the subscriptions
        that have one of their own, as the billing portal does."""
        settings = customer["invoice_settings"]
        before = {"invoice_settings": {"default_payment_method": settings["default_payment_method"]}}
        customer["invoice_settings"] = {**settings, "default_payment_method": method_id}
        if announce:
            self._events.emit(account, "customer.updated", customer, before)
        for subscription in account.objects["subscription"].values():
            own = subscription["default_payment_method"]
            if subscription["customer"] == customer["id"] and own and subscription["status"] != "canceled":
                subscription["default_payment_method"] = method_id
                self._events.emit(
                    account,
                    "customer.subscription.updated",
                    subscription,
                    {"default_payment_method": own},
                )

    # -- acting ----------------------------------------------------------------------------------

    def add_new_card(self, account: Account, customer: Json, card: Json) -> Json:
        """The customer enters a card in the billing portal."""
        return self.add_card(account, customer, card, default=True, announce=True)

    def pay_hosted(self, account: Account, invoice: Json, card: Json, debit: Json | None = None) -> ApiError | None:
        """The customer pays on the hosted invoice page with another card, or a debit, which becomes the default."""
        self._still_open(account, invoice)
        customer = account.get("customer", invoice["customer"])
        if debit is not None:
            method = self.add_debit(account, customer, debit, default=True, announce=True)
            return self._collecting.collect(account, invoice, method, "hosted_page")
        method = self.add_card(account, customer, card, default=True, announce=True)
        account.scripts[method["id"]].authenticated = True  # They are there, and pass 3-D Secure.
        return self._collecting.collect(account, invoice, method, "hosted_page")

    def authenticate(self, account: Account, invoice: Json) -> ApiError | None:
        """The customer passes 3-D Secure on the hosted page, with the card that asked for it."""
        self._still_open(account, invoice)
        _, intent = payment_of(account, invoice)
        if intent["status"] != "requires_action":
            raise bad_request(f"Nothing to authenticate: the PaymentIntent is {intent['status']}.")
        account.scripts[intent["payment_method"]].authenticated = True
        method = account.get("payment_method", intent["payment_method"])
        return self._collecting.collect(account, invoice, method, "hosted_page")

    def _still_open(self, account: Account, invoice: Json) -> None:
        if invoice["status"] not in {"open", "uncollectible"}:
            raise bad_request(f"The hosted page says: this invoice is {invoice['status']}.")
        if under_way(account, invoice):
            raise processing()

    # -- reacting to emails ----------------------------------------------------------------------

    def email_arrived(self, text: str) -> None:
        """Finds the links of this world in an email, and lets their customers react in time, each to one link."""
        offered: dict[tuple[str, str], list[Json]] = {}
        for account_id, target in self._links_in(text):
            found = self._world.accounts[account_id].find(target)
            if found is not None:
                customer_id = found["id"] if found["object"] == "customer" else found["customer"]
                offered.setdefault((account_id, customer_id), []).append(found)
        for (account_id, customer_id), targets in offered.items():
            account = self._world.accounts[account_id]
            reaction = account.reactions.get(customer_id)
            if reaction is None or reaction.kind == "ignore":
                continue
            reaction.emails += 1
            if reaction.emails == reaction.on_email:
                # Whoever wants to pay looks for the invoice, whoever has a new card for the place to enter it.
                to_an_invoice = reaction.kind != "new_card"
                chosen = sorted(targets, key=lambda each: (each["object"] == "invoice") != to_an_invoice)
                self._schedule(account, reaction, chosen[0])

    def _links_in(self, text: str) -> list[tuple[str, str]]:
        """(account, invoice, portal session or customer) of each link, once each."""
        tokens = (piece[:24] for piece in text.split("test_")[1:])
        found = {self._world.links[token]: None for token in tokens if token in self._world.links}
        return list(found)

    def _schedule(self, account: Account, reaction: Reaction, target: Json) -> None:
        self._world.clock.after(reaction.delay, lambda: self._react(account, reaction, target))

    def _react(self, account: Account, reaction: Reaction, target: Json) -> None:
        if (target["id"] if target["object"] == "customer" else target["customer"]) in account.objects["deleted"]:
            return
        debit = {"type": DEBIT_OF[account.currency]} if reaction.kind == "pay_by_debit" else None
        if target["object"] != "invoice":
            if reaction.kind in {"pay", "pay_by_debit", "new_card"} and self._opens(target):
                customer = target if target["object"] == "customer" else account.get("customer", target["customer"])
                if debit is not None:
                    self.add_debit(account, customer, debit, default=True, announce=True)
                else:
                    self.add_new_card(account, customer, {})
            return
        if target["status"] not in {"open", "uncollectible"} or under_way(account, target):
            return
        if reaction.kind == "authenticate":
            _, intent = payment_of(account, target)
            if intent["status"] == "requires_action":
                self.authenticate(account, target)
            return
        self.pay_hosted(account, target, {}, debit)

    def _opens(self, target: Json) -> bool:
        """Whether a page still opens: a portal session is short-lived, unless its customer may log in afterwards."""
        now = self._world.clock.now
        if target["object"] != "billing_portal.session" or now <= target["created"] + PORTAL_LIVES:
            return True
        after = target.get("after_expiration") or {}
        until = after.get("customer_login", {}).get("expires_at", now)
        return after.get("type") == "customer_login" and now <= until

    def set_reaction(self, account: Account, customer_id: str, given: dict[str, Any]) -> None:
        """Scripts what a customer does after an email; see `Reaction`."""
        reaction = Reaction(**given)
        if reaction.kind not in REACTIONS:
            raise bad_request(f"Unknown reaction {reaction.kind!r}; known: {sorted(REACTIONS)}.")
        account.reactions[customer_id] = reaction


def _person(customer: Json) -> Json:
    return {name: customer[name] for name in ("name", "email", "phone", "address")}
