"""The question that is asked right before a call: is it still wanted?

A stop commits in the transaction of the event that caused it, and cancels what is pending. What was claimed before
that is past canceling; it asks here, in a transaction of its own, when all that is left to do is to send.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from services.worker.dossier import store
from services.worker.errors import RetryLater
from shared import silences
from shared.database import Connection, Database, DatabaseAway
from shared.silences import SilenceReason
from shared.unsubscribe import Recipient

T = TypeVar("T")


class PermissionFromDatabase:
    """Reads what was stopped up to this moment."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refusal(self, recovery_id: UUID) -> str | None:
        """The reason of a stop, of an end, or that the merchant is gone; None when there is none. Raises RetryLater."""
        return await self._ask(lambda db: store.refusal(db, recovery_id))

    async def silence(self, recipient: Recipient) -> SilenceReason | None:
        """Why the customer is not written to: opted out, complained, bounced. Raises RetryLater."""
        return await self._ask(lambda db: silences.find(db, recipient.merchant_id, recipient.customer_id))

    async def _ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with self._database.transaction() as db:
                return await question(db)
        except DatabaseAway as away:
            raise RetryLater("the database is away: nobody says whether it is still wanted", counts=False) from away
