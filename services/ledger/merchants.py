"""Merchants: who is connected. Tokens are not among what this service's role may read."""

from uuid import UUID

from services.ledger import store
from services.ledger.endpoint import Call
from services.ledger.pagination import ByTime, cut, read_by_time, write_by_time
from services.ledger.schemas import Merchant, MerchantPage, NoBody, OneMerchant, Page
from services.ledger.tenancy import visible_merchant
from shared.http import Problem

LIST = "merchants"


def _cursor(row: store.Row) -> str:
    return write_by_time(LIST, ByTime(row["created_at"], row["id"]))


async def list_merchants(call: Call[MerchantPage, NoBody]) -> Page[Merchant]:
    """One page, newest first; with a merchant's key that merchant alone."""
    wanted = call.parameters
    before = read_by_time(LIST, wanted.cursor)
    own = UUID(call.key.merchant_id) if call.key.merchant_id else None
    rows = await store.fetch(call.db, store.select_merchants(wanted.limit + 1, own, before))
    page, next_cursor = cut(rows, wanted.limit, _cursor)
    return Page[Merchant](data=[Merchant.model_validate(dict(row)) for row in page], next_cursor=next_cursor)


async def get_merchant(call: Call[OneMerchant, NoBody]) -> Merchant:
    """One merchant. Raises Problem 404."""
    asked = call.parameters.merchant_id
    await visible_merchant(call.db, call.key, asked)
    rows = await store.fetch(call.db, store.select_merchants(1, asked))
    if not rows:
        raise Problem(404, "not-found", "There is no such merchant.")
    return Merchant.model_validate(dict(rows[0]))
