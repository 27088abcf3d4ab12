"""Connect's OAuth: the state of a browser's round trip, and the two calls to Stripe.

    ConnectError
     ├── StateRefused     the browser's `state` is forged, too old, used, or another browser's: begin again
     ├── CodeRefused      Stripe does not accept the code: begin again
     ├── StripeAway       no answer, or one that says "later": try again
     └── StripeRefused    Stripe does not accept our own id or key: the platform's operator must act

The state of a round trip is a random nonce and the hash of a random value that only this browser has (in a cookie),
signed and with an expiry. The nonce's hash is a row in `oauth_states` until it is used, so a state works once, in
whichever process. Each round trip's cookie has a name of its own, because tabs that begin at the same time would
overwrite a shared one.

Source: https://docs.stripe.com/connect/oauth-reference
"""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast
from urllib.parse import urlencode

import aiohttp
import stripe
from pydantic import BaseModel, ConfigDict, SecretStr, StringConstraints, ValidationError

from services.auth.settings import AuthSettings
from shared.crypto import BadSignature, Signer
from shared.ids import AccountId
from shared.stripe_clients import StripeClientFactory

COOKIE_PREFIX = "citadel_oauth_"
_RANDOM_BYTES = 32


class ConnectError(Exception):
    """The base of this module's errors. Messages hold no token, code or state."""


class StateRefused(ConnectError):
    """The state is forged, too old, used before, or was given to another browser."""


class CodeRefused(ConnectError):
    """The authorization code is unknown to Stripe, expired, or used before."""


class StripeAway(ConnectError):
    """Stripe cannot be reached, is too busy or fails. Whether the call took effect is unknown."""


class StripeRefused(ConnectError):
    """Stripe refuses the platform itself: a wrong secret key or client id."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A new round trip. `browser` goes into the cookie, `nonce_hash` into the database."""

    state: str
    cookie: str
    browser: str
    nonce_hash: bytes


class StateIssuer:
    """Makes and checks states; the database knows whether one was used."""

    def __init__(self, secret: bytes, ttl_seconds: int) -> None:
        self._signer = Signer(secret, "oauth-state")
        self._ttl_seconds = ttl_seconds

    def begin(self, now: int) -> RoundTrip:
        """A new round trip, valid until `now` (Unix seconds) plus the time to live."""
        nonce, browser = secrets.token_urlsafe(_RANDOM_BYTES), secrets.token_urlsafe(_RANDOM_BYTES)
        state = self._signer.sign({"nonce": nonce, "browser": _hash(browser).hex()}, now + self._ttl_seconds)
        return RoundTrip(state, cookie_of(_hash(nonce)), browser, _hash(nonce))

    def check(self, state: str | None, cookies: Mapping[str, str], now: int) -> bytes:
        """The nonce's hash, if we gave this state to the browser with these cookies and it is not too old.

        Raises StateRefused. The caller must then use the nonce up.
        """
        if state is None:
            raise StateRefused("there is no state")
        try:
            value = self._signer.verify(state, now)
        except BadSignature as error:
            raise StateRefused(str(error)) from error
        nonce_hash = _hash(value["nonce"])
        browser = cookies.get(cookie_of(nonce_hash))
        if browser is None or not hmac.compare_digest(_hash(browser).hex(), value["browser"]):
            raise StateRefused("the state was given to another browser, or its cookie is gone")
        return nonce_hash


def cookie_of(nonce_hash: bytes) -> str:
    """The name of a round trip's cookie."""
    return COOKIE_PREFIX + nonce_hash.hex()[:16]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


class GrantAnswer(BaseModel):
    """Stripe's answer to a code; its other fields are dropped."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stripe_user_id: Annotated[AccountId, StringConstraints(pattern=r"^acct_[A-Za-z0-9_]+$")]
    access_token: SecretStr | None = None
    refresh_token: SecretStr | None = None
    scope: str
    livemode: bool


class StripeConnect:
    """The two calls of Connect's OAuth, on the platform's client, to be made without a database connection."""

    def __init__(self, settings: AuthSettings, clients: StripeClientFactory) -> None:
        self._settings = settings
        self._clients = clients

    def authorize_url(self, state: str) -> str:
        """Where the merchant is asked for consent."""
        query = {
            "response_type": "code",
            "client_id": self._settings.stripe_client_id,
            "scope": "read_write",
            "state": state,
            "redirect_uri": self._settings.redirect_uri,
        }
        return f"{self._settings.stripe_connect_base}/oauth/authorize?{urlencode(query)}"

    async def exchange(self, code: str) -> GrantAnswer:
        """What the merchant granted. A code works once. Raises CodeRefused, StripeAway, StripeRefused."""
        try:
            # Needs no idempotency key: the code itself works once.
            data = await self._post("/oauth/token", grant_type="authorization_code", code=code)
        except stripe.oauth_error.InvalidGrantError as error:
            raise CodeRefused("Stripe does not take the code") from error
        except stripe.oauth_error.OAuthError as error:
            raise StripeRefused(f"Stripe answered {error.code}") from error
        try:
            return GrantAnswer.model_validate(data)
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False))
            # `from None`: the cause would contain the answer with its tokens.
            raise StripeAway(f"Stripe's answer is not a grant: {wrong}") from None

    async def deauthorize(self, stripe_connect_id: AccountId) -> bool:
        """End the platform's access to an account. False: it had ended before.

        Raises StripeAway, StripeRefused.
        """
        try:
            # Without an idempotency key: Stripe must not replay this answer after a later connection.
            await self._post(
                "/oauth/deauthorize", client_id=self._settings.stripe_client_id, stripe_user_id=stripe_connect_id
            )
        except stripe.oauth_error.InvalidClientError as error:
            # Stripe answers the same for "not connected" and "no such client id": reading the account tells which.
            if await self._may_read(stripe_connect_id):
                raise StripeRefused("Stripe does not know CITADEL_STRIPE_CLIENT_ID") from error
            return False
        except stripe.oauth_error.OAuthError as error:
            raise StripeRefused(f"Stripe answered {error.code}") from error
        return True

    async def _may_read(self, stripe_connect_id: AccountId) -> bool:
        client = self._clients.for_merchant(stripe_connect_id)
        try:
            await _answered(client.raw_request_async("get", "/v1/account"))
        except stripe.PermissionError:
            return False
        return True

    async def _post(self, path: str, **parameters: str) -> Mapping[str, Any]:
        client = self._clients.for_platform()
        return await _answered(client.raw_request_async("post", path, base="connect", **parameters))


async def _answered(call: Awaitable[stripe.StripeResponse]) -> Mapping[str, Any]:
    """The answer's fields. Raises StripeAway, StripeRefused; OAuthError and PermissionError pass through."""
    try:
        answer = await call
    except (stripe.oauth_error.OAuthError, stripe.PermissionError):
        raise
    except stripe.AuthenticationError as error:
        raise StripeRefused("Stripe does not take CITADEL_STRIPE_SECRET_KEY") from error
    except (stripe.StripeError, aiohttp.ClientError, TimeoutError) as error:
        # The SDK does not wrap the last two, which come when the connection breaks while the body is read.
        raise StripeAway(f"Stripe did not answer: {type(error).__name__}") from error
    except AttributeError as error:
        # stripe 16.1 fails like this on an OAuth error that it has no class for: {"error": "server_error"}.
        raise StripeAway("Stripe answered with an error that is not of ours") from error
    return cast("Mapping[str, Any]", answer.data)  # the SDK says `object`; the caller's model checks it
