"""Every call to Stripe passes the gate: outages open the circuit, and too many calls slow down that merchant alone."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.worker.app import going_outside
from services.worker.errors import LeaseLost, RetryLater
from services.worker.outside.circuits import CircuitOpen
from services.worker.outside.lease import Lease
from services.worker.outside.stripe_calls import pay, read_invoice
from services.worker.outside.stripe_gate import calls_per_second
from shared.database import Database
from shared.ids import AccountId, InvoiceId
from tests.integration.worker.world import worker_settings
from tests.waiting import until

ACCOUNT, INVOICE = AccountId("acct_1"), InvoiceId("in_1")


class Rates:
    """Lets everything pass, and writes down who was slowed down."""

    def __init__(self) -> None:
        self.slowed: list[tuple[str, float]] = []

    async def turn(self, account: str) -> None:
        return

    async def slow_down(self, account: str, seconds: float) -> None:
        self.slowed.append((account, seconds))


@pytest.fixture
async def answers() -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """A server that answers as it is told, and its URL."""
    told: dict[str, Any] = {"status": 500, "headers": {}, "calls": 0}

    async def handle(_request: web.Request) -> web.Response:
        told["calls"] += 1
        return web.json_response({"error": {"type": "api_error"}}, status=told["status"], headers=told["headers"])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/"), told


async def test_five_5xx_in_a_row_open_the_circuit_and_no_call_is_made(
    answers: tuple[str, dict[str, Any]], database: Database
) -> None:
    url, told = answers
    async with going_outside(worker_settings(url), database) as outside:
        client = outside.stripe.for_merchant(ACCOUNT)
        for _ in range(5):
            with pytest.raises(RetryLater):
                await read_invoice(client, INVOICE)
        with pytest.raises(CircuitOpen) as opened:
            await read_invoice(client, INVOICE)
        assert not opened.value.counts
        assert told["calls"] == 5


async def test_a_429_slows_its_merchant_down_and_is_no_outage(
    answers: tuple[str, dict[str, Any]], database: Database
) -> None:
    url, told = answers
    told |= {"status": 429, "headers": {"Retry-After": "7"}}
    rates: Any = Rates()
    async with going_outside(worker_settings(url), database, rates) as outside:
        for _ in range(6):
            with pytest.raises(RetryLater) as later:
                await read_invoice(outside.stripe.for_merchant(ACCOUNT), INVOICE)
            assert not isinstance(later.value, CircuitOpen)
            assert not later.value.counts
    assert set(rates.slowed) == {("acct_1", 7.0)}


class LongTurn(Rates):
    """Has a call wait for its turn until the lease that guards it has run out."""

    def __init__(self, lease: Lease) -> None:
        super().__init__()
        self._lease = lease

    async def turn(self, account: str) -> None:
        await until(lambda: self._lease.held, "the lease has run out", lambda held: not held)


async def test_a_change_whose_turn_comes_after_its_lease_is_not_sent(
    answers: tuple[str, dict[str, Any]], database: Database
) -> None:
    url, told = answers
    lease = Lease(timedelta(seconds=0.3))
    rates: Any = LongTurn(lease)
    async with going_outside(worker_settings(url), database, rates) as outside:
        client = outside.stripe.for_merchant(ACCOUNT)
        with pytest.raises(LeaseLost):
            await pay(client, INVOICE, "key", lease)
        assert told["calls"] == 0
        with pytest.raises(RetryLater, match="500"):
            await read_invoice(client, INVOICE)  # reading changes nothing, and needs no lease
        outside.circuits.check("stripe")


def test_the_rates_are_those_of_the_key() -> None:
    assert (calls_per_second("sk_live_x"), calls_per_second("rk_live_x"), calls_per_second("sk_test_x")) == (
        100,
        100,
        25,
    )
