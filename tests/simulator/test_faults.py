"""Faults: what the client sees, and whether the money moved all the same."""

import time

import aiohttp
import pytest
import stripe

from simulator import PLATFORM, RESEND_KEY, SimulatorClient, SimulatorError
from tests.simulated import Simulated
from tests.simulator.answers import details, headers, replayed
from tests.simulator.conftest import MakeStripe
from tests.waiting import until


async def payable(control: SimulatorClient, account: str) -> str:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    return str(made["invoice"]["id"])


@pytest.mark.parametrize("kind", ["drop", "timeout", "truncate"])
async def test_an_answer_that_gets_lost_leaves_its_charge_and_is_replayed(
    kind: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    invoice = await payable(control, account)
    await control.add_fault(kind, path="*/pay", times=1, after_effect=True, seconds=0.05)
    with pytest.raises((stripe.APIConnectionError, aiohttp.ClientError, TimeoutError)):
        await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    assert len(await control.charges()) == 1
    repeated = await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    assert repeated.status == "paid"
    assert replayed(repeated)
    assert len(await control.charges()) == 1
    first, second = await control.requests(method="POST")
    assert (first["status"], first["fault"], second["status"]) == (0, kind, 200)


@pytest.mark.parametrize("kind", ["drop", "timeout"])
async def test_a_request_that_gets_lost_does_nothing_and_keeps_no_key(
    kind: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    invoice = await payable(control, account)
    await control.add_fault(kind, path="*/pay", times=1, seconds=0.05)
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    assert await control.charges() == []
    repeated = await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    assert not replayed(repeated)


async def test_two_lost_answers_under_two_keys_are_two_attempts_in_the_log(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    await control.add_fault("drop", path="*/pay", times=2, after_effect=True)
    for key in ("a", "b"):
        with pytest.raises(stripe.APIConnectionError):
            await client.v1.invoices.pay_async(made["invoice"]["id"], {}, {"idempotency_key": key})
    keys = [entry["idempotency_key"] for entry in await control.attempts(made["invoice"]["id"])]
    assert keys == [None, "a", "b"]


async def test_a_client_that_gives_up_waiting_has_still_paid(
    served: Simulated, control: SimulatorClient, make_stripe: MakeStripe, account: str
) -> None:
    invoice = await payable(control, account)
    hasty, patient = make_stripe(account, time_out=1), make_stripe(account)
    with served.door.holding("POST", "*/pay") as payment:
        with pytest.raises((stripe.APIConnectionError, TimeoutError)):
            await hasty.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
        assert payment.arrived == 1
        assert await control.charges() == []
    await until(control.charges, "the invoice is charged")
    repeated = await patient.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
    assert replayed(repeated)
    assert len(await control.charges()) == 1


async def test_a_rate_limit_names_its_reason(control: SimulatorClient, client: stripe.StripeClient) -> None:
    await control.add_fault("rate_limited", reason="endpoint-rate", times=1)
    with pytest.raises(stripe.RateLimitError) as caught:
        await client.v1.invoices.list_async()
    assert headers(caught.value)["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert (await client.v1.invoices.list_async()).data == []


@pytest.mark.parametrize("status", [409, 429])
async def test_a_lock_timeout_has_its_code(status: int, control: SimulatorClient, client: stripe.StripeClient) -> None:
    await control.add_fault("lock_timeout", status=status, times=1)
    with pytest.raises(stripe.StripeError) as caught:
        await client.v1.invoices.list_async()
    assert caught.value.http_status == status
    assert details(caught.value)["code"] == "lock_timeout"


async def test_a_slow_answer_is_slow(control: SimulatorClient, client: stripe.StripeClient) -> None:
    await control.add_fault("slow", latency_ms=120, times=1)
    before = time.monotonic()
    await client.v1.invoices.list_async()
    assert time.monotonic() - before >= 0.12


async def test_a_fault_hits_only_what_it_names_and_skips_what_it_should(
    control: SimulatorClient, make_stripe: MakeStripe, account: str
) -> None:
    other = (await control.add_account(connected=True))["id"]
    await control.add_fault("rate_limited", method="GET", path="/v1/invoices", account=account, skip=1, times=1)
    mine, theirs = make_stripe(account), make_stripe(other)
    await theirs.v1.invoices.list_async()
    await mine.v1.customers.list_async()
    await mine.v1.invoices.list_async()
    with pytest.raises(stripe.RateLimitError):
        await mine.v1.invoices.list_async()
    await mine.v1.invoices.list_async()
    (rule,) = await control.faults()
    assert rule["hits"] == 1


async def test_a_share_of_requests_fails_and_clearing_ends_it(
    control: SimulatorClient, client: stripe.StripeClient
) -> None:
    await control.add_fault("server_error", probability=0.5)
    failed = 0
    for _ in range(40):
        try:
            await client.v1.invoices.list_async()
        except stripe.APIError:
            failed += 1
    assert 8 <= failed <= 32
    await control.clear_faults()
    await client.v1.invoices.list_async()


async def test_emails_fail_on_demand_before_and_after_they_are_accepted(url: str, control: SimulatorClient) -> None:
    await control.add_fault("server_error", path="/emails", account=PLATFORM, times=1)
    await control.add_fault("rate_limited", path="/emails", times=1)
    await control.add_fault("server_error", path="/emails", times=1, after_effect=True)
    message = {"from": "a@b.example", "to": "c@d.example", "subject": "s", "text": "t"}
    headers = {"Authorization": f"Bearer {RESEND_KEY}", "Idempotency-Key": "e1"}
    statuses, sent = [], []
    async with aiohttp.ClientSession(headers=headers) as session:
        for _ in range(4):
            async with session.post(f"{url}/emails", json=message) as answer:
                statuses.append(answer.status)
            sent.append(len(await control.outbox()))
    assert statuses == [500, 429, 500, 200]
    assert sent == [0, 0, 1, 1]


async def test_an_unknown_fault_is_refused(control: SimulatorClient) -> None:
    with pytest.raises(SimulatorError, match="earthquake"):
        await control.add_fault("earthquake")
    with pytest.raises(SimulatorError, match="tmies"):
        await control.add_fault("drop", tmies=1)
