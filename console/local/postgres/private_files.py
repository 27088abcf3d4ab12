"""Files that only we can read, in folders where others may write, such as the system's temporary folder."""

import os
import stat
from pathlib import Path


def open_private(path: Path, flags: int) -> int:
    """Open a regular file of ours with mode 0600; `PermissionError` for another user's file or a link."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise PermissionError(f"{path} is no file of ours: its owner is user id {status.st_uid}")
    os.fchmod(descriptor, 0o600)
    return descriptor


def write_private(path: Path, text: str) -> None:
    """Put one line of text into a file of ours with mode 0600."""
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT), "w") as file:
        file.truncate()
        file.write(text + "\n")
