"""What is read as an outcome, and what says nothing."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from services.worker.recovery.belief.groups import Traits
from shared.money import Money
from tests.integration.worker.learning.looks import FUNDS, outcomes
from tests.integration.worker.pasts import Try, write
from tests.integration.worker.world import World


def days(now: datetime, count: int) -> datetime:
    return now - timedelta(days=30 - count)


Story = Callable[[datetime], list[Try]]

WHAT_IS_READ: dict[str, tuple[Story, tuple[int, int | None] | None]] = {
    "declined, then paid by our retry": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 2)), Try(days(now, 5), "succeeded")],
        (2, 5),
    ),
    "paid by Stripe's own retry": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 3), "succeeded", "stripe")],
        (1, 3),
    ),
    "never paid": (lambda now: [Try(days(now, day), origin="stripe") for day in (0, 3, 7)], (3, None)),
    "a failure that nothing followed": (lambda now: [Try(days(now, 0), origin="stripe")], None),
    "the customer paid with another card": (
        lambda now: [
            Try(days(now, 0), origin="stripe"),
            Try(days(now, 2)),
            Try(days(now, 4), "succeeded", method="pm_2", fingerprint="fp_2"),
        ],
        (2, None),
    ),
    "a backup card was tried between": (
        lambda now: [
            Try(days(now, 0), origin="stripe"),
            Try(days(now, 1), method="pm_2", fingerprint="fp_2", code="lost_card"),
            Try(days(now, 4), "succeeded"),
        ],
        (1, 4),
    ),
    "a new number under the same payment method": (
        lambda now: [
            Try(days(now, 0), origin="stripe"),
            Try(days(now, 2)),
            Try(days(now, 4), "succeeded", fingerprint="fp_renewed"),
        ],
        (2, None),
    ),
    "a part was paid by our attempt, and the rest declined": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 2), "succeeded"), Try(days(now, 6))],
        (1, 2),
    ),
    "a debit, answered days later": (
        lambda now: [
            Try(days(now, 0), origin="stripe", network="us_bank_account", takes=timedelta(days=3)),
            Try(days(now, 5), "succeeded", network="us_bank_account", takes=timedelta(days=3)),
        ],
        None,
    ),
    "a debit that came back at once": (
        lambda now: [Try(days(now, day), origin="stripe", network="us_bank_account") for day in (0, 5)],
        None,
    ),
    "a card whose answer we heard a day later": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 2), "succeeded", takes=timedelta(days=1))],
        (1, 2),
    ),
    "what has neither a card's nor a debit's name": (
        lambda now: [Try(days(now, day), origin="stripe", network=None) for day in (0, 5)],
        None,
    ),
    "a debit that is under way": (
        lambda now: [
            Try(days(now, 0), origin="stripe", network="sepa_debit"),
            Try(days(now, 5), "processing", network="sepa_debit"),
        ],
        None,
    ),
    "an attempt without an outcome": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 2)), Try(days(now, 5), "unknown")],
        (2, None),
    ),
    "Stripe refused the request": (
        lambda now: [Try(days(now, 0), origin="stripe"), Try(days(now, 2), "failed"), Try(days(now, 3), "succeeded")],
        (1, 3),
    ),
    "the bank asked for 3-D Secure": (
        lambda now: [
            Try(days(now, 0), origin="stripe"),
            Try(days(now, 2)),
            Try(days(now, 3), "requires_action"),
            Try(days(now, 4), "succeeded"),
        ],
        (2, None),
    ),
    "a hard decline": (
        lambda now: [Try(days(now, 0), origin="stripe", code="lost_card"), Try(days(now, 2), code="lost_card")],
        None,
    ),
    "a hard decline after soft ones": (
        lambda now: [
            Try(days(now, 0), origin="stripe"),
            Try(days(now, 2)),
            Try(days(now, 3), code="stolen_card"),
            Try(days(now, 4)),
        ],
        (2, None),
    ),
    "a rule of the merchant's": (
        lambda now: [Try(days(now, 0), origin="stripe", code="rule"), Try(days(now, 2), "succeeded")],
        None,
    ),
    "a success without a failure": (
        lambda now: [Try(days(now, 0), "succeeded", "stripe"), Try(days(now, 2)), Try(days(now, 3))],
        None,
    ),
}


@pytest.mark.parametrize("name", WHAT_IS_READ)
async def test_what_is_read_as_an_outcome(world: World, now: datetime, name: str) -> None:
    story, expected = WHAT_IS_READ[name]
    await write(world, world.merchant_id, story(now))
    found = await outcomes(world, world.merchant_id, now)
    if expected is None:
        assert found == []
        return
    (one,) = found
    count, accepted = expected
    assert one.cause is FUNDS
    assert one.traits == Traits("DE", "debit", "visa", Money(100, "usd"))
    assert len(one.declined) == count
    assert one.declined[0] == days(now, 0)
    assert one.accepted_at == (None if accepted is None else days(now, accepted))


async def test_a_refund_does_not_make_a_decline_of_an_acceptance(world: World, now: datetime) -> None:
    recovery = await write(
        world, world.merchant_id, [Try(days(now, 0), origin="stripe"), Try(days(now, 2), "succeeded")]
    )
    await world.execute(
        "INSERT INTO recovered_charges (merchant_id, charge_id, recovery_id, amount, currency, charged_at, refunded) "
        "VALUES ($1, 'ch_1', $2, 100, 'usd', $3, 100)",
        world.merchant_id,
        recovery,
        days(now, 2),
    )
    (one,) = await outcomes(world, world.merchant_id, now)
    assert one.accepted_at == days(now, 2)


async def test_a_credit_card_is_told_from_a_debit_card(world: World, now: datetime) -> None:
    tries = [Try(days(now, day), origin="stripe", funding="credit") for day in (0, 3)]
    await write(world, world.merchant_id, tries)
    (one,) = await outcomes(world, world.merchant_id, now)
    assert one.traits.funding == "credit"


async def test_what_was_known_later_is_not_read(world: World, now: datetime) -> None:
    await write(world, world.merchant_id, [Try(days(now, day)) for day in (0, 3, 6)])
    (one,) = await outcomes(world, world.merchant_id, days(now, 4))
    assert len(one.declined) == 2


async def test_the_funding_of_a_card_is_kept_with_its_attempts(world: World) -> None:
    await world.policy(message_days=[])
    failed = await world.fail(decline="do_not_honor", clears_after=1, funding="credit")
    await failed.finish()
    assert [row["card_funding"] for row in (*await failed.theirs(), *await failed.ours())] == ["credit", "credit"]


async def test_another_merchants_recoveries_are_not_read(world: World, now: datetime) -> None:
    other = await world.connect()
    await write(world, other, [Try(days(now, day)) for day in (0, 3)])
    assert await outcomes(world, world.merchant_id, now) == []
    assert len(await outcomes(world, other, now)) == 1
