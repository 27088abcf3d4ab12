"""Events arrive signed, and with everything that goes wrong on the way when asked for."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import stripe
from aiohttp import web

from simulator import SimulatorClient
from simulator.shapes import DAY, Json
from simulator.webhooks import signature
from tests.simulator.conftest import START

SECRET = "whsec_test"


class Receiver:
    """A webhook endpoint that checks every signature with the SDK; `answers` are its next statuses."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.answers: list[int] = []
        self.posts = 0

    async def receive(self, request: web.Request) -> web.Response:
        body = (await request.read()).decode()
        event = stripe.Webhook.construct_event(body, request.headers["Stripe-Signature"], SECRET)
        self.posts += 1
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.events.append(event.to_dict())
        return web.Response(status=status)

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


@pytest.fixture
async def receiver(control: SimulatorClient) -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/webhooks/stripe", made.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/stripe"
    await control.configure_webhooks(url=url, secret=SECRET, concurrency=1, backoff=0.001)
    yield made
    await runner.cleanup()


async def test_a_failed_renewal_is_announced_in_order_to_the_platform(
    control: SimulatorClient, receiver: Receiver, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "insufficient_funds"})
    assert await control.drain()
    assert receiver.types == [
        "invoice.created",
        "customer.subscription.updated",
        "invoice.finalized",
        "charge.failed",
        "invoice.payment_failed",
        "invoice.updated",
        "customer.subscription.updated",
    ]
    event = receiver.events[4]
    assert event["account"] == account
    assert event["created"] == START
    assert event["livemode"] is False
    assert event["pending_webhooks"] == 1
    assert event["api_version"] == "2026-05-27.dahlia"
    assert event["request"] == {"id": None, "idempotency_key": None}
    assert event["data"]["object"]["id"] == made["invoice"]["id"]
    assert receiver.events[6]["data"]["previous_attributes"] == {"status": "active"}


async def test_an_event_names_the_request_that_caused_it(
    control: SimulatorClient, receiver: Receiver, account: str, client: stripe.StripeClient
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor", "clears_after": 1})
    await client.v1.invoices.pay_async(made["invoice"]["id"], {}, {"idempotency_key": "r:1"})
    await control.drain()
    (paid,) = (event for event in receiver.events if event["type"] == "invoice.paid")
    assert paid["request"]["idempotency_key"] == "r:1"


async def test_merchants_that_are_not_connected_are_not_heard(control: SimulatorClient, receiver: Receiver) -> None:
    stranger = (await control.add_account())["id"]
    await control.add_renewal(stranger)
    await control.drain()
    assert receiver.posts == 0


async def test_a_refused_event_is_sent_until_it_is_accepted(
    control: SimulatorClient, receiver: Receiver, account: str
) -> None:
    await control.configure_webhooks(types=["invoice.payment_failed"])
    receiver.answers = [500, 503]
    await control.add_renewal(account, card={"decline": "do_not_honor"})
    assert await control.drain()
    (delivery,) = await control.deliveries()
    assert delivery["statuses"] == [500, 503, 200]
    assert delivery["first_2xx"]
    assert len(receiver.events) == 1


async def test_a_receiver_that_stays_down_is_given_up_and_the_event_list_still_knows(
    control: SimulatorClient, receiver: Receiver, account: str, client: stripe.StripeClient
) -> None:
    await control.configure_webhooks(url="http://127.0.0.1:1/", max_attempts=2, types=["invoice.payment_failed"])
    await control.add_renewal(account, card={"decline": "do_not_honor"})
    assert await control.drain()
    (delivery,) = await control.deliveries()
    assert (delivery["statuses"], delivery["given_up"]) == ([0, 0], True)
    missed = await client.v1.events.list_async({"delivery_success": False})
    assert [event.type for event in missed.data] == ["invoice.payment_failed"]


async def test_dropped_events_are_only_in_the_event_list(
    control: SimulatorClient, receiver: Receiver, account: str, client: stripe.StripeClient
) -> None:
    await control.configure_webhooks(drop_share=1.0, types=["invoice.payment_failed"])
    await control.add_renewal(account, card={"decline": "do_not_honor"})
    await control.drain()
    assert receiver.posts == 0
    listed = await client.v1.events.list_async({"types": ["invoice.payment_failed"], "delivery_success": False})
    assert len(listed.data) == 1


async def test_duplicates_come_under_one_id_and_twins_under_two(
    control: SimulatorClient, receiver: Receiver, account: str
) -> None:
    await control.configure_webhooks(types=["invoice.payment_failed"], duplicate_share=1.0, twin_share=1.0)
    await control.add_renewal(account, card={"decline": "do_not_honor"})
    await control.drain()
    counts = Counter(event["id"] for event in receiver.events)
    assert sorted(counts.values()) == [1, 2]
    assert len({event["data"]["object"]["id"] for event in receiver.events}) == 1


async def test_late_events_come_when_the_clock_has_moved(
    control: SimulatorClient, receiver: Receiver, account: str
) -> None:
    await control.configure_webhooks(types=["invoice.payment_failed"], late_share=1.0, late_by=2 * DAY)
    await control.add_renewal(account, card={"decline": "do_not_honor"})
    await control.drain()
    assert receiver.events == []
    await control.advance(2 * DAY)
    await control.drain()
    assert [event["created"] for event in receiver.events] == [START]


async def test_shuffled_events_are_the_same_events_in_another_order(
    control: SimulatorClient, receiver: Receiver, account: str
) -> None:
    await control.configure_webhooks(shuffle=True)
    await control.populate(accounts=1, subscriptions=20, connected=True)
    await control.advance(4 * DAY)
    await control.drain()
    in_order = [event["id"] for event in await control.events()]
    received = [event["id"] for event in receiver.events]
    assert received != in_order
    assert sorted(received) == sorted(in_order)


async def test_an_operator_can_send_an_event_again_or_as_a_twin(
    control: SimulatorClient, receiver: Receiver, account: str
) -> None:
    await control.configure_webhooks(types=["invoice.paid"])
    await control.add_renewal(account)
    await control.drain()
    (event,) = receiver.events
    await control.send_again(event["id"])
    twin = await control.twin(event["id"])
    await control.drain()
    assert [found["id"] for found in receiver.events] == [event["id"], event["id"], twin]
    assert receiver.events[2]["data"] == event["data"]


async def test_events_can_come_in_the_shape_of_an_older_version(
    control: SimulatorClient, receiver: Receiver, account: str
) -> None:
    await control.configure_webhooks(old_shape_share=1.0)
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    await control.drain()
    (event,) = (event for event in receiver.events if event["type"] == "invoice.payment_failed")
    invoice = event["data"]["object"]
    assert event["api_version"] == "2024-12-18.acacia"
    assert "parent" not in invoice
    assert invoice["subscription"] == made["subscription"]["id"]
    assert invoice["payment_intent"] == made["payment_intent"]["id"]
    assert (invoice["charge"], invoice["paid"]) == (made["payment_intent"]["latest_charge"], False)


def test_the_signature_is_the_sdks_own() -> None:
    body = b'{"id": "evt_1"}'
    header = signature(body, SECRET, 1_790_000_000)
    assert stripe.WebhookSignature.verify_header(body.decode(), header, SECRET)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(body.decode() + " ", header, SECRET)
