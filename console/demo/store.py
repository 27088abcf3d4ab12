"""The demo's SQL, with the owner's rights: it reads the database, and changes nothing but the test clock."""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.database import Connection

# Everything that the services do changes one of these numbers: if they are equal twice, nothing happened in between.
ACTIVITY = """
SELECT
    citadel_now() AS now,
    (SELECT count(*) FROM processed_events) AS events,
    (SELECT sum(fence) FROM scheduled_tasks) AS claims,
    (SELECT max(id) FROM scheduled_tasks) AS newest,
    (SELECT count(*) FROM scheduled_tasks WHERE status = 'running') AS running,
    (SELECT count(*) FROM scheduled_tasks WHERE status = 'pending' AND run_at <= citadel_now()) AS due,
    (SELECT min(run_at) FROM scheduled_tasks WHERE status = 'pending') AS next_run_at
"""

# What keeps a step from ending, for the diagnosis.
UNFINISHED = """
SELECT task_type, status, count(*) AS tasks, min(run_at) AS oldest, max(attempts) AS attempts,
    max(last_error) AS last_error
FROM scheduled_tasks
WHERE status = 'running' OR (status = 'pending' AND run_at <= citadel_now())
GROUP BY task_type, status
ORDER BY tasks DESC
LIMIT 10
"""

HELD_TASKS = """
SELECT locked_by, array_agg(id ORDER BY id) AS ids
FROM scheduled_tasks
WHERE status = 'running'
GROUP BY locked_by
"""

# A rescue is noted in the row until the task succeeds; the raised fence stays.
CLAIMED_AGAIN = """
SELECT count(*) FILTER (WHERE status <> 'running' OR locked_by <> $2) AS rescued,
    count(*) FILTER (WHERE status = 'succeeded') AS finished
FROM scheduled_tasks
WHERE id = ANY ($1::bigint[])
"""

ALL_MERCHANTS = "SELECT count(*) FROM merchants"

MERCHANTS = """
SELECT count(*)
FROM merchants
WHERE status = 'active' AND stripe_connect_id = ANY ($1::text[])
"""

TOTALS = """
SELECT currency,
    sum(failed_cents)::bigint AS failed_cents, sum(failed_count)::bigint AS failed_count,
    sum(recovered_cents)::bigint AS recovered_cents, sum(recovered_count)::bigint AS recovered_count,
    sum(exhausted_cents)::bigint AS exhausted_cents, sum(exhausted_count)::bigint AS exhausted_count,
    sum(stopped_cents)::bigint AS stopped_cents, sum(stopped_count)::bigint AS stopped_count,
    sum(refunded_cents)::bigint AS refunded_cents, sum(disputed_cents)::bigint AS disputed_cents,
    sum(won_back_cents)::bigint AS won_back_cents,
    sum(attempt_count)::bigint AS attempt_count, sum(message_count)::bigint AS message_count
FROM merchant_totals
GROUP BY currency
ORDER BY currency
"""

# A card that needs 3-D Secure has not been declined: its cause is in the decision.
RECOVERIES = """
SELECT r.id, r.invoice_id, r.currency, r.amount_due, r.amount_recovered, r.state, r.end_reason, r.recovered_by,
    r.opened_at, r.closed_at,
    COALESCE(
        r.decline_cause,
        (SELECT min(t.rule) FROM recovery_timeline AS t
         WHERE t.recovery_id = r.id AND t.kind = 'decided' AND t.rule = 'authentication_required')
    ) AS cause
FROM recoveries AS r
ORDER BY r.id
"""

BOOKED_CHARGES = """
SELECT charge_id, amount, currency
FROM recovered_charges
"""

SUCCEEDED_ATTEMPTS = """
SELECT r.invoice_id, a.charge_id, a.origin, a.amount, a.currency
FROM attempts AS a
JOIN recoveries AS r ON r.id = a.recovery_id
WHERE a.result = 'succeeded'
"""

ATTEMPT_RESULTS = """
SELECT origin, result, count(*) AS attempts
FROM attempts
GROUP BY origin, result
ORDER BY origin, result
"""

OUR_ATTEMPTS = """
SELECT recovery_id, count(*) AS attempts
FROM attempts
WHERE origin = 'citadel'
GROUP BY recovery_id
"""

TASKS_BY_STATUS = """
SELECT status, count(*) AS tasks
FROM scheduled_tasks
GROUP BY status
"""

# An instructive recovery: the shortest with several attempts, a rule that made us wait, a reminder, and a good end.
INSTRUCTIVE = """
SELECT r.id
FROM recoveries AS r
JOIN recovery_timeline AS t ON t.recovery_id = r.id
WHERE r.state = 'recovered'
GROUP BY r.id
ORDER BY r.recovered_by = 'retry' DESC,
    count(*) FILTER (WHERE t.rule = 'network_limit') > 0 DESC,
    count(*) FILTER (WHERE t.kind = 'attempted') BETWEEN 2 AND 4 DESC,
    count(*) FILTER (WHERE t.kind = 'messaged') >= 2 DESC,
    count(*), r.invoice_id
LIMIT 1
"""

# Numbers, times and ids of our own cannot contain a name; columns of all other types are searched.
TEXT_COLUMNS = """
SELECT c.table_schema, c.table_name, c.column_name, c.data_type
FROM information_schema.columns AS c
JOIN information_schema.tables AS t USING (table_schema, table_name)
WHERE t.table_type = 'BASE TABLE'
    AND c.table_schema NOT IN ('pg_catalog', 'information_schema')
    AND c.data_type NOT IN ('smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision', 'boolean', 'uuid',
        'date', 'interval', 'timestamp with time zone', 'timestamp without time zone',
        'time with time zone', 'time without time zone')
ORDER BY c.table_schema, c.table_name, c.ordinal_position
"""

READ_COLUMNS = "SELECT {columns} FROM {table}"


@dataclass(frozen=True, slots=True)
class Activity:
    """The services' progress. If `mark` is equal twice, nothing happened in between."""

    now: datetime
    mark: tuple[int, int, int]
    running: int
    due: int
    next_run_at: datetime | None

    @property
    def idle(self) -> bool:
        """Nothing runs, and nothing is due."""
        return not self.running and not self.due


@dataclass(frozen=True, slots=True)
class Column:
    """A column that can hold text."""

    schema: str
    table: str
    name: str
    type: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}.{self.name}"


async def activity(db: Connection) -> Activity:
    """The services' progress now."""
    row = await db.fetchrow(ACTIVITY)
    if row is None:
        raise LookupError("a SELECT without FROM gave no row")
    mark = (row["events"], int(row["claims"] or 0), row["newest"] or 0)
    return Activity(row["now"], mark, row["running"], row["due"], row["next_run_at"])


async def unfinished(db: Connection) -> list[dict[str, Any]]:
    """What is due or running, by type: the diagnosis of a step that does not end."""
    return [dict(row) for row in await db.fetch(UNFINISHED)]


async def held_tasks(db: Connection) -> dict[str, list[int]]:
    """The running tasks' ids by worker."""
    return {row["locked_by"]: list(row["ids"]) for row in await db.fetch(HELD_TASKS)}


async def rows(db: Connection, statement: str, *arguments: Any) -> list[dict[str, Any]]:
    """All rows of one of this module's statements."""
    return [dict(row) for row in await db.fetch(statement, *arguments)]


async def text_columns(db: Connection) -> list[Column]:
    """Every column of every table that can hold text, whatever it is called."""
    return [Column(*row) for row in await db.fetch(TEXT_COLUMNS)]


async def texts(db: Connection, columns: list[Column]) -> AsyncIterator[tuple[Column, str]]:
    """Every value of these columns as text, table by table. Needs a transaction."""
    by_table: defaultdict[tuple[str, str], list[Column]] = defaultdict(list)
    for column in columns:
        by_table[column.schema, column.table].append(column)
    for (schema, table), of_table in by_table.items():
        shown = ", ".join(_as_text(column) for column in of_table)
        statement = READ_COLUMNS.format(columns=shown, table=f"{_identifier(schema)}.{_identifier(table)}")
        async for row in db.cursor(statement, prefetch=1000):
            for column, value in zip(of_table, row, strict=True):
                if value is not None:
                    yield column, value.decode(errors="replace") if isinstance(value, bytes) else value


def _as_text(column: Column) -> str:
    name = _identifier(column.name)
    return name if column.type == "bytea" else f"{name}::text"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
