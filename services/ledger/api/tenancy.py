"""Which merchant a call is about.

A merchant's key sees its own merchant only: other merchants do not exist for it (404, not 403). A platform's key sees
all, and may name one. A call that names another tenant's merchant is logged and counted.
"""

from uuid import UUID

from services.ledger.api.select import merchant_status
from shared.api_keys import ApiKey, sees
from shared.database import Connection
from shared.http import Problem, invalid
from shared.ids import MerchantId

NO_MERCHANT = "There is no such merchant, or it is another tenant's."
"""What a 404 about a merchant means, for the OpenAPI document."""


async def visible_merchant(db: Connection, key: ApiKey, asked: UUID | None) -> MerchantId | None:
    """The one merchant whose rows are read; None for all merchants (a platform's key that names none).

    Raises Problem 404 when `asked` is unknown or another tenant's.
    """
    if asked is None:
        return key.merchant_id
    if not sees(key, asked) or await merchant_status(db, asked) is None:
        raise Problem(404, "not-found", "There is no such merchant.")
    return MerchantId(str(asked))


async def merchant_to_write(db: Connection, key: ApiKey, asked: UUID | None) -> MerchantId:
    """The merchant that is written for: the one named in the body, else the key's own.

    Raises Problem 422 when a platform's key names none, or when the named one is unknown or another tenant's; 409 when
    the merchant is no longer connected.
    """
    named = asked or (UUID(key.merchant_id) if key.merchant_id else None)
    if named is None:
        raise invalid(422, "invalid-body", [("merchant_id", "required with a key of the platform")])
    status = await merchant_status(db, named) if sees(key, named) else None
    if status is None:
        raise invalid(422, "invalid-body", [("merchant_id", "there is no such merchant")])
    require_active(status)
    return MerchantId(str(named))


def require_active(status: str | None) -> None:
    """Raises Problem 409 unless this is the status of a connected merchant."""
    if status != "active":
        raise Problem(409, "merchant-not-active", f"The merchant is {status or 'gone'}: no work is queued for it.")
