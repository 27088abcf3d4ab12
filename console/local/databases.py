"""The PostgreSQL of a local stack: embedded, given, or a database of its own on a given server."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from console.local import store
from console.local.postgres import EmbeddedPostgres
from console.local.process import LocalStackError
from shared.database import AWAY, Role


@dataclass(frozen=True, slots=True)
class RunningDatabase:
    """A running database. `url` is the owner's; `server` is the embedded server, ours to kill and start, or None."""

    url: str
    server: EmbeddedPostgres | None = None

    async def url_for(self, role: Role) -> str:
        """The URL for a service. On an embedded server it has a login that can take the service's role only.

        On a given server it has the given login, and the service sets its role itself. Needs the migrations.
        """
        if self.server is None:
            return self.url
        login, password = await store.make_login(self.url, role)
        return self.server.url(user=login, password=password)


@asynccontextmanager
async def embedded(folder: Path | None, settings: Mapping[str, str] | None = None) -> AsyncIterator[RunningDatabase]:
    """An embedded PostgreSQL with its data in `folder`, or in a temporary one that is removed at the end.

    Raises EmbeddedPostgresError when it cannot run here.
    """
    async with AsyncExitStack() as stack:
        if folder is None:
            server = await stack.enter_async_context(EmbeddedPostgres.temporary(settings=settings or {}))
        else:
            server = await stack.enter_async_context(EmbeddedPostgres(folder, settings=settings or {}))
        yield RunningDatabase(server.url(), server)


@asynccontextmanager
async def given(url: str) -> AsyncIterator[RunningDatabase]:
    """The database at `url`, whose login owns it. Raises LocalStackError when it cannot be reached."""
    await _answers(url)
    yield RunningDatabase(url)


@asynccontextmanager
async def scratch(url: str) -> AsyncIterator[RunningDatabase]:
    """A new database on the server behind `url`, dropped at the end.

    The database that `url` names is not changed. Raises LocalStackError.
    """
    await _answers(url)
    name = f"citadel_demo_{secrets.token_hex(4)}"
    try:
        await store.create_database(url, name)
    except asyncpg.PostgresError as error:
        raise LocalStackError(f"cannot create a database for the demo on that server: {error}") from error
    try:
        yield RunningDatabase(urlunsplit(urlsplit(url)._replace(path=f"/{quote(name)}")))
    finally:
        await store.drop_database(url, name)


def embedded_url(folder: Path) -> str | None:
    """The owner's URL of the embedded server with its data in `folder`; None if none was ever started there.

    For commands beside a running `citadel up`, which stores its port and password there.
    """
    port, password = (folder.with_name(f"{folder.name}.{suffix}") for suffix in ("port", "password"))
    if not (port.exists() and password.exists()):
        return None
    secret = quote(password.read_text().strip(), safe="")
    return f"postgresql://citadel:{secret}@127.0.0.1:{port.read_text().strip()}/citadel"


async def _answers(url: str) -> None:
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except AWAY as error:
        raise LocalStackError(f"no PostgreSQL answers at {without_password(url)}: {error}") from error
    except (asyncpg.PostgresError, ValueError) as error:
        raise LocalStackError(f"PostgreSQL at {without_password(url)} refused the login: {error}") from error
    await connection.close()


def without_password(url: str) -> str:
    """The URL without its password, for printing."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))
