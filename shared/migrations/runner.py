"""Runs the revisions against one database. Synchronous: a migration is a command, not a service."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import DBAPIError

_HERE = Path(__file__).parent


class MigrationError(Exception):
    """A revision failed and was rolled back. The revisions before it stay applied."""


def _config(url: str = "") -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    if url:
        # psycopg is the driver because it sends a file with several statements unchanged.
        config.attributes["url"] = _driven(url)
    return config


def _driven(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+psycopg")


def _head() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise MigrationError(f"no revisions found under {_HERE / 'versions'}: reinstall citadel")
    return head


HEAD = _head()
"""The newest revision: what this version of the code expects of the database."""


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` (a `postgresql://` URL of its owner) up to `revision`. Repeating it changes nothing.

    A database that newer code has migrated stays as it is: older code can run on it after a rollback.
    Raises MigrationError when a statement fails or the database cannot be reached.
    """
    try:
        if revision == "head" and serves(_current(url) or ""):
            return
        command.upgrade(_config(url), revision)
    except DBAPIError as error:
        raise MigrationError(f"upgrade to {revision} failed: {error.orig}") from error


def serves(revision: str) -> bool:
    """Whether a database at `revision` has everything that this code needs.

    A newer one does: revisions are numbered in order and never remove what earlier code uses, so that old and new code
    run side by side during an upgrade.
    """
    return revision >= HEAD


def _current(url: str) -> str | None:
    engine = create_engine(_driven(url))
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def downgrade(url: str, revision: str = "base") -> None:
    """Take the database back to `revision`. For development: production goes forward only."""
    try:
        command.downgrade(_config(url), revision)
    except DBAPIError as error:
        raise MigrationError(f"downgrade to {revision} failed: {error.orig}") from error
