"""The monkey makes faults that are drawn from a seed: the same seed draws the same faults in the same order.

When each fault happens depends on the machine, so a repeated run has the same faults at slightly different times.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from console.local import LocalStack
from shared.database import Database, DatabaseAway, Role
from simulator.client import SimulatorClient, SimulatorError
from tests.chaos import store
from tests.chaos.moods import EVERYDAY, Mood
from tests.chaos.proxy import Proxy
from tests.chaos.stack import LEASE_S, STRIPE_TIMEOUT_S, WORKERS, Network
from tests.chaos.travel import Travel

STRIPE_FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("rate_limited", {}),
    ("lock_timeout", {"status": 409}),
    ("lock_timeout", {"status": 429}),
    ("server_error", {"after_effect": False}),
    ("server_error", {"after_effect": True}),
    ("timeout", {"seconds": LEASE_S, "after_effect": False}),
    ("timeout", {"seconds": STRIPE_TIMEOUT_S + 1, "after_effect": True}),
    ("drop", {"after_effect": False}),
    ("drop", {"after_effect": True}),
    ("truncate", {}),
    ("slow", {"latency_ms": 700}),
)
"""Faults of the simulated Stripe (see `simulator/faults.py`), each before or after money has moved."""

STRIPE_PATHS = (
    ("POST", "/v1/invoices/*/pay"),
    ("POST", "/v1/invoices/*/pay"),
    ("GET", "/v1/invoices/*"),
    ("*", "/v1/*"),
    ("POST", "/emails"),
)

_GATHERS_S, _SETTLES_S, _NO_HEARTBEAT_S = 1.5, 0.3, 1.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """A worker that was stopped while Stripe's answers to it were held back, so it was not about to send anything."""

    worker: str
    since: float
    until: float


@dataclass(slots=True)
class Tally:
    """What the monkey did. `kills` by SIGKILL, `faults` by name, `skipped` because the victim was just being killed.

    `revived`: tasks that died of faults and were retried afterwards. `died`: processes that ended by themselves, with
    the end of their logs.
    """

    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    revived: int = 0
    died: list[str] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)


def draws(seed: int, mood: Mood, pause: tuple[float, float]) -> Iterator[tuple[str, random.Random, float]]:
    """An endless series: a fault, its own random generator, and the seconds until the next one.

    How many random numbers a fault uses does not change the draws of the next.
    """
    rng = random.Random(seed)  # noqa: S311 - a storm, not a secret
    names, weights = list(mood), list(mood.values())
    while True:
        name = rng.choices(names, weights)[0]
        yield name, random.Random(rng.random()), rng.uniform(*pause)  # noqa: S311 - as above


class Monkey:
    """Draws faults until told to stop. `mood` says how often it draws which; `pause` is the time between two draws."""

    def __init__(
        self,
        seed: int,
        stack: LocalStack,
        network: Network,
        simulator: SimulatorClient,
        database: Database,
        travel: Travel,
        mood: Mood = EVERYDAY,
        pause: tuple[float, float] = (0.05, 0.3),
    ) -> None:
        self.tally = Tally()
        self._seed = seed
        self._stack = stack
        self._network = network
        self._simulator = simulator
        self._database = database
        self._travel = travel
        self._mood = mood
        self._pause = pause
        self._held: set[str] = set()

    async def run(self, seconds: float) -> None:
        """Make faults for so long; at the end everything that was killed has been started again."""
        ends = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for name, rng, pause_s in draws(self._seed, self._mood, self._pause):
                if time.monotonic() >= ends:
                    break
                fault: Callable[[random.Random], Awaitable[bool]] = getattr(self, f"_{name}")
                group.create_task(self._strike(name, fault(rng)))
                await asyncio.sleep(pause_s)

    async def _strike(self, name: str, fault: Awaitable[bool]) -> None:
        if await fault:
            self.tally.faults[name] += 1
        else:
            self.tally.skipped += 1

    @asynccontextmanager
    async def _alone(self, *names: str) -> AsyncIterator[bool]:
        """Reserve these processes for the block; False if another fault has them. One worker is stopped at a time."""
        if self._held & set(names):
            yield False
            return
        self._held |= set(names)
        try:
            yield True
        finally:
            self._held -= set(names)

    # -- processes -------------------------------------------------------------------------------

    async def _kill_worker(self, rng: random.Random) -> bool:
        return await self._kill(Role.WORKER, rng.randint(1, WORKERS), rng)

    async def _kill_ingress(self, rng: random.Random) -> bool:
        return await self._kill(Role.INGRESS, 1, rng)

    def note_deaths(self, *only: tuple[Role, int]) -> list[tuple[Role, int]]:
        """Note which processes (of these, or all) have ended by themselves; they are not restarted."""
        dead = [each for each in self._stack.ended_unasked() if not only or each in only]
        for service, index in dead:
            process = self._stack.process(service, index)
            self.tally.died.append(f"{process.name} ended by itself: {process.log_tail().strip()[-300:]}")
        return dead

    async def _kill(self, role: Role, index: int, rng: random.Random) -> bool:
        """Kill it once, or again while it starts, or right after it is ready again."""
        async with self._alone(f"{role.service}-{index}") as ours:
            if not ours:
                return False
            self.note_deaths((role, index))
            for again in range(rng.randint(1, 3), 0, -1):
                await self._stack.kill(role, index)
                self.tally.kills[role.service] += 1
                await asyncio.sleep(rng.uniform(0, 0.5))
                if again > 1 and rng.random() < 0.5:
                    await self._stack.process(role, index).start()
                else:
                    await self._stack.start(role, index)
                await asyncio.sleep(rng.uniform(0, 1))
        return True

    async def _kill_postgres(self, rng: random.Random) -> bool:
        server = self._stack.database.server
        if server is None:
            return False
        async with self._alone("postgres") as ours:
            if not ours:
                return False
            server.kill()
            self.tally.kills["postgres"] += 1
            await asyncio.sleep(rng.uniform(0, 1.5))
            await server.start()
            # Give it time to work: a server that dies at every start loses nothing.
            await asyncio.sleep(rng.uniform(1, 4))
        return True

    async def _day_without_workers(self, rng: random.Random) -> bool:
        """All workers are dead for more than a day: Stripe has deleted the keys of the attempts in flight."""
        names = [f"worker-{index}" for index in range(1, WORKERS + 1)]
        async with self._alone(*names) as ours, self._travel.paused():
            if not ours:
                return False
            for index in range(1, WORKERS + 1):
                self.note_deaths((Role.WORKER, index))
                await self._stack.kill(Role.WORKER, index)
                self.tally.kills[Role.WORKER.service] += 1
            # What they had sent has reached Stripe by now, or never will.
            for name in names:
                self._network.proxies[f"{name} stripe"].cut()
            await asyncio.sleep(1.0)
            await self._travel.jump(hours=rng.uniform(26, 40))
            await asyncio.gather(*(self._stack.start(Role.WORKER, index) for index in range(1, WORKERS + 1)))
        return True

    async def _stop_worker(self, rng: random.Random) -> bool:
        return await self._stop(Role.WORKER, rng.randint(1, WORKERS), LEASE_S + rng.uniform(0.5, 3))

    async def _stop_ingress(self, rng: random.Random) -> bool:
        return await self._stop(Role.INGRESS, 1, rng.uniform(1, 6))

    async def _stop(self, role: Role, index: int, seconds: float) -> bool:
        async with self._alone(f"{role.service}-{index}", "bed") as ours, self._travel.paused():
            if not ours:
                return False
            with self._asleep(role, index):
                await asyncio.sleep(seconds)
        return True

    async def _stop_waiting_worker(self, rng: random.Random) -> bool:
        """Stop a worker beyond its lease while it waits for Stripe; the answers come when it goes on."""
        index = rng.randint(1, WORKERS)
        name = f"{Role.WORKER.service}-{index}"
        stripe = self._network.proxies[f"{name} stripe"]
        async with self._alone(name, f"{name} stripe", "bed") as ours:
            if not ours:
                return False
            stripe.hold()
            try:
                # Time goes on meanwhile, so that tasks become due and their calls wait at the proxy. A request that was
                # about to be sent after an earlier answer is sent by then, and waits, too.
                await asyncio.sleep(_GATHERS_S)
                async with self._travel.paused():
                    await asyncio.sleep(_SETTLES_S)
                    await self._sleep_through_lease(index, stripe, rng)
            finally:
                stripe.let_go()
        return True

    async def _sleep_through_lease(self, index: int, stripe: Proxy, rng: random.Random) -> None:
        since = until = time.time()
        length = LEASE_S + rng.uniform(0.5, 4)  # long enough for another worker to take its tasks
        with suppress(DatabaseAway):  # PostgreSQL was killed meanwhile, and the lock is gone
            async with AsyncExitStack() as locks:
                with self._asleep(Role.WORKER, index):
                    in_the_way = await self._lock_one_of(index, locks)
                    await asyncio.sleep(length)
                    # The answers arrive while it is stopped, and are there when it goes on.
                    stripe.let_go()
                    await asyncio.sleep(0.1)
                until = time.time()
                if in_the_way:
                    await asyncio.sleep(_NO_HEARTBEAT_S)
        self.tally.stopped.append(Stopped(f"{Role.WORKER.service}-{index}", since, until))

    async def _lock_one_of(self, index: int, locks: AsyncExitStack) -> bool:
        """Lock one of the worker's tasks, so that its heartbeat waits for that row when it goes on."""
        with suppress(DatabaseAway):
            db = await locks.enter_async_context(self._database.transaction())
            return await store.lock_one_of(db, self._stack.process(Role.WORKER, index).pid)
        return False

    def _asleep(self, role: Role, index: int) -> "_Asleep":
        return _Asleep(self._stack.process(role, index).pid)

    # -- connections -----------------------------------------------------------------------------

    def _way(self, rng: random.Random, to: str) -> Proxy:
        names = [name for name in self._network.proxies if name.endswith(to)]
        return self._network.proxies[rng.choice(names)]

    async def _cut_database(self, rng: random.Random) -> bool:
        return self._way(rng, "database").cut(rng.uniform(0.3, 1), rng) > 0

    async def _cut_stripe(self, rng: random.Random) -> bool:
        return self._way(rng, "stripe").cut(rng.uniform(0.3, 1), rng) > 0

    async def _cut_webhooks(self, rng: random.Random) -> bool:
        return self._way(rng, "webhooks").cut(rng.uniform(0.3, 1), rng) > 0

    async def _slow_database(self, rng: random.Random) -> bool:
        return await self._slow(self._way(rng, "database"), rng.uniform(0.01, 0.15), rng.uniform(0.5, 3))

    async def _slow_stripe(self, rng: random.Random) -> bool:
        return await self._slow(self._way(rng, "stripe"), rng.uniform(0.01, 0.3), rng.uniform(0.5, 3))

    async def _slow_webhooks(self, rng: random.Random) -> bool:
        return await self._slow(self._way(rng, "webhooks"), rng.uniform(0.01, 0.2), rng.uniform(0.5, 3))

    async def _slow(self, way: Proxy, delay_s: float, seconds: float) -> bool:
        async with self._alone(way.name) as ours:
            if not ours:
                return False
            way.delay_s = delay_s
            await asyncio.sleep(seconds)
            way.delay_s = 0.0
        return True

    async def _refuse_database(self, rng: random.Random) -> bool:
        way = self._way(rng, "database")
        async with self._alone(way.name) as ours:
            if not ours:
                return False
            way.refusing = True
            way.cut()
            await asyncio.sleep(rng.uniform(0.5, LEASE_S * 1.5))
            way.refusing = False
        return True

    async def _stall_database(self, rng: random.Random) -> bool:
        """The connections stay open, and no answer comes back."""
        way = self._way(rng, "database")
        async with self._alone(way.name) as ours:
            if not ours:
                return False
            way.hold()
            await asyncio.sleep(rng.uniform(0.5, 8))
            way.let_go()
        return True

    # -- Stripe and its customers ----------------------------------------------------------------

    async def _stripe_fault(self, rng: random.Random) -> bool:
        kind, fields = rng.choice(STRIPE_FAULTS)
        method, path = rng.choice(STRIPE_PATHS)
        times = rng.randint(1, 4)  # five failures in a row open a circuit: then nothing is called for a minute
        name = f"{kind}{' after the effect' if fields.get('after_effect') else ''}"
        await self._simulator.add_fault(kind, method=method, path=path, times=times, **fields)
        self.tally.faults[f"Stripe: {name}"] += times
        return True

    async def _slow_pay(self, rng: random.Random) -> bool:
        """Payments are slow, so that workers wait for them."""
        times = rng.randint(4, 16)
        await self._simulator.add_fault("slow", path="/v1/invoices/*", latency_ms=rng.randint(500, 1500), times=times)
        self.tally.faults["Stripe: slow"] += times
        return True

    async def _unanswered_pay(self, rng: random.Random) -> bool:
        """Money moves, and the answer is lost."""
        kind = rng.choice(["drop", "timeout", "server_error", "truncate"])
        fields = {} if kind == "truncate" else {"after_effect": True}
        await self._simulator.add_fault(
            kind, method="POST", path="/v1/invoices/*/pay", times=rng.randint(1, 3), seconds=1.0, **fields
        )
        return True

    async def _send_again(self, rng: random.Random) -> bool:
        event = await self._some_event(rng)
        if event is None:
            return False
        await self._simulator.send_again(event)
        return True

    async def _same_fact_again(self, rng: random.Random) -> bool:
        event = await self._some_event(rng)
        if event is None:
            return False
        await self._simulator.twin(event)
        return True

    async def _some_event(self, rng: random.Random) -> str | None:
        sent = await self._simulator.deliveries()
        return rng.choice(sent)["event"] if sent else None

    async def _some_invoice(self, rng: random.Random) -> tuple[str, str | None] | None:
        with suppress(DatabaseAway):
            async with self._database.transaction() as db:
                found = await store.open_invoices(db)
            return rng.choice(found) if found else None
        return None

    async def _customer_pays(self, rng: random.Random) -> bool:
        found = await self._some_invoice(rng)
        if found is None:
            return False
        with suppress(SimulatorError):  # it is paid already, and our row does not say so yet
            await self._simulator.pay_hosted(found[0])
            return True
        return False

    async def _customer_changes_card(self, rng: random.Random) -> bool:
        found = await self._some_invoice(rng)
        if found is None or found[1] is None:
            return False
        await self._simulator.add_card(found[1])
        return True

    async def _customer_crosses(self, rng: random.Random) -> bool:
        """The customer pays, cancels or changes the card while a worker works on that invoice."""
        late_s, what = rng.uniform(0, 0.5), rng.choice(["pays", "pays", "cancels", "changes"])
        for _ in range(20):
            with suppress(DatabaseAway):
                async with self._database.transaction() as db:
                    found = await store.in_hand(db)
                if found:
                    break
            await asyncio.sleep(0.05)
        else:
            return False
        invoice, customer, subscription = rng.choice(found)
        await asyncio.sleep(late_s)
        with suppress(SimulatorError):  # it is paid or canceled already
            if what == "pays":
                await self._simulator.pay_hosted(invoice)
            elif what == "cancels" and subscription is not None:
                await self._simulator.cancel_subscription(subscription)
            elif customer is not None:
                await self._simulator.add_card(customer)
            return True
        return False


class _Asleep:
    """SIGSTOP for the life of the block; a process that has ended by then is left alone."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGCONT)
