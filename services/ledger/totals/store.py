"""The SQL that computes `daily_metrics` and `merchant_totals` anew from `usage_logs`.

It says what a row of the book counts for in its own words, not in the trigger's, so that a fault of the one shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from services.ledger.api.select import Row
from shared.database import Connection
from shared.ids import MerchantId

# What a row of the book adds to each number. A negative row takes an earlier end back, and its count.
_ADDS: Mapping[str, str] = {
    "failed_cents": "CASE WHEN metric_type = 'recovery_opened' THEN amount END",
    "failed_count": "CASE WHEN metric_type = 'recovery_opened' THEN 1 END",
    "recovered_cents": "CASE WHEN metric_type IN ('recovery_recovered', 'won_back') THEN amount"
    " WHEN metric_type IN ('refunded', 'disputed') THEN -amount END",
    "recovered_count": "CASE WHEN metric_type = 'recovery_recovered' THEN CASE WHEN amount < 0 THEN -1 ELSE 1 END END",
    "refunded_cents": "CASE WHEN metric_type = 'refunded' THEN amount END",
    "disputed_cents": "CASE WHEN metric_type = 'disputed' THEN amount END",
    "won_back_cents": "CASE WHEN metric_type = 'won_back' THEN amount END",
    "exhausted_cents": "CASE WHEN metric_type = 'recovery_exhausted' THEN amount END",
    "exhausted_count": "CASE WHEN metric_type = 'recovery_exhausted' THEN CASE WHEN amount < 0 THEN -1 ELSE 1 END END",
    "stopped_cents": "CASE WHEN metric_type = 'recovery_stopped' THEN amount END",
    "stopped_count": "CASE WHEN metric_type = 'recovery_stopped' THEN CASE WHEN amount < 0 THEN -1 ELSE 1 END END",
    "attempt_count": "CASE WHEN metric_type = 'attempt' THEN amount END",
    "message_count": "CASE WHEN metric_type = 'message' THEN amount END",
}
NUMBERS = tuple(_ADDS)
# Table → its key, as it is written in the book.
_KEYS: Mapping[str, Mapping[str, str]] = {
    "daily_metrics": {
        "merchant_id": "merchant_id",
        "metric_date": "(created_at AT TIME ZONE 'UTC')::date",
        "currency": "currency",
    },
    "merchant_totals": {"merchant_id": "merchant_id", "currency": "currency"},
}


def _differences(table: str) -> str:
    """The rows of a table that differ from the book; $1 is a merchant, or null for all.

    `xxx` has numbers from before currencies, which no row of the book explains.
    """
    key = _KEYS[table]
    sums = ", ".join(f"COALESCE(sum({adds}), 0)::bigint AS {name}" for name, adds in _ADDS.items())
    parts = ", ".join(f"{text} AS {name}" for name, text in key.items())
    both = ", ".join(f"COALESCE(k.{name}, 0) AS kept_{name}, COALESCE(b.{name}, 0) AS {name}" for name in NUMBERS)
    differ = " OR ".join(f"COALESCE(k.{name}, 0) <> COALESCE(b.{name}, 0)" for name in NUMBERS)
    return f"""
WITH book AS (
    SELECT {parts}, {sums}
    FROM usage_logs
    WHERE recovery_id IS NOT NULL AND ($1::text IS NULL OR merchant_id = $1)
    GROUP BY {", ".join(str(place) for place in range(1, len(key) + 1))}
),
kept AS (
    SELECT * FROM {table} WHERE currency <> 'xxx' AND ($1::text IS NULL OR merchant_id = $1)
)
SELECT {", ".join(key)}, b.merchant_id IS NOT NULL AS in_book, {both}
FROM book AS b
FULL JOIN kept AS k USING ({", ".join(key)})
WHERE {differ}
ORDER BY {", ".join(key)}
"""  # noqa: S608 - constants of this file


def _correct(table: str) -> str:
    """Write one row as the book has it."""
    columns = [*_KEYS[table], *NUMBERS]
    values = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
    numbers = ", ".join(f"{name} = excluded.{name}" for name in NUMBERS)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values}) "  # noqa: S608 - constants of this file
        f"ON CONFLICT ({', '.join(_KEYS[table])}) DO UPDATE SET {numbers}"
    )


def _drop(table: str) -> str:
    """Drop one row that nothing in the book is about."""
    key = " AND ".join(f"{name} = ${place}" for place, name in enumerate(_KEYS[table], 1))
    return f"DELETE FROM {table} WHERE {key}"  # noqa: S608 - constants of this file


DIFFERENCES = {table: _differences(table) for table in _KEYS}
CORRECT = {table: _correct(table) for table in _KEYS}
DROP = {table: _drop(table) for table in _KEYS}

# In the trigger's order. Whoever has booked is waited for, so what it booked is seen; whoever books from now on waits
# in the trigger, and adds its numbers to the corrected ones. Reading goes on.
LOCK = "LOCK TABLE daily_metrics, merchant_totals IN SHARE ROW EXCLUSIVE MODE"

# The whole book is read: longer than a statement of the services may take.
_PATIENCE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not what the book says; `numbers`: each that differs, as (kept, by the book). No day: a total."""

    table: str
    merchant_id: MerchantId
    day: date | None
    currency: str
    numbers: Mapping[str, tuple[int, int]]


async def differences(db: Connection, merchant_id: MerchantId | None) -> list[Difference]:
    """Where the kept numbers differ from the book's, days first; None: of all merchants.

    In a transaction with one snapshot, or under `rebuild`'s lock.
    """
    return [_told(table, row) for table in _KEYS for row in await _rows(db, table, merchant_id)]


async def rebuild(db: Connection, merchant_id: MerchantId | None) -> list[Difference]:
    """Correct the kept numbers from the book, and give back what was wrong. Needs the owner's rights.

    Bookings that are made meanwhile wait for the caller's commit, and none is lost or counted twice.
    """
    await db.execute(LOCK)
    found = []
    for table, key in _KEYS.items():
        for row in await _rows(db, table, merchant_id):
            found.append(_told(table, row))
            which = [row[name] for name in key]
            if row["in_book"]:
                await db.execute(CORRECT[table], *which, *(row[name] for name in NUMBERS))
            else:
                await db.execute(DROP[table], *which)
    return found


async def _rows(db: Connection, table: str, merchant_id: MerchantId | None) -> list[Row]:
    return list(await db.fetch(DIFFERENCES[table], merchant_id, timeout=_PATIENCE_S))


def _told(table: str, row: Row) -> Difference:
    numbers = {name: (row[f"kept_{name}"], row[name]) for name in NUMBERS if row[f"kept_{name}"] != row[name]}
    return Difference(table, row["merchant_id"], row.get("metric_date"), row["currency"], numbers)
