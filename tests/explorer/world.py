"""One world: a merchant, its customers, the bank, Stripe and an operator, who act by a story; and what was seen of it.

Time is virtual. It jumps from one moment at which something is due (an act, a task, Stripe's own next step, a late
event) to the next; there everything happens that follows, until nothing is left to do. What the product does outside is
looked at when it does it, and set down beside the truth of that moment.
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import asyncpg
import orjson
from aiohttp.test_utils import TestServer

from services.ingress.app import INTAKE
from services.worker.outside.circuits import Circuits
from shared.clock import travel_to
from shared.database import Database, DatabaseAway, DatabaseBusy, Role
from shared.events.incoming import read_event
from shared.events.routing import ROUTES
from shared.ids import AccountId, MerchantId
from shared.policy.document import SCHEMA_VERSION
from shared.queue import tasks
from simulator import Simulator, SimulatorError
from simulator.faults import Fault
from simulator.webhooks import signature
from simulator.world import Account, Event
from tests.explorer.seen import Charging, Closed, Ended, Seen, Word, Written
from tests.explorer.stage import RESEND_SECRET, WEBHOOK_SECRET, Stage
from tests.explorer.story import DAY, HOUR, MERCHANT, Act, Story
from tests.explorer.truth import Json, Truth, truth_of
from tests.explorer.wire import Control
from tests.integration.worker.doomed import DOOMED, die_at
from tests.world import World as Rows

MOST_ROUNDS = 60
"""A moment at which so many rounds of work lead to more work never ends."""
MOST_RUNS = 150
"""So many runs at one moment, one after the other, never end."""
MOST_MOMENTS = 2_000
"""Held tasks are looked at once an hour, for as long as a barrier stands: four of them 400 times. A loop is longer."""
TOLD_OF = frozenset(ROUTES)

NEXT_DUE = "SELECT min(run_at) AS due FROM scheduled_tasks WHERE status = 'pending' AND NOT parked"
ENDS_SINCE = """
SELECT t.id, t.recovery_id::text AS recovery_id, r.invoice_id, t.to_state AS state, t.rule
FROM recovery_timeline AS t JOIN recoveries AS r ON r.id = t.recovery_id
WHERE t.id > $1 AND t.kind = 'closed' AND t.to_state IN ('recovered', 'exhausted', 'stopped')
ORDER BY t.id
"""
PLANS = """
SELECT r.id::text AS recovery_id, r.invoice_id, r.state, r.stop_requested, p.document,
    extract(epoch FROM r.opened_at)::float8 AS opened_at,
    extract(epoch FROM r.next_attempt_at)::float8 AS next_attempt_at
FROM recoveries AS r JOIN policies AS p ON p.id = r.policy_id
WHERE r.customer_id = $1
"""
DEAD = """
SELECT r.id::text AS id, r.invoice_id FROM recoveries AS r
WHERE r.closed_at IS NULL
    AND EXISTS (
        SELECT FROM scheduled_tasks AS t
        WHERE t.recovery_id = r.id AND t.task_type = 'dunning_retry' AND t.status = 'dead'
    )
    AND NOT EXISTS (
        SELECT FROM scheduled_tasks AS t
        WHERE t.recovery_id = r.id AND t.task_type = 'dunning_retry' AND t.status IN ('pending', 'running')
    )
"""
EXPIRE = "UPDATE scheduled_tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE status = 'running'"


@dataclass(frozen=True, slots=True)
class Person:
    """The ids that belong to a label of the story."""

    customer: str
    subscription: str
    invoice: str
    method: str | None


@dataclass(slots=True)
class Mail:
    """How Stripe's events travel, each until a time."""

    lost: int = 0
    late: int = 0
    late_by: int = 0
    twice: int = 0
    twin: int = 0
    backwards: int = 0
    old: int = 0


@dataclass(slots=True)
class Crossing:
    """Somebody acts in the middle of a request of ours: the `nth` that fits, `before` or after it is carried out."""

    act: Act
    method: str
    path: str
    nth: int
    before: bool


Doing = Callable[["World", Act], Awaitable[None]]
DOINGS: dict[str, Doing] = {}


def doing(what: str) -> Callable[[Doing], Doing]:
    """Registers a function that does what an act of this name says."""

    def register(function: Doing) -> Doing:
        DOINGS[what] = function
        return function

    return register


class NotNow(Exception):
    """An act cannot be done (any more): nobody is there, or it is done already."""


class World:
    """Plays a story on a stage. `by_http`: events come through the ingress's port, signed."""

    def __init__(self, stage: Stage, story: Story) -> None:
        self.stage, self.story = stage, story
        self.simulation = Simulator(seed=story.seed, start=story.start)
        self.control = Control(self.simulation)
        self.cast: dict[str, Person] = {}
        self.seen = Seen()
        self.mail = Mail()
        self.account_id = AccountId("")
        self.merchant_id = MerchantId("")
        self.crossings: list[Crossing] = []
        self.dies_at: int | None = None
        self.cut_at: int | None = None
        self.away_until = 0
        self.bouncing = False
        self.outages: list[tuple[int, Fault]] = []
        self.told_failed: set[str] = set()
        self._by_http = story.seed % 8 == 0
        self._post: deque[Event] = deque()
        self._late: list[tuple[int, int, Event]] = []
        self._numbers = itertools.count()
        self._last_end = 0
        self._before: tuple[Truth, ...] = ()
        self._read: dict[str, Truth] = {}
        self._attempts = 0
        self._emails = 0
        self._trouble = False
        self._looking = True
        self._work_due = False

    # -- playing ---------------------------------------------------------------------------------

    async def play(self) -> None:
        """From the beginning to the end of the story's days."""
        await self._begin()
        acts = deque(sorted(self.story.acts, key=lambda act: act.at))
        for _ in range(MOST_MOMENTS):
            moment = await self._next_moment(acts)
            if moment is None:
                await self._end()
                return
            await self._to(moment)
            asked = self._work_due
            while acts and self.story.start + acts[0].at <= self.now:
                await self.do(acts.popleft())
                asked = True
            await self._settle(asked)
            if self.seen.unfinished:
                break
        else:
            self.seen.unfinished.append(f"after {MOST_MOMENTS} moments the world is at day {self._day}")
        await self._end()

    @property
    def now(self) -> int:
        """Simulated unix seconds."""
        return self.simulation.world.clock.now

    @property
    def account(self) -> Account:
        """The merchant's account at Stripe."""
        return self.simulation.world.accounts[self.account_id]

    @property
    def _day(self) -> int:
        return (self.now - self.story.start) // DAY

    @property
    def rows(self) -> Rows:
        """The database with its owner's rights."""
        return Rows(self.stage.owner)

    async def _begin(self) -> None:
        start = datetime.fromtimestamp(self.story.start, UTC)
        await self.stage.clear(start)
        self.stage.line.connect(self.simulation, self._look_before, self._look_after)
        shop = dict(self.story.shop)
        account = {name: shop.pop(name) for name in ("currency", "country", "stripe_retries") if name in shop}
        self.account_id = AccountId((await self.control.add_account(connected=True, **account))["id"])
        if shop:
            await self.control.change_account(self.account_id, **shop)
        self.simulation.events.listener = self._happened
        self.simulation.events.old_shape = lambda: self.now < self.mail.old
        await self.control.configure_resend_webhooks(
            url=str(self.stage.ingress.make_url("/webhooks/resend")), secret=RESEND_SECRET
        )
        self.merchant_id = await self.rows.connect(self.account_id, tokens=False)
        if self.story.policy:
            await self.set_policy(self.story.policy)
        self._catching_up = self.stage.catching_up(timedelta(hours=20)) if self._catches_up else None
        self._next_upkeep = self.now
        self._upkeep_every = 11 * HOUR if self._catches_up else 2 * DAY
        self.circuits = Circuits(clock=lambda: float(self.now))
        self.outside = self.stage.outside(self.circuits)
        self._engine = self.stage.engine("worker-1", self.outside, self.story.seed)

    @property
    def _catches_up(self) -> bool:
        return any(act.what in {"webhooks_lost", "reconnect", "deauthorize"} for act in self.story.acts)

    async def _next_moment(self, acts: deque[Act]) -> int | None:
        last = self.story.start + self.story.days * DAY
        due = (await self.stage.look(NEXT_DUE))[0]["due"]
        moments = [max(self._next_upkeep, self.away_until)]
        if acts:
            moments.append(self.story.start + acts[0].at)
        if due is not None:
            moments.append(max(int(due.timestamp()) + 1, self.away_until))
        if (stripe := self.simulation.world.clock.next_due) is not None:
            moments.append(stripe)
        if self._late:
            moments.append(self._late[0][0])
        first = max(min(moments), self.now)
        self._work_due = due is not None and due.timestamp() <= first
        return None if first > last else first

    async def _to(self, moment: int) -> None:
        await self.simulation.advance(moment)
        for until, fault in self.outages:
            if self.now >= until:
                fault.times = 0
        async with self.stage.owner.statement() as db:
            await travel_to(db, datetime.fromtimestamp(self.now, UTC))

    async def _settle(self, asked: bool) -> None:
        """Everything that follows now, until nothing is left to do.

        A worker for whom there is nothing is not `asked`: half of a world's time went into that. Should anything be
        missed, it is due, and so it is the next moment.
        """
        for _ in range(MOST_ROUNDS):
            moved = await self.deliver()
            if self.now < self.away_until:
                if not moved:
                    return
                continue
            if self.now >= self._next_upkeep:
                await self._keep_up()
                moved = 1
            if not (asked or moved):
                return
            moved += (ran := await self._work())
            asked = False
            if ran >= MOST_RUNS:
                self.seen.unfinished.append(f"on day {self._day} {MOST_RUNS} runs of the worker led to more at once")
                return
            if self.bouncing:
                await self._tell_of_emails()
            if not moved:
                return
        self.seen.unfinished.append(f"on day {self._day} {MOST_ROUNDS} rounds of work led to more work")

    async def _end(self) -> None:
        await self._note_ends()
        self.seen.broken += self.stage.line.broken
        self.stage.line.connect(None)

    # -- acts ------------------------------------------------------------------------------------

    async def do(self, act: Act) -> None:
        """One act, if it can be done."""
        function = DOINGS[act.what]
        try:
            await function(self, act)
        except (NotNow, SimulatorError):
            return
        self.seen.done.append(act.what)
        await self._note_ends()  # an operator's word may end recoveries at once

    def person(self, act: Act) -> Person:
        """Whom an act is about. Raises NotNow."""
        found = self.cast.get(act.who)
        if found is None:
            raise NotNow(act.who)
        return found

    def thing(self, ident: str) -> Json:
        """An object at Stripe as it is. Raises NotNow."""
        found = self.account.find(ident)
        if found is None:
            raise NotNow(ident)
        return found

    def word(
        self, kind: str, *, customer: str | None = None, invoice: str | None = None, until: int | None = None
    ) -> None:
        """Note what a person said, once it was answered with a yes."""
        self.seen.words.append(Word(kind, self.now, customer, invoice, until))

    async def ask(self, method: str, path: str, body: Json | None = None) -> Any:
        """An operator's request to the ledger. Raises NotNow where it is refused."""
        status, answer = await self.stage.ask_ledger(method, path, body)
        if status >= 400:
            raise NotNow(f"{method} {path}: {status}")
        return answer

    async def set_policy(self, document: Json) -> str:
        """The merchant's policy from now on; its id."""
        body = {"merchant_id": self.merchant_id, "document": {"schema_version": SCHEMA_VERSION, **document}}
        made = await self.ask("POST", "/v1/policies", body)
        await self.ask("POST", f"/v1/policies/{made['id']}/activate")
        return str(made["id"])

    # -- events ----------------------------------------------------------------------------------

    def _happened(self, event: Event) -> None:
        account = self.simulation.world.accounts[event.account]
        if event.type not in TOLD_OF or not (account.connected or event.type == "account.application.deauthorized"):
            return
        event.wanted = True
        if self.now < self.mail.lost:
            return
        copies = [event] * (2 if self.now < self.mail.twice else 1)
        if self.now < self.mail.twin:
            self.simulation.events.listener = None
            twin = self.simulation.events.again(event.id)
            self.simulation.events.listener = self._happened
            twin.wanted = True
            copies.append(twin)
        for each in copies:
            if self.now < self.mail.late:
                heapq.heappush(self._late, (self.now + self.mail.late_by, next(self._numbers), each))
            else:
                self._post.append(each)

    async def deliver(self) -> int:
        """Hand over the events that are on their way; how many."""
        while self._late and self._late[0][0] <= self.now:
            self._post.append(heapq.heappop(self._late)[2])
        count = 0
        while self._post:
            event = self._post.pop() if self.now < self.mail.backwards else self._post.popleft()
            try:
                await self._hand_over(event)
            except (DatabaseAway, DatabaseBusy):
                heapq.heappush(self._late, (self.now + HOUR, next(self._numbers), event))
                continue
            event.delivered = True
            count += 1
            if event.type == "invoice.payment_failed":
                self.told_failed.add(orjson.loads(event.body)["data"]["object"]["id"])
        if count:
            await self._note_ends()
        return count

    async def _hand_over(self, event: Event) -> None:
        if not self._by_http:
            served = self.stage.ingress.server
            assert isinstance(served, TestServer)
            await served.app[INTAKE].accept(read_event(orjson.loads(event.body)))
            return
        headers = {"Stripe-Signature": signature(event.body, WEBHOOK_SECRET, int(time.time()))}
        async with self.stage.ingress.post("/webhooks/stripe", data=event.body, headers=headers) as answer:
            if answer.status != 200:
                raise DatabaseAway(f"the ingress answered {answer.status}")

    async def _tell_of_emails(self) -> None:
        await self.control.deliver_emails()

    # -- the worker ------------------------------------------------------------------------------

    async def _work(self) -> int:
        """Run what is due, in a worker that may be about to die or to lose its connections; how many runs."""
        if self.dies_at is not None:
            at, self.dies_at = self.dies_at, None
            return await self._work_until_death(at)
        try:
            done = await self._engine.run_some(MOST_RUNS)
        except* (DatabaseAway, asyncpg.PostgresError):
            self._trouble, done = True, 1
        if self._trouble:
            self._trouble = False
            done += await self._rescue()
        await self._note_ends()
        return done

    async def _work_until_death(self, at: int) -> int:
        async with Database.open(self.stage.url, Role.WORKER, size=5, name=DOOMED) as doomed:
            outside = self.stage.outside(Circuits(clock=lambda: float(self.now)))

            engine = self.stage.engine(DOOMED, outside, self.story.seed, doomed)
            try:
                async with die_at(at, engine, self.rows.execute):
                    self._looking = False
            finally:
                self._looking = True
        await self._rescue()
        await self._note_ends()
        return 1

    async def _rescue(self) -> int:
        """The leases of whoever died run out."""
        await self.rows.execute(EXPIRE)
        async with self.stage.worker.transaction() as db:
            return len(await tasks.rescue(db))

    async def _keep_up(self) -> None:
        self._next_upkeep = self.now + self._upkeep_every
        if self.outages:
            await self._look_at_dead()
        await self.stage.keep_up()
        while self._catching_up is not None and await self._catching_up.run_one():
            pass

    async def _look_at_dead(self) -> None:
        """An operator looks at what needs somebody."""
        shown = await self.ask("GET", f"/v1/recoveries?merchant_id={self.merchant_id}&attention=true")
        ids = {each["id"] for each in shown["data"] if each["attention"] is not None}
        self.seen.hidden += [row["invoice_id"] for row in await self.stage.look(DEAD) if row["id"] not in ids]

    async def _note_ends(self) -> None:
        for row in await self.stage.look(ENDS_SINCE, self._last_end):
            self._last_end = row["id"]
            truth = truth_of(self.simulation, row["invoice_id"])
            self.seen.closed.append(
                Closed(self.now, row["recovery_id"], row["invoice_id"], row["state"], row["rule"], truth)
            )

    # -- what the product does outside -----------------------------------------------------------

    async def _look_before(self, method: str, path: str) -> None:
        if not self._looking:
            return
        await self._cross(method, path, before=True)
        self._attempts, self._emails = len(self.simulation.world.attempts), len(self.simulation.resend.outbox)
        self._before = tuple(truth for ident in self._touched(method, path) if (truth := self.truth(ident)))

    async def _look_after(self, method: str, path: str) -> None:
        if not self._looking:
            return
        for attempt in self.simulation.world.attempts[self._attempts :]:
            if attempt.source == "api_pay" and attempt.concludes is None and self._before:
                read = self._read.get(attempt.invoice, self._before[0])
                self.seen.charging.append(Charging(attempt, self._before[0], read, len(self.seen.words)))
        if method == "GET" and path.startswith("/v1/invoices/"):
            if (now := self.truth(path.split("/")[3])) is not None:
                self._read[now.invoice] = now
        elif path == "/emails":
            for email in list(self.simulation.resend.outbox.values())[self._emails :]:
                await self._note_email(email.id, email.at, email.message)
        elif self._before and (action := _end_action(method, path)) is not None:
            self.seen.ended.append(Ended(self.now, action, path.split("/")[3], self._before))
        await self._cross(method, path, before=False)
        if self.cut_at is not None:
            self.cut_at -= 1
            if self.cut_at <= 0:
                self.cut_at, self._trouble = None, True
                await self.stage.cut("worker")

    async def _cross(self, method: str, path: str, *, before: bool) -> None:
        for crossing in list(self.crossings):
            fits = crossing.method == method and fnmatchcase(path, crossing.path) and crossing.before == before
            if not fits:
                continue
            crossing.nth -= 1
            if crossing.nth <= 0:
                self.crossings.remove(crossing)
                await self.do(crossing.act)
                await self.deliver()

    def truth(self, invoice: str) -> Truth | None:
        """The truth about an invoice now."""
        return truth_of(self.simulation, invoice)

    def _touched(self, method: str, path: str) -> list[str]:
        """The invoices that a changing request is about."""
        parts = path.split("/")
        if method == "POST" and path.startswith("/v1/invoices/"):
            return [parts[3]]
        if path.startswith("/v1/subscriptions/") and method in {"POST", "DELETE"}:
            return [ident for ident, each in self.account.objects["invoice"].items() if _of(each) == parts[3]]
        return []

    async def _note_email(self, ident: str, at: int, message: Json) -> None:
        tags = {tag["name"]: tag["value"] for tag in message.get("tags", ())}
        customer = tags.get("customer")
        invoices = [
            invoice for invoice, each in self.account.objects["invoice"].items() if each["customer"] == customer
        ]
        plans = await self.stage.look(PLANS, customer)
        self.seen.written.append(
            Written(
                ident,
                at,
                tags.get("kind", ""),
                customer,
                tags.get("recovery"),
                message["subject"],
                message["text"],
                message["to"][0],
                {invoice: truth for invoice in invoices if (truth := self.truth(invoice))},
                tuple(dict(plan) for plan in plans),
                len(self.seen.words),
            )
        )


def _of(invoice: Json) -> str | None:
    details = (invoice["parent"] or {}).get("subscription_details")
    return details["subscription"] if details else None


def _end_action(method: str, path: str) -> str | None:
    if path.startswith("/v1/subscriptions/"):
        return {"DELETE": "cancel", "POST": "pause"}.get(method)
    if method == "POST" and path.endswith("/mark_uncollectible"):
        return "mark_uncollectible"
    return None


__all__ = ["DOINGS", "MERCHANT", "NotNow", "Person", "World", "doing"]
