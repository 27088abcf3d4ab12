"""The user that the server runs as (ourselves, or `nobody` instead of root), and the folders it can reach."""

import os
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from console.local.postgres.errors import EmbeddedPostgresError

if sys.platform != "win32":  # so that this can be imported on Windows, though not used
    import pwd


@dataclass(frozen=True, slots=True)
class Account:
    """The user that the server runs as."""

    name: str
    uid: int
    gid: int
    is_stand_in: bool
    """Whether it runs instead of root, that is, is not ourselves."""

    @property
    def folder_mode(self) -> int:
        """The mode of folders that we make around the data: ours only, but the server's user may pass through."""
        return 0o711 if self.is_stand_in else 0o700

    def first_closed(self, path: Path) -> Path | None:
        """The first folder on the path to `path`, or `path` itself, that this user may not enter."""
        for step in (*reversed(path.parents), path):
            status = step.stat()
            if status.st_uid == self.uid:
                needed = stat.S_IXUSR
            else:
                needed = stat.S_IXGRP if status.st_gid == self.gid else stat.S_IXOTH
            if not status.st_mode & needed:
                return step
        return None


def server_account() -> Account:
    """Ourselves, or `nobody` when we are root, because PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return Account("ourselves", os.geteuid(), os.getegid(), is_stand_in=False)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_name, nobody.pw_uid, nobody.pw_gid, is_stand_in=True)


def temporary_base(account: Account) -> Path:
    """A folder for temporary files that the server's user can reach and execute from."""
    for folder in map(Path, dict.fromkeys((tempfile.gettempdir(), "/var/tmp", "/tmp"))):  # noqa: S108 - candidates; what is made below is checked or unguessable
        if not folder.is_dir() or (account.is_stand_in and account.first_closed(folder.resolve())):
            continue
        if not os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
            return folder.resolve()
    raise EmbeddedPostgresError(
        "no temporary folder can be entered and executed from by the server's user: "
        "set TMPDIR to one, or run this as an ordinary user"
    )
