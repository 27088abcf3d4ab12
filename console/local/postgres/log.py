"""The log of initdb and postgres."""

import contextlib
import os
from pathlib import Path
from typing import Final

from console.local.postgres.private_files import open_private

_LIMIT_BYTES: Final = 8 << 20
_TAIL_LINES: Final = 20


class ServerLog:
    """The log file of one cluster, appended to by every start; above 8 MB a start moves it to `….old`."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._begin = 0

    def open(self) -> int:
        """A descriptor to append to, for a program that is about to start."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_size > _LIMIT_BYTES:
                self.path.replace(self.path.with_name(f"{self.path.name}.old"))
        descriptor = open_private(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._begin = os.fstat(descriptor).st_size
        return descriptor

    def tail(self) -> str:
        """The last lines that were logged since it was opened last."""
        with self.path.open("rb") as log:
            log.seek(self._begin)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])
