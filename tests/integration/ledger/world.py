"""Rows for the ledger to be asked about."""

import itertools
from uuid import UUID

from shared import recoveries
from shared.api_keys import Scope, hash_secret, new_secret
from shared.ids import CustomerId, InvoiceId, MerchantId, RecoveryId, SubscriptionId
from shared.money import Money
from shared.recovery_model import EndReason, Entry, EntryKind, FailedInvoice, RecoveredBy, RecoveryState
from tests import world
from tests.world import open_recovery

_numbers = itertools.count(1)

INSERT_KEY = "INSERT INTO api_keys (name, merchant_id, key_hash, scopes) VALUES ('test', $1, $2, $3)"
INSERT_TASK = """
INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status, attempts, locked_by, lease_expires_at, unique_key)
VALUES ($1, $2, '{}', $3, 3, $4, CASE WHEN $4::text IS NOT NULL THEN clock_timestamp() + interval '1 hour' END, $5)
RETURNING public_id
"""


class World(world.World):
    """Builds the smallest scene, with the owner's rights and the product's own code."""

    async def key(self, merchant_id: MerchantId | None = None, *scopes: Scope) -> str:
        """A key with these scopes, or with all of them; the platform's without a merchant."""
        secret = new_secret()
        async with self.database.transaction() as db:
            await db.execute(INSERT_KEY, merchant_id, hash_secret(secret), list(scopes or Scope))
        return secret

    async def recovery(self, merchant_id: MerchantId, amount: int = 1000, currency: str = "usd") -> RecoveryId:
        """An open recovery with its first task."""
        number = next(_numbers)
        failed = FailedInvoice(
            merchant_id,
            InvoiceId(f"in_{number}"),
            SubscriptionId(f"sub_{number}"),
            CustomerId(f"cus_{number}"),
            Money(amount, currency),
        )
        async with self.database.transaction() as db:
            made = await open_recovery(db, failed, Entry(EntryKind.OPENED, "renewal_failed", "A renewal failed."))
        assert made is not None
        return made

    async def recovered(self, recovery_id: RecoveryId, amount: int = 1000, currency: str = "usd") -> None:
        """End a recovery: our retry brought the money in."""
        async with self.database.transaction() as db:
            await recoveries.close(
                db,
                recovery_id,
                RecoveryState.RECOVERED,
                EndReason.PAID_BY_RETRY,
                Entry(EntryKind.CLOSED, EndReason.PAID_BY_RETRY, "The retry succeeded."),
                recovered=Money(amount, currency),
                recovered_by=RecoveredBy.RETRY,
            )

    async def ended(self, recovery_id: RecoveryId, state: RecoveryState) -> None:
        """End a recovery without money."""
        async with self.database.transaction() as db:
            await recoveries.close(
                db, recovery_id, state, EndReason.VOIDED, Entry(EntryKind.CLOSED, "test", "It ended.")
            )

    async def task(
        self, merchant_id: MerchantId, status: str = "pending", task_type: str = "job", unique_key: str | None = None
    ) -> UUID:
        """A task in any status; its public id."""
        worker = "worker-1" if status == "running" else None
        async with self.database.transaction() as db:
            made: UUID = await db.fetchval(INSERT_TASK, merchant_id, task_type, status, worker, unique_key)
        return made
