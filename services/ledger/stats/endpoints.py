"""The numbers of a dashboard: read from the totals that the ledger's trigger keeps, never counted from the book.

The cost of each number depends on merchants, currencies and days, and not on the size of the book.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from services.ledger.api.endpoint import Call, Endpoint
from services.ledger.api.schemas import NoBody, OfMerchant
from services.ledger.api.select import Row, fetch
from services.ledger.api.tenancy import NO_MERCHANT, visible_merchant
from services.ledger.stats import store
from services.ledger.stats.schemas import Capped, Daily, DailyMoney, DailyRange, QueueHealth, Stats, Sum, Totals
from services.ledger.tasks import store as task_store
from shared.api_keys import Scope
from shared.clock import business_now
from shared.http import invalid

MAX_DAYS = 366
DEFAULT_DAYS = 30
COUNT_CAP = 10_000

_PARTS = ("failed", "recovered", "exhausted", "stopped")


def _money(row: Row | Mapping[str, Any]) -> dict[str, Any]:
    sums = {part: Sum(amount=row[f"{part}_cents"], count=row[f"{part}_count"]) for part in _PARTS}
    return {
        "currency": row["currency"],
        "attempts": row["attempt_count"],
        "messages": row["message_count"],
        "refunded": row["refunded_cents"],
        "disputed": row["disputed_cents"],
        "won_back": row["won_back_cents"],
        **sums,
    }


def totals_of(row: Row | Mapping[str, Any]) -> Totals:
    """One currency's numbers from its row of merchant_totals, with the numbers that follow from them."""
    money = _money(row)
    failed, recovered, exhausted, stopped = (money[part] for part in _PARTS)
    # What was taken back is not at risk again: its recovery has ended.
    at_first = recovered.amount + money["refunded"] + money["disputed"] - money["won_back"]
    at_risk = Sum(
        amount=failed.amount - at_first - exhausted.amount - stopped.amount,
        count=failed.count - recovered.count - exhausted.count - stopped.count,
    )
    rate = round(recovered.amount / failed.amount, 6) if failed.amount else None
    return Totals(**money, at_risk=at_risk, recovery_rate=rate)


def capped(count: int) -> Capped:
    """A count that was stopped one past the cap."""
    return Capped(count=min(count, COUNT_CAP), more=count > COUNT_CAP)


async def stats(call: Call[OfMerchant, NoBody]) -> Stats:
    """The first screen: the money by currency, and the queue."""
    merchant_id = await visible_merchant(call.db, call.key, call.parameters.merchant_id)
    rows = await store.totals(call.db, merchant_id)
    queue = await task_store.queue_health(call.db, merchant_id)
    return Stats(
        merchant_id=merchant_id,
        as_of=queue["as_of"],
        money=[totals_of(row) for row in rows],
        queue=QueueHealth(
            due=capped(queue["due"]),
            pending=capped(queue["pending"]),
            running=capped(queue["running"]),
            dead=capped(queue["dead"]),
            oldest_due_seconds=queue["oldest_due_seconds"],
        ),
    )


async def daily(call: Call[DailyRange, NoBody]) -> Daily:
    """The numbers per day and currency. A limited range instead of pages, because a chart needs all of it at once."""
    merchant_id = await visible_merchant(call.db, call.key, call.parameters.merchant_id)
    last = call.parameters.to or (await business_now(call.db)).date()
    try:
        first = call.parameters.from_ or last - timedelta(days=DEFAULT_DAYS - 1)
    except OverflowError:
        raise invalid(400, "malformed-request", [("to", f"leaves no {DEFAULT_DAYS} days before it")]) from None
    if not 0 <= (last - first).days < MAX_DAYS:
        raise invalid(400, "malformed-request", [("from", f"expected at most {MAX_DAYS} days, from ≤ to")])
    rows = await fetch(call.db, store.select_daily(first, last, merchant_id, call.parameters.currency))
    return Daily.model_validate(
        {
            "merchant_id": merchant_id,
            "from": first,
            "to": last,
            "data": [DailyMoney(date=row["date"], **_money(row)) for row in rows],
        }
    )


ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="getStats",
        method="GET",
        path="/v1/stats",
        scope=Scope.STATS_READ,
        summary="The money by currency, and the queue's health",
        description="Costs the same however much was logged: totals are kept, counts stop at 10,000.",
        handler=stats,
        parameters=OfMerchant,
        body=NoBody,
        answer=Stats,
        refusals={404: NO_MERCHANT},
    ),
    Endpoint(
        name="getDailyMetrics",
        method="GET",
        path="/v1/metrics/daily",
        scope=Scope.STATS_READ,
        summary="The numbers per day (UTC) and currency",
        description="`from` and `to` are both included and at most 366 days apart; by default the last 30 days.",
        handler=daily,
        parameters=DailyRange,
        body=NoBody,
        answer=Daily,
        refusals={404: NO_MERCHANT},
    ),
)
