"""Which of the invoices that Stripe makes by itself are collected: the policy says it."""

import pytest

from shared.events import effects
from shared.events.incoming import Incoming
from shared.events.intents import OpenRecovery
from shared.events.routing import route, route_open_invoice
from shared.events.taking import take
from shared.policy import Policy
from shared.recovery_model import BillingReason
from tests.integration.worker.world import World
from tests.unit.shared.events.examples import event_of, invoice

AUTOMATIC = [str(reason) for reason in BillingReason]
OTHERS = ["manual", "quote_accept", "subscription", "subscription_create", "subscription_update", "upcoming", None]


async def _opened(world: World, reason: str | None) -> list[str]:
    """The rules by which the failed payment of such an invoice opened a recovery, by its event."""
    event = event_of("invoice.payment_failed", invoice(id=f"in_{reason}", billing_reason=reason))
    async with world.database.transaction() as db:
        await take(db, Incoming(f"evt_{reason}", event["type"], world.account, route(event)))
    rows = await world.rows(
        "SELECT rule FROM recovery_timeline WHERE recovery_id IN (SELECT id FROM recoveries WHERE invoice_id = $1)",
        f"in_{reason}",
    )
    return [row["rule"] for row in rows]


@pytest.mark.parametrize("reason", AUTOMATIC)
async def test_the_default_policy_collects_whatever_stripe_makes_by_itself(world: World, reason: str) -> None:
    rules = {"subscription_cycle": "renewal_failed", "subscription_threshold": "threshold_failed"}
    assert await _opened(world, reason) == [rules.get(reason, "pending_items_failed")]


@pytest.mark.parametrize("reason", OTHERS)
async def test_what_is_somebodys_action_is_never_collected(world: World, reason: str | None) -> None:
    assert await _opened(world, reason) == []


@pytest.mark.parametrize("only", AUTOMATIC)
async def test_a_policy_may_collect_some_only(world: World, only: str) -> None:
    await world.policy(billing_reasons=[only])
    assert [reason for reason in AUTOMATIC if await _opened(world, reason)] == [only]


@pytest.mark.parametrize("schema", [1, 2])
async def test_a_document_from_before_schema_3_collects_renewals_only(world: World, schema: int) -> None:
    async with world.database.transaction() as db:
        await db.execute(
            "INSERT INTO policies (merchant_id, version, active, document) VALUES ($1, 1, true, $2)",
            world.merchant_id,
            {"schema_version": schema},
        )
    assert [reason for reason in AUTOMATIC if await _opened(world, reason)] == ["subscription_cycle"]


def test_documents_of_every_schema_keep_their_meaning() -> None:
    renewals = (BillingReason.CYCLE,)
    assert Policy.model_validate({"schema_version": 1}).billing_reasons == renewals
    assert Policy.model_validate({"schema_version": 2}).billing_reasons == renewals
    assert Policy.model_validate({"schema_version": 2}).thank_you
    assert Policy.model_validate({"schema_version": 3}).billing_reasons == tuple(BillingReason)


@pytest.mark.parametrize("reason", AUTOMATIC)
async def test_one_that_is_found_among_the_open_invoices_is_asked_about_too(world: World, reason: str) -> None:
    await world.policy(billing_reasons=["subscription_cycle"])
    found = route_open_invoice(invoice(id="in_found", status="open", attempted=True, billing_reason=reason))
    assert isinstance(found, OpenRecovery)
    async with world.database.transaction() as db:
        opened = await effects.open_found(db, world.merchant_id, [found])
    assert bool(opened) is (reason == "subscription_cycle")
