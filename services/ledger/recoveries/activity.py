"""Activity: the newest timeline entries of all recoveries."""

from services.ledger.api.endpoint import Call
from services.ledger.api.pagination import ById, cut, read_by_id, write_by_id
from services.ledger.api.schemas import NoBody, Page, Paged
from services.ledger.api.select import Row, fetch
from services.ledger.api.tenancy import visible_merchant
from services.ledger.recoveries import store
from services.ledger.recoveries.schemas import Activity

LIST = "activity"


def _cursor(row: Row) -> str:
    return write_by_id(LIST, ById(row["id"]))


async def list_activity(call: Call[Paged, NoBody]) -> Page[Activity]:
    """One page of timeline entries, newest first."""
    wanted = call.parameters
    before = read_by_id(LIST, wanted.cursor)
    merchant_id = await visible_merchant(call.db, call.key, wanted.merchant_id)
    rows = await fetch(call.db, store.select_activity(wanted.limit + 1, merchant_id, before))
    page, next_cursor = cut(rows, wanted.limit, _cursor)
    return Page[Activity](data=[Activity.model_validate(dict(row)) for row in page], next_cursor=next_cursor)
