"""SQL statements that are put together from constants, and the look-up of a merchant that every subject needs.

Every statement about a tenant's rows names the merchant, unless a platform's key reads all. A list is a statement with
one condition for each given filter. A filter that is not given is left out, because with `$1 IS NULL OR …` the planner
would not use its indexes. A status is a literal in the text, because with a bound one partial indexes would not be
used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from shared.database import Connection

Row = asyncpg.Record

MERCHANT_STATUS = "SELECT status FROM merchants WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Select:
    """A statement that is ready to run."""

    sql: str
    arguments: list[Any]


def narrowed(
    statement: str,
    arguments: Sequence[Any],
    conditions: Mapping[str, str],
    given: Mapping[str, Any],
    literal: str | None = None,
) -> Select:
    """`statement` with the condition of each filter in `given` that is not None, numbered after `arguments`."""
    values = list(arguments)
    texts = [literal] if literal else []
    for name, value in given.items():
        if value is None:
            continue
        text = conditions[name]
        for part in value if isinstance(value, tuple) else (value,):
            values.append(part)
            text = text.replace("?", f"${len(values)}", 1)
        texts.append(text)
    return Select(statement.replace("{conditions}", " AND ".join(texts) or "true"), values)


async def fetch(db: Connection, select: Select) -> list[Row]:
    """Run a statement that `narrowed` made."""
    return await db.fetch(select.sql, *select.arguments)


async def merchant_status(db: Connection, merchant_id: UUID) -> str | None:
    """The status of a merchant; None when there is none."""
    status: str | None = await db.fetchval(MERCHANT_STATUS, merchant_id)
    return status
