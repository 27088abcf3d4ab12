"""The evidence: everything that the checks read, from independent sides, when no work is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.database import Database
from simulator.client import SimulatorClient
from tests.chaos import store
from tests.chaos.monkey import Stopped
from tests.chaos.stack import Sent

Row = Mapping[str, Any]
Rows = Sequence[Row]


@dataclass(frozen=True, slots=True)
class Evidence:
    """`deliveries`, `bank`, `outbox`: the simulator's logs. `sent`, `stopped`: the proxies' and the monkey's. The rest
    are rows of the database, see `store.py`."""

    deliveries: Rows
    bank: Rows
    outbox: Rows
    sent: Sequence[Sent]
    stopped: Sequence[Stopped]
    task_changes: Rows
    events: Rows
    tasks: Rows
    recoveries: Rows
    attempts: Rows
    timeline: Rows
    book: Rows
    daily: Rows
    totals: Rows


async def collect(
    simulator: SimulatorClient, database: Database, sent: Sequence[Sent], stopped: Sequence[Stopped]
) -> Evidence:
    """Read it."""
    async with database.transaction() as db:
        return Evidence(
            deliveries=await simulator.deliveries(),
            bank=await simulator.attempts(),
            outbox=await simulator.outbox(),
            sent=tuple(sent),
            stopped=tuple(stopped),
            task_changes=await store.rows(db, store.TASK_CHANGES),
            events=await store.rows(db, store.EVENTS),
            tasks=await store.rows(db, store.TASKS),
            recoveries=await store.rows(db, store.RECOVERIES),
            attempts=await store.rows(db, store.ATTEMPTS),
            timeline=await store.rows(db, store.TIMELINE),
            book=await store.rows(db, store.BOOK),
            daily=await store.rows(db, store.DAILY),
            totals=await store.rows(db, store.TOTALS),
        )
