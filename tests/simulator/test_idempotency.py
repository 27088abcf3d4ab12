"""Idempotency keys behave as at Stripe, declines and 500s included."""

import asyncio
import dataclasses

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import SECRET_KEY, Simulator, SimulatorClient, api
from simulator.api import Request, StripeApi
from simulator.control import Ask, add_renewal
from simulator.faults import KINDS, Fault
from simulator.shapes import DAY
from tests.simulator.answers import details, replayed
from tests.simulator.conftest import START, MakeStripe
from tests.waiting import until


async def test_a_repeated_success_is_replayed_and_charges_once(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    pay, invoice = client.v1.invoices.pay_async, made["invoice"]["id"]
    first = await pay(invoice, {}, {"idempotency_key": "r1:1"})
    again = await pay(invoice, {}, {"idempotency_key": "r1:1"})
    assert first.to_dict() == again.to_dict()
    assert not replayed(first)
    assert replayed(again)
    assert len(await control.charges()) == 1


async def test_a_decline_is_replayed_even_when_the_card_is_good_by_now(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "insufficient_funds"})
    invoice = made["invoice"]["id"]
    for expected in (False, True):
        with pytest.raises(stripe.CardError) as caught:
            await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k"})
        assert replayed(caught.value) == expected
        await control.set_script(made["payment_method"]["id"])
    assert len(await control.attempts(invoice)) == 2
    assert (await client.v1.invoices.pay_async(invoice, {}, {"idempotency_key": "k2"})).status == "paid"


@pytest.mark.parametrize(("after_effect", "charges"), [(True, 1), (False, 0)])
async def test_a_500_is_replayed_whether_or_not_the_money_moved(
    after_effect: bool,
    charges: int,
    control: SimulatorClient,
    client: stripe.StripeClient,
    account: str,
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    await control.add_fault("server_error", path="*/pay", times=1, after_effect=after_effect)
    for expected in (False, True):
        with pytest.raises(stripe.APIError) as caught:
            await client.v1.invoices.pay_async(made["invoice"]["id"], {}, {"idempotency_key": "k"})
        assert caught.value.http_status == 500
        assert replayed(caught.value) == expected
    assert len(await control.charges()) == charges


async def test_the_same_key_with_other_parameters_is_refused(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account)
    customer = made["customer"]["id"]
    await client.v1.customers.update_async(customer, {"description": "a"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.IdempotencyError) as caught:
        await client.v1.customers.update_async(customer, {"description": "b"}, {"idempotency_key": "k"})
    assert caught.value.http_status == 400


@pytest.mark.parametrize("kind", ["rate_limited", "lock_timeout"])
async def test_nothing_is_saved_for_429_and_409(
    kind: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    await control.add_fault(kind, times=1)
    with pytest.raises(stripe.StripeError):
        await client.v1.invoices.pay_async(made["invoice"]["id"], {}, {"idempotency_key": "k"})
    paid = await client.v1.invoices.pay_async(made["invoice"]["id"], {}, {"idempotency_key": "k"})
    assert paid.status == "paid"


async def test_nothing_is_saved_for_a_validation_error(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account)
    address = f"/v1/customers/{made['customer']['id']}"
    with pytest.raises(stripe.InvalidRequestError):
        await client.raw_request_async("post", address, descripton="a", idempotency_key="k")
    fixed = await client.raw_request_async("post", address, description="a", idempotency_key="k")
    assert "Idempotent-Replayed" not in fixed.headers


async def test_a_key_in_flight_is_a_409_and_not_a_second_charge(
    control: SimulatorClient, client: stripe.StripeClient, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    answer = asyncio.Event()

    async def slow(fault: Fault | None) -> None:
        if fault is not None:
            await answer.wait()

    monkeypatch.setattr(api, "_slow", slow)
    await control.add_fault("slow", path="*/pay", times=1)
    pay, invoice = client.v1.invoices.pay_async, made["invoice"]["id"]
    first = asyncio.create_task(pay(invoice, {}, {"idempotency_key": "k"}))
    await until(control.faults, "the first one is under way", lambda faults: faults[0]["hits"])
    with pytest.raises(stripe.APIError) as conflict:
        await pay(invoice, {}, {"idempotency_key": "k"})
    answer.set()
    assert (await first).status == "paid"
    assert conflict.value.http_status == 409
    assert details(conflict.value)["code"] == "idempotency_key_in_use"
    assert len(await control.charges()) == 1


async def test_what_an_endpoint_refuses_while_it_runs_is_saved(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account)
    for expected in (False, True):
        with pytest.raises(stripe.InvalidRequestError, match="already paid") as caught:
            await client.v1.invoices.pay_async(made["invoice"]["id"], {}, {"idempotency_key": "k"})
        assert replayed(caught.value) == expected


FAULTS = st.builds(
    Fault,
    st.sampled_from(sorted(KINDS)),
    times=st.just(1),
    after_effect=st.booleans(),
    latency_ms=st.sampled_from([0, 1]),
)


@settings(max_examples=60)
@given(
    script=st.sampled_from(["do_not_honor", "needs_3ds", None]),
    faults=st.lists(st.none() | FAULTS, max_size=8),
    at_once=st.integers(1, 3),
)
def test_one_key_is_one_attempt_whatever_the_network_does(
    script: str | None, faults: list[Fault | None], at_once: int
) -> None:
    """The property that a product's safety rests on: a repeat with the same key never tries again."""

    async def story() -> None:
        simulator = Simulator(1, start=START, validate_responses=True)
        account = simulator.population.add_account(connected=True)
        card = {"needs_3ds": True} if script == "needs_3ds" else {"decline": script}
        made = await add_renewal(Ask(simulator, {}, {"account": account.id, "card": {"decline": "lost_card"}}))
        account.scripts[made["payment_method"]["id"]] = simulator.people.script(card)
        api, path = StripeApi(simulator), f"/v1/invoices/{made['invoice']['id']}/pay"
        request = Request("POST", path, "", f"Bearer {SECRET_KEY}", account.id, "r:1")
        for fault in [*faults, None]:
            if fault is not None:
                simulator.faults.add(dataclasses.replace(fault))
            await asyncio.gather(*(api.answer(request) for _ in range(at_once)))
        tried = [attempt for attempt in simulator.world.attempts if attempt.idempotency_key == "r:1"]
        assert len(tried) <= 1
        last = await api.answer(request)
        assert last.headers["Idempotent-Replayed"] == "true"
        if not any(fault and fault.kind == "server_error" for fault in faults):
            assert len(tried) == 1

    asyncio.run(story())


async def test_a_key_belongs_to_one_account(control: SimulatorClient, make_stripe: MakeStripe, account: str) -> None:
    other = (await control.add_account(connected=True))["id"]
    for owner in (account, other):
        made = await control.add_renewal(owner, card={"decline": "do_not_honor", "clears_after": 1})
        paid = await make_stripe(owner).v1.invoices.pay_async(made["invoice"]["id"], {}, {"idempotency_key": "k"})
        assert paid.status == "paid"
    assert len(await control.charges()) == 2


async def test_a_key_is_forgotten_after_a_day(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    seen = []
    for wait in (DAY - 1, 1, 0):
        with pytest.raises(stripe.CardError) as caught:
            await client.v1.invoices.pay_async(made["invoice"]["id"], {}, {"idempotency_key": "k"})
        seen.append(replayed(caught.value))
        await control.advance(wait)
    assert seen == [False, True, False]
