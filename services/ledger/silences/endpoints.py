"""Silences, and the card warnings that customers got.

A silence takes effect with its commit: every message checks for it before it is written and again before it is handed
over. This service may not change a recovery, so a task (`follow_silence`) does the rest for open recoveries: entries in
their timelines and, after the last silence, the next message.
"""

from typing import Any

from services.ledger.api.endpoint import Call, Endpoint, KeyUse
from services.ledger.api.pagination import ById, cut, read_by_id, write_by_id
from services.ledger.api.schemas import Changed, NoBody, NoParameters, Page
from services.ledger.api.select import Row, fetch
from services.ledger.api.tenancy import NO_MERCHANT, merchant_to_write, visible_merchant
from services.ledger.recoveries.schemas import (
    CardWarning,
)
from services.ledger.silences import store
from services.ledger.silences.schemas import CustomerPage, Silence, SilenceEnd, SilenceStart
from services.ledger.tasks import store as task_store
from shared import silences
from shared.api_keys import Scope
from shared.database import Connection
from shared.ids import CustomerId, MerchantId
from shared.silences import SilenceReason

SILENCES = "silences"
CARD_WARNINGS = "card-warnings"
FOLLOW = "follow_silence"


def _silence_cursor(row: Row) -> str:
    return write_by_id(SILENCES, ById(row["id"]))


def _warning_cursor(row: Row) -> str:
    return write_by_id(CARD_WARNINGS, ById(row["id"]))


async def start(db: Connection, merchant_id: MerchantId, customer_id: CustomerId, reason: SilenceReason) -> bool:
    """Silence a customer. False: they were silenced for this reason already."""
    if not await silences.start(db, merchant_id, customer_id, reason):
        return False
    await task_store.insert_task(db, merchant_id, FOLLOW, {"customer_id": customer_id, "change": "silenced"})
    return True


async def end(db: Connection, merchant_id: MerchantId, customer_id: CustomerId, reason: SilenceReason | None) -> int:
    """Lift the customer's silence for this reason, or with None all of them; how many there were."""
    ended = await silences.end(db, merchant_id, customer_id, reason)
    if ended:
        await task_store.insert_task(db, merchant_id, FOLLOW, {"customer_id": customer_id, "change": "lifted"})
    return ended


async def list_silences(call: Call[CustomerPage, NoBody]) -> Page[Silence]:
    """One page, newest first."""
    wanted = call.parameters
    given = {
        "merchant_id": await visible_merchant(call.db, call.key, wanted.merchant_id),
        "customer_id": wanted.customer_id,
        "before": read_by_id(SILENCES, wanted.cursor),
    }
    rows = await fetch(call.db, store.select_silences(wanted.limit + 1, given))
    page, next_cursor = cut(rows, wanted.limit, _silence_cursor)
    return Page[Silence](data=[Silence.model_validate(dict(row)) for row in page], next_cursor=next_cursor)


async def start_silence(call: Call[NoParameters, SilenceStart]) -> Changed:
    """Silence a customer; `changed` is 0 when they were silenced already."""
    asked = call.body
    merchant_id = await merchant_to_write(call.db, call.key, asked.merchant_id)
    return Changed(changed=int(await start(call.db, merchant_id, asked.customer_id, asked.reason)), more=False)


async def end_silence(call: Call[NoParameters, SilenceEnd]) -> Changed:
    """Lift a customer's silence; `changed` is 0 when there was none."""
    asked = call.body
    merchant_id = await merchant_to_write(call.db, call.key, asked.merchant_id)
    return Changed(changed=await end(call.db, merchant_id, asked.customer_id, asked.reason), more=False)


async def list_card_warnings(call: Call[CustomerPage, NoBody]) -> Page[CardWarning]:
    """One page, newest first."""
    wanted = call.parameters
    given = {
        "merchant_id": await visible_merchant(call.db, call.key, wanted.merchant_id),
        "customer_id": wanted.customer_id,
        "before": read_by_id(CARD_WARNINGS, wanted.cursor),
    }
    rows = await fetch(call.db, store.select_card_warnings(wanted.limit + 1, given))
    page, next_cursor = cut(rows, wanted.limit, _warning_cursor)
    return Page[CardWarning](data=[CardWarning.model_validate(dict(row)) for row in page], next_cursor=next_cursor)


ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="listSilences",
        method="GET",
        path="/v1/silences",
        scope=Scope.MESSAGES_READ,
        summary="Customers who are not written to, and why, newest first",
        description="By Stripe's id; no address is kept.",
        handler=list_silences,
        parameters=CustomerPage,
        body=NoBody,
        answer=Page[Silence],
        refusals={404: NO_MERCHANT},
    ),
    Endpoint(
        name="startSilence",
        method="POST",
        path="/v1/silences",
        scope=Scope.MESSAGES_WRITE,
        summary="Write to a customer no more",
        description="Takes effect with the answer, for every message that is not on its way. Attempts go on. "
        "`changed` is 0 when it was so already, for this reason.",
        handler=start_silence,
        parameters=NoParameters,
        body=SilenceStart,
        answer=Changed,
        key_use=KeyUse.OPTIONAL,
        refusals={409: "The merchant is not connected any more."},
    ),
    Endpoint(
        name="endSilence",
        method="POST",
        path="/v1/silences/end",
        scope=Scope.MESSAGES_WRITE,
        summary="Write to a customer again",
        description="For customers who asked for it, or whose mailbox works again. Recoveries that go on are decided "
        "anew, and the message that is due goes out. `changed` is how many silences there were.",
        handler=end_silence,
        parameters=NoParameters,
        body=SilenceEnd,
        answer=Changed,
        key_use=KeyUse.OPTIONAL,
        refusals={409: "The merchant is not connected any more."},
    ),
    Endpoint(
        name="listCardWarnings",
        method="GET",
        path="/v1/card-warnings",
        scope=Scope.MESSAGES_READ,
        summary="Customers who were told ahead of a renewal that their card ends, newest first",
        description="Once per card and its last month.",
        handler=list_card_warnings,
        parameters=CustomerPage,
        body=NoBody,
        answer=Page[CardWarning],
        refusals={404: NO_MERCHANT},
    ),
)
