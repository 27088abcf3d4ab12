"""Each tenant has a client of its own, and nothing of Stripe's is global.

Stripe's SDK has module-level settings (`stripe.api_key`) and resources that use them (`stripe.Invoice.create`). One of
either, anywhere, could charge one merchant's customer on another's account: the product's source is walked for them.
"""

import ast
import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import stripe
from pydantic import SecretStr
from stripe._api_version import _ApiVersion  # nothing public says which version the SDK was made for

from shared.ids import AccountId
from shared.settings import StripeSettings
from shared.stripe_clients import API_VERSION, StripeClientFactory
from simulator import PLATFORM, SECRET_KEY, SimulatorClient
from tests.simulated import Simulated, simulated

ROOT = Path(__file__).parents[3]
SOURCES = sorted(path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py"))

# Every name of the module that configures it; what is read from them depends on who wrote them last.
GLOBALS = frozenset(
    {
        "api_base",
        "api_key",
        "api_version",
        "app_info",
        "ca_bundle_path",
        "client_id",
        "connect_api_base",
        "default_http_client",
        "enable_telemetry",
        "log",
        "max_network_retries",
        "meter_events_api_base",
        "proxy",
        "set_app_info",
        "upload_api_base",
        "verify_ssl_certs",
    }
)


# -- the source ----------------------------------------------------------------------------------


def _is_resource(name: str) -> bool:
    """Whether `stripe.<name>` has calls that go out with the global key: resources, `OAuth` and `Webhook`'s parent."""
    found = getattr(stripe, name, None)
    return isinstance(found, type) and (issubclass(found, stripe.StripeObject) or found is stripe.OAuth)


def _of_stripe(node: ast.expr, modules: set[str]) -> str | None:
    """The name behind `stripe.`, if the node is such an attribute."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
        return node.attr
    return None


def _names(tree: ast.AST) -> tuple[set[str], dict[str, str]]:
    """What the module calls `stripe`, and what it took out of it: local name → Stripe's."""
    modules, taken = set[str](), dict[str, str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name for alias in node.names if alias.name == "stripe"}
        elif isinstance(node, ast.ImportFrom) and node.module == "stripe":
            taken |= {alias.asname or alias.name: alias.name for alias in node.names}
    return modules, taken


def global_uses(source: str) -> Iterator[str]:
    """Each use of Stripe's global state in a module's source, as `line: what`."""
    tree = ast.parse(source)
    modules, taken = _names(tree)
    for name in taken.values():
        if name in GLOBALS or name == "*":
            yield f"import of {name}"
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=attr, ctx=context) if _of_stripe(node, modules):
                if not isinstance(context, ast.Load):
                    yield f"{node.lineno}: assignment to stripe.{attr}"
                elif attr in GLOBALS:
                    yield f"{node.lineno}: stripe.{attr}"
            case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name(id=name), *_]) if name in modules:
                yield f"{node.lineno}: setattr on stripe"
            case ast.Call(func=ast.Attribute(value=owner, attr=verb)):
                resource = _of_stripe(owner, modules)
                if resource is None and isinstance(owner, ast.Name):
                    resource = taken.get(owner.id)
                if resource is not None and _is_resource(resource):
                    yield f"{node.lineno}: call of stripe.{resource}.{verb}"


GLOBAL = [
    "import stripe\nstripe.api_key = 'x'",
    "import stripe as s\ns.api_key = 'x'",
    "import stripe\nstripe.max_network_retries += 1",
    "import stripe\nstripe.anything_at_all: str = 'x'",
    "import stripe\ndel stripe.api_key",
    "import stripe\nprint(stripe.api_key)",
    "import stripe\nsetattr(stripe, 'api_key', 'x')",
    "import stripe\nstripe.Invoice.create(customer='cus_1')",
    "import stripe\nasync def f():\n    await stripe.Invoice.pay_async('in_1')",
    "import stripe\nstripe.OAuth.token(code='ac_1')",
    "from stripe import Customer as C\nC.retrieve('cus_1')",
    "from stripe import api_key",
    "from stripe import *",
    "def f():\n    import stripe\n    stripe.default_http_client = None",
    "import stripe\nfor stripe.api_key in ['x']: pass",
    "import stripe\nwith open('x') as stripe.log: pass",
]

LOCAL = [
    "import stripe\nclient = stripe.StripeClient('x')\nclient.v1.invoices.create()",
    "import stripe\ntry: ...\nexcept stripe.CardError as e: print(e.error.decline_code)",
    "import stripe\nstripe.WebhookSignature.verify_header('', '', '', 1)",
    "import stripe\nx: stripe.Invoice | None = None",
    "import stripe\nisinstance(1, stripe.Invoice)",
    "settings.api_key = 'x'",
    "from stripe import StripeClient\nStripeClient('x')",
]


@pytest.mark.parametrize("source", GLOBAL)
def test_the_walk_finds_every_way_to_stripes_global_state(source: str) -> None:
    assert list(global_uses(source))


@pytest.mark.parametrize("source", LOCAL)
def test_the_walk_lets_clients_errors_and_types_pass(source: str) -> None:
    assert list(global_uses(source)) == []


def test_no_module_of_the_product_touches_stripes_global_state() -> None:
    found = [f"{path.relative_to(ROOT)}: {use}" for path in SOURCES for use in global_uses(path.read_text())]
    assert found == []
    assert sum("import stripe" in path.read_text() for path in SOURCES) > 3, "the walk saw the product"


def test_clients_are_made_in_one_place() -> None:
    makers = [path.name for path in SOURCES if "stripe.StripeClient(" in path.read_text()]
    assert makers == ["stripe_clients.py"]


# -- at run time ---------------------------------------------------------------------------------


@pytest.fixture
async def served() -> AsyncIterator[Simulated]:
    async with simulated(seed=3) as made:
        yield made


@pytest.fixture
def url(served: Simulated) -> str:
    return served.url


@pytest.fixture
def control(served: Simulated) -> SimulatorClient:
    return served.control


@pytest.fixture
async def factory(url: str) -> AsyncIterator[StripeClientFactory]:
    async with StripeClientFactory.open(_settings(url, timeout_seconds=30.0)) as made:
        yield made


@pytest.fixture
async def impatient(url: str) -> AsyncIterator[StripeClientFactory]:
    """A factory whose calls wait shorter than the fault "timeout" takes; elsewhere a busy machine would be a fault."""
    async with StripeClientFactory.open(_settings(url, timeout_seconds=3.0)) as made:
        yield made


def _settings(url: str, timeout_seconds: float) -> StripeSettings:
    return StripeSettings(
        _env_file=None,
        stripe_secret_key=SecretStr(SECRET_KEY),
        stripe_api_base=url,
        stripe_connect_base=url,
        stripe_timeout_seconds=timeout_seconds,
    )


async def test_a_used_client_leaves_nothing_behind_in_the_module(
    factory: StripeClientFactory, control: SimulatorClient
) -> None:
    account = (await control.add_account(connected=True))["id"]
    before = {name: getattr(stripe, name) for name in GLOBALS}
    await factory.for_merchant(account).v1.invoices.list_async()
    with pytest.raises(stripe.oauth_error.InvalidGrantError):
        await factory.for_platform().raw_request_async(
            "post", "/oauth/token", base="connect", grant_type="authorization_code", code="ac_x"
        )
    assert {name: getattr(stripe, name) for name in GLOBALS} == before
    unset = ("api_key", "client_id", "default_http_client", "proxy", "app_info")
    assert {name: getattr(stripe, name) for name in unset} == dict.fromkeys(unset)
    assert stripe.api_base == stripe.DEFAULT_API_BASE
    assert stripe.connect_api_base == stripe.DEFAULT_CONNECT_API_BASE


async def test_every_request_names_its_own_merchant_however_they_interleave(
    factory: StripeClientFactory, control: SimulatorClient
) -> None:
    accounts = [AccountId((await control.add_account(connected=True))["id"]) for _ in range(5)]
    clients = [factory.for_merchant(account) for account in accounts]

    async def call(number: int) -> None:
        await clients[number % 5].v1.invoices.list_async({"customer": f"cus_{number}"})

    await asyncio.gather(*(call(number) for number in range(50)))
    logged = await control.requests(path="/v1/invoices")
    assert len(logged) == 50
    for request in logged:
        assert request["account"] == accounts[int(request["params"]["customer"].removeprefix("cus_")) % 5]


async def test_every_request_pins_the_api_version(factory: StripeClientFactory, control: SimulatorClient) -> None:
    account = (await control.add_account(connected=True))["id"]
    await factory.for_merchant(account).v1.invoices.list_async()
    (request,) = await control.requests(path="/v1/invoices")
    assert request["version"] == API_VERSION == _ApiVersion.CURRENT


async def test_the_platforms_client_names_no_account(factory: StripeClientFactory, control: SimulatorClient) -> None:
    await control.add_account(connected=True)
    await factory.for_platform().v1.invoices.list_async()
    (request,) = await control.requests(path="/v1/invoices")
    assert request["account"] == PLATFORM


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "server_error"}, stripe.APIError),
        ({"kind": "rate_limited"}, stripe.RateLimitError),
        ({"kind": "lock_timeout"}, stripe.APIError),
        ({"kind": "timeout", "seconds": 6}, stripe.APIConnectionError),
        ({"kind": "drop"}, stripe.APIConnectionError),
        ({"kind": "truncate"}, aiohttp.ClientPayloadError),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else value.__name__,
)
async def test_no_attempt_to_collect_is_repeated_by_the_sdk_or_below_it(
    impatient: StripeClientFactory, control: SimulatorClient, fault: dict[str, Any], error: type[Exception]
) -> None:
    account = (await control.add_account(connected=True))["id"]
    renewal = await control.add_renewal(account, card={"decline": "insufficient_funds"})
    await impatient.for_merchant(account).v1.invoices.list_async()  # a connection that is kept
    await control.add_fault(method="POST", path="/v1/invoices/*", **fault)
    before = len(await control.attempts())
    with pytest.raises(error):
        await impatient.for_merchant(account).v1.invoices.pay_async(
            renewal["invoice"]["id"], {}, {"idempotency_key": "one"}
        )
    assert [rule["hits"] for rule in await control.faults()] == [1]
    assert len(await control.attempts()) <= before + 1


@pytest.mark.parametrize("account", ["", "acct", "acct_", "cus_1", "sk_test_1", "acct_1\r\nX: y", "acct_1 ", "acct_é"])
async def test_only_an_accounts_id_makes_a_merchants_client(factory: StripeClientFactory, account: AccountId) -> None:
    with pytest.raises(ValueError, match="acct_…"):
        factory.for_merchant(account)
