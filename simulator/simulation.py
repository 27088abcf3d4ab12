"""One simulation: the world and everything that works on it, put together."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from simulator.access import Access
from simulator.balances import Balances
from simulator.bank_accounts import TAKES_DAYS
from simulator.billing import Billing
from simulator.book import Book
from simulator.cards import Cards
from simulator.collecting import Collecting
from simulator.collection import Collection
from simulator.credit_notes import CreditNotes
from simulator.debits import Debits
from simulator.events import EventLog
from simulator.expand import LEVELS
from simulator.faults import Faults
from simulator.idempotency import Keys
from simulator.invoicing import Invoices
from simulator.meters import Meters
from simulator.mishaps import Mishaps
from simulator.money_back import MoneyBack
from simulator.oauth import OAuth
from simulator.part_payments import PartPayments
from simulator.people import People
from simulator.population import Population
from simulator.resend import Resend
from simulator.resend_webhooks import ResendWebhooks
from simulator.resources import template
from simulator.shapes import DAY, Json
from simulator.validation import stripe_api
from simulator.webhooks import Webhooks
from simulator.world import BY_ITSELF, Account, World

PLATFORM = "acct_1SimPlatform"
SECRET_KEY = "sk_test_simulator"  # noqa: S105 - not a secret: what tests and the demo use
CLIENT_ID = "ca_simulator"
RESEND_KEY = "re_simulator"
REQUESTS_KEPT = 200_000
TIMERS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as it was answered; status 0 means that the client got no whole answer."""

    seq: int
    id: str
    at: int
    method: str
    path: str
    params: Json
    idempotency_key: str | None
    account: str
    version: str | None
    status: int
    replayed: bool
    fault: str | None


@dataclass(slots=True)
class Settings:
    """What a simulation is started with. `start` is simulated unix seconds (default: the real now)."""

    seed: int = 1
    start: int | None = None
    validate_responses: bool = False
    secret_key: str = SECRET_KEY
    client_id: str = CLIENT_ID
    resend_key: str = RESEND_KEY
    expand_levels: int = LEVELS


class Simulator:
    """A stand-in for Stripe and Resend; serve it with `simulator.serve`.

    Same settings, same requests in the same order: same ids, same declines, same events.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        start: int | None = None,
        validate_responses: bool = False,
        secret_key: str = SECRET_KEY,
        client_id: str = CLIENT_ID,
        resend_key: str = RESEND_KEY,
        expand_levels: int = LEVELS,
    ) -> None:
        self.settings = Settings(seed, start, validate_responses, secret_key, client_id, resend_key, expand_levels)
        self.world = World(seed, int(time.time()) if start is None else start)
        self.events = EventLog(self.world)
        if validate_responses:
            self.events.check = stripe_api().check_resource
        self.book = Book(self.world)
        self.book.check = self.events.check
        self.balances = Balances(self.world, self.events)
        self.invoices = Invoices(self.world, self.events, self.balances)
        self.money_back = MoneyBack(self.world, self.events, self.book)
        self.collecting = Collecting(self.world, self.events, self.invoices, self.book)
        self.debits = Debits(self.world, self.events, self.book, self.money_back, self.collecting.steps())
        self.collecting.ways.update(dict.fromkeys(TAKES_DAYS, self.debits.begin))
        self.billing = Billing(self.world, self.events, self.invoices, self.collecting)
        self.collection = Collection(self.world, self.events, self.billing, self.invoices, self.collecting)
        self.credit_notes = CreditNotes(self.world, self.events, self.invoices, self.balances, self.money_back)
        self.people = People(self.world, self.events, self.collecting)
        self.part_payments = PartPayments(self.world, self.events, self.invoices, self.collecting)
        self.cards = Cards(self.world, self.events, self.people)
        self.mishaps = Mishaps(self.world, self.cards, self.money_back)
        self.collecting.charged = self.mishaps.charged
        self.population = Population(self.world, self.billing, self.people, self.mishaps)
        self.webhooks = Webhooks(self.world, self.events, self.world.rng("webhooks"))
        self.oauth = OAuth(self.world, self.events, client_id, secret_key)
        self.resend = Resend(self.world, resend_key)
        self.resend_webhooks = ResendWebhooks(self.world)
        self.faults = Faults(self.world.rng("faults"))
        self.access = Access()
        self.keys = Keys()
        self.requests: deque[LoggedRequest] = deque(maxlen=REQUESTS_KEPT)
        self.request_count = 0
        self.meters = Meters(self.world, self.events)
        self._advancing = asyncio.Lock()
        self.population.add_account(ident=PLATFORM, connected=True, name="The platform")

    def new_test_clock(self, account: Account, *, ahead: int = 0, name: str | None = None) -> Json:
        """A view of the simulation's one clock, `ahead` of it by that many seconds; at Stripe each is its own."""
        now = self.world.clock.now + ahead
        made = {
            **template("test_helpers.test_clock"),
            "id": self.world.ids.new("clock", account.id),
            "created": self.world.clock.now,
            "deletes_after": self.world.clock.now + 30 * DAY,
            "frozen_time": now,
            "name": name,
            "status": "ready",
            "status_details": {},
        }
        account.ahead[made["id"]] = ahead
        return self.world.add(account, made)

    def jump(self, until: int) -> None:
        """Moves the clock in one step, as Stripe's test clocks do on request."""
        origin, self.world.origin = self.world.origin, BY_ITSELF
        self.world.clock.advance(until)
        self.world.origin = origin

    async def advance(self, until: int) -> int:
        """Moves the clock; requests are served in between. How many timers ran."""
        async with self._advancing:
            ran = 0
            while self.world.clock.step(until):
                ran += 1
                if ran % TIMERS_AT_ONCE == 0:
                    await asyncio.sleep(0)
            return ran
