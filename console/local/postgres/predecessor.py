"""Whoever used the data before us, and the `postmaster.pid` that it left."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from console.local.postgres.errors import DataDirInUse
from console.local.postgres.process import wait_until

_PATIENCE_S: Final = 10.0


async def end_predecessor(data_dir: Path, orphan: int | None) -> None:
    """Make way when the data hold a `postmaster.pid` that PostgreSQL would stumble over; needs the lock.

    It may name `orphan`, the server of an owner that died, perhaps on its way out; a server that
    somebody started by hand (`DataDirInUse`); or a process that has nothing to do with us: the number
    was used again, or it is a zombie that nobody reaps. A power cut can leave it empty. In the last
    cases PostgreSQL would refuse for ever, so the file goes; the check of shared memory that finds
    backends which still use the data does not need it.
    """
    pid_file = data_dir / "postmaster.pid"
    try:
        pid = abs(int(pid_file.read_text().split("\n", 1)[0]))  # negative: PostgreSQL's single-user mode
    except FileNotFoundError:
        return
    except ValueError:
        pid_file.unlink()
        return
    if not _is_server(pid, data_dir):
        with contextlib.suppress(OSError):  # nobody's, or another user's: PostgreSQL sees through that itself
            os.kill(pid, 0)
            pid_file.unlink()
        return
    if pid == orphan:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        if await wait_until(lambda: not _is_server(pid, data_dir), _PATIENCE_S):
            return
    raise DataDirInUse(f"the PostgreSQL process {pid} works in {data_dir}: stop it, or choose another data folder")


def _is_server(pid: int, data_dir: Path) -> bool:
    """Whether `pid` is a live PostgreSQL process on `data_dir`; no zombie, no reused number.

    A process that we may not look at is another user's: PostgreSQL would not let it use our data.
    """
    if sys.platform != "linux":
        command = ["/bin/ps", "-o", "stat=,command=", "-p", str(pid)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - a number is all that comes from outside
        return "postgres" in shown and str(data_dir) in shown and not shown.startswith("Z")
    try:
        program, folder = (Path(f"/proc/{pid}", link).readlink() for link in ("exe", "cwd"))
    except OSError:
        return False
    return program.name.startswith("postgres") and folder == data_dir
