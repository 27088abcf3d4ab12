"""Makes a new cluster."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

from console.local.postgres.account import Account
from console.local.postgres.data_folder import DataFolder
from console.local.postgres.errors import StartFailed
from console.local.postgres.log import ServerLog
from console.local.postgres.private_files import write_private
from console.local.postgres.process import spawn, wait_until
from console.local.postgres.settings import SUPERUSER


async def make_cluster(
    folder: DataFolder, program: Path, *, account: Account, log: ServerLog, durable: bool, timeout_s: float
) -> None:
    """Run `program`, an initdb, in a folder beside the cluster's, and rename the result at the end.

    So there is never half a cluster. `durable=False` does not wait for the disk. Needs the lock.
    """
    parent, name = folder.path.parent, folder.path.name
    for leftover in parent.glob(f"{name}.initdb-*"):
        await asyncio.to_thread(shutil.rmtree, leftover)
    draft = Path(tempfile.mkdtemp(prefix=f"{name}.initdb-", dir=parent))
    try:
        data, password_file = draft / "data", draft / "password"
        write_private(password_file, folder.password())
        data.mkdir(mode=0o700)
        for path in (password_file, data, draft):
            os.chown(path, account.uid, account.gid)
        process = spawn(
            program,
            f"--pgdata={data}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",  # the same order of text on every machine and version
            "--data-checksums",
            "--no-instructions",
            *([] if durable else ["--no-sync"]),
            account=account,
            log=log,
        )
        try:
            await wait_until(lambda: process.poll() is not None, timeout_s)
        finally:
            process.kill()
            status = process.wait()
        if status != 0:
            raise StartFailed(f"initdb ended with status {status}", log.tail())
        data.replace(folder.path)
    finally:
        await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)
