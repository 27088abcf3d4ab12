"""Auth's settings."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, StringConstraints

from shared.crypto import KeyRing, Signer
from shared.settings import BaseUrl, Port, Settings, StripeSettings


def _encryption_keys(value: SecretStr) -> SecretStr:
    try:
        KeyRing.parse(value.get_secret_value())
    except ValueError as error:
        raise ValueError(f"{error} (`citadel keys generate` makes one)") from None
    return value


def _state_secret(value: SecretStr) -> SecretStr:
    try:
        Signer(value.get_secret_value().encode(), "check")
    except ValueError as error:
        raise ValueError(f"{error} (`citadel keys generate` makes one)") from None
    return value


def _public_url(value: str) -> str:
    parts = urlsplit(value)
    if not parts.hostname or parts.query or parts.fragment or parts.username or not value.isprintable() or " " in value:
        raise ValueError("expected https://host or https://host/path, without a login, a query or a fragment")
    return value


class AuthSettings(Settings, StripeSettings):
    """Auth's settings."""

    stripe_client_id: Annotated[str, StringConstraints(pattern=r"^ca_[A-Za-z0-9_]+$")] = Field(
        description="the platform's Connect client id, ca_…: https://dashboard.stripe.com/settings/connect"
    )
    encryption_keys: Annotated[SecretStr, AfterValidator(_encryption_keys)] = Field(
        description="<id>:<base64 of 32 bytes>, comma-separated: the first encrypts, all decrypt"
    )
    state_secret: Annotated[SecretStr, AfterValidator(_state_secret)] = Field(
        description="at least 32 bytes: signs the state of an OAuth round trip"
    )
    public_url: Annotated[BaseUrl, AfterValidator(_public_url)] = Field(
        description="where browsers reach this service; Stripe sends them back to <public_url>/auth/stripe/callback"
    )
    auth_port: Port = Field(8002, description="port of auth; 0 takes a free one")
    state_ttl_seconds: int = Field(600, ge=60, le=3600, description="time for one OAuth round trip")
    after_connect_url: AnyHttpUrl | None = Field(
        None, description="where a connected merchant's browser goes, with ?merchant=<id>; without it: a small page"
    )

    @property
    def key_ring(self) -> KeyRing:
        """The keys that tokens are encrypted under."""
        return KeyRing.parse(self.encryption_keys.get_secret_value())

    @property
    def cookie_path(self) -> str:
        """The cookie's path, with any path that the proxy adds in front."""
        return f"{urlsplit(self.public_url).path}/auth/stripe"

    @property
    def start_url(self) -> str:
        """Where a merchant begins to connect."""
        return f"{self.public_url}/auth/stripe"

    @property
    def redirect_uri(self) -> str:
        """Where Stripe redirects the browser to; it must be registered at Stripe exactly like this."""
        return f"{self.start_url}/callback"
