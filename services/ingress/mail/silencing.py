"""Silences a customer, from this commit on.

Queued messages are canceled here. A message that was claimed before checks for silences when it is decided, with the
recovery locked, and again right before the email is handed over. Payments are not concerned: a silenced customer still
owes.
"""

from typing import Any

from services.ingress.mail import store
from shared import recoveries, silences
from shared.database import Connection
from shared.events import store as events_store
from shared.ids import CustomerId, MerchantId, RecoveryId
from shared.recovery_model import Entry, EntryKind
from shared.silences import SilenceReason


async def silence(
    db: Connection, merchant_id: MerchantId, customer_id: CustomerId, reason: SilenceReason, origin: dict[str, Any]
) -> bool:
    """Silence this customer of a merchant. False: they were silenced before, for the same reason."""
    concerned = await events_store.lock_of_customer(db, merchant_id, customer_id)
    if not await silences.start(db, merchant_id, customer_id, reason):
        return False
    for recovery in concerned:
        await recoveries.silence(db, recovery.id, reason, origin)
    return True


async def tell_undelivered(
    db: Connection, merchant_id: MerchantId, recovery_id: RecoveryId, origin: dict[str, Any]
) -> None:
    """Add an entry to a recovery's timeline: a message did not arrive, and the next one may."""
    if await store.lock_open_recovery(db, merchant_id, recovery_id):
        text = "A message was not delivered; the mailbox exists, and the next one may arrive."
        await recoveries.record(db, recovery_id, Entry(EntryKind.UNDELIVERED, "bounced_for_now", text, origin))
