"""Settings come from the environment (`CITADEL_…`) or a `.env` file; each service has one class of its own.

Every setting can also be the content of a file that `<NAME>_FILE` names, which is how container platforms pass secrets:
`CITADEL_DATABASE_URL_FILE=/run/secrets/database_url` in place of `CITADEL_DATABASE_URL`. The order of precedence is:
the environment, its files, `.env`, its files. A name together with its `_FILE` in one place is an error.

A missing or wrong setting stops the start with every problem listed; secrets are `SecretStr` and never printed.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict


def _base_url(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise ValueError(f"expected a URL that starts with https:// or http://, got {value!r}")
    return value.rstrip("/")


def _postgres_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("expected postgresql://user:password@host:port/database")
    return value


BaseUrl = Annotated[str, AfterValidator(_base_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
Port = Annotated[int, Field(ge=0, le=65535)]


# Every class of settings has it, because with several bases pydantic takes the configuration of the last one.
_CONFIG = SettingsConfigDict(
    env_prefix="CITADEL_",
    env_file=".env",
    extra="ignore",
    frozen=True,
    env_ignore_empty=True,
    hide_input_in_errors=True,  # the input may be a secret
)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands for a value that could not be read: the settings class turns it into a problem of the field."""

    why: str


class _FromFiles(PydanticBaseSettingsSource):
    """Reads the files that `<NAME>_FILE` variables name; `variables` are those of one place, in lower case."""

    def __init__(self, settings: type[BaseSettings], variables: Mapping[str, str | None]) -> None:
        super().__init__(settings)
        self._prefix = str(self.config.get("env_prefix", "")).lower()
        self._variables = variables

    def __call__(self) -> dict[str, Any]:
        """The settings for which this place names files."""
        read = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in read.items() if value is not None}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The file's text without the newline at its end; None without a file, an _Unreadable for a bad one."""
        name = self._prefix + field_name
        path = self._variables.get(f"{name}_file")
        if not path:
            return None, field_name, False
        variable = name.upper()
        if self._variables.get(name):
            return _Unreadable(f"set {variable} or {variable}_FILE, not both"), field_name, False
        # No message shows the path: if the secret itself was put into this variable, it would be in a log.
        try:
            text = Path(path).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except OSError as error:
            return _Unreadable(f"{variable}_FILE names a file that cannot be read: {error.strerror}"), field_name, False
        except ValueError:  # a NUL in the path, or bytes that are no text
            return _Unreadable(f"{variable}_FILE names a file that is not text"), field_name, False
        if not text and field.is_required():
            return _Unreadable(f"{variable}_FILE names a file that is empty"), field_name, False
        return text or None, field_name, False  # an empty file is as good as none, like an empty variable


class SettingsFromAnywhere(BaseSettings):
    """The base of all settings: from the environment, `.env`, and the files that they name."""

    model_config = _CONFIG

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - a folder of secrets: not among our places
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The places in order of precedence; each place's files come first, so that contradictions are found."""
        sources = [init_settings]
        for place in (env_settings, dotenv_settings):
            if isinstance(place, EnvSettingsSource):
                sources.append(_FromFiles(settings_cls, place.env_vars))
            sources.append(place)
        return tuple(sources)

    @field_validator("*", mode="before")
    @classmethod
    def _was_read(cls, value: Any) -> Any:
        if isinstance(value, _Unreadable):
            raise ValueError(value.why)  # noqa: TRY004 - pydantic reports a ValueError as the problem of its field
        return value


class Settings(SettingsFromAnywhere):
    """What every service needs."""

    model_config = _CONFIG

    database_url: PostgresUrl = Field(description="PostgreSQL 15 or later: postgresql://user:password@host:port/db")
    log_format: Literal["json", "console"] = Field("json", description="json, or console for people")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")
    host: str = Field("127.0.0.1", description="address that the service listens on")
    shutdown_grace_seconds: float = Field(25.0, gt=0, le=600, description="time to finish after SIGTERM")


class StripeSettings(SettingsFromAnywhere):
    """What a service that calls Stripe needs beside `Settings`."""

    model_config = _CONFIG

    stripe_secret_key: SecretStr = Field(description="the platform's secret key: sk_live_… or sk_test_…")
    stripe_api_base: BaseUrl = Field("https://api.stripe.com", description="Stripe's API, or the simulator")
    stripe_connect_base: BaseUrl = Field("https://connect.stripe.com", description="Stripe's OAuth, or the simulator")
    stripe_timeout_seconds: float = Field(20.0, gt=0, le=80, description="longest wait for one call to Stripe")


def _long_secrets(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        for number, secret in enumerate(value.get_secret_value().split(","), start=1):
            if len(secret.strip().encode()) < 32:
                raise ValueError(f"secret {number} of the comma-separated list has fewer than 32 bytes")
    return value


class UnsubscribeSettings(SettingsFromAnywhere):
    """The secrets that sign unsubscribe pages' addresses; the worker makes the addresses, the ingress reads them."""

    model_config = _CONFIG

    unsubscribe_secrets: Annotated[SecretStr | None, AfterValidator(_long_secrets)] = Field(
        None, description="signs unsubscribe links: at least 32 bytes each, comma-separated, the first signs"
    )


S = TypeVar("S", bound=BaseSettings)


def load(settings: type[S]) -> S:
    """Read the settings, or end the process with status 2 and one line per problem on stderr."""
    try:
        return settings()
    except ValidationError as error:
        problems = [f"  {_variable(settings, item['loc'])}: {item['msg']}" for item in error.errors()]
        print(
            f"citadel cannot start: {len(problems)} setting(s) are missing or wrong (see .env.example):",
            *problems,
            sep="\n",
            file=sys.stderr,
        )
        raise SystemExit(2) from None


def _variable(settings: type[BaseSettings], location: tuple[int | str, ...]) -> str:
    prefix = settings.model_config.get("env_prefix", "")
    return (prefix + str(location[0])).upper() if location else "(all)"
