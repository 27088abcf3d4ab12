"""Auth under its own role, Stripe's part played by the simulator, and browsers with cookies of their own."""

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiohttp
import asyncpg
import orjson
import pytest
from aiohttp.test_utils import TestServer

from services.auth import keys
from services.auth.app import create_app
from services.auth.settings import AuthSettings
from shared.api_keys import Scope
from shared.crypto import KeyRing
from shared.database import Database, Role
from shared.ids import AccountId
from shared.stripe_clients import StripeClientFactory
from simulator import CLIENT_ID, SECRET_KEY, SimulatorClient
from tests.conftest import OpenDatabase
from tests.simulated import Simulated, simulated
from tests.world import World

KEY = f"k1:{KeyRing.generate()}"
STATE_SECRET = "a secret of tests that has more than 32 bytes"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = orjson.loads(self.text)
        return value

    @property
    def problem(self) -> str:
        """The problem's type."""
        return str(self.json["type"]).removeprefix("urn:citadel:problem:")


@dataclass(frozen=True)
class Auth:
    """The running service, with what it was started with."""

    url: str
    settings: AuthSettings
    database: Database


class Browser:
    """A merchant's browser: it keeps cookies and follows what it is told to follow."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.session.close()

    async def get(self, url: str, accept: str = "application/json", **headers: str) -> Answer:
        wanted = {"Accept": accept, **headers}
        async with self.session.get(url, headers=wanted, allow_redirects=False) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.text())

    async def begin(self) -> str:
        """Click on "connect": the address of Stripe's consent page."""
        answer = await self.get(f"{self.auth.url}/auth/stripe")
        assert answer.status == 302, answer.text
        return answer.headers["Location"]

    async def agree(self, consent: str, **what: str) -> str:
        """At Stripe: the address that the browser is sent back to. `sim_account`, `sim_deny`."""
        answer = await self.get(with_query(consent, **what))
        assert answer.status == 302, answer.text
        return answer.headers["Location"]

    async def connect(self, account: AccountId) -> Answer:
        """The whole way."""
        return await self.get(await self.agree(await self.begin(), sim_account=account))


def with_query(url: str, **changes: str) -> str:
    """The address with these parameters set anew."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode({**dict(parse_qsl(parts.query)), **changes})))


def auth_settings(database_url: str, stripe_url: str, **more: Any) -> AuthSettings:
    """Settings of auth for a test, against the simulator."""
    values = {
        "database_url": database_url,
        "stripe_secret_key": SECRET_KEY,
        "stripe_client_id": CLIENT_ID,
        "stripe_api_base": stripe_url,
        "stripe_connect_base": stripe_url,
        "stripe_timeout_seconds": 1,
        "encryption_keys": KEY,
        "state_secret": STATE_SECRET,
        **more,
    }
    return AuthSettings(_env_file=None, **values)


@pytest.fixture
async def stripe() -> AsyncIterator[Simulated]:
    async with simulated(seed=11) as made:
        yield made


@pytest.fixture
def stripe_url(stripe: Simulated) -> str:
    return stripe.url


@pytest.fixture
def control(stripe: Simulated) -> SimulatorClient:
    return stripe.control


@pytest.fixture
def changed_settings() -> dict[str, Any]:
    """What a test changes: parametrize it directly."""
    return {}


@pytest.fixture
async def auth(
    open_database: OpenDatabase, database_url: str, stripe_url: str, changed_settings: dict[str, Any]
) -> AsyncIterator[Auth]:
    listener = socket.create_server(("127.0.0.1", 0))
    public_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = auth_settings(database_url, stripe_url, **{"public_url": public_url, **changed_settings})
    async with open_database(Role.AUTH) as opened, StripeClientFactory.open(settings) as clients:
        app = create_app(settings, opened, clients)
        async with TestServer(app, socket_factory=lambda *_address: listener):
            yield Auth(public_url, settings, opened)


@pytest.fixture
async def browser(auth: Auth) -> AsyncIterator[Browser]:
    async with Browser(auth) as one:
        yield one


@pytest.fixture
async def account(control: SimulatorClient) -> AccountId:
    """A Stripe account that is not connected yet."""
    return AccountId((await control.add_account())["id"])


async def merchant_of(database: Database, account: AccountId) -> asyncpg.Record:
    """The merchant's row."""
    (row,) = await World(database).rows("SELECT * FROM merchants WHERE stripe_connect_id = $1", account)
    return row


async def count(database: Database, table: str) -> int:
    """How many rows a table has."""
    number: int = await World(database).value(f"SELECT count(*) FROM {table}")  # noqa: S608 - a test's own constant
    return number


@pytest.fixture
async def platform_key(database: Database) -> str:
    """A key of the platform that may disconnect."""
    _, secret = await keys.create_key(database, "operator", [Scope.MERCHANTS_WRITE])
    return secret


async def disconnect(auth: Auth, secret: str | None, merchant_id: object) -> Answer:
    """`POST /auth/stripe/disconnect` with a key."""
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    body = orjson.dumps({"merchant_id": merchant_id}, default=str)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{auth.url}/auth/stripe/disconnect", data=body, headers=headers) as answer,
    ):
        return Answer(answer.status, dict(answer.headers), await answer.text())
