"""Random worlds: always the same for a seed, valid, and split into those to design by and those that are held out."""

import orjson
import pytest

from console.evaluation.population import Population
from console.evaluation.worlds import prior, read_world
from console.evaluation.worlds.prior import DESIGN, HELD_OUT, random_world, random_worlds, written


def test_no_world_to_design_by_is_held_out() -> None:
    assert not set(DESIGN) & set(HELD_OUT)
    assert len(HELD_OUT) == 200


def test_a_seed_is_a_world() -> None:
    assert random_world(5) == random_world(5)
    assert [each.name for each in random_worlds(3, 3)] == ["random-3", "random-4", "random-5"]
    assert random_world(5).wages != random_world(6).wages


@pytest.mark.parametrize("seed", range(0, 1_000, 25))
def test_every_world_can_be_written_read_and_played(seed: int) -> None:
    world = random_world(seed)
    assert read_world(orjson.loads(written(world))) == world
    assert len(world.about) <= 400
    assert world.about.startswith("paid ")
    next(Population(world, 1))


def test_the_prior_is_wide() -> None:
    worlds = list(random_worlds(0, 60))
    assert {each.funds.kind for each in worlds} == {"stay", "balance"}
    rhythms = {group.on.rhythm for each in worlds for part in each.wages.sets for group in part.groups}
    assert len(rhythms) >= 8
    ways = {way.by for each in worlds for code in each.causes.codes for way in code.ways}
    assert ways == {"wages", "limit", "delay", "outage", "updater", "rest"}
    for each in (
        [world.banks.groups for world in worlds],
        [world.banks.outages for world in worlds],
        [world.drift for world in worlds],
        [world.messages.hours for world in worlds],
    ):
        assert 5 < sum(bool(named) for named in each) < 55


def test_who_comes_again_is_drawn_beside_all_else_of_a_world(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds = list(random_worlds(0, 40))
    shares = [each.renewals.again for each in worlds]
    assert 0.1 <= min(shares) < 0.2
    assert 0.4 < max(shares) <= 0.5
    monkeypatch.setattr(prior, "_again", lambda _: 0.0)
    for each, without in zip(worlds, random_worlds(0, 40), strict=True):
        renewals = each.renewals.model_copy(update={"again": 0.0})
        assert each.model_copy(update={"renewals": renewals}) == without
