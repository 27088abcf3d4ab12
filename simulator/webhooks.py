"""Signed webhooks: posted in real time, repeated until a 2xx comes or the attempts are used up.

The signature's time is the real one, because receivers check it against their own clock; an event's
`created` is simulated time.
"""

import asyncio
import hashlib
import hmac
import random
import time
from collections import deque
from dataclasses import dataclass, field

import aiohttp

from simulator.events import EventLog
from simulator.world import Event, World


@dataclass(slots=True)
class WebhookPlan:
    """Where events go and what goes wrong on the way. Shares are from 0 to 1, drawn from the seed.

    `types` limits what is sent (empty: everything); `late_by` is simulated seconds: a late event goes
    out only when the clock has moved that far. `twin_share` sends the same fact under a second event
    id; a dropped event is never sent and can be found in the event list only. `old_shape_share` of the
    events come as an endpoint with an API version before basil gets them, `user_id_share` as one with a version before
    2017-05-25 does.
    """

    url: str | None = None
    secret: str = "whsec_simulator"  # noqa: S105 - not a secret: a default for tests
    types: tuple[str, ...] = ()
    duplicate_share: float = 0.0
    twin_share: float = 0.0
    late_share: float = 0.0
    late_by: int = 3_600
    drop_share: float = 0.0
    old_shape_share: float = 0.0
    user_id_share: float = 0.0
    shuffle: bool = False
    concurrency: int = 8
    max_attempts: int = 12
    backoff: float = 0.05
    backoff_limit: float = 5.0
    timeout: float = 10.0


@dataclass(slots=True)
class Delivery:
    """One event on its way: how often it was sent and what came back (0 is a failed connection)."""

    event: str
    type: str
    account: str
    planned: int = 1
    sent: int = 0
    statuses: list[int] = field(default_factory=list)
    first_2xx: float | None = None
    dropped: bool = False
    given_up: bool = False


class Webhooks:
    """Sends the events of a world to the receiver; `run` is its background work."""

    def __init__(self, world: World, events: EventLog, rng: random.Random) -> None:
        self._world = world
        self._events = events
        self._rng = rng
        # The order of sending depends on the network, so it must not move the draws of the story.
        self._order = random.Random(rng.random())  # noqa: S311 - a simulation, not a secret
        self._due: deque[Event] = deque()
        self._open = 0
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._shapes = random.Random(rng.random())  # noqa: S311 - a simulation, not a secret
        self.plan = WebhookPlan()
        self.deliveries: dict[str, Delivery] = {}

    def configure(self, plan: WebhookPlan) -> None:
        """From now on events go by this plan; those on their way are not lost."""
        self.plan = plan
        self._events.listener = self._happened if plan.url else None
        share = plan.old_shape_share
        self._events.old_shape = lambda: share > 0 and self._shapes.random() < share
        oldest = plan.user_id_share
        self._events.oldest_shape = lambda: oldest > 0 and self._shapes.random() < oldest

    def _happened(self, event: Event) -> None:
        """Plans the sending of a new event."""
        plan, draw = self.plan, self._rng.random
        account = self._world.accounts[event.account]
        wanted = not plan.types or event.type in plan.types
        if not wanted or not (account.connected or event.type == "account.application.deauthorized"):
            return
        event.wanted = True
        delivery = Delivery(event.id, event.type, event.account)
        self.deliveries[event.id] = delivery
        if draw() < plan.drop_share:
            delivery.dropped = True
            return
        if draw() < plan.duplicate_share:
            delivery.planned = 2
        for _ in range(delivery.planned):
            if draw() < plan.late_share:
                self._world.clock.after(plan.late_by, lambda: self._put(event))
            else:
                self._put(event)
        if plan.twin_share and draw() < plan.twin_share:
            self._events.listener = None
            twin = self._events.again(event.id)
            self._events.listener = self._happened
            twin.wanted = True
            self.deliveries[twin.id] = Delivery(twin.id, twin.type, twin.account)
            self._put(twin)

    def send_again(self, event_id: str) -> None:
        """Sends an event once more, as an operator can in Stripe's dashboard."""
        event = self._world.events[event_id]
        delivery = self.deliveries.setdefault(event_id, Delivery(event.id, event.type, event.account, 0))
        delivery.planned += 1
        delivery.dropped = False
        self._put(event)

    def _put(self, event: Event) -> None:
        self._due.append(event)
        self._idle.clear()
        self._changed.set()

    async def drain(self, within: float) -> bool:
        """Waits until everything due is delivered or given up; False after `within` real seconds."""
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    @property
    def pending(self) -> int:
        """Deliveries that are due and not done."""
        return len(self._due) + self._open

    async def run(self) -> None:
        """Sends what is due, `concurrency` at a time, until it is cancelled."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as tasks:
            while True:
                await self._changed.wait()
                self._changed.clear()
                while self._due and self._open < self.plan.concurrency:
                    self._open += 1
                    tasks.create_task(self._deliver(session, self._next()))

    def _next(self) -> Event:
        if self.plan.shuffle and len(self._due) > 1:
            self._due.rotate(self._order.randrange(len(self._due)))
        return self._due.popleft()

    async def _deliver(self, session: aiohttp.ClientSession, event: Event) -> None:
        delivery = self.deliveries[event.id]
        try:
            for attempt in range(self.plan.max_attempts):
                status = await self._post(session, event)
                delivery.sent += 1
                delivery.statuses.append(status)
                if 200 <= status < 300:
                    delivery.first_2xx = delivery.first_2xx or time.time()
                    event.delivered = True
                    return
                plan = self.plan
                await asyncio.sleep(min(plan.backoff * 2**attempt, plan.backoff_limit))
            delivery.given_up = True
        finally:
            self._open -= 1
            self._changed.set()
            if not self._due and not self._open:
                self._idle.set()

    async def _post(self, session: aiohttp.ClientSession, event: Event) -> int:
        """One POST; the status, or 0 when no answer came."""
        plan = self.plan
        if plan.url is None:
            return 0
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(event.body, plan.secret, int(time.time())),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        timeout = aiohttp.ClientTimeout(total=plan.timeout)
        try:
            async with session.post(plan.url, data=event.body, headers=headers, timeout=timeout) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0


def signature(body: bytes, secret: str, at: int) -> str:
    """Stripe's signature header (docs.stripe.com/webhooks#verify-manually)."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
