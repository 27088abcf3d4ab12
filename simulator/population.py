"""A realistic population: merchants, their customers with names and addresses, cards and bank debits that fail.

The names and addresses are canaries: every one that is made is remembered (`/_sim/pii`), so that a
test can search logs and databases for any of them.
"""

import random
from dataclasses import dataclass, field

from simulator import resources
from simulator.bank_accounts import DEBIT_OF
from simulator.billing import Billing
from simulator.mishaps import DEBIT_FAILURES, RENEWED_CAUSES, Back, Mishaps, bank_account, debit_payers
from simulator.names import BUSINESSES, FIRST, LAST, PLACES, STREETS
from simulator.people import People
from simulator.shapes import DAY, HOUR, Json
from simulator.world import Account, Reaction, World

PRICES = (900, 1_200, 1_900, 2_900, 4_900, 9_900)
BRANDS = (("visa", 52), ("mastercard", 34), ("amex", 9), ("discover", 5))

# Share of failing cards by cause, in percent: Stripe's and the networks' published orders of
# magnitude, not a measurement. `needs_3ds` is a card that asks for authentication.
FAILURES: dict[str, float] = {
    "insufficient_funds": 40,
    "do_not_honor": 10,
    "generic_decline": 9,
    "expired_card": 10,
    "lost_card": 3,
    "stolen_card": 3,
    "try_again_later": 5,
    "processing_error": 4,
    "needs_3ds": 8,
    "card_velocity_exceeded": 4,
    "withdrawal_count_limit_exceeded": 1,
    "transaction_not_allowed": 2,
    "fraudulent": 1,
}

# cause: (share that clears by itself, first day, last day)
CLEARING: dict[str, tuple[float, float, float]] = {
    "insufficient_funds": (0.75, 0.5, 16),
    "do_not_honor": (0.45, 1, 12),
    "generic_decline": (0.4, 1, 12),
    "try_again_later": (0.9, 0.05, 2),
    "processing_error": (0.95, 0.02, 1),
    "card_velocity_exceeded": (0.85, 0.5, 7),
    "withdrawal_count_limit_exceeded": (0.85, 0.5, 3),
}

# Brands' colors, in turn.
COLORS = ("#0b6e4f", "#5b2a86", "#b3261e", "#f2c14e", "#1f4e8c")

# What customers do after an email, with the share in percent.
REACTIONS: dict[str, float] = {"pay": 18, "new_card": 17, "ignore": 65}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make; see `populate`.

    `debits` is the share of subscribers who pay by bank debit, where the currency has one; `renewed` that of the cards
    of `RENEWED_CAUSES` which the card updater renews, `renewed_after` seconds after their first decline; `refunds` and
    `disputes` are shares of all charges, `back_after` seconds after them (`mishaps.Back` has the rest).
    """

    accounts: int = 20
    subscriptions: int = 100
    failing: float = 0.15
    currencies: tuple[str, ...] = ("usd", "eur", "gbp")
    renew_from: int = HOUR
    renew_within: int = 3 * DAY
    connected: bool = False
    failures: dict[str, float] = field(default_factory=lambda: dict(FAILURES))
    reactions: dict[str, float] = field(default_factory=lambda: dict(REACTIONS))
    reaction_delay: tuple[int, int] = (HOUR, 30 * HOUR)
    authenticates: float = 0.7
    stripe_retries: tuple[int, ...] = ()
    debits: float = 0.0
    debit_failures: dict[str, float] = field(default_factory=lambda: dict(DEBIT_FAILURES))
    renewed: float = 0.0
    renewed_after: tuple[int, int] = (DAY, 8 * DAY)
    refunds: float = 0.0
    disputes: float = 0.0
    back_after: tuple[int, int] = (DAY, 9 * DAY)


class Population:
    """Makes accounts and everybody in them, from the world's seed."""

    def __init__(self, world: World, billing: Billing, people: People, mishaps: Mishaps) -> None:
        self._world = world
        self._billing = billing
        self._people = people
        self._mishaps = mishaps
        self._made = 0

    def populate(self, plan: Plan) -> list[str]:
        """Makes the accounts of a plan, with customers, cards and subscriptions; their ids.

        An account has one currency, in turn. Accounts are not connected unless the plan says so:
        the product connects them by OAuth.
        """
        made = []
        for number in range(plan.accounts):
            currency = plan.currencies[number % len(plan.currencies)]
            account = self.add_account(currency=currency, connected=plan.connected)
            account.retries = plan.stripe_retries
            rng = self._world.rng(f"population:{account.id}")
            failing = round(plan.subscriptions * plan.failing)
            troubled = set(rng.sample(range(plan.subscriptions), failing))
            # What was added later has a stream of its own: the cards of a seed stay what they were without it.
            beside = self._world.rng(f"mishaps:{account.id}")
            share = plan.debits if currency in DEBIT_OF else 0.0
            by_debit = debit_payers(plan.subscriptions, troubled, share, beside)
            if plan.refunds or plan.disputes:
                self._mishaps.back[account.id] = Back(plan.refunds, plan.disputes, plan.back_after)
            for index in range(plan.subscriptions):
                self._subscriber(account, plan, rng, beside, fails=index in troubled, by_debit=index in by_debit)
            made.append(account.id)
        return made

    def add_account(
        self,
        *,
        currency: str = "usd",
        country: str | None = None,
        connected: bool = False,
        ident: str | None = None,
        name: str | None = None,
        color: str | None = None,
        support_email: str | None = None,
    ) -> Account:
        """A merchant without customers; `color` and `support_email` are its brand's."""
        ident = ident or self._world.ids.new("acct")[:21]
        name = name or BUSINESSES[self._made % len(BUSINESSES)]
        self._made += 1
        resource = resources.account(
            ident,
            email=f"owner{self._made}@merchant.example",
            name=name,
            country=country or PLACES.get(currency, PLACES["usd"])[0],
            currency=currency,
            now=self._world.clock.now,
            color=color or COLORS[self._made % len(COLORS)],
            support_email=support_email,
        )
        account = Account(ident, resource, currency, connected=connected)
        self._world.accounts[ident] = account
        self._world.add(account, resource)
        return account

    def subscribe(
        self,
        account: Account,
        customer: Json,
        *,
        amount: int,
        currency: str | None = None,
        interval: str = "month",
        renews_at: int,
        default_payment_method: str | None = None,
    ) -> Json:
        """An active subscription whose current period ends, and which renews, at `renews_at`."""
        world = self._world
        price = self._price(account, amount, currency or account.currency, interval)
        made = resources.subscription(
            world.ids.new("sub", account.id),
            world.ids.new("si", account.id)[:21],
            customer["id"],
            price,
            start=renews_at - 30 * DAY,
            end=renews_at,
            now=world.clock.now,
        )
        made["default_payment_method"] = default_payment_method
        world.add(account, made)
        self._billing.schedule(account, made)
        return made

    def person(self, rng: random.Random, currency: str) -> Json:
        """Somebody with a name, an email address, a telephone and a street of their own."""
        country, city, state, postal, locale, prefix = PLACES.get(currency, PLACES["usd"])
        first, last, number = rng.choice(FIRST), rng.choice(LAST), len(self._world.pii)
        login = "".join(letter for letter in f"{first}.{last}".lower() if letter.isascii())
        return {
            "name": f"{first} {last}",
            "email": f"{login}.{number}@customer.example",
            "phone": f"{prefix}{number % 10_000_000:07d}",
            "locale": locale,
            "address": {
                "line1": f"{number + 1} {rng.choice(STREETS)} Lane",
                "city": city,
                "state": state,
                "postal_code": postal,
                "country": country,
            },
        }

    def _price(self, account: Account, amount: int, currency: str, interval: str) -> Json:
        key = (amount, currency, interval)
        if key not in account.prices:
            world, scope = self._world, account.id
            now = world.clock.now
            product = world.ids.new("prod", scope)
            world.add(account, resources.product(product, "Membership", now=now))
            ident = world.ids.new("price", scope)
            price = resources.price(ident, product, amount, currency, interval, now)
            account.prices[key] = world.add(account, price)["id"]
        return account.get("price", account.prices[key])

    def _subscriber(
        self, account: Account, plan: Plan, rng: random.Random, beside: random.Random, *, fails: bool, by_debit: bool
    ) -> None:
        world, people = self._world, self._people
        renews_at = world.clock.now + plan.renew_from + rng.randrange(max(plan.renew_within, 1))
        first_try = renews_at + HOUR
        person = self.person(rng, account.currency)
        customer = people.add_customer(account, person, currency=account.currency)
        brand = rng.choices([name for name, _ in BRANDS], [share for _, share in BRANDS])[0]
        card: Json = {"brand": brand, "country": account.resource["country"]}
        if fails:
            failure, reaction = self._trouble(plan, first_try, rng)
            card.update(failure)
            account.reactions[customer["id"]] = reaction
        if by_debit:
            kind = DEBIT_OF[account.currency]
            debit = bank_account(kind, plan.debit_failures, first_try, beside, fails=fails)
            method = people.add_debit(account, customer, debit, default=True, announce=False)
            if fails and reaction.kind == "pay" and beside.random() < 0.5:
                reaction.kind = "pay_by_debit"
        else:
            method = people.add_card(account, customer, card, default=True, announce=False)
            if card.get("decline") in RENEWED_CAUSES and beside.random() < plan.renewed:
                self._mishaps.renew_later(account, method, first_try + beside.randint(*plan.renewed_after))
        own = method["id"] if rng.random() < 0.3 else None
        self.subscribe(
            account,
            customer,
            amount=rng.choice(PRICES),
            renews_at=renews_at,
            default_payment_method=own,
        )

    def _trouble(self, plan: Plan, first_try: int, rng: random.Random) -> tuple[Json, Reaction]:
        """A failing card's script, and what its owner does after emails."""
        cause = rng.choices(list(plan.failures), list(plan.failures.values()))[0]
        delay = rng.randint(*plan.reaction_delay)
        on_email = rng.choices((1, 2, 3), (6, 3, 1))[0]
        kind = rng.choices(list(plan.reactions), list(plan.reactions.values()))[0]
        if cause == "needs_3ds":
            kind = "authenticate" if rng.random() < plan.authenticates else "ignore"
            return {"needs_3ds": True}, Reaction(kind, delay, on_email)
        script: Json = {"decline": cause}
        share, first, last = CLEARING.get(cause, (0.0, 0.0, 0.0))
        if rng.random() < share:
            script["clears_at"] = first_try + int(rng.uniform(first, last) * DAY)
        return script, Reaction(kind, delay, on_email)
