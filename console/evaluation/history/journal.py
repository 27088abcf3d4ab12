"""The journal: a file with the pages that were read from Stripe so far, so that a killed run can be continued.

The first line says what is being read; each further one is a page with its rows and the cursor after it. A line is on
the disk before the next page is requested. An incomplete last line, after a kill, is dropped, and its page read again.

JournalRefused   the file is not a journal, or is for another merchant or window
"""

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import orjson

from console.evaluation.history.document import private
from shared.ids import AccountId

VERSION = 1


class JournalRefused(Exception):
    """The existing journal cannot be continued; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is read: the merchant's objects that were created in [since, until), unix seconds."""

    merchant: AccountId
    since: int
    until: int


class Journal:
    """The pages of each list, by the list's name. Use `open`, and close it."""

    def __init__(self, path: Path, file: IO[bytes], window: Window) -> None:
        self._path = path
        self._file = file
        self.window = window
        self.rows: dict[str, list[Any]] = {}
        self.cursors: dict[str, str | None] = {}
        self.done: set[str] = set()

    @classmethod
    def open(cls, path: Path, window: Window, *, days_given: bool) -> Self:
        """Continue the journal at `path`, or begin one.

        An existing one keeps its window; with `days_given` that must be as long as the requested one. Raises
        JournalRefused.
        """
        text = path.read_bytes() if path.exists() else b""
        lines = text.split(b"\n")
        whole = len(text) - len(lines.pop())  # the text after the last newline is incomplete
        if not whole:
            path.parent.mkdir(parents=True, exist_ok=True)
            file: IO[bytes] = open(path, "wb", opener=private)  # noqa: SIM115 - the journal's owner closes it
            journal = cls(path, _alone(path, file), window)
            journal._add(
                {"journal": VERSION, "merchant": window.merchant, "since": window.since, "until": window.until}
            )
            return journal
        found = _window(path, lines[0])
        if found.merchant != window.merchant:
            raise JournalRefused(f"{path} is about {found.merchant}: give another file, or remove it")
        if days_given and found.until - found.since != window.until - window.since:
            days = (found.until - found.since) // 86_400
            raise JournalRefused(f"{path} was begun with {days} days: leave --days out, or begin anew with --fresh")
        file = _alone(path, path.open("r+b"))
        file.truncate(whole)
        file.seek(whole)
        journal = cls(path, file, found)
        try:
            for number, line in enumerate(lines[1:], start=2):
                journal._take(number, line)
        except JournalRefused:
            journal.close()
            raise
        return journal

    def add(self, name: str, rows: list[Any], cursor: str | None, *, last: bool) -> None:
        """Add a page of the list `name`; `cursor` is the id of its last object, `last`: no page follows."""
        page = {"list": name, "cursor": cursor, "last": last, "rows": rows}
        self._add(page)
        self._keep(page)

    def close(self) -> None:
        """Close the file and keep it."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the file, when its content is in the history file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _take(self, number: int, line: bytes) -> None:
        try:
            page = orjson.loads(line)
            self._keep(page)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise JournalRefused(f"{self._path}, line {number}, is damaged: begin anew with --fresh") from None

    def _keep(self, page: Mapping[str, Any]) -> None:
        self.rows.setdefault(page["list"], []).extend(page["rows"])
        self.cursors[page["list"]] = page["cursor"]
        if page["last"]:
            self.done.add(page["list"])

    def _add(self, line: Mapping[str, Any]) -> None:
        self._file.write(orjson.dumps(line) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _alone(path: Path, file: IO[bytes]) -> IO[bytes]:
    """The file, locked for this process until it is closed; refused if another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise JournalRefused(f"{path} is being written by another run: wait for it, or end it") from None
    return file


def _window(path: Path, line: bytes) -> Window:
    try:
        found = orjson.loads(line)
        if found["journal"] != VERSION:
            raise JournalRefused(f"{path} is a journal of another version of citadel: begin anew with --fresh")
        return Window(AccountId(str(found["merchant"])), int(found["since"]), int(found["until"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise JournalRefused(f"{path} is no journal of a back-test: give another file, or begin with --fresh") from None
