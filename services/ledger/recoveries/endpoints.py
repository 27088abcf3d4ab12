"""Recoveries: the list, one with its attempts and timeline, and stops."""

from typing import Any

from services.ledger.api.endpoint import Call, Endpoint, KeyUse
from services.ledger.api.pagination import ByTime, cut, read_by_time, write_by_time
from services.ledger.api.schemas import Changed, NoBody, NoParameters, Page, Paged
from services.ledger.api.select import Row, fetch
from services.ledger.api.tenancy import NO_MERCHANT, visible_merchant
from services.ledger.recoveries import store
from services.ledger.recoveries.activity import list_activity
from services.ledger.recoveries.schemas import (
    Activity,
    OneRecovery,
    Recovery,
    RecoveryFilter,
    RecoverySelection,
    RecoveryStory,
    Stop,
)
from services.ledger.recoveries.stops import stop_many, stop_recovery
from shared.api_keys import Scope
from shared.http import Problem

LIST = "recoveries"


def _cursor(row: Row) -> str:
    return write_by_time(LIST, ByTime(row["opened_at"], row["id"]))


async def list_recoveries(call: Call[RecoveryFilter, NoBody]) -> Page[Recovery]:
    """One page, newest first."""
    wanted = call.parameters
    before = read_by_time(LIST, wanted.cursor)
    given = {
        "merchant_id": await visible_merchant(call.db, call.key, wanted.merchant_id),
        "invoice_id": wanted.invoice_id,
        "subscription_id": wanted.subscription_id,
        "customer_id": wanted.customer_id,
        "currency": wanted.currency,
        "opened_from": wanted.opened_from,
        "opened_to": wanted.opened_to,
        "before": before,
        "attention": wanted.attention or None,
        "no_attention": True if wanted.attention is False else None,
    }
    rows = await fetch(call.db, store.select_recoveries(wanted.limit + 1, wanted.state, given))
    page, next_cursor = cut(rows, wanted.limit, _cursor)
    return Page[Recovery](data=[Recovery.model_validate(dict(row)) for row in page], next_cursor=next_cursor)


async def get_recovery(call: Call[OneRecovery, NoBody]) -> RecoveryStory:
    """One recovery with its attempts and its timeline. Raises Problem 404."""
    given = {"id": call.parameters.recovery_id, "merchant_id": call.key.merchant_id}
    rows = await fetch(call.db, store.select_recoveries(1, None, given))
    if not rows:
        raise Problem(404, "not-found", "There is no such recovery.")
    return RecoveryStory.model_validate(await store.whole_story(call.db, rows[0]))


ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="listRecoveries",
        method="GET",
        path="/v1/recoveries",
        scope=Scope.RECOVERIES_READ,
        summary="Recoveries, newest first",
        description="`opened_from` is included, `opened_to` is not. `attention=true`: a task died or is held.",
        handler=list_recoveries,
        parameters=RecoveryFilter,
        body=NoBody,
        answer=Page[Recovery],
        refusals={404: NO_MERCHANT},
    ),
    Endpoint(
        name="getRecovery",
        method="GET",
        path="/v1/recoveries/{recovery_id}",
        scope=Scope.RECOVERIES_READ,
        summary="A recovery with its attempts and its whole timeline",
        description="Both oldest first.",
        handler=get_recovery,
        parameters=OneRecovery,
        body=NoBody,
        answer=RecoveryStory,
        refusals={404: "There is no such recovery, or it is another tenant's."},
    ),
    Endpoint(
        name="stopRecovery",
        method="POST",
        path="/v1/recoveries/{recovery_id}/stop",
        scope=Scope.RECOVERIES_WRITE,
        summary="Stop a recovery: no attempt, no message and no end action any more",
        description="Takes effect with the answer: its end reason is `stopped_by_operator`. While an attempt is in "
        "flight the stop is noted (`stop_requested`), and how the attempt ends decides. One that is stopped is not "
        "changed.",
        handler=stop_recovery,
        parameters=OneRecovery,
        body=Stop,
        answer=Recovery,
        key_use=KeyUse.OPTIONAL,
        refusals={
            404: "There is no such recovery, or it is another tenant's.",
            409: "The recovery has ended as recovered or exhausted.",
        },
    ),
    Endpoint(
        name="stopRecoveries",
        method="POST",
        path="/v1/recovery-stops",
        scope=Scope.RECOVERIES_WRITE,
        summary="Stop the open recoveries of a customer, of a subscription, or of a merchant",
        description="Of a merchant's at most 100 at a call; `more` says that there may be others.",
        handler=stop_many,
        parameters=NoParameters,
        body=RecoverySelection,
        answer=Changed,
        key_use=KeyUse.OPTIONAL,
        refusals={409: "The merchant is not connected any more."},
    ),
    Endpoint(
        name="listActivity",
        method="GET",
        path="/v1/activity",
        scope=Scope.RECOVERIES_READ,
        summary="What has happened to all recoveries, newest first",
        description="The timelines of all recoveries in one list.",
        handler=list_activity,
        parameters=Paged,
        body=NoBody,
        answer=Page[Activity],
        refusals={404: NO_MERCHANT},
    ),
)
