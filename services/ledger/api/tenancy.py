"""Which merchant a call is about.

A merchant's key sees its own merchant only: other merchants do not exist for it (404, not 403). A platform's key sees
all, and may name one. A call that names another tenant's merchant is logged and counted.
"""

from uuid import UUID

from prometheus_client import Counter

from services.ledger.api.select import merchant_status
from shared.api_keys import ApiKey
from shared.database import Connection
from shared.http import Problem
from shared.logging import get_logger

log = get_logger(__name__)

NO_MERCHANT = "There is no such merchant, or it is another tenant's."
"""What a 404 about a merchant means, for the OpenAPI document."""

_REFUSED = Counter("citadel_ledger_cross_tenant_refused_total", "Calls that named a merchant of another tenant")


def _owns(key: ApiKey, merchant_id: UUID) -> bool:
    if key.may_see(str(merchant_id)):
        return True
    _REFUSED.inc()
    log.warning("cross_tenant_refused", key_id=str(key.id), key_merchant_id=key.merchant_id, asked=str(merchant_id))
    return False


async def visible_merchant(db: Connection, key: ApiKey, asked: UUID | None) -> str | None:
    """The one merchant whose rows are read; None for all merchants (a platform's key that names none).

    Raises Problem 404 when `asked` is unknown or another tenant's.
    """
    if asked is None:
        return key.merchant_id
    if not _owns(key, asked) or await merchant_status(db, asked) is None:
        raise Problem(404, "not-found", "There is no such merchant.")
    return str(asked)


async def merchant_to_write(db: Connection, key: ApiKey, asked: UUID | None) -> str:
    """The merchant that is written for: the one named in the body, else the key's own.

    Raises Problem 422 when a platform's key names none, or when the named one is unknown or another tenant's; 409 when
    the merchant is no longer connected.
    """
    named = asked or (UUID(key.merchant_id) if key.merchant_id else None)
    if named is None:
        raise _invalid("required with a key of the platform")
    status = await merchant_status(db, named) if _owns(key, named) else None
    if status is None:
        raise _invalid("there is no such merchant")
    require_active(status)
    return str(named)


def require_active(status: str | None) -> None:
    """Raises Problem 409 unless this is the status of a connected merchant."""
    if status != "active":
        raise Problem(409, "merchant-not-active", f"The merchant is {status or 'gone'}: no work is queued for it.")


def _invalid(message: str) -> Problem:
    errors = [{"field": "merchant_id", "message": message}]
    return Problem(422, "invalid-body", f"merchant_id: {message}.", errors=errors)
