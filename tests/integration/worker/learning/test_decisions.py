"""What decisions make of what was learned."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.worker.dossier import learned as learned_module
from services.worker.dossier import store as dossiers
from services.worker.dossier.learned import learned_of
from services.worker.learning import store
from services.worker.learning.schedule import ENOUGH
from services.worker.recovery import Card
from services.worker.recovery.belief.kept import Kept
from shared.database import Role
from shared.ids import MerchantId
from shared.policy import Likeliest, Policy, Schedules
from shared.pool import POOL
from tests.conftest import OpenDatabase
from tests.integration.worker.learning.looks import FUNDS, learn_now
from tests.integration.worker.pasts import write_paid_on
from tests.integration.worker.world import World


def learning_policy() -> Policy:
    """One attempt where it is likeliest to collect, by what was learned."""
    schedules = Schedules(insufficient_funds=Likeliest(max_attempts=1))
    return Policy(timing="learned", schedules=schedules, message_days=())


async def planned(world: World) -> Any:
    """What a renewal that has just failed for missing funds is planned to do next, after its first evaluation."""
    failed = await world.fail(decline="insufficient_funds", country="DE")
    await world.work()
    row = await failed.recovery()
    return row["next_attempt_at"], row["next_chance"]


async def test_a_decision_differs_by_what_was_learned(world: World, now: datetime) -> None:
    await world.policy(**learning_policy().model_dump(mode="json"))
    before, chance = await planned(world)
    await write_paid_on(world, world.merchant_id, 200, 22, now)
    await learn_now(world, world.merchant_id)
    after, better = await planned(world)
    assert after.day in (22, 23)
    assert before.day not in (22, 23)
    assert better > chance


async def test_by_the_rules_nothing_differs(world: World, now: datetime) -> None:
    await world.policy(**(learning_policy().model_dump(mode="json") | {"timing": "rules"}))
    before = await planned(world)
    await write_paid_on(world, world.merchant_id, 200, 22, now)
    await learn_now(world, world.merchant_id)
    after = await planned(world)
    assert (before[0].date(), before[1]) == (after[0].date(), after[1])


async def test_without_a_belief_of_its_own_a_merchant_has_the_pools(world: World, now: datetime) -> None:
    for merchant_id in [await world.connect() for _ in range(3)]:
        await write_paid_on(world, merchant_id, 60, 22, now)
    await learn_now(world, POOL)
    async with world.worker.transaction() as db:
        believed = await learned_of(db, world.merchant_id)
    assert believed is not None
    assert believed.everywhere.paydays["day_22"] > 0.3


@pytest.mark.parametrize(
    ("spoiled", "is_told"),
    [
        ("UPDATE learned_beliefs SET layout = 'another'", False),
        ("UPDATE learned_beliefs SET belief = jsonb_set(belief, '{all,belief,stays,0}', '0.9')", True),
        ("UPDATE learned_beliefs SET belief = belief - 'all'", True),
        ("DELETE FROM learned_beliefs", False),
    ],
)
async def test_what_cannot_be_read_is_not_believed(
    world: World, now: datetime, capsys: pytest.CaptureFixture[str], spoiled: str, is_told: bool
) -> None:
    await write_paid_on(world, world.merchant_id, ENOUGH, 22, now)
    await learn_now(world, world.merchant_id)
    await world.execute(spoiled)
    async with world.worker.transaction() as db:
        assert await learned_of(db, world.merchant_id) is None
    assert ("belief_unreadable" in capsys.readouterr().out) is is_told


async def test_an_unreadable_belief_is_told_once_and_the_pools_is_taken(
    world: World, now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    for merchant_id in [world.merchant_id, await world.connect(), await world.connect()]:
        await write_paid_on(world, merchant_id, ENOUGH, 22, now)
    await learn_now(world, POOL, world.merchant_id)
    await world.execute(
        "UPDATE learned_beliefs SET belief = belief - 'medians' WHERE merchant_id = $1", world.merchant_id
    )
    async with world.worker.transaction() as db:
        found = [await learned_of(db, world.merchant_id) for _ in range(3)]
        pools = await learned_of(db, POOL)
    assert pools is not None
    assert found == [pools] * 3
    assert capsys.readouterr().out.count("belief_unreadable") == 1


async def test_a_belief_is_parsed_once_until_it_is_learned_anew(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned_module, "_parsed", Kept(2))
    merchants = [world.merchant_id, await world.connect(), await world.connect()]
    for merchant_id in merchants:
        await write_paid_on(world, merchant_id, ENOUGH, 22, now)
    await learn_now(world, *merchants)

    async def ask(merchant_id: MerchantId) -> Any:
        async with world.worker.transaction() as db:
            return await learned_of(db, merchant_id)

    one = await ask(merchants[0])
    assert await ask(merchants[0]) is one
    await world.pass_time(hours=1)
    await write_paid_on(world, merchants[0], 40, 8, now)
    await learn_now(world, merchants[0])
    anew = await ask(merchants[0])
    assert anew.everywhere.paydays["day_8"] > one.everywhere.paydays["day_8"]
    card = Card(country="DE")
    assert anew.believed(FUNDS, card, None, {}) is anew.believed(FUNDS, card, None, {})
    for merchant_id in merchants[1:]:
        await ask(merchant_id)
    assert len(learned_module._parsed) == 2
    assert await ask(merchants[0]) is not anew, "it was forgotten"


async def test_a_policy_without_likeliest_reads_hours_and_no_belief_and_any_other_the_other_way_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def hours(*_: Any) -> None:
        asked.append("hours")

    async def belief(*_: Any) -> None:
        asked.append("belief")

    monkeypatch.setattr(dossiers, "_hours", hours)
    monkeypatch.setattr(dossiers, "learned_of", belief)
    both = Policy(timing="learned", schedules=Schedules(insufficient_funds=Likeliest()))
    only = Policy(timing="learned", schedules=Schedules(**dict.fromkeys(Schedules.model_fields, Likeliest())))
    fixed = Policy.model_validate({"schema_version": 4, "timing": "learned"})
    for policy, expected in ((fixed, {"hours"}), (both, {"belief"}), (only, {"belief"})):
        asked.clear()
        await world.policy(**policy.model_dump(mode="json"))
        failed = await world.fail(decline="insufficient_funds")
        async with world.worker.transaction() as db:
            await dossiers.open_dossier(db, world.merchant_id, failed.recovery_id)
        assert set(asked) == expected


async def test_the_pool_can_be_read_while_payments_go_on(open_database: OpenDatabase, world: World) -> None:
    """Learning loads alone: nothing of the worker's rights is missing for it."""
    async with open_database(Role.WORKER) as database, database.transaction() as db:
        assert await store.attempts_of_pool(db, datetime.now(UTC)) == ()
        assert await store.belief_of(db, POOL) is None
