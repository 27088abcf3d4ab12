"""What was learned of a merchant's customers, and whether it teaches others.

Every merchant is in the pool unless it opts out. An opt-out takes effect with the pool's next learning, which it makes
due at once; the merchant is learned from for itself as before.
"""

from typing import Any

from services.ledger.api.endpoint import Call, Endpoint, KeyUse
from services.ledger.api.schemas import NoBody, NoParameters, OfMerchant
from services.ledger.api.tenancy import NO_MERCHANT, merchant_to_write, visible_merchant
from services.ledger.learning.schemas import Learned, OfWhom
from services.ledger.learning.store import find_learned
from shared import pool
from shared.api_keys import Scope
from shared.database import Connection
from shared.ids import MerchantId

NOT_ACTIVE = "The merchant is not connected any more."


async def learned_of(db: Connection, merchant_id: MerchantId | None) -> Learned:
    """What was learned of a merchant's customers; with None, of those of the pool."""
    row = await find_learned(db, merchant_id)
    opted_out_at = None if merchant_id is None else await pool.opted_out_at(db, merchant_id)
    return Learned.model_validate(
        {
            "merchant_id": merchant_id,
            "in_pool": opted_out_at is None,
            "opted_out_at": opted_out_at,
            "learned_at": row["learned_at"] if row else None,
            "recoveries": row["recoveries"] if row else None,
            "differences": (row["differences"] if row else None) or [],
        }
    )


async def show(call: Call[OfMerchant, NoBody]) -> Learned:
    """What was learned. Raises Problem 404."""
    return await learned_of(call.db, await visible_merchant(call.db, call.key, call.parameters.merchant_id))


async def opt_out(call: Call[NoParameters, OfWhom]) -> Learned:
    """Take the merchant out of the pool. Raises Problem 422, 409."""
    merchant_id = await merchant_to_write(call.db, call.key, call.body.merchant_id)
    await pool.opt_out(call.db, merchant_id)
    return await learned_of(call.db, merchant_id)


async def opt_in(call: Call[NoParameters, OfWhom]) -> Learned:
    """Put the merchant back into the pool. Raises Problem 422, 409."""
    merchant_id = await merchant_to_write(call.db, call.key, call.body.merchant_id)
    await pool.opt_in(call.db, merchant_id)
    return await learned_of(call.db, merchant_id)


ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="getLearned",
        method="GET",
        path="/v1/learning",
        scope=Scope.RECOVERIES_READ,
        summary="What was learned of a merchant's customers, and whether it is in the pool",
        description="Where they clearly differ from what was expected, as sentences with their figures. With a "
        "platform's key and without `merchant_id`, of the customers of all merchants of the pool.",
        handler=show,
        parameters=OfMerchant,
        body=NoBody,
        answer=Learned,
        refusals={404: NO_MERCHANT},
    ),
    Endpoint(
        name="leavePool",
        method="POST",
        path="/v1/learning/opt-out",
        scope=Scope.MERCHANTS_WRITE,
        summary="Take a merchant out of the pool",
        description="Its recoveries teach nothing to other merchants any more, from the pool's next learning on, which "
        "becomes due. It is learned from for itself as before. A repeat changes nothing.",
        handler=opt_out,
        parameters=NoParameters,
        body=OfWhom,
        answer=Learned,
        key_use=KeyUse.OPTIONAL,
        refusals={409: NOT_ACTIVE},
    ),
    Endpoint(
        name="joinPool",
        method="POST",
        path="/v1/learning/opt-in",
        scope=Scope.MERCHANTS_WRITE,
        summary="Put a merchant back into the pool",
        description="Every merchant is in it until it opts out. A repeat changes nothing.",
        handler=opt_in,
        parameters=NoParameters,
        body=OfWhom,
        answer=Learned,
        key_use=KeyUse.OPTIONAL,
        refusals={409: NOT_ACTIVE},
    ),
)
