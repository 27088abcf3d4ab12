"""What commands that talk to the database have in common: where it is, as whom, and how to say no."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from services.local.databases import embedded_url
from services.local.interruption import run
from services.local.preflight import SettingsMissing, given_database_url
from shared.database import Database, Role

T = TypeVar("T")
DATA = Path(".citadel")
WRONG_USAGE = 2

DataDir = Annotated[Path, typer.Option(help="Folder of the embedded PostgreSQL and of the logs.")]


def database_url(data_dir: Path) -> str:
    """CITADEL_DATABASE_URL, or the embedded database of `citadel up`. Raises SettingsMissing when there is neither."""
    url = given_database_url() or embedded_url(data_dir / "postgres")
    if url is None:
        raise SettingsMissing(f"set CITADEL_DATABASE_URL, or start an embedded database in {data_dir}: `citadel up`")
    return url


def with_database(data_dir: Path, role: Role, work: Callable[[Database], Awaitable[T]]) -> T:
    """Do something in the database with the rights of a service. Raises SettingsMissing."""

    async def inside() -> T:
        async with Database.open(database_url(data_dir), role, size=1, name="citadel-cli") as database:
            return await work(database)

    return run(inside())


def refuse(message: str, status: int = WRONG_USAGE) -> NoReturn:
    """End the command with one line for people and a status for scripts."""
    print(f"citadel: {message}", file=sys.stderr)
    sys.exit(status)
