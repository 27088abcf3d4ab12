"""An earlier server on the same data, and the `postmaster.pid` that it left."""

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
    """Remove a `postmaster.pid` that would prevent a start, and end the orphan it may name; needs the lock.

    It may name `orphan`, the server of an owner that died, which may be ending already; a server that
    somebody started by hand (`DataDirInUse`); or an unrelated process, because the number was reused
    or is a zombie's. A power cut can leave the file empty. In the last cases PostgreSQL would refuse to
    start for ever, so the file is deleted. PostgreSQL's check of shared memory, which finds backends
    that still use the data, does not need the file.
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
        with contextlib.suppress(OSError):  # gone, or another user's: PostgreSQL recognizes that itself
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
    """Whether `pid` is a live PostgreSQL process on `data_dir`, not a zombie or a reused number.

    A process that we may not inspect is another user's, which cannot use our data.
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
