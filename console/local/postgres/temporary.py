"""Folders for temporary clusters."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from console.local.postgres.account import server_account, temporary_base
from console.local.postgres.errors import DataDirInUse
from console.local.postgres.lock import OwnerLock

TEMPORARY_PREFIX: Final = "citadel-postgres-temporary-"
_LOCK: Final = "owner.lock"


@contextlib.asynccontextmanager
async def temporary_home(below: Path | None) -> AsyncIterator[Path]:
    """A private folder for one cluster, removed afterwards; folders of killed processes are removed first."""
    home = await asyncio.to_thread(_make_home, below)
    owner = OwnerLock(home / _LOCK)
    try:
        owner.acquire()
        owner.record(0)
        yield home
    finally:
        # Backends of a killed server may still be ending: what cannot be removed now, the next one removes.
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
        owner.release()


def _make_home(below: Path | None) -> Path:
    account = server_account()
    base = below or temporary_base(account)
    for old in base.glob(f"{TEMPORARY_PREFIX}*"):
        _remove_if_abandoned(old)
    home = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=base))
    home.chmod(account.folder_mode)
    return home


def _remove_if_abandoned(home: Path) -> None:
    """Remove a folder whose lock was held and is free now: its process is gone."""
    lock = OwnerLock(home / _LOCK)
    with contextlib.suppress(OSError, DataDirInUse):  # another user's, in use, or gone already
        if (home / _LOCK).stat().st_size:
            lock.acquire()
            shutil.rmtree(home, ignore_errors=True)
    lock.release()
