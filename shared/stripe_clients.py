"""One Stripe client per merchant, and one for the platform; nothing global.

All clients share one HTTP session, a pinned API version and a time-out. The SDK repeats nothing by itself
(`max_network_retries` is 0): the engine decides to repeat, under the same idempotency key. (aiohttp sends a GET again
when the server closed the connection; never a POST.)
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol
from urllib.parse import quote

import aiohttp
import stripe

from shared.ids import AccountId
from shared.settings import StripeSettings

API_VERSION = "2026-10-28.endive"
"""Pinned to the version that stripe 16.1 was generated for: answers have one shape, whatever the account's version."""

Json = dict[str, Any]

_CONNECTIONS = 100
_ACCOUNT = re.compile(r"acct_[A-Za-z0-9_]+")  # it becomes a header


async def ask(client: stripe.StripeClient, method: Literal["get", "post"], path: str, **asked: Any) -> Json:
    """Stripe's own JSON, for our own models. Raises what the SDK's methods raise.

    The SDK makes an object of every part of an answer. For one invoice with its parts that takes longer than the rest
    of an evaluation (docs/performance.md). `path` begins with /v1; `asked` are its parameters and perhaps an
    `idempotency_key`.
    """
    answer = await client.raw_request_async(method, path, **asked)
    if not isinstance(answer.data, dict):
        raise stripe.APIError("an answer that is no object", answer.body, answer.code, headers=dict(answer.headers))
    return answer.data


def part(text: str) -> str:
    """An id, quoted for use in a path."""
    return quote(text, safe="")


class Gate(Protocol):
    """What every call passes. `account` is the merchant's (acct_…), None is the platform itself."""

    async def enter(self, account: AccountId | None) -> None:
        """Wait until the call may be made. What this raises passes through the SDK unchanged."""
        ...

    async def left(self, account: AccountId | None, status: int | None, retry_after: str | None) -> None:
        """The call ended with this status; None: without a complete answer."""
        ...

    def broken_off(self) -> None:
        """This side broke the call off."""
        ...


class _GatedClient(stripe.AIOHTTPClient):
    """The SDK's client behind a gate."""

    def __init__(self, gate: Gate, **given: Any) -> None:
        super().__init__(**given)
        self._gate = gate

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One call."""
        named = headers.get("Stripe-Account")
        account = None if named is None else AccountId(named)
        await self._gate.enter(account)
        try:
            answer = await super().request_async(method, url, headers, post_data)
        except Exception:  # timed out or cut off: whatever it was, the call is over
            await self._gate.left(account, None, None)
            raise
        except BaseException:  # cancelled: to wait here would delay the shutdown
            self._gate.broken_off()
            raise
        await self._gate.left(account, answer[1], answer[2].get("Retry-After"))
        return answer


class StripeClientFactory:
    """Makes clients. Use `open()`; the factory lives as long as its HTTP session."""

    def __init__(self, settings: StripeSettings, session: aiohttp.ClientSession, gate: Gate | None = None) -> None:
        self._settings = settings
        given: dict[str, Any] = {"timeout": settings.stripe_timeout_seconds, "session": session}
        self._http = _GatedClient(gate, **given) if gate else stripe.AIOHTTPClient(**given)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: StripeSettings, gate: Gate | None = None) -> AsyncIterator["StripeClientFactory"]:
        """A factory with one HTTP session, for the life of the block. Every call passes `gate`, if it is given."""
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield cls(settings, session, gate)

    @property
    def livemode(self) -> bool | None:
        """The mode of the platform's key; None for a key that does not say so (https://docs.stripe.com/keys)."""
        key = self._settings.stripe_secret_key.get_secret_value()
        return True if "_live_" in key else False if "_test_" in key else None

    def for_merchant(self, stripe_connect_id: AccountId) -> stripe.StripeClient:
        """A client whose every request carries `Stripe-Account: stripe_connect_id`."""
        if not _ACCOUNT.fullmatch(stripe_connect_id):
            raise ValueError(f"expected a connected account's id (acct_…), got {stripe_connect_id!r}")
        return self._client(stripe_connect_id)

    def for_platform(self) -> stripe.StripeClient:
        """A client that acts as the platform itself, for OAuth."""
        return self._client(None)

    def _client(self, account: AccountId | None) -> stripe.StripeClient:
        return stripe.StripeClient(
            self._settings.stripe_secret_key.get_secret_value(),
            stripe_account=account,
            stripe_version=API_VERSION,
            base_addresses={
                "api": self._settings.stripe_api_base,
                "connect": self._settings.stripe_connect_base,
            },
            max_network_retries=0,
            http_client=self._http,
        )
