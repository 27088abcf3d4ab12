"""A real database under the worker's role, the simulator for Stripe and Resend, and a recovery's whole life."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from pydantic import SecretStr

from services.worker.app import going_outside
from services.worker.engine.loop import Engine, Pace
from services.worker.handlers import discover
from services.worker.outside.remote import Outside
from services.worker.settings import WorkerSettings
from shared.clock import travel_to
from shared.database import Database, Role
from shared.events.incoming import read_event
from shared.events.taking import take
from shared.ids import AccountId, CustomerId, InvoiceId, MerchantId, PaymentMethodId, RecoveryId, SubscriptionId
from shared.money import Money
from shared.policy import Policy
from shared.recovery_model import Entry, EntryKind, FailedInvoice
from simulator import SECRET_KEY, Simulator, SimulatorClient
from simulator.simulation import RESEND_KEY
from tests import world
from tests.conftest import OpenDatabase
from tests.simulated import Simulated, simulated
from tests.world import open_recovery

# A Tuesday in the middle of a month, far from every payday.
START = int(datetime(2026, 9, 8, 12, tzinfo=UTC).timestamp())
# Tests of other things have messages go out when they are due, as the policies of schema 5 and before.
MESSAGES_WHEN_DUE = """
UPDATE policies SET document = jsonb_set(document, '{message_hours}', '{"kind": "any"}') WHERE merchant_id IS NULL
"""
PACE = Pace(concurrency=8, batch=8, lease=timedelta(seconds=5), grace_seconds=5)


def worker_settings(simulator_url: str, **changes: Any) -> WorkerSettings:
    """The worker's settings on a simulator; `_env_file=None` keeps a desk's own `.env` out."""
    given: dict[str, Any] = {
        "database_url": SecretStr("postgresql://unused"),
        "stripe_secret_key": SecretStr(SECRET_KEY),
        "stripe_api_base": simulator_url,
        "stripe_connect_base": simulator_url,
        "resend_api_key": SecretStr(RESEND_KEY),
        "resend_base": simulator_url,
        "stripe_timeout_seconds": 1.0,
        "worker_port": 0,
        **changes,
    }
    return WorkerSettings(_env_file=None, **given)


@dataclass
class World(world.World):
    """One merchant, both clocks, and a worker that is stepped by hand.

    `worker` is the database under the worker's role.
    """

    worker: Database
    stripe: Simulated
    outside: Outside
    engine: Engine
    account: AccountId
    merchant_id: MerchantId
    _names: int = field(default=0)

    @property
    def simulation(self) -> Simulator:
        """The simulated Stripe from inside."""
        return self.stripe.simulation

    @property
    def control(self) -> SimulatorClient:
        """The simulated Stripe from outside: what happens there."""
        return self.stripe.control

    def another_engine(self, pace: Pace = PACE) -> Engine:
        """A second worker on the same queue."""
        self._names += 1
        return Engine(f"worker-{self._names}", self.worker, discover(), self.outside, pace)

    async def fail(self, amount: int = 4_200, *, debit: dict[str, Any] | None = None, **card: Any) -> "Failed":
        """A customer whose renewal has just failed with this card, or this debit, and its recovery."""
        given = {"card": card} if debit is None else {"debit": {"type": "us_bank_account", "takes_days": None}}
        made = await self.control.add_renewal(self.account, amount=amount, **given)
        invoice = made["invoice"]
        if debit is not None:
            (begun,) = await self.control.attempts(invoice["id"])
            await self.control.end_debit(begun["charge"], "insufficient_funds")
            await self.control.set_debit_script(made["payment_method"]["id"], **debit)
        async with self.database.transaction() as db:
            await self._same_time(db)
            recovery_id = await open_recovery(
                db,
                FailedInvoice(
                    self.merchant_id,
                    invoice["id"],
                    made["subscription"]["id"],
                    made["customer"]["id"],
                    Money(invoice["amount_due"], invoice["currency"]),
                ),
                Entry(EntryKind.OPENED, "renewal_failed", "The renewal failed."),
            )
        if recovery_id is None:  # where there is an ingress, the webhook may come first
            (row,) = await self.rows("SELECT id FROM recoveries WHERE invoice_id = $1", invoice["id"])
            recovery_id = row["id"]
        ids = (made["customer"]["id"], made["subscription"]["id"], made["payment_method"]["id"])
        return Failed(self, recovery_id, invoice["id"], *ids)

    async def _same_time(self, db: Any) -> None:
        await travel_to(db, datetime.fromtimestamp(self.simulation.world.clock.now, UTC))

    async def pass_time(self, **by: float) -> None:
        """Both clocks go on, by timedelta(**by)."""
        await self.control.advance(int(timedelta(**by).total_seconds()))
        async with self.database.transaction() as db:
            await self._same_time(db)

    async def to(self, when: datetime) -> None:
        """Both clocks go on to this moment (rounded up to a second)."""
        at = int(when.timestamp()) + 1
        await self.control.advance(to=max(at, self.simulation.world.clock.now))
        async with self.database.transaction() as db:
            await self._same_time(db)

    async def hear(self, *types: str) -> None:
        """Stripe's events of these types (of all, if none is named) arrive, in the order in which they happened; those
        that have arrived before, a second time."""
        for event in list(self.simulation.world.events.values()):
            if not types or event.type in types:
                async with self.database.transaction() as db:
                    await take(db, read_event(orjson.loads(event.body)))

    async def work(self) -> int:
        """Run everything that is due, in one worker."""
        return await self.engine.run_due()

    async def policy(self, **document: Any) -> UUID:
        """The merchant has this policy from now on; recoveries that are open keep theirs. Messages wait for no hour
        unless it says so."""
        checked = Policy.model_validate({"message_hours": {"kind": "any"}, **document}).model_dump(mode="json")
        async with self.database.transaction() as db:
            await db.execute("UPDATE policies SET active = false WHERE merchant_id = $1", self.merchant_id)
            made: UUID = await db.fetchval(
                "INSERT INTO policies (merchant_id, version, active, document) "
                "SELECT $1, count(*) + 1, true, $2 FROM policies WHERE merchant_id = $1 RETURNING id",
                self.merchant_id,
                checked,
            )
        return made


@dataclass
class Failed:
    """One failed invoice and everything that is known of it."""

    world: World
    recovery_id: RecoveryId
    invoice: InvoiceId
    customer: CustomerId
    subscription: SubscriptionId
    payment_method: PaymentMethodId

    async def recovery(self) -> asyncpg.Record:
        """Its row."""
        (row,) = await self.world.rows("SELECT * FROM recoveries WHERE id = $1", self.recovery_id)
        return row

    async def ours(self) -> list[asyncpg.Record]:
        """Our attempts."""
        sql = "SELECT * FROM attempts WHERE recovery_id = $1 AND origin = 'citadel' ORDER BY number"
        return await self.world.rows(sql, self.recovery_id)

    async def theirs(self) -> list[asyncpg.Record]:
        """Stripe's attempts."""
        sql = "SELECT * FROM attempts WHERE recovery_id = $1 AND origin = 'stripe' ORDER BY number"
        return await self.world.rows(sql, self.recovery_id)

    async def story(self, *kinds: str) -> list[asyncpg.Record]:
        """Its timeline, of these kinds or whole."""
        sql = "SELECT * FROM recovery_timeline WHERE recovery_id = $1 AND (kind = ANY($2) OR $2 = '{}') ORDER BY id"
        return await self.world.rows(sql, self.recovery_id, list(kinds))

    async def tasks(self, status: str = "pending", task_type: str = "dunning_retry") -> list[asyncpg.Record]:
        """Its tasks in this status."""
        sql = "SELECT * FROM scheduled_tasks WHERE recovery_id = $1 AND status = $2 AND task_type = $3 ORDER BY id"
        return await self.world.rows(sql, self.recovery_id, status, task_type)

    async def charged(self) -> list[asyncpg.Record]:
        """The charges that are booked as recovered."""
        sql = "SELECT * FROM recovered_charges WHERE recovery_id = $1 ORDER BY charged_at, charge_id"
        return await self.world.rows(sql, self.recovery_id)

    async def book(self) -> list[tuple[str, int]]:
        """The ledger's rows about its opening and its ends, in their order."""
        sql = (
            "SELECT metric_type, amount FROM usage_logs "
            "WHERE recovery_id = $1 AND metric_type LIKE 'recovery_%' ORDER BY id"
        )
        return [(row["metric_type"], row["amount"]) for row in await self.world.rows(sql, self.recovery_id)]

    async def look(self) -> None:
        """Let time pass until its next evaluation is due, and do what is due."""
        (task,) = await self.tasks()
        await self.world.to(task["run_at"])
        await self.world.work()

    async def charges(self) -> list[dict[str, Any]]:
        """Every time money moved for the invoice, by the simulator's own log."""
        return [each for each in await self.world.control.charges() if each["invoice"] == self.invoice]

    async def booked(self) -> dict[str, int]:
        """The ledger's rows about it: how often each metric type."""
        sql = "SELECT metric_type, count(*) AS n FROM usage_logs WHERE recovery_id = $1 GROUP BY 1"
        return {row["metric_type"]: row["n"] for row in await self.world.rows(sql, self.recovery_id)}

    async def until_due(self) -> None:
        """Let time pass until its planned attempt is due."""
        row = await self.recovery()
        assert row["next_attempt_at"] is not None, f"no attempt is planned: {row['state']}"
        await self.world.to(row["next_attempt_at"])

    async def attempt_due(self) -> None:
        """Evaluate it, and let time pass until its first attempt is due. Messages on the way are sent."""
        await self.world.work()
        await self.until_due()

    async def finish(self, *, steps: int = 40) -> asyncpg.Record:
        """Evaluation from one due task to the next until it has ended."""
        for _ in range(steps):
            await self.world.work()
            row = await self.recovery()
            if row["closed_at"] is not None:
                return row
            pending = await self.tasks()
            assert pending, f"nobody looks after it: {row['state']}"
            await self.world.to(pending[0]["run_at"])
        raise AssertionError(f"not ended after {steps} steps: {row['state']}")


@asynccontextmanager
async def worker_world(
    database: Database, open_database: OpenDatabase, shop: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[World]:
    """A world at START with one merchant, whose account at Stripe has what `shop` says; `settings` are the worker's.
    Messages wait for no hour."""
    async with (
        simulated(seed=7, start=START) as stripe,
        going_outside(worker_settings(stripe.url, **settings), database) as outside,
        open_database(Role.WORKER) as worker,
    ):
        account = AccountId((await stripe.control.add_account(connected=True, **(shop or {})))["id"])
        engine = Engine("worker-0", worker, discover(), outside, PACE)
        async with database.transaction() as db:
            await travel_to(db, datetime.fromtimestamp(START, UTC))
            await db.execute(MESSAGES_WHEN_DUE)
        merchant_id = await world.World(database).connect(account, tokens=False)
        yield World(database, worker, stripe, outside, engine, account, merchant_id)
