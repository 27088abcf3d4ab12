"""The lock beside the data, for one owner at a time."""

import os
import sys
from pathlib import Path

from console.local.postgres.errors import DataDirInUse
from console.local.postgres.private_files import open_private

if sys.platform != "win32":  # so that this can be imported on Windows, though not used
    import fcntl


class OwnerLock:
    """An exclusive `flock` on a file that names its holder and the holder's server.

    The kernel releases it when the holder dies. `previous` is the server's pid that the last holder
    recorded, if any.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.previous: int | None = None

    def acquire(self) -> None:
        """Take the lock; `DataDirInUse` when another one has it, in this process or elsewhere."""
        descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = _words(descriptor)
            os.close(descriptor)
            raise DataDirInUse(
                f"process {words[0] if words else '(unknown)'} has a server on the data that "
                f"{self._path} guards: stop it, or choose another data folder"
            ) from None
        self._descriptor = descriptor
        words = _words(descriptor)
        self.previous = int(words[1]) if len(words) == 2 and words[1].isdigit() else None

    def record(self, server: int) -> None:
        """Record the holder: this process, and its server's pid (0: none yet)."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()} {server}\n".encode(), 0)

    def release(self) -> None:
        """Release the lock; does nothing when it is not ours."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # also for forked copies of the descriptor
            os.close(self._descriptor)
            self._descriptor = None


def _words(descriptor: int) -> list[str]:
    return os.pread(descriptor, 100, 0).decode(errors="replace").split()
