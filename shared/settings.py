"""Settings come from the environment (`CITADEL_…`) or a `.env` file; each service has one class of its own.

A missing or wrong setting stops the start with every problem listed; secrets are `SecretStr` and never printed.
"""

import sys
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


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


# Every class of settings carries it: of several bases, pydantic takes the last one's configuration.
_CONFIG = SettingsConfigDict(
    env_prefix="CITADEL_",
    env_file=".env",
    extra="ignore",
    frozen=True,
    env_ignore_empty=True,
    hide_input_in_errors=True,  # the input may be a secret
)


class Settings(BaseSettings):
    """What every service needs."""

    model_config = _CONFIG

    database_url: PostgresUrl = Field(description="PostgreSQL 15 or later: postgresql://user:password@host:port/db")
    log_format: Literal["json", "console"] = Field("json", description="json, or console for people")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")
    host: str = Field("127.0.0.1", description="address that the service listens on")
    shutdown_grace_seconds: float = Field(25.0, gt=0, le=600, description="time to finish after SIGTERM")


class StripeSettings(BaseSettings):
    """What a service that calls Stripe needs beside `Settings`."""

    model_config = _CONFIG

    stripe_secret_key: SecretStr = Field(description="the platform's secret key: sk_live_… or sk_test_…")
    stripe_api_base: BaseUrl = Field("https://api.stripe.com", description="Stripe's API, or the simulator")
    stripe_connect_base: BaseUrl = Field("https://connect.stripe.com", description="Stripe's OAuth, or the simulator")
    stripe_timeout_seconds: float = Field(20.0, gt=0, le=80, description="longest wait for one call to Stripe")


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
