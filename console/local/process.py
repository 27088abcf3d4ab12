"""One child process: its log file, whether it is ready, how it ends.

    LocalStackError     something on this machine prevents it; the message says what, and what to do
     └── ProcessFailed  a process ended by itself, or was not ready in time; has the end of its log

A child dies with its parent: on Linux the kernel sends it SIGTERM when the parent ends, however it ends. It runs in a
session of its own, so that Ctrl-C in a terminal reaches the parent only, which then stops everything in order.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

_POLL_S: Final = 0.05
_TAIL_LINES: Final = 15

# Becomes the child: asks for the parent's death signal, then execs. It is a program of its own because `preexec_fn` is
# unsafe with threads. If the parent died before prctl(), no signal would come, so getppid() is checked.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    if ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed: " + os.strerror(ctypes.get_errno()))
    if os.getppid() != int(parent):
        sys.exit("the parent process has ended")
os.execv(command[0], command)
"""


class LocalStackError(Exception):
    """Something on this machine prevents it."""


class ProcessFailed(LocalStackError):
    """A process ended early or was not ready in time. `log_tail` is the end of this start's log."""

    def __init__(self, message: str, log_file: Path, log_tail: str) -> None:
        super().__init__(f"{message}\n--- the end of {log_file} ---\n{log_tail or '(it is empty)'}")
        self.log_tail = log_tail


class Process:
    """A program of ours with a name; its output is appended to `log_file`. Start it from the main thread.

    It can be started again after it has ended, with the same log.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        log_file: Path,
    ) -> None:
        self.name: Final = name
        self.log_file: Final = log_file
        self.url = ""
        self._command = command
        self._environment = environment
        self._directory = directory
        self._child: asyncio.subprocess.Process | None = None
        self._log_start = 0

    # -- its life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start it; does nothing when it runs. Returns at once: see `wait_until_ready`."""
        if self.running:
            return
        log = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._log_start = os.fstat(log).st_size
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        try:
            self._child = await asyncio.create_subprocess_exec(
                *launcher,
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environment),
                cwd=self._directory,
                start_new_session=True,
            )
        finally:
            os.close(log)

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._child is not None and self._child.returncode is None

    @property
    def pid(self) -> int:
        """Its process id; LocalStackError before the first start."""
        if self._child is None:
            raise LocalStackError(f"{self.name} has not been started")
        return self._child.pid

    async def ended(self) -> int:
        """Wait until it has ended; its exit status, negative for a signal."""
        if self._child is None:
            raise LocalStackError(f"{self.name} has not been started")
        return await self._child.wait()

    async def kill(self) -> None:
        """SIGKILL, as in a crash. Does nothing when it has ended."""
        if self._child is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()

    def terminate(self) -> None:
        """SIGTERM. Does nothing when it has ended."""
        if self._child is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGTERM)

    async def stop(self, grace_s: float) -> int | None:
        """SIGTERM, and SIGKILL after `grace_s`; its exit status, None when it was never started."""
        if self._child is None:
            return None
        self.terminate()
        try:
            async with asyncio.timeout(grace_s):
                return await self._child.wait()
        except TimeoutError:
            await self.kill()
            return self._child.returncode

    # -- what it says ----------------------------------------------------------------------------

    async def wait_until_ready(self, host: str, deadline_s: float) -> None:
        """Wait until `/readyz` on `host` answers 200, and set `url`. ProcessFailed when it ends, or time runs out."""
        ends = time.monotonic() + deadline_s
        last = "no line `listening` in its log"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while time.monotonic() < ends:
                self._fail_if_ended()
                listening = self._logged("listening")
                if listening:
                    self.url = f"http://{host}:{listening['port']}"
                    last = await _readiness(session, self.url)
                    if not last:
                        return
                await asyncio.sleep(_POLL_S)
        raise self.failed(f"was not ready within {deadline_s:g} s: {last}")

    async def first_json_line(self, deadline_s: float) -> dict[str, Any]:
        """The first line of its output, a JSON object, by which a program without `/readyz` says that it is ready."""
        ends = time.monotonic() + deadline_s
        while time.monotonic() < ends:
            self._fail_if_ended()
            for line in self._lines():
                return line
            await asyncio.sleep(_POLL_S)
        raise self.failed(f"said nothing within {deadline_s:g} s")

    def log_tail(self) -> str:
        """The last lines of this start's log."""
        return "\n".join(self._text().splitlines()[-_TAIL_LINES:])

    def _fail_if_ended(self) -> None:
        if not self.running:
            status = self._child.returncode if self._child else None
            raise self.failed(f"ended with status {status} before it was ready")

    def failed(self, what: str) -> ProcessFailed:
        """An error that says what happened to this process, with the end of its log."""
        return ProcessFailed(f"{self.name} {what}.", self.log_file, self.log_tail())

    def _logged(self, event: str) -> dict[str, Any] | None:
        return next((line for line in self._lines() if line.get("event") == event), None)

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self._text().splitlines():
            with contextlib.suppress(orjson.JSONDecodeError):  # not our line, but for example a warning of Python's
                content = orjson.loads(line)
                if isinstance(content, dict):
                    yield content

    def _text(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")


async def _readiness(session: aiohttp.ClientSession, url: str) -> str:
    """An empty text when the service at `url` is ready, else why it is not."""
    try:
        async with session.get(f"{url}/readyz") as answer:
            return "" if answer.status == 200 else f"/readyz answered {answer.status}: {await answer.text()}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"/readyz: {type(error).__name__}"
