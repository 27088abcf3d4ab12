"""The demo's story, from the start of the services to the three checks.

start everything ──> merchants connect ──> day by day to the end ──> collect figures, check
                                               │
                                               └ on one day a busy worker is killed, and another takes over
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from console.demo import store
from console.demo.connect import connect_all
from console.demo.crash import Crash, count_rescued, kill_a_busy_worker, wait_for_rescue
from console.demo.figures import Figures, collect
from console.demo.progress import Teller, day_of
from console.demo.target import Target
from console.demo.travel import Pace, Travel
from console.local import LocalStackError
from services.auth import keys
from shared.api_keys import Scope
from shared.database import Database
from shared.events.routing import ROUTES
from simulator.client import SimulatorClient
from simulator.shapes import DAY

_RESCUE_PATIENCE_S = 30.0
_Shares = Mapping[str, float | tuple[int, int]]
_BESIDE: Final[_Shares] = {"debits": 0.1, "renewed": 0.6, "refunds": 0.04, "disputes": 0.02}
_BESIDE_IN_SMALL: Final[_Shares] = {
    "debits": 0.3,
    "renewed": 1.0,
    "renewed_after": (DAY // 2, 3 * DAY),
    "refunds": 0.15,
    "disputes": 0.12,
    "back_after": (DAY // 4, 2 * DAY),
}


@dataclass(frozen=True, slots=True)
class Story:
    """The story's size. `stripe_retrying`: how many merchants keep Stripe's own retries switched on; `beside`: shares
    of subscribers who pay by debit, of cards that are renewed, of charges that go back (`population.Plan`)."""

    seed: int = 7
    merchants: int = 20
    subscriptions: int = 100
    days: int = 30
    workers: int = 2
    stripe_retrying: int = 0
    kill_on_day: int = 6
    pace: Pace = field(default_factory=Pace)
    beside: _Shares = field(default_factory=lambda: _BESIDE)

    @classmethod
    def small(cls) -> "Story":
        """A few seconds long; the shares are so large that at least one of each kind occurs."""
        return cls(merchants=3, subscriptions=20, days=20, kill_on_day=2, beside=_BESIDE_IN_SMALL)

    def changed(self, **fields: int) -> "Story":
        """The same with other numbers."""
        return replace(self, **fields)  # type: ignore[arg-type]  # the command line's options are all whole numbers


@dataclass(frozen=True, slots=True)
class Told:
    """A finished story, while the services still run."""

    story: Story
    figures: Figures
    crash: Crash | None
    seconds: float
    steps: int
    api_key: str
    target: Target
    logs: Path

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(verdict.holds for verdict in self.figures.verdicts)


@asynccontextmanager
async def tell(
    story: Story, where: AbstractAsyncContextManager[Target], data_dir: Path, teller: Teller
) -> AsyncIterator[Told]:
    """Run the story; the services keep running during the block. Errors of the parts pass through."""
    async with (
        where as target,
        SimulatorClient(target.simulator_url) as simulator,
        Database.open(target.database_url, None, size=3, name="citadel-demo") as database,
    ):
        scene = _Scene(story, teller, target, simulator, database)
        await scene.set()
        await scene.play()
        yield await scene.end(data_dir / "logs")


@dataclass(slots=True)
class _Scene:
    """The story while it runs."""

    story: Story
    teller: Teller
    target: Target
    simulator: SimulatorClient
    database: Database
    crash: Crash | None = None
    steps: int = 0

    # -- before ----------------------------------------------------------------------------------

    async def set(self) -> None:
        """Create merchants with customers and cards at the simulator, and connect them."""
        story, simulator = self.story, self.simulator
        accounts = await simulator.populate(accounts=story.merchants, subscriptions=story.subscriptions, **story.beside)
        for account in accounts[: story.stripe_retrying]:
            await simulator.change_account(account, stripe_retries=[3, 5, 7])
        await simulator.configure_webhooks(
            url=self.target.webhook_url,
            types=sorted(ROUTES),
            duplicate_share=0.05,
            twin_share=0.02,
            late_share=0.05,
            late_by=2 * 3600,
            shuffle=True,
        )
        total = story.merchants * story.subscriptions
        self.teller.say(f"{story.merchants} merchants with {total:,} subscriptions exist at the simulator")
        with self.teller.counting("merchants connect by OAuth", story.merchants) as count:
            await connect_all(self.target, story.merchants, count.one_more)
        async with self.database.transaction() as db:
            connected = await db.fetchval(store.MERCHANTS, accounts)
        if connected != story.merchants:
            raise LocalStackError(f"{connected} of {story.merchants} merchants are connected")
        self.teller.say(f"{connected} merchants are connected")

    # -- day by day ------------------------------------------------------------------------------

    async def play(self) -> None:
        """Let all days pass."""
        first_day = self.target.first_day
        end = first_day + timedelta(days=self.story.days)
        travel = Travel(self.target, self.simulator, self.database, self.story.pace)
        await travel.begin(first_day)
        now = first_day
        with self.teller.counting("day", self.story.days) as days:
            while now < end:
                day = day_of(first_day, now)
                kill = self.crash is None and day >= self.story.kill_on_day
                now = await travel.step(end, partial(self._kill, day) if kill else None)
                days.reached(day_of(first_day, now), f"{now:%a %d %b}")
        if self.crash is not None:
            await count_rescued(self.database, self.crash)
        self.steps = travel.steps

    async def _kill(self, day: int) -> None:
        """Kill a busy worker, wait until its tasks are rescued, and start a new one."""
        # Stripe is slow for a moment, so that the worker is killed while it waits for the answer of a payment.
        await self.simulator.add_fault("slow", method="POST", path="/v1/invoices/*/pay", latency_ms=400)
        try:
            crash = await kill_a_busy_worker(self.target, self.database, day)
        finally:
            await self.simulator.clear_faults()
        if crash is None:
            return
        if crash.held:
            self.crash = crash
            self.teller.say(f"day {day}: {crash.worker} is killed with SIGKILL, holding {len(crash.held)} of its tasks")
            await wait_for_rescue(self.database, crash, _RESCUE_PATIENCE_S)
            self.teller.say(f"day {day}: all of them rescued after {crash.rescued_after_s:.1f} s")
        await self.target.start_worker(crash.worker)

    # -- after -----------------------------------------------------------------------------------

    async def end(self, logs: Path) -> Told:
        """The figures and the checks."""
        self.teller.say("checks")
        _, api_key = await keys.create_key(self.database, "demo", Scope)
        figures = await collect(self.target, self.simulator, self.database, api_key, self.crash)
        return Told(self.story, figures, self.crash, self.teller.seconds, self.steps, api_key, self.target, logs)
