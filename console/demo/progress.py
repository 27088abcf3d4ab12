"""Shows progress while the story runs: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

_PLAIN_EVERY = 5  # days between two plain lines


class Teller:
    """Shows what happens: a moving bar on a terminal; in a pipe or a log a line per step, without control codes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._bar: Progress | None = None

    @property
    def seconds(self) -> float:
        """Real seconds since the beginning."""
        return time.monotonic() - self._began

    def say(self, what: str) -> None:
        """Print one line, with the seconds that have passed."""
        self._console.print(f"[dim]{self.seconds:5.1f} s[/]  {what}", highlight=False, soft_wrap=True)

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator["Count"]:
        """Show the progress of something that is done `total` times."""
        if not self._console.is_terminal:
            yield Count(self, what, total, None)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=self._console, transient=True) as bar:
            yield Count(self, what, total, bar)


class Count:
    """A count that goes up, made by `Teller.counting`."""

    def __init__(self, teller: Teller, what: str, total: int, bar: Progress | None) -> None:
        self._teller = teller
        self._what = what
        self._total = total
        self._bar = bar
        self._done = 0
        self._task = bar.add_task(what, total=total) if bar else None

    def one_more(self) -> None:
        """One is done."""
        self.reached(self._done + 1, "")

    def reached(self, done: int, note: str) -> None:
        """So many are done; `note` is shown beside."""
        before, self._done = self._done, done
        text = f"{self._what} {note}".strip()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, description=text)
        elif done > before and (done == self._total or done // _PLAIN_EVERY > before // _PLAIN_EVERY):
            self._teller.say(f"{text} ({done} of {self._total})")


def day_of(start: datetime, now: datetime) -> int:
    """The day of the story, from 0."""
    return (now - start).days
