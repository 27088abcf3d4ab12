"""The ingress's settings."""

from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.ingress.mail.svix import key_of
from shared.settings import Port, Settings, UnsubscribeSettings

# Stripe's largest events are invoices: ten lines, each with a price, a plan and 50 metadata values of 500 characters
# (https://docs.stripe.com/api/metadata), stay below 1 MiB. A longer body is not an event.
_MIB = 1024 * 1024


def _secrets(value: SecretStr) -> SecretStr:
    for number, secret in enumerate(value.get_secret_value().split(","), start=1):
        name = secret.strip()
        # Never show the value: this message is printed and logged.
        if not name.startswith("whsec_") or len(name) == len("whsec_") or not (name.isascii() and name.isprintable()):
            raise ValueError(f"secret {number} of the comma-separated list must look like whsec_…")
    return value


def _svix_secrets(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        for number, secret in enumerate(value.get_secret_value().split(","), start=1):
            try:
                key_of(secret.strip())
            except ValueError as error:
                raise ValueError(f"secret {number} of the comma-separated list: {error}") from None
    return value


class IngressSettings(Settings, UnsubscribeSettings):
    """The ingress's settings."""

    model_config = SettingsConfigDict(hide_input_in_errors=True)  # the input is a secret

    stripe_webhook_secrets: Annotated[SecretStr, AfterValidator(_secrets)] = Field(
        description="signing secrets of the webhook endpoints, comma-separated: the new one beside the old to rotate"
    )
    resend_webhook_secrets: Annotated[SecretStr | None, AfterValidator(_svix_secrets)] = Field(
        None, description="signing secrets of Resend's webhook, comma-separated; without one its route is not there"
    )
    ingress_port: Port = Field(8001, description="port of the ingress")
    webhook_tolerance_seconds: int = Field(300, ge=1, le=3600, description="greatest age of a signature")
    max_event_bytes: int = Field(_MIB, ge=64 * 1024, le=16 * _MIB, description="longest body that is taken as an event")
    intake_backlog: int = Field(
        1024, ge=1, le=100_000, description="events that may wait for their commit; beyond it a 503 at once"
    )

    @property
    def resend_webhook_keys(self) -> tuple[bytes, ...]:
        """Every key that Resend's signature may be made with; none where no secret is set."""
        if self.resend_webhook_secrets is None:
            return ()
        return tuple(key_of(secret.strip()) for secret in self.resend_webhook_secrets.get_secret_value().split(","))

    @cached_property
    def signing_secrets(self) -> tuple[bytes, ...]:
        """Every secret that a signature may be made with."""
        return tuple(secret.strip().encode() for secret in self.stripe_webhook_secrets.get_secret_value().split(","))
