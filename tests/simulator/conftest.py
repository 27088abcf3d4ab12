"""The smallest world of a test: one simulation that checks its own answers, served, with its clients."""

from collections.abc import AsyncIterator, Callable

import pytest
import stripe

from simulator import SECRET_KEY, Simulator, SimulatorClient
from tests.simulated import Simulated, simulated

START = 1_790_000_000
MakeStripe = Callable[..., stripe.StripeClient]


@pytest.fixture
async def served() -> AsyncIterator[Simulated]:
    async with simulated(seed=7, start=START, validate_responses=True) as made:
        yield made


@pytest.fixture
def simulation(served: Simulated) -> Simulator:
    return served.simulation


@pytest.fixture
def url(served: Simulated) -> str:
    return served.url


@pytest.fixture
def control(served: Simulated) -> SimulatorClient:
    return served.control


@pytest.fixture
async def make_stripe(url: str) -> AsyncIterator[MakeStripe]:
    """Makes real SDK clients of the simulation: `make_stripe(account)`."""
    transports: list[stripe.AIOHTTPClient] = []

    def make(account: str | None = None, key: str = SECRET_KEY, time_out: float = 10) -> stripe.StripeClient:
        transport = stripe.AIOHTTPClient(timeout=time_out)
        transports.append(transport)
        return stripe.StripeClient(
            key,
            http_client=transport,
            base_addresses={"api": url, "connect": url},
            stripe_account=account,
            max_network_retries=0,
        )

    yield make
    for transport in transports:
        await transport.close_async()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped


@pytest.fixture
async def account(control: SimulatorClient) -> str:
    """A connected merchant in US dollars."""
    made = await control.add_account(connected=True)
    return str(made["id"])


@pytest.fixture
def client(make_stripe: MakeStripe, account: str) -> stripe.StripeClient:
    """The SDK on that merchant's account."""
    return make_stripe(account)
