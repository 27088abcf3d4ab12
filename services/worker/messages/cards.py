"""The page on which a customer changes the card: a session of Stripe's billing portal that opens at that form.

A session expires soon after it was made, long before the email is read. With `after_expiration` its address still
works: whoever opens it later enters a code that Stripe sends to their email address, and gets a new session of the
same kind (https://docs.stripe.com/changelog/endive/2026-10-28/session-recovery-for-expired-customer-portal-sessions).
"""

from datetime import datetime

import stripe
from stripe.params.billing_portal import SessionCreateParams

from services.worker.errors import MerchantUnreachable, Refused, RetryLater
from services.worker.outside.lease import Lease
from services.worker.outside.stripe_calls import replayed, stripe_errors
from shared.ids import CustomerId
from shared.logging import get_logger

log = get_logger(__name__)

# The portal's answers when the merchant has not switched it on, or the customer is gone.
_REFUSALS = frozenset({400, 404})


async def card_page(
    client: stripe.StripeClient, customer_id: CustomerId, key: str, until: datetime, lease: Lease
) -> str | None:
    """The address of the page, good until `until`; None when the merchant's portal does not offer it to us.

    Then the customer gets the address of the invoice's own page, which is better than no message.

    The same `key` gives the same page. Raises what `stripe_errors` does, and LeaseLost.
    """
    asked: SessionCreateParams = {
        "customer": customer_id,
        "flow_data": {"type": "payment_method_update", "after_completion": {"type": "hosted_confirmation"}},
        "after_expiration": {"type": "customer_login", "customer_login": {"expires_at": int(until.timestamp())}},
    }
    # Stripe replays a saved 500 for as long as it keeps the key. One more session does no harm, so try the next key.
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
    except MerchantUnreachable as unreachable:
        log.warning("no_card_page", reason=unreachable.reason)
        return None
    except Refused as refused:
        # A key that was used for another request is our mistake, and says nothing about the portal.
        if refused.status not in _REFUSALS or isinstance(refused.__cause__, stripe.IdempotencyError):
            raise
        log.warning("no_card_page", reason=refused.reason)
        return None
    return session.url
