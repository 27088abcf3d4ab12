"""Who is left alone: no attempt, no message, no end action, for a time or for good.

It takes effect with its commit (`shared.interventions`): it is read with every dossier, and again right before every
call.
"""

from datetime import timedelta
from typing import Any

from services.ledger.api.endpoint import Call, Endpoint, KeyUse
from services.ledger.api.pagination import ByTime, cut, read_by_time, write_by_time
from services.ledger.api.schemas import NoBody, NoParameters, Page
from services.ledger.api.select import Row, fetch
from services.ledger.api.tenancy import NO_MERCHANT, merchant_to_write, visible_merchant
from services.ledger.left_alone import store
from services.ledger.left_alone.schemas import LeaveAlone, LeftAlone, LeftAlonePage, OneLeftAlone
from shared import interventions, left_alone
from shared.api_keys import Scope
from shared.clock import business_now
from shared.http import Problem, invalid
from shared.left_alone import Whom

LIST = "left-alone"
LONGEST = timedelta(days=366)


def _cursor(row: Row) -> str:
    return write_by_time(LIST, ByTime(row["created_at"], row["id"]))


def _shown(row: left_alone.LeftAlone) -> LeftAlone:
    return LeftAlone(
        id=row.id,
        merchant_id=row.whom.merchant_id,
        customer_id=row.whom.customer_id,
        subscription_id=row.whom.subscription_id,
        until=row.until,
        reason=row.reason,
        created_at=row.created_at,
    )


async def list_left_alone(call: Call[LeftAlonePage, NoBody]) -> Page[LeftAlone]:
    """One page, newest first."""
    wanted = call.parameters
    given = {
        "merchant_id": await visible_merchant(call.db, call.key, wanted.merchant_id),
        "customer_id": wanted.customer_id,
        "subscription_id": wanted.subscription_id,
        "before": read_by_time(LIST, wanted.cursor),
    }
    rows = await fetch(call.db, store.select_left_alone(wanted.limit + 1, given))
    page, next_cursor = cut(rows, wanted.limit, _cursor)
    return Page[LeftAlone](data=[LeftAlone.model_validate(dict(row)) for row in page], next_cursor=next_cursor)


async def leave_alone(call: Call[NoParameters, LeaveAlone]) -> LeftAlone:
    """Leave a customer or a subscription alone; a repeat changes until when. Raises Problem 422, 409."""
    asked = call.body
    if (asked.customer_id is None) == (asked.subscription_id is None):
        raise invalid(422, "invalid-body", [("customer_id", "name a customer or a subscription, and not both")])
    if asked.until is not None:
        now = await business_now(call.db)
        if not now < asked.until <= now + LONGEST:
            raise invalid(
                422, "invalid-body", [("until", "expected a time within the next year; without one: for good")]
            )
    merchant_id = await merchant_to_write(call.db, call.key, asked.merchant_id)
    whom = Whom(merchant_id, asked.customer_id, asked.subscription_id)
    return _shown(await interventions.leave_alone(call.db, whom, asked.until, asked.reason))


async def lift(call: Call[OneLeftAlone, NoBody]) -> LeftAlone:
    """Leave them alone no more; what was so. Raises Problem 404."""
    row = await interventions.lift(call.db, call.parameters.left_alone_id, call.key.merchant_id)
    if row is None:
        raise Problem(404, "not-found", "Nobody is left alone under this id.")
    return _shown(row)


ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="listLeftAlone",
        method="GET",
        path="/v1/left-alone",
        scope=Scope.RECOVERIES_READ,
        summary="Customers and subscriptions that are left alone, newest first",
        description="By Stripe's id. One whose `until` has passed is left alone no more; its row goes after a month.",
        handler=list_left_alone,
        parameters=LeftAlonePage,
        body=NoBody,
        answer=Page[LeftAlone],
        refusals={404: NO_MERCHANT},
    ),
    Endpoint(
        name="leaveAlone",
        method="POST",
        path="/v1/left-alone",
        scope=Scope.RECOVERIES_WRITE,
        summary="Leave a customer or a subscription alone: no attempt, no message, no end action",
        description="Takes effect with the answer, for everything that is not on its way. Until a time: open "
        "recoveries wait until then, and that time does not count. For good: they are stopped, and so are new ones. "
        "A repeat changes until when, and why.",
        handler=leave_alone,
        parameters=NoParameters,
        body=LeaveAlone,
        answer=LeftAlone,
        key_use=KeyUse.OPTIONAL,
        refusals={409: "The merchant is not connected any more."},
    ),
    Endpoint(
        name="endLeftAlone",
        method="DELETE",
        path="/v1/left-alone/{left_alone_id}",
        scope=Scope.RECOVERIES_WRITE,
        summary="Leave them alone no more",
        description="Recoveries that wait for it are decided anew at once; those that were stopped stay so.",
        handler=lift,
        parameters=OneLeftAlone,
        body=NoBody,
        answer=LeftAlone,
        refusals={404: "Nobody is left alone under this id, or it is another tenant's."},
    ),
)
