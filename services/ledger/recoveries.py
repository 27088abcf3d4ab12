"""Recoveries: the list, and one with its whole story."""

from uuid import UUID

from services.ledger import store
from services.ledger.endpoint import Call
from services.ledger.pagination import ByTime, cut, read_by_time, write_by_time
from services.ledger.schemas import NoBody, OneRecovery, Page, Recovery, RecoveryFilter, RecoveryStory
from services.ledger.tenancy import visible_merchant
from shared.http import Problem

LIST = "recoveries"


def _cursor(row: store.Row) -> str:
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
    }
    rows = await store.fetch(call.db, store.select_recoveries(wanted.limit + 1, wanted.state, given))
    page, next_cursor = cut(rows, wanted.limit, _cursor)
    return Page[Recovery](data=[Recovery.model_validate(dict(row)) for row in page], next_cursor=next_cursor)


async def get_recovery(call: Call[OneRecovery, NoBody]) -> RecoveryStory:
    """One recovery with its attempts and its timeline. Raises Problem 404."""
    recovery_id: UUID = call.parameters.recovery_id
    given = {"id": recovery_id, "merchant_id": call.key.merchant_id}
    rows = await store.fetch(call.db, store.select_recoveries(1, None, given))
    if not rows:
        raise Problem(404, "not-found", "There is no such recovery.")
    return RecoveryStory.model_validate(await store.whole_story(call.db, rows[0]))
