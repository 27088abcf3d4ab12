"""Usage: one row of the ledger and one task that reports it to Stripe's meter, in one transaction.

The row's public id is in the task's payload and becomes the meter event's identifier, so that Stripe counts it once,
however often the task runs. The ledger's row has the time at which usage was logged, the task's payload the time at
which it happened.
"""

from datetime import datetime, timedelta
from typing import Any

from services.ledger.api.endpoint import Call, Endpoint, KeyUse
from services.ledger.api.schemas import NoParameters
from services.ledger.api.tenancy import merchant_to_write
from services.ledger.tasks import store as task_store
from services.ledger.usage import store
from services.ledger.usage.schemas import Usage, UsageCreate
from shared.api_keys import Scope
from shared.clock import business_now
from shared.http import invalid

# https://docs.stripe.com/api/billing/meter-event/create: "within the past 35 calendar days or up to 5 minutes in
# the future". A timestamp that Stripe would refuse is refused here, where the caller can still correct it.
PAST = timedelta(days=35)
FUTURE = timedelta(minutes=5)


def within_window(timestamp: datetime, now: datetime) -> bool:
    """Whether Stripe accepts a meter event with this time."""
    return now - PAST <= timestamp <= now + FUTURE


async def record_usage(call: Call[NoParameters, UsageCreate]) -> Usage:
    """Write usage and queue its report. Raises Problem 422 for a time that Stripe would refuse, 422 and 409 as
    `merchant_to_write` does."""
    used = call.body
    merchant_id = await merchant_to_write(call.db, call.key, used.merchant_id)
    now = await business_now(call.db)
    timestamp = (used.timestamp or now).replace(microsecond=0)  # Stripe's are whole seconds
    if not within_window(timestamp, now):
        message = "expected a time from 35 days ago to 5 minutes ahead: Stripe takes no other"
        raise invalid(422, "invalid-body", [("timestamp", message)])
    row = await store.insert_usage(call.db, merchant_id, used.metric_type, used.amount, used.customer_id)
    task = await task_store.insert_task(
        call.db,
        merchant_id,
        "report_usage",
        {
            "usage_id": str(row["id"]),
            "event_name": used.event_name,
            "customer_id": used.customer_id,
            "value": used.amount,
            "timestamp": int(timestamp.timestamp()),
        },
        unique_key=f"report_usage:{row['id']}",
    )
    if task is None:
        raise LookupError(f"usage {row['id']} is new, so nothing can be queued for it yet")
    return Usage(
        id=row["id"],
        merchant_id=merchant_id,
        customer_id=used.customer_id,
        metric_type=used.metric_type,
        amount=used.amount,
        event_name=used.event_name,
        timestamp=timestamp,
        created_at=row["created_at"],
        task_id=task["id"],
    )


ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="recordUsage",
        method="POST",
        path="/v1/usage",
        scope=Scope.USAGE_WRITE,
        summary="Log usage and report it to Stripe's meter",
        description="The ledger's row and the task that reports it are written together or not at all. The "
        "Idempotency-Key is required: without one, a repeat after a lost answer would bill the customer twice.",
        handler=record_usage,
        parameters=NoParameters,
        body=UsageCreate,
        answer=Usage,
        status=201,
        key_use=KeyUse.REQUIRED,
        refusals={409: "The merchant is not connected any more."},
    ),
)
