"""The core of every scene with a database in it: a connected merchant, a look, a change.

Each room's tests build their own world on it, in a `world.py` beside them, and add what only they need: the ingress an
HTTP client, the worker an engine and a simulator, the ledger rows to ask about. See README.md.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import asyncpg

from shared import recovery_opening
from shared.database import Connection, Database
from shared.ids import MerchantId, RecoveryId
from shared.recovery_model import Entry, FailedInvoice
from tests.waiting import until

_accounts = itertools.count(1)

CONNECT = """
INSERT INTO merchants (stripe_connect_id, access_token, refresh_token) VALUES ($1, $2, $3) RETURNING id::text
"""
WAITING_FOR_A_LOCK = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def open_recovery(db: Connection, failed: FailedInvoice, entry: Entry) -> RecoveryId | None:
    """Open one recovery; None when the invoice has one."""
    opened = await recovery_opening.open_recoveries(db, [(failed, entry)])
    return opened[0] if opened else None


@dataclass
class World:
    """`database` has its owner's rights, which no service has: it sets the scene and looks."""

    database: Database

    async def connect(self, account: str | None = None, *, tokens: bool = True) -> MerchantId:
        """A connected merchant, of an account that nobody has yet unless given, with or without tokens; its id."""
        sealed = ("sealed-access", "sealed-refresh") if tokens else (None, None)
        merchant_id: MerchantId = await self.value(CONNECT, account or f"acct_world_{next(_accounts)}", *sealed)
        return merchant_id

    async def rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Everything that a statement gives."""
        async with self.database.transaction() as db:
            return list(await db.fetch(statement, *arguments))

    async def value(self, statement: str, *arguments: Any) -> Any:
        """The first column of the first row; None without a row."""
        async with self.database.transaction() as db:
            return await db.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Change something."""
        async with self.database.transaction() as db:
            await db.execute(statement, *arguments)

    async def until_someone_waits_for_a_lock(self, how_many: int = 1) -> None:
        """Return when so many transactions in this database are blocked by another."""
        await until(
            lambda: self.value(WAITING_FOR_A_LOCK),
            f"{how_many} wait for a lock",
            lambda waiting: waiting >= how_many,
        )
