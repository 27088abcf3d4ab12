"""One run: a storm of so many seconds, then a wait until no work is left, then the checks."""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import orjson

from console.demo.connect import connect_all
from console.demo.local_target import LocalTarget
from console.demo.travel import Pace, Stuck
from console.demo.travel import Travel as CalmTravel
from console.local import LocalStackError, ProcessFailed
from services.auth import keys
from shared.api_keys import Scope
from shared.database import Database, Role
from shared.events.routing import ROUTES
from simulator.client import SimulatorClient
from tests.chaos import store
from tests.chaos.checks import violations
from tests.chaos.evidence import Evidence, collect
from tests.chaos.monkey import Monkey, Tally
from tests.chaos.moods import Mood
from tests.chaos.stack import ChaosStack, Network, plan
from tests.chaos.travel import STEP, Travel

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
DAYS = 24
"""A run is shorter than 35 days, because events are pruned after that."""


@dataclass(frozen=True, slots=True)
class Storm:
    """The parameters of a run. `mood`: the monkey's table; `pause`: seconds between two faults."""

    seed: int
    seconds: float
    mood: Mood
    merchants: int = 6
    subscriptions: int = 60
    failing: float = 0.6
    pause: tuple[float, float] = (0.05, 0.3)
    patience_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Result:
    """What happened, and the violations by check (none: it holds)."""

    storm: Storm
    tally: Tally
    evidence: Evidence | None
    problems: Mapping[str, list[str]]
    seconds: float
    days: float

    @property
    def holds(self) -> bool:
        """Whether no check found anything."""
        return not any(self.problems.values())


_ENDS_WITHIN_S = 120.0


@contextlib.asynccontextmanager
async def bounded(seconds: float, what: str) -> AsyncIterator[None]:
    """Limit the block's real time; after that the stacks of all tasks are printed. Raises LocalStackError."""
    try:
        async with asyncio.timeout(seconds) as limit:
            loop = asyncio.get_running_loop()
            telling = loop.call_at((limit.when() or loop.time()) - 1, _print_stacks)
            try:
                yield
            finally:
                telling.cancel()
    except TimeoutError as error:
        raise LocalStackError(f"{what} within {seconds:g} s") from error


def _print_stacks() -> None:
    for task in asyncio.all_tasks():
        task.print_stack(limit=6, file=sys.stderr)


def _silent(_what: str) -> None:
    pass


async def run(storm: Storm, say: Callable[[str], None] = _silent, keep: Path | None = None) -> Result:
    """Run the storm. `keep`: a folder for the logs, which are deleted otherwise. Raises LocalStackError."""
    began = time.monotonic()
    with contextlib.ExitStack() as outer:
        folder = keep or Path(outer.enter_context(tempfile.TemporaryDirectory(prefix="citadel-chaos-")))
        async with (
            Network.open() as network,
            ChaosStack(plan(folder, storm.seed, int(START.timestamp())), network) as stack,
            SimulatorClient(stack.simulator_url) as simulator,
            Database.open(stack.database.url, None, size=4, name="citadel-chaos") as database,
        ):
            await _set(storm, stack, network, simulator, database)
            say(f"{stack.plan.workers} workers, ingress, ledger, PostgreSQL and the simulator run")
            last = START + timedelta(days=DAYS)
            travel = Travel(simulator, database, START, last)
            monkey = Monkey(storm.seed, stack, network, simulator, database, travel, storm.mood, storm.pause)
            every_s = max(0.05, storm.seconds * STEP / (last - START))
            traveling = asyncio.create_task(travel.run(every_s))
            try:
                async with bounded(storm.seconds + _ENDS_WITHIN_S, "the storm does not end"):
                    await monkey.run(storm.seconds)
            finally:
                traveling.cancel()
                await asyncio.gather(traveling, return_exceptions=True)
            days = (travel.now - START) / timedelta(days=1)
            say(f"{days:.1f} days went by; {monkey.tally.kills.total()} kills; now everything heals")
            network.heal()
            await simulator.clear_faults()
            for service, index in monkey.note_deaths():
                await stack.start(service, index)
            problems: dict[str, list[str]] = {"processes": monkey.tally.died}
            try:
                await _quiet(storm, stack, simulator, database, travel.now, monkey.tally)
                await _stillness(storm, database)
            except Stuck as stuck:
                problems["quiet"] = [str(stuck)]
            except ProcessFailed as failed:
                problems["processes"].append(str(failed))
            evidence = await collect(simulator, database, network.sent, monkey.tally.stopped)
            if keep is not None:
                (keep / "evidence.json").write_bytes(orjson.dumps(evidence, default=str))
            problems |= violations(evidence)
            return Result(storm, monkey.tally, evidence, problems, time.monotonic() - began, days)


async def _set(
    storm: Storm, stack: ChaosStack, network: Network, simulator: SimulatorClient, database: Database
) -> None:
    """Connect merchants, install the audit, and schedule renewals over the whole storm."""
    async with database.transaction() as db:
        await store.install_audit(db)
    accounts = await simulator.populate(
        accounts=storm.merchants,
        subscriptions=storm.subscriptions,
        failing=storm.failing,
        renew_within=int(timedelta(days=DAYS - 4).total_seconds()),
    )
    # A merchant whose invoices Stripe retries, too.
    await simulator.change_account(accounts[0], stripe_retries=[3, 5, 7])
    await simulator.configure_webhooks(
        url=f"http://127.0.0.1:{network.proxies['webhooks'].port}/webhooks/stripe",
        types=sorted(ROUTES),
        duplicate_share=0.2,
        twin_share=0.05,
        late_share=0.1,
        late_by=2 * 3600,
        old_shape_share=0.2,
        shuffle=True,
        concurrency=16,
        max_attempts=10_000,
        backoff_limit=1.0,
        timeout=8.0,
    )
    await connect_all(LocalTarget(stack), storm.merchants, lambda: None)


async def _quiet(
    storm: Storm, stack: ChaosStack, simulator: SimulatorClient, database: Database, now: datetime, tally: Tally
) -> None:
    """After the faults: do everything that is due, and move time on until every attempt has an outcome.

    Raises Stuck.
    """
    pace = Pace(shortest=timedelta(hours=1), longest=timedelta(hours=6), patience_s=storm.patience_s)
    calm = CalmTravel(LocalTarget(stack), simulator, database, pace)
    await calm.begin(now)
    await calm.calm_down()
    await _revive(stack, database, tally)
    await calm.calm_down()
    # Late webhooks come within hours; calls that Stripe has refused are repeated within a quarter of a day.
    settled_at, end = now + timedelta(hours=8), now + timedelta(days=4)
    while now < end:
        now = await calm.step(end)
        async with database.transaction() as db:
            if now >= settled_at and not await store.unsettled(db):
                break
    # Once a second a worker looks for merchants to catch up: wait for the effects of that, too.
    waited_until = time.monotonic() + storm.patience_s
    while True:
        async with database.transaction() as db:
            due = await store.to_be_caught_up(db)
        if not due:
            break
        if time.monotonic() > waited_until:
            raise Stuck(f"{due} merchants are to be caught up, and nobody does it")
        await asyncio.sleep(0.1)
    await calm.calm_down()


async def _stillness(storm: Storm, database: Database) -> None:
    """Wait, without time travel, until nothing is about to happen. Raises Stuck."""
    ends = time.monotonic() + storm.patience_s
    while True:
        async with database.transaction() as db:
            if not await store.restless(db):
                return
        if time.monotonic() > ends:
            raise Stuck("tasks are put back and claimed again and again")
        await asyncio.sleep(0.1)


async def _revive(stack: ChaosStack, database: Database, tally: Tally) -> None:
    """Do what an operator does after an outage: retry, through the API, dead letters that died of faults.

    A task whose workers were killed ten times is dead by rule and is retried; one that failed for a reason of its own
    stays dead, for the checks to find.
    """
    async with database.transaction() as db:
        dead = await store.given_up(db)
    if not dead:
        return
    _, api_key = await keys.create_key(database, "chaos", Scope)
    headers = {"Authorization": f"Bearer {api_key}"}
    async with aiohttp.ClientSession(stack.url(Role.LEDGER), headers=headers) as session:
        for public_id in dead:
            async with session.post(f"/v1/tasks/{public_id}/retry") as retried:
                if retried.status != 409:
                    retried.raise_for_status()
                    tally.revived += 1
                    continue
            # The same task is queued again already, under its unique key: the dead one is not needed.
            async with session.delete(f"/v1/tasks/{public_id}") as taken_away:
                taken_away.raise_for_status()


def told(result: Result) -> str:
    """The result as text: the seed, what was done, what was found."""
    storm, tally, evidence = result.storm, result.tally, result.evidence
    lines = [
        f"seed {storm.seed}: {storm.seconds:g} s of storm, {result.days:.1f} days, {result.seconds:.0f} s in all",
        f"  kills    {tally.kills.total()}: {_listed(tally.kills)}",
        f"  faults   {_listed(tally.faults)}; {tally.skipped} found nothing to strike",
    ]
    if evidence is not None:
        outcomes = Counter(f"{each['source']} {each['outcome']}" for each in evidence.bank)
        ends = Counter(row["state"] for row in evidence.recoveries)
        statuses = Counter(row["status"] for row in evidence.tasks)
        claims = sum(row["status"] == "running" and row["old_status"] == "pending" for row in evidence.task_changes)
        rescues = sum(
            row["old_status"] == "running" and (row["why"] or "").startswith("lease expired")
            for row in evidence.task_changes
        )
        sent = sum(each["sent"] for each in evidence.deliveries)
        lines += [
            f"  events   {len(evidence.deliveries)} events, {sent} deliveries, {len(evidence.events)} recorded",
            f"  tasks    {_listed(statuses)}; {claims} claims, {rescues} rescues, {tally.revived} revived when dead",
            f"  bank     {_listed(outcomes)}",
            f"  ends     {_listed(ends)}",
        ]
    for name, found in result.problems.items():
        lines.append(f"  {'ok ' if not found else 'BAD'} {name}{'' if not found else f': {len(found)} violations'}")
        lines += [f"        {line}" for line in found[:8]]
    return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


__all__ = ["LocalStackError", "Result", "Storm", "run", "told"]
