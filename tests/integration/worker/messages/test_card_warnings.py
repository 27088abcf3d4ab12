"""Reserve of a renewal, a customer whose card will have expired is told: once per card, and only if it is so."""

from typing import Any

import pytest

from shared.ids import CustomerId, PaymentMethodId, SubscriptionId
from shared.queue import tasks
from shared.queue.tasks import NewTask
from tests.integration.worker.world import START, World

DAY = 86_400
# START is in September 2026: the card is good until the month is over, and the renewal is after that.
EXPIRES: dict[str, Any] = {"exp_month": 9, "exp_year": 2026, "last4": "4242"}


class Subscriber:
    """A customer with a card and a subscription that renews in twenty-five days."""

    def __init__(self, world: World, made: dict[str, Any], subscription: dict[str, Any]) -> None:
        self.world = world
        self.customer: CustomerId = made["customer"]["id"]
        self.method: PaymentMethodId = made["payment_method"]["id"]
        self.subscription: SubscriptionId = subscription["id"]

    @classmethod
    async def make(
        cls, world: World, *, own_method: bool = False, renews_in: int = 25 * DAY, **card: Any
    ) -> "Subscriber":
        made = await world.control.add_customer(world.account, card={**EXPIRES, **card})
        own = {"default_payment_method": made["payment_method"]["id"]} if own_method else {}
        made_for = made["customer"]["id"]
        subscription = await world.control.add_subscription(world.account, made_for, renews_in=renews_in, **own)
        return cls(world, made, subscription)

    async def warn(self) -> None:
        """Have them told, as the ingress does that hears of a renewal; then work."""
        async with self.world.worker.transaction() as db:
            payload = {"customer_id": self.customer, "subscription_id": self.subscription}
            await tasks.enqueue(db, NewTask(self.world.merchant_id, "warn_card_expiring", payload))
        await self.world.work()

    @property
    def resource(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.simulation.world.accounts[self.world.account].objects["subscription"][
            self.subscription
        ]
        return found


@pytest.fixture(autouse=True)
async def told_well_ahead(world: World) -> None:
    """A policy that has customers told thirty days ahead."""
    await world.execute("UPDATE policies SET document = jsonb_set(document, '{card_expiring_days}', '30') WHERE active")


async def _texts(world: World) -> list[str]:
    return [each["message"]["text"] for each in await world.control.outbox()]


@pytest.mark.parametrize("own_method", [True, False])
async def test_a_card_that_will_have_expired_is_told_of_with_its_form(world: World, own_method: bool) -> None:
    subscriber = await Subscriber.make(world, own_method=own_method)
    await subscriber.warn()
    (email,) = await world.control.outbox()
    text = email["message"]["text"]
    assert "Your card Visa •••• 4242 expires at the end of September 2026." in text
    (session,) = world.simulation.world.accounts[world.account].objects["billing_portal.session"].values()
    assert session["url"] in text
    assert email["idempotency_key"] == f"card_expiring:{subscriber.method}:2026-09"


async def test_a_card_that_has_expired_already_is_told_of_as_such(world: World) -> None:
    subscriber = await Subscriber.make(world, exp_month=8)
    await subscriber.warn()
    assert "expired at the end of August 2026." in (await _texts(world))[0]


async def test_a_customer_is_told_once_per_card(world: World) -> None:
    subscriber = await Subscriber.make(world)
    for _ in range(3):
        await subscriber.warn()
        await world.pass_time(days=1)
    assert len(await _texts(world)) == 1
    await world.control.add_card(subscriber.customer, **EXPIRES)
    await subscriber.warn()
    assert len(await _texts(world)) == 2


async def test_a_customer_is_told_on_the_policy_s_day(world: World) -> None:
    subscriber = await Subscriber.make(world, renews_in=40 * DAY)
    await world.execute("UPDATE policies SET document = jsonb_set(document, '{card_expiring_days}', '5')")
    await subscriber.warn()
    assert await _texts(world) == []
    await world.pass_time(days=34)
    await world.work()
    assert await _texts(world) == []
    await world.pass_time(days=1)
    await world.work()
    assert len(await _texts(world)) == 1


async def test_a_merchant_s_own_policy_may_have_nobody_told(world: World) -> None:
    await world.execute(
        """
        INSERT INTO policies (merchant_id, version, active, document)
        SELECT $1, 1, true, document || '{"card_expiring_days": 0}' FROM policies WHERE active
        """,
        world.merchant_id,
    )
    await (await Subscriber.make(world)).warn()
    assert await _texts(world) == []


async def test_two_subscriptions_of_one_card_tell_of_it_once(world: World) -> None:
    first = await Subscriber.make(world)
    other = await world.control.add_subscription(world.account, first.customer, renews_in=26 * DAY)
    async with world.worker.transaction() as db:
        for subscription in (first.subscription, other["id"]):
            payload = {"customer_id": first.customer, "subscription_id": subscription}
            await tasks.enqueue(db, NewTask(world.merchant_id, "warn_card_expiring", payload))
    await world.work()
    assert len(await _texts(world)) == 1


@pytest.mark.parametrize(("month", "told"), [(9, 1), (10, 0), (12, 0)])
async def test_a_card_that_outlives_the_renewal_is_not_told_of(world: World, month: int, told: int) -> None:
    subscriber = await Subscriber.make(world, exp_month=month)
    await subscriber.warn()
    assert len(await _texts(world)) == told


async def test_a_card_that_was_replaced_meanwhile_is_not_told_of(world: World) -> None:
    subscriber = await Subscriber.make(world)
    await world.control.add_card(subscriber.customer)
    await subscriber.warn()
    assert await _texts(world) == []


@pytest.mark.parametrize(
    "change",
    [
        {"cancel_at": START + 300 * DAY},
        {"pause_collection": {"behavior": "void", "resumes_at": START + 20 * DAY}},
    ],
    ids=str,
)
async def test_one_that_ends_or_rests_at_another_time_is_charged_and_told_of(
    world: World, change: dict[str, Any]
) -> None:
    subscriber = await Subscriber.make(world)
    subscriber.resource.update(change)
    await subscriber.warn()
    assert len(await _texts(world)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"status": "canceled"},
        {"status": "paused"},
        {"status": "past_due"},
        {"cancel_at_period_end": True},
        {"cancel_at": START + 20 * DAY},
        {"pause_collection": {"behavior": "void", "resumes_at": START + 60 * DAY}},
        {"pause_collection": {"behavior": "void", "resumes_at": None}},
        {"collection_method": "send_invoice"},
    ],
    ids=str,
)
async def test_a_subscription_that_is_not_charged_again_says_nothing(world: World, change: dict[str, Any]) -> None:
    subscriber = await Subscriber.make(world)
    subscriber.resource.update(change)
    await subscriber.warn()
    assert await _texts(world) == []


async def test_a_customer_without_an_address_or_who_wants_no_messages_is_not_told(world: World) -> None:
    silent, nameless = await Subscriber.make(world), await Subscriber.make(world)
    await world.execute(
        "INSERT INTO silenced_customers (merchant_id, customer_id, reason) VALUES ($1, $2, 'opted_out')",
        world.merchant_id,
        silent.customer,
    )
    world.simulation.world.accounts[world.account].objects["customer"][nameless.customer]["email"] = None
    await silent.warn()
    await nameless.warn()
    assert await _texts(world) == []


async def test_without_a_page_for_cards_nobody_is_sent_to_one(world: World) -> None:
    await world.control.change_account(world.account, portal=False)
    await (await Subscriber.make(world)).warn()
    assert await _texts(world) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "server_error", "path": "/emails"},
        {"kind": "drop", "path": "/emails", "after_effect": True},
        {"kind": "drop", "path": "/v1/billing_portal/sessions", "after_effect": True},
        {"kind": "server_error", "path": "/v1/billing_portal/sessions"},
    ],
    ids=str,
)
async def test_an_outage_delays_the_one_message(world: World, fault: dict[str, Any]) -> None:
    subscriber = await Subscriber.make(world)
    await world.control.add_fault(method="POST", times=1, **fault)
    await subscriber.warn()
    for _ in range(3):
        await world.pass_time(minutes=10)
        await world.work()
    assert len(await _texts(world)) == 1
    assert len(await world.rows("SELECT FROM card_warnings")) == 1


async def test_a_merchant_that_is_gone_and_a_subscription_that_is_unknown_tell_nobody(world: World) -> None:
    subscriber = await Subscriber.make(world)
    subscriber.subscription = SubscriptionId("sub_unknown")
    await subscriber.warn()
    await world.execute("UPDATE merchants SET status = 'disconnected'")
    await subscriber.warn()
    assert await _texts(world) == []
    assert {row["status"] for row in await world.rows("SELECT status FROM scheduled_tasks")} == {"succeeded"}
