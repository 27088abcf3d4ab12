"""The endpoints about merchants. This service's role cannot read their tokens."""

from typing import Any
from uuid import UUID

from services.ledger.api.endpoint import Call, Endpoint
from services.ledger.api.pagination import ByTime, cut, read_by_time, write_by_time
from services.ledger.api.schemas import NoBody, Page
from services.ledger.api.select import Row, fetch
from services.ledger.api.tenancy import NO_MERCHANT, visible_merchant
from services.ledger.merchants import store
from services.ledger.merchants.schemas import Merchant, MerchantPage, OneMerchant
from shared.api_keys import Scope
from shared.http import Problem

LIST = "merchants"


def _cursor(row: Row) -> str:
    return write_by_time(LIST, ByTime(row["created_at"], row["id"]))


async def list_merchants(call: Call[MerchantPage, NoBody]) -> Page[Merchant]:
    """One page, newest first; with a merchant's key only that merchant."""
    wanted = call.parameters
    before = read_by_time(LIST, wanted.cursor)
    own = UUID(call.key.merchant_id) if call.key.merchant_id else None
    rows = await fetch(call.db, store.select_merchants(wanted.limit + 1, own, before))
    page, next_cursor = cut(rows, wanted.limit, _cursor)
    return Page[Merchant](data=[Merchant.model_validate(dict(row)) for row in page], next_cursor=next_cursor)


async def get_merchant(call: Call[OneMerchant, NoBody]) -> Merchant:
    """One merchant. Raises Problem 404."""
    asked = call.parameters.merchant_id
    await visible_merchant(call.db, call.key, asked)
    rows = await fetch(call.db, store.select_merchants(1, asked))
    if not rows:
        raise Problem(404, "not-found", "There is no such merchant.")
    return Merchant.model_validate(dict(rows[0]))


ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="listMerchants",
        method="GET",
        path="/v1/merchants",
        scope=Scope.MERCHANTS_READ,
        summary="Connected accounts, newest first",
        description="With a merchant's key, that merchant alone. Tokens are never shown.",
        handler=list_merchants,
        parameters=MerchantPage,
        body=NoBody,
        answer=Page[Merchant],
    ),
    Endpoint(
        name="getMerchant",
        method="GET",
        path="/v1/merchants/{merchant_id}",
        scope=Scope.MERCHANTS_READ,
        summary="A connected account",
        description="Tokens are never shown.",
        handler=get_merchant,
        parameters=OneMerchant,
        body=NoBody,
        answer=Merchant,
        refusals={404: NO_MERCHANT},
    ),
)
