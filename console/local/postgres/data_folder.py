"""The data folder and the files beside it: the password, the port, the socket."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from console.local.postgres.account import Account
from console.local.postgres.errors import DataDirUnusable
from console.local.postgres.private_files import open_private, write_private

_SOCKET_PATH_LIMIT: Final = 103  # bytes in sockaddr_un.sun_path: 107 on Linux, 103 on macOS


class DataFolder:
    """The folder of one cluster, owned by the server's user; the files beside it are ours."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path.resolve()

    def beside(self, suffix: str) -> Path:
        """The file `<data>.<suffix>` beside the folder."""
        return self.path.with_name(f"{self.path.name}.{suffix}")

    @property
    def holds_cluster(self) -> bool:
        """Whether there is a cluster already."""
        return (self.path / "PG_VERSION").exists()

    @property
    def socket_dir(self) -> Path | None:
        """The private folder of the Unix socket, or None when its path is too long for one."""
        folder = self.beside("socket")
        return folder if len(os.fsencode(folder / ".s.PGSQL.65535")) <= _SOCKET_PATH_LIMIT else None

    def make_ready(self, account: Account) -> None:
        """Make the folders above it; `DataDirUnusable` unless `account` can have a cluster here."""
        missing = [folder for folder in self.path.parents if not folder.exists()]
        nearest = missing[-1].parent if missing else self.path.parent
        if account.is_stand_in and (closed := account.first_closed(nearest)):
            raise DataDirUnusable(
                f"the server runs as {account.name!r}, not as root, and cannot enter {closed}: choose a data folder "
                "that it can reach (below /var/lib, say), or run this as an ordinary user"
            )
        for folder in reversed(missing):
            folder.mkdir()
            folder.chmod(account.folder_mode)  # whatever the umask is
        if not self.holds_cluster:
            if self.path.exists() and any(self.path.iterdir()):
                raise DataDirUnusable(f"{self.path} is not empty and no PostgreSQL cluster: choose another folder")
        elif (owner := self.path.stat().st_uid) != account.uid:
            raise DataDirUnusable(
                f"{self.path} belongs to user id {owner}, the server would run as {account.uid}: "
                "start it as the user who made it, or choose another folder"
            )

    def password(self) -> str:
        """The superuser's password, generated now if there is no cluster yet; needs the lock."""
        file = self.beside("password")
        if file.exists():
            with os.fdopen(open_private(file, os.O_RDONLY)) as stored:
                return stored.read().strip()
        if self.holds_cluster:
            raise DataDirUnusable(
                f"the cluster in {self.path} has lost its password file {file}: put it back, "
                "or remove the data folder to begin anew"
            )
        password = secrets.token_urlsafe(24)
        write_private(file, password)
        return password

    def remembered_port(self) -> int:
        """The port of the last start, 0 if there was none."""
        try:
            return int(self.beside("port").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def remember_port(self, port: int) -> None:
        """Store the port for the next start."""
        write_private(self.beside("port"), str(port))

    def make_socket_dir(self, account: Account) -> Path | None:
        """`socket_dir`, made for `account` and without old sockets; needs the lock."""
        folder = self.socket_dir
        if folder:
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid in {os.geteuid(), account.uid}
            if not ours or status.st_mode & 0o077:
                raise PermissionError(f"{folder} is no private folder of ours: remove it")
            os.chown(folder, account.uid, account.gid)
            for stale in folder.glob(".s.PGSQL.*"):  # the lock is ours: nobody listens there
                stale.unlink()
        return folder
