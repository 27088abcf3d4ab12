"""A few worlds, played whole: the explorer itself works, and plays the same story the same way."""

from collections.abc import AsyncIterator

import pytest

from tests.explorer.checks import findings
from tests.explorer.evidence import Evidence, collect
from tests.explorer.happenings import HAPPENINGS, TROUBLES
from tests.explorer.moods import MOODS
from tests.explorer.play import play
from tests.explorer.plot import Plot, draw
from tests.explorer.stage import Stage, staged
from tests.explorer.story import DAY, HOUR, Act, Story
from tests.explorer.world import DOINGS, World

START = 1_790_000_000
SOFT = {"decline": "do_not_honor", "clears_after": 1}


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    """The services on a database of the test's own."""
    async with staged(database_url) as made:
        yield made


def story(*acts: Act, **policy: object) -> Story:
    """One customer whose renewal failed, and what happens then; events come over HTTP, as with every eighth seed."""
    return Story(8, START, 28, {}, policy, (Act(0, "renewal", "a", {"amount": 4_200, "card": SOFT}), *acts))


async def _world(stage: Stage, played: Story) -> tuple[World, Evidence]:
    world = World(stage, played)
    await world.play()
    return world, await collect(world)


async def test_a_month_goes_by_and_the_money_is_booked(stage: Stage) -> None:
    world, evidence = await _world(stage, story())
    assert [(row["state"], row["recovered_by"]) for row in evidence.recoveries] == [("recovered", "retry")]
    assert [each.source for each in evidence.movements] == ["api_pay"]
    assert len(world.seen.charging) == 1
    assert evidence.now > START + 20 * DAY
    assert await play(stage, story()) == []


async def test_the_same_story_is_played_the_same_way_each_time(stage: Stage) -> None:
    seed = next(seed for seed in range(1, 99) if any(act.what == "worker_dies" for act in draw(seed).acts))
    once, again = [(await _world(stage, draw(seed)))[1] for _ in range(2)]
    assert once.bank == again.bank
    assert [(each.at, each.kind) for each in once.seen.written] == [(each.at, each.kind) for each in again.seen.written]
    assert [row["state"] for row in once.recoveries] == [row["state"] for row in again.recoveries]


async def test_a_worker_that_dies_charges_once(stage: Stage) -> None:
    for at in (3, 25, 40):
        _, evidence = await _world(stage, story(Act(HOUR, "worker_dies", how={"await": at})))
        assert [each.source for each in evidence.movements] == ["api_pay"]


async def test_somebody_acts_in_the_middle_of_a_request(stage: Stage) -> None:
    crossing = {"method": "POST", "path": "/v1/invoices/*/pay", "before": True, "does": "pays"}
    world, evidence = await _world(stage, story(Act(HOUR, "meanwhile", "a", crossing)))
    assert {"meanwhile", "pays"} <= set(world.seen.done)
    assert [each.source for each in evidence.movements] == ["hosted_page"]


async def test_what_goes_wrong_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merchant's letters are doctored: an amount that is wrong in each. They go out when they are due: one that waits
    for its hour may come when the invoice is paid."""
    world = World(stage, story(message_hours={"kind": "any"}))
    resend = world.simulation.resend
    accept = resend.accept
    monkeypatch.setattr(resend, "accept", lambda body, key: accept(body.replace(b"42.00", b"24.00"), key))
    await world.play()
    assert "told: names another amount than is due" in {each.name for each in findings(await collect(world))}


@pytest.mark.parametrize("mood", MOODS)
def test_a_mood_names_what_there_is_and_draws_stories(mood: str) -> None:
    assert set(MOODS[mood].happenings) <= HAPPENINGS.keys()
    assert set(MOODS[mood].troubles) <= TROUBLES.keys()
    assert all(draw(seed, mood).acts for seed in range(20))


def test_every_act_that_a_story_can_have_is_one_that_can_be_done() -> None:
    for draws in (HAPPENINGS, TROUBLES):
        for _, happening in draws.values():
            plot = Plot(1)
            plot._first()
            happening(plot)
            for act in plot._acts:
                assert act.what in DOINGS
                assert act.how.get("does", act.what) in DOINGS
