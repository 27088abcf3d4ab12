"""The question that a task asks right before a call: is the call still wanted?

A stop commits in the transaction of the event that caused it, and cancels the pending tasks. A task that was claimed
before can no longer be canceled; it asks here, in a transaction of its own, as the last step before the call.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.worker.dossier import store
from services.worker.errors import RetryLater
from shared import left_alone, silences
from shared.database import Connection, Database, DatabaseAway
from shared.ids import CustomerId, MerchantId, RecoveryId, SubscriptionId
from shared.silences import SilenceReason
from shared.unsubscribe import Recipient

T = TypeVar("T")


class PermissionFromDatabase:
    """Reads what is committed by now: stops, silences, who is left alone."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refusal(self, recovery_id: RecoveryId, last_id: int) -> str | None:
        """Why nothing may be sent for the recovery: a stop, its end, its merchant, what people said; None when it may.

        `news`: an event after the timeline's row `last_id`, as of a payment, which is to be looked at first. Raises
        RetryLater.
        """
        return await self._ask(lambda db: store.refusal(db, recovery_id, last_id))

    async def left_alone(self, recovery_id: RecoveryId) -> bool:
        """Whether the recovery's customer or subscription is left alone, its end notwithstanding. Raises RetryLater."""
        return await self._ask(lambda db: left_alone.of_recovery(db, recovery_id))

    async def spared(self, merchant_id: MerchantId, customer_id: CustomerId, subscription_id: SubscriptionId) -> bool:
        """Whether this customer or this subscription is left alone. Raises RetryLater."""
        return bool(await self._ask(lambda db: left_alone.ends(db, merchant_id, customer_id, subscription_id)))

    async def silence(self, recipient: Recipient) -> SilenceReason | None:
        """Why the customer gets no messages; None for one who does. Raises RetryLater."""
        return await self._ask(lambda db: silences.find(db, recipient.merchant_id, recipient.customer_id))

    async def _ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with self._database.transaction() as db:
                return await question(db)
        except DatabaseAway as away:
            raise RetryLater("the database is away: nobody says whether it is still wanted", counts=False) from away
