"""Everything that exists: accounts with their objects, the clock, the logs. All of it in memory."""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from simulator.bank_accounts import DebitScript
from simulator.clock import Clock
from simulator.errors import missing
from simulator.ids import Ids
from simulator.payment import Script
from simulator.shapes import Json


@dataclass(slots=True)
class Reaction:
    """What a customer does some time after an email with a link to them arrived.

    `kind`: `pay` (with a good card on the hosted invoice page), `pay_by_debit` (there, from a good bank account),
    `authenticate` (3-D Secure there), `new_card` (adds one in the billing portal; on an invoice's page it pays with it)
    or `ignore`.
    `on_email`: the which-th email moves them.
    """

    kind: str = "ignore"
    delay: int = 7_200
    on_email: int = 1
    emails: int = 0


@dataclass(frozen=True, slots=True)
class Renewal:
    """A card that is renewed under its id at a simulated second, and what it had been scripted to answer."""

    at: int
    was: Script


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to move money, as the networks saw it. Appended, never changed, never removed.

    A bank debit has two entries: one when it begins (`processing`), and one when its end is known (`succeeded` or
    `failed`), which `concludes` the other by its number.
    """

    seq: int
    at: int
    account: str
    invoice: str
    payment_intent: str
    charge: str | None
    payment_method: str
    fingerprint: str
    amount: int
    currency: str
    source: str
    outcome: str
    decline_code: str | None
    idempotency_key: str | None
    concludes: int | None = None


@dataclass(slots=True)
class Account:
    """A connected account (or the platform itself) and all that is in it.

    `objects` holds resources by kind and id, oldest first; `payments` the invoice payments of an
    invoice; `billed` the invoice of a PaymentIntent; `methods` the payment methods of a customer; `scripts` those of
    cards, `debits` those of bank accounts, `renewals` the cards that are or will be renewed under their id; `retries`
    the days between Stripe's own attempts, none by default; `portal` whether the merchant has switched the billing
    portal on; `upcoming_days` how long ahead of a renewal `invoice.upcoming` is sent, 0 for never; `after_retries` what
    becomes of a subscription after Stripe's last attempt (`past_due`, `unpaid`, `cancel`), and
    `write_off_after_retries` whether its invoice is then marked uncollectible; `clocks` the test clock of a
    customer and `ahead` by how many seconds a clock is; `as_accounts` the account that a customer is (Accounts v2).
    """

    id: str
    resource: Json
    currency: str
    connected: bool = False
    retries: tuple[int, ...] = ()
    portal: bool = True
    upcoming_days: int = 0
    after_retries: str = "past_due"
    write_off_after_retries: bool = False
    clocks: dict[str, str] = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)
    as_accounts: dict[str, str] = field(default_factory=dict)
    objects: defaultdict[str, dict[str, Json]] = field(default_factory=lambda: defaultdict(dict))
    payments: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    methods: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    billed: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, Script] = field(default_factory=dict)
    debits: dict[str, DebitScript] = field(default_factory=dict)
    renewals: dict[str, Renewal] = field(default_factory=dict)
    reactions: dict[str, Reaction] = field(default_factory=dict)
    prices: dict[tuple[int, str, str], str] = field(default_factory=dict)
    events: list["Event"] = field(default_factory=list)

    def get(self, kind: str, ident: str) -> Json:
        """The resource, or a 404 as Stripe answers it."""
        try:
            return self.objects[kind][ident]
        except KeyError:
            raise missing(kind, ident) from None

    def put(self, resource: Json) -> Json:
        self.objects[resource["object"]][resource["id"]] = resource
        return resource

    def find(self, ident: str) -> Json | None:
        """The resource with this id, of whatever kind."""
        for objects in self.objects.values():
            if ident in objects:
                return objects[ident]
        return None


@dataclass(slots=True)
class Event:
    """Something that happened, frozen as the JSON that goes out."""

    id: str
    type: str
    account: str
    created: int
    body: bytes
    wanted: bool = False
    delivered: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """The API request that causes what happens now; both are None for what happens by itself."""

    request_id: str | None = None
    idempotency_key: str | None = None


BY_ITSELF = Origin()


class World:
    """The state of one simulation: deterministic from its seed, its start and what it was asked."""

    def __init__(self, seed: int, start: int) -> None:
        self.seed = seed
        self.clock = Clock(start)
        self.ids = Ids(seed)
        self.accounts: dict[str, Account] = {}
        self.owners: dict[str, str] = {}
        self.attempts: list[Attempt] = []
        self.events: dict[str, Event] = {}
        self.links: dict[str, tuple[str, str]] = {}
        self.pii: dict[str, None] = {}
        self.failed: dict[str, int] = {}
        self.origin = BY_ITSELF

    def rng(self, purpose: str) -> random.Random:
        """Randomness of its own for each purpose, so that one does not move another."""
        return random.Random(f"{self.seed}:{purpose}")  # noqa: S311 - a simulation, not a secret

    def add(self, account: Account, resource: Json) -> Json:
        """Stores a new resource and remembers whose it is."""
        self.owners[resource["id"]] = account.id
        return account.put(resource)

    def account(self, ident: str) -> Account:
        """The account with this id, or a 404."""
        if ident not in self.accounts:
            raise missing("account", ident)
        return self.accounts[ident]

    def account_of(self, ident: str) -> Account:
        """The account that owns an object; 404 when nobody does."""
        try:
            return self.accounts[self.owners[ident]]
        except KeyError:
            raise missing("object", ident) from None

    def everywhere(self, kind: str) -> Iterator[tuple[Account, Json]]:
        """All resources of a kind, with their accounts."""
        for account in self.accounts.values():
            for resource in account.objects[kind].values():
                yield account, resource

    def give_out(self, *values: str | None) -> None:
        """Remembers personal data as given out, so that a search for it elsewhere can be complete."""
        for value in values:
            if value:
                self.pii[value] = None
