"""The question that is asked right before a call: is it still wanted?

A stop commits in the transaction of the event that caused it, and cancels what is pending. What was claimed before
that is past canceling; it asks here, in a transaction of its own, when all that is left to do is to send.
"""

from uuid import UUID

from services.worker.dunning import store
from services.worker.errors import RetryLater
from shared.database import Database, DatabaseAway


class PermissionFromDatabase:
    """Reads what was stopped up to this moment."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refusal(self, recovery_id: UUID) -> str | None:
        """The reason of a stop, of an end, or that the merchant is gone; None when there is none. Raises RetryLater."""
        try:
            async with self._database.transaction() as db:
                return await store.refusal(db, recovery_id)
        except DatabaseAway as away:
            raise RetryLater("the database is away: nobody says whether it is still wanted", counts=False) from away
