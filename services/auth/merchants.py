"""A merchant connects and disconnects: one transaction each, with all that follows from it.

never seen ──connect──> active ──disconnect──> disconnected ──connect──> active
                          └──(the ingress, told by Stripe)──> deauthorized ──connect──> active
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from services.auth import store, tokens
from services.auth.oauth import GrantAnswer
from shared import recovery_stops
from shared.clock import business_now
from shared.crypto import KeyRing
from shared.database import Connection
from shared.ids import AccountId, MerchantId
from shared.merchant_tasks import digest_at
from shared.queue import queued
from shared.recovery_model import EndReason, Entry, EntryKind

_DIGEST_HOUR = time(8, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Connected:
    """A merchant that is active now. `is_new=False`: it had connected before, and kept its id."""

    merchant_id: MerchantId
    stripe_connect_id: AccountId
    livemode: bool
    is_new: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A merchant that is no longer active, and the work that ended with it; none when it was inactive before.

    `status` is disconnected, or deauthorized when Stripe told us first.
    """

    merchant_id: MerchantId
    stripe_connect_id: AccountId
    status: str
    recoveries_stopped: int
    tasks_canceled: int


def next_digest_at(now: datetime) -> datetime:
    """The first Monday 08:00 UTC after `now` (aware)."""
    day = now.astimezone(UTC).date()
    monday = datetime.combine(day + timedelta(days=-day.weekday() % 7), _DIGEST_HOUR)
    return monday if monday > now else monday + timedelta(days=7)


async def connect(db: Connection, ring: KeyRing, granted: GrantAnswer, asked_at: datetime) -> Connected:
    """Create the merchant, or make it active again under its old id, and queue its first digest.

    What was stopped when the merchant left is opened again; a catch-up at once finds the invoices that failed before.
    `asked_at` is the business time before Stripe was asked.
    """
    account = granted.stripe_user_id
    access, refresh = (
        secret.get_secret_value() if secret else None for secret in (granted.access_token, granted.refresh_token)
    )
    merchant_id, is_new = await store.save_grant(
        db,
        store.Grant(
            account,
            tokens.seal(ring, access, account, "access_token"),
            tokens.seal(ring, refresh, account, "refresh_token"),
            granted.scope,
            granted.livemode,
            asked_at,
        ),
    )
    if not is_new:
        await recovery_stops.reopen_left(db, merchant_id)
    await digest_at(db, merchant_id, next_digest_at(await business_now(db)))
    await store.catch_up_from_now(db, merchant_id)
    return Connected(merchant_id, account, granted.livemode, is_new)


async def disconnect(db: Connection, merchant_id: UUID) -> Disconnected | None:
    """End all work for a merchant and wipe its tokens; None when there is no such merchant.

    An attempt in flight is not ended, because the charge may have happened: its recovery is asked to stop, and the
    attempt's outcome is still recorded. Safe to repeat.
    """
    merchant = await store.lock_merchant(db, merchant_id)
    if merchant is None:
        return None
    status = merchant.status
    if status == "active":
        status = await store.disconnect(db, merchant.id)
    stopped = 0
    for recovery_id in await store.lock_open_recoveries(db, merchant.id):
        entry = Entry(EntryKind.CLOSED, EndReason.MERCHANT_GONE, "The merchant was disconnected.")
        stopped += await recovery_stops.request_stop(db, recovery_id, EndReason.MERCHANT_GONE, entry)
    # After the recoveries, in the order of locks: a transaction that holds a recovery may wait for its tasks.
    canceled = await queued.cancel_of_merchant(db, merchant.id, "the merchant was disconnected")
    return Disconnected(merchant.id, merchant.stripe_connect_id, status, stopped, canceled)
