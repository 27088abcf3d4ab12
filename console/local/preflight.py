"""Finds missing and wrong settings before anything starts, all at once.

SettingsMissing   the message lists every setting that is missing or wrong
"""

from collections.abc import Iterable
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings

from shared.crypto import KeyRing
from shared.settings import PostgresUrl, SettingsFromAnywhere

SOME_URL = "postgresql://filled-in-by-the-stack@127.0.0.1/citadel"
"""A placeholder for the database URL that the stack makes itself."""


class SettingsMissing(Exception):
    """Settings are missing or wrong; the message lists all of them."""


class DatabaseSettings(SettingsFromAnywhere):
    """The database URL, if it is set, for commands that are not services."""

    database_url: PostgresUrl | None = Field(None, description="the database's URL; by default the embedded one")


class KeySettings(SettingsFromAnywhere):
    """The settings of `citadel keys rotate`."""

    encryption_keys: SecretStr = Field(description="<id>:<base64 of 32 bytes>, comma-separated: the first encrypts")


def given_database_url() -> str | None:
    """CITADEL_DATABASE_URL from the environment or `.env`. Raises SettingsMissing when it is not a database URL."""
    refuse(problems_of([DatabaseSettings]))
    url = DatabaseSettings().database_url
    return url.get_secret_value() if url else None


def key_ring() -> KeyRing:
    """The keys of CITADEL_ENCRYPTION_KEYS. Raises SettingsMissing."""
    refuse(problems_of([KeySettings]))
    try:
        return KeyRing.parse(KeySettings().encryption_keys.get_secret_value())
    except ValueError as error:
        raise SettingsMissing(f"CITADEL_ENCRYPTION_KEYS: {error}") from None


def refuse(problems: list[str]) -> None:
    """Raise SettingsMissing if there are problems."""
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise SettingsMissing(f"{len(problems)} setting(s) are missing or wrong (see .env.example):\n{lines}")


def problems_of(classes: Iterable[type[BaseSettings]]) -> list[str]:
    """One line `CITADEL_X: what is wrong` for each setting that is missing or wrong, each once, sorted.

    A missing database URL is no problem, because the stack starts a database. A wrong one is.
    """
    found: set[str] = set()
    for settings in classes:
        try:
            settings()
        except ValidationError as error:
            found |= _lines(settings, error)
    return sorted(found)


def filled_in() -> dict[str, Any]:
    """Arguments for a service's settings class, with a placeholder for a database URL that is not set."""
    return {} if DatabaseSettings().database_url else {"database_url": SecretStr(SOME_URL)}


def _lines(settings: type[BaseSettings], error: ValidationError) -> set[str]:
    prefix = settings.model_config.get("env_prefix", "")
    # The input is not shown: it may be a secret.
    return {
        f"{prefix}{item['loc'][0]}".upper() + f": {item['msg']}" if item["loc"] else item["msg"]
        for item in error.errors(include_url=False, include_input=False)
        if not (item["loc"] == ("database_url",) and item["type"] == "missing")
    }
