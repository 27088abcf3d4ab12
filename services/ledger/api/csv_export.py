"""Tables as CSV (RFC 4180, UTF-8, with a header), sent row by row, however long they are.

A statement's rows come through a server-side cursor: one snapshot, 500 rows in memory at a time. That holds a
connection, so at most `AT_ONCE` exports run in one process, and a client that stops reading is cut off. An error after
the first byte ends the connection without the last chunk, so that nobody takes half a file for a complete one.

A text that a spreadsheet would read as a formula gets an apostrophe in front
(https://owasp.org/www-community/attacks/CSV_Injection).
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from aiohttp import web

from services.ledger.api.select import Select
from shared.database import Connection, Database
from shared.http import DATABASE, REQUEST_ID, Problem
from shared.logging import get_logger

log = get_logger(__name__)

BATCH = 500
AT_ONCE = 2
READER_SECONDS = 30.0
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Exports:
    """Counts the exports that this process is sending."""

    def __init__(self) -> None:
        self.running = 0


EXPORTS = web.AppKey("exports", Exports)


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A table to send: a statement with the columns `columns`, or ready rows."""

    name: str
    columns: tuple[str, ...]
    rows: Select | Sequence[Mapping[str, Any]]


def cell(value: Any) -> str:
    """A value as text: times in UTC (RFC 3339), true and false, an empty text for null."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case int() | float():
            return str(value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def lines(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as lines of a file."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)
    return out.getvalue()


async def parts(db: Connection, file: CsvFile) -> AsyncIterator[str]:
    """The file, piece by piece; inside a transaction."""
    header = lines([file.columns])
    if not isinstance(file.rows, Select):
        yield header + lines([row[name] for name in file.columns] for row in file.rows)
        return
    cursor = await db.cursor(file.rows.sql, *file.rows.arguments)
    batch = await cursor.fetch(BATCH)
    yield header + lines([row[name] for name in file.columns] for row in batch)
    while len(batch) == BATCH:
        batch = await cursor.fetch(BATCH)
        if batch:
            yield lines([row[name] for name in file.columns] for row in batch)


async def send(request: web.Request, file: CsvFile) -> web.StreamResponse:
    """Answer with the file. Raises Problem 503 when too many are being sent."""
    exports = request.app[EXPORTS]
    if exports.running >= AT_ONCE:
        raise Problem(503, "busy", f"{AT_ONCE} exports are being sent. Try again.", headers={"Retry-After": "10"})
    exports.running += 1
    try:
        return await _send(request, request.app[DATABASE], file)
    finally:
        exports.running -= 1


async def _send(request: web.Request, database: Database, file: CsvFile) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8; header=present",
            "Content-Disposition": f'attachment; filename="{file.name}"',
            "Cache-Control": "no-store",
            "X-Request-Id": request[REQUEST_ID],
        }
    )
    try:
        async with database.transaction() as db:
            async for part in parts(db, file):
                if not response.prepared:
                    await response.prepare(request)
                async with asyncio.timeout(READER_SECONDS):
                    await response.write(part.encode())
        await response.write_eof()
    except Exception as error:
        if not response.prepared:
            raise  # nothing was sent yet: the usual answer
        # Too late for another status: by the missing last chunk the client knows that the file is not complete.
        log.warning("export_broken_off", file=file.name, reason=type(error).__name__)
        if request.transport is not None:
            request.transport.abort()
    return response
