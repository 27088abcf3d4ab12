"""Starts PostgreSQL's programs: as the server's user, without our environment, and ending with our process."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from console.local.postgres.account import Account
from console.local.postgres.log import ServerLog

POLL_S: Final = 0.005

# Becomes the server: drops root, asks for the parent's death signal, execs. It is a program of its
# own because `preexec_fn` is unsafe with threads. The order matters: the kernel clears the death
# signal when credentials change, so it is requested after that, and nothing may be imported then
# (root's Python may be in a folder that the new user cannot enter). SIGINT is PostgreSQL's fast
# shutdown. If the parent died before prctl(), no signal would come, so getppid() is checked.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
parent, identity, *command = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
if identity:
    uid, gid = map(int, identity.split(":"))
    os.setgroups([]), os.setgid(gid), os.setuid(uid)
if sys.platform == "linux":
    if libc.prctl(1, signal.SIGINT, 0, 0, 0) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed: " + os.strerror(ctypes.get_errno()))
    if os.getppid() != int(parent):
        sys.exit("the parent process has ended")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(command[0], command)
"""


def spawn(program: Path, *arguments: str, account: Account, log: ServerLog) -> subprocess.Popen[bytes]:
    """Start `program` as `account`, with its output in `log`.

    On Linux it gets SIGINT when the calling thread ends.
    """
    # Without our environment, which may have PG* variables and secrets.
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    if "LD_LIBRARY_PATH" in os.environ:  # some Pythons cannot start without theirs
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    identity = f"{account.uid}:{account.gid}" if account.is_stand_in else ""
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), identity]
    output = log.open()
    try:
        return subprocess.Popen(  # noqa: S603 - our own launcher and settings, no shell
            [*launcher, str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C reaches us, and we stop it in order
        )
    finally:
        os.close(output)


async def wait_until(condition: Callable[[], bool], patience_s: float) -> bool:
    """Poll until `condition()` holds; False when it does not within `patience_s`."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True
