"""`report_usage`: reports one row of usage to Stripe's meters, once.

The meter event's `identifier` is the usage row's public id; Stripe refuses a second one with it for at least 24 hours
(https://docs.stripe.com/api/billing/meter-event/create, read October 2026). After that a repeat might count twice. So
each run notes in the task that it sends, before it does; one whose report may have been sent a day ago sends nothing.
Stripe cannot be asked: its summaries add up all events of a customer in a minute.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from uuid import UUID

import stripe
from pydantic import Field

from services.worker.backoff import RetryPolicy
from services.worker.errors import Permanent, Refused
from services.worker.handler import Handler, Job, Payload, handles
from services.worker.merchants import find_merchant
from services.worker.outside.remote import Remote
from services.worker.outside.stripe_calls import stripe_errors
from services.worker.usage import begin_sending
from shared.database import Connection
from shared.ids import AccountId, CustomerId

OUTSIDE_THE_WINDOW = frozenset({"timestamp_too_far_in_past", "timestamp_in_future"})
# The signs by which Stripe says that it has a meter event with this identifier. The codes are in its list
# (https://docs.stripe.com/error-codes, read November 2026); a 400 without any, only in words, was seen in 2026
# (https://github.com/langfuse/langfuse/pull/16292, 2026-08-19).
REPORTED_BEFORE = frozenset({"duplicate_meter_event", "resource_already_exists"})
IN_WORDS = re.compile(r"already exists with identifier")
REMEMBERED = timedelta(hours=23)  # of 24; one hour is a margin for clocks and for the call itself


class ReportUsagePayload(Payload):
    """`usage_id` is `usage_logs.public_id`; `timestamp` is when the usage happened, in unix seconds."""

    usage_id: UUID
    event_name: Annotated[str, Field(min_length=1, max_length=100)]
    customer_id: Annotated[CustomerId, Field(pattern=r"^cus_\w+$")]
    value: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to report, and for which account."""

    account: AccountId
    usage: ReportUsagePayload


@dataclass(frozen=True, slots=True)
class Reported:
    """Stripe has the meter event. `before`: it had it already."""

    before: bool


@handles("report_usage")
class ReportUsage(Handler[ReportUsagePayload, Plan, Reported]):
    """One meter event. No effects: `POST /v1/usage` has written the usage row."""

    payload = ReportUsagePayload
    calls = ("stripe",)
    retry = RetryPolicy(base=timedelta(seconds=5), factor=2.0)

    async def load(self, db: Connection, task: Job[ReportUsagePayload]) -> Plan:
        """The merchant's account; notes that the report is sent. Raises Permanent if it may have been sent long ago."""
        merchant = await find_merchant(db, task.merchant_id)
        if merchant is None or not merchant.active:
            raise Permanent("the merchant is not connected: usage cannot be reported")
        doubtful_at, now = await begin_sending(db, task.claimed.id)
        if doubtful_at is not None and now - doubtful_at >= REMEMBERED:
            raise Permanent(
                f"it may have been reported at {doubtful_at:%Y-%m-%d %H:%M} UTC, and Stripe may have forgotten its "
                "identifier: reported again it might count twice. Compare the meter in Stripe's dashboard; if it lacks "
                "the usage, post it anew"
            )
        return Plan(merchant.account, task.payload)

    async def perform(self, remote: Remote, plan: Plan) -> Reported:
        """Send the meter event; a refusal because Stripe has it already is a success."""
        usage, identifier = plan.usage, str(plan.usage.usage_id)
        client = remote.stripe.for_merchant(plan.account)
        try:
            with remote.lease.guarding(), stripe_errors():
                await client.v1.billing.meter_events.create_async(
                    {
                        "event_name": usage.event_name,
                        "identifier": identifier,
                        "timestamp": usage.timestamp,
                        "payload": {"stripe_customer_id": usage.customer_id, "value": str(usage.value)},
                    },
                    {"idempotency_key": f"usage:{identifier}"},
                )
        except Refused as refused:
            if _reported_before(refused):
                return Reported(before=True)
            if refused.code in OUTSIDE_THE_WINDOW:
                raise Permanent(f"{refused.reason}: Stripe takes the last 35 days and the next 5 minutes") from refused
            raise
        return Reported(before=False)


def _reported_before(refused: Refused) -> bool:
    """Whether Stripe refuses because it has this meter event. Its words are looked at last, and kept nowhere."""
    if refused.code in REPORTED_BEFORE or refused.param == "identifier":
        return True
    cause = refused.__cause__
    return (
        refused.code is None
        and isinstance(cause, stripe.StripeError)
        and bool(IN_WORDS.search(cause.user_message or ""))
    )
