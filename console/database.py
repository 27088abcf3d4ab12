"""What commands that use the database share: its URL, the role, and which merchant is meant."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from console.local.databases import embedded_url
from console.local.interruption import run
from console.local.preflight import SettingsMissing, given_database_url
from console.store import merchant_named
from console.terminal import WRONG_USAGE, refuse
from shared.database import Connection, Database, Role
from shared.ids import MerchantId

T = TypeVar("T")
DATA = Path(".citadel")

DataDir = Annotated[Path, typer.Option(help="Folder of the embedded PostgreSQL and of the logs.")]


def database_url(data_dir: Path) -> str:
    """CITADEL_DATABASE_URL, or the URL of `citadel up`'s embedded database. Raises SettingsMissing without both."""
    url = given_database_url() or embedded_url(data_dir / "postgres")
    if url is None:
        raise SettingsMissing(f"set CITADEL_DATABASE_URL, or start an embedded database in {data_dir}: `citadel up`")
    return url


def with_database(data_dir: Path, role: Role | None, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work` on the database with the rights of a service; None: with the login's own. Raises SettingsMissing."""

    async def inside() -> T:
        async with Database.open(database_url(data_dir), role, size=1, name="citadel-console") as database:
            return await work(database)

    return run(inside())


def in_transaction(
    data_dir: Path, role: Role | None, work: Callable[[Connection], Awaitable[T]], *, status: int = WRONG_USAGE
) -> T:
    """Run `work` in one transaction; a LookupError ends the command with its message and `status`."""

    async def inside(database: Database) -> T:
        async with database.transaction() as db:
            return await work(db)

    try:
        return with_database(data_dir, role, inside)
    except LookupError as error:
        refuse(str(error), status)


async def merchant_id_of(db: Connection, named: str) -> MerchantId:
    """The id of the merchant that is named by its id or by `acct_…`. Raises LookupError."""
    found = await merchant_named(db, named)
    if found is None:
        raise LookupError(f"there is no merchant {named}")
    return found
