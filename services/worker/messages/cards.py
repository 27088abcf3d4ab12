"""The page on which a customer changes the card: a session of Stripe's billing portal that opens at its form.

A session dies soon after it was made, long before an email is read. `after_expiration` lets its address live on:
whoever opens it later proves by a code to their email address who they are, and gets a new session of the same kind
(https://docs.stripe.com/changelog/endive/2026-10-28/session-recovery-for-expired-customer-portal-sessions).
"""

from datetime import datetime

import stripe
from stripe.params.billing_portal import SessionCreateParams

from services.worker.errors import Refused, RetryLater
from services.worker.outside.lease import Lease
from services.worker.outside.stripe_calls import replayed, stripe_errors
from shared.logging import get_logger

log = get_logger(__name__)

# What the portal says when the merchant has switched nothing of it on.
_REFUSALS = frozenset({400, 403})


async def card_page(
    client: stripe.StripeClient, customer_id: str, key: str, until: datetime, lease: Lease
) -> str | None:
    """The address of the page, good until `until`; None when the merchant's portal does not offer it.

    With the same `key` it is the same page. Raises what `stripe_errors` does, and LeaseLost.
    """
    asked: SessionCreateParams = {
        "customer": customer_id,
        "flow_data": {"type": "payment_method_update", "after_completion": {"type": "hosted_confirmation"}},
        "after_expiration": {"type": "customer_login", "customer_login": {"expires_at": int(until.timestamp())}},
    }
    # A saved 500 is replayed for as long as Stripe keeps the key, and a session more does no harm: the next key then.
    *earlier, last = (key, f"{key}:2", f"{key}:3")
    for each in earlier:
        try:
            return await _open(client, asked, each, lease)
        except RetryLater as later:
            if not isinstance(later.__cause__, stripe.APIError) or not replayed(later.__cause__):
                raise
    return await _open(client, asked, last, lease)


async def _open(client: stripe.StripeClient, asked: SessionCreateParams, key: str, lease: Lease) -> str | None:
    try:
        with lease.guarding(), stripe_errors():
            session = await client.v1.billing_portal.sessions.create_async(asked, {"idempotency_key": key})
    except Refused as refused:
        # The same key with another request is a mistake of ours, and says nothing about the portal.
        if refused.status not in _REFUSALS or isinstance(refused.__cause__, stripe.IdempotencyError):
            raise
        log.warning("no_card_page", reason=refused.reason)
        return None
    return session.url
