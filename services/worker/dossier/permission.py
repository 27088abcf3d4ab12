"""The question that a task asks right before a call: is the call still wanted?

A stop commits in the transaction of the event that caused it, and cancels the pending tasks. A task that was claimed
before can no longer be canceled; it asks here, in a transaction of its own, as the last step before the call.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.worker.dossier import store
from services.worker.errors import RetryLater
from shared import silences
from shared.database import Connection, Database, DatabaseAway
from shared.ids import RecoveryId
from shared.silences import SilenceReason
from shared.unsubscribe import Recipient

T = TypeVar("T")


class PermissionFromDatabase:
    """Reads the stops and silences that are committed by now."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refusal(self, recovery_id: RecoveryId) -> str | None:
        """Why the recovery was stopped, has ended, or lost its merchant; None if none of these. Raises RetryLater."""
        return await self._ask(lambda db: store.refusal(db, recovery_id))

    async def silence(self, recipient: Recipient) -> SilenceReason | None:
        """Why the customer gets no messages; None for one who does. Raises RetryLater."""
        return await self._ask(lambda db: silences.find(db, recipient.merchant_id, recipient.customer_id))

    async def _ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with self._database.transaction() as db:
                return await question(db)
        except DatabaseAway as away:
            raise RetryLater("the database is away: nobody says whether it is still wanted", counts=False) from away
