"""The shortest story that still goes wrong."""

from collections.abc import Sequence
from itertools import combinations

import pytest

from tests.explorer.plot import draw
from tests.explorer.shrink import fewest, shrink
from tests.explorer.story import DAY, HOUR, Act, Story

ACTS = tuple(Act(n * DAY + 17, f"act_{n}", "a", {"amount": 4_200, "card": {"decline": "lost_card"}}) for n in range(9))
STORY = Story(1, 1_790_000_000, 40, {"currency": "eur", "portal": False}, {"end_action": "cancel"}, ACTS)


@pytest.mark.parametrize("needed", [*combinations(range(9), 1), *combinations(range(9), 2), (0, 4, 8), tuple(range(9))])
async def test_only_the_acts_that_are_needed_are_left(needed: tuple[int, ...]) -> None:
    async def still(items: Sequence[int]) -> bool:
        return set(needed) <= set(items)

    assert tuple(await fewest(range(9), still)) == needed


async def test_acts_their_details_and_the_frame_are_left_out() -> None:
    async def fails(story: Story) -> bool:
        whats = {act.what: act for act in story.acts}
        return (
            "act_3" in whats
            and whats["act_3"].how.get("card", {}).get("decline") == "lost_card"
            and (story.policy.get("end_action") == "cancel")
        )

    shorter = await shrink(STORY, fails)
    assert shorter.acts == (Act(3 * DAY, "act_3", "a", {"card": {"decline": "lost_card"}}),)
    assert (shorter.shop, shorter.policy) == ({}, {"end_action": "cancel"})


async def test_a_time_of_the_day_that_matters_is_kept_to_the_hour() -> None:
    at = 3 * DAY + 5 * HOUR + 40

    async def fails(story: Story) -> bool:
        return any(act.at >= 3 * DAY + 5 * HOUR for act in story.acts)

    shorter = await shrink(STORY.with_acts([Act(at, "act", "a")]), fails)
    assert shorter.acts == (Act(3 * DAY + 5 * HOUR, "act", "a"),)


async def test_it_stops_after_so_many_plays_with_a_story_that_goes_wrong() -> None:
    plays = 0

    async def fails(story: Story) -> bool:
        nonlocal plays
        plays += 1
        return len(story.acts) >= 2

    shorter = await shrink(STORY, fails, most=5)
    assert plays == 5
    assert await fails(shorter)


async def test_the_same_story_is_played_once() -> None:
    played: list[str] = []

    async def fails(story: Story) -> bool:
        played.append(story.line())
        return any(act.what == "act_5" for act in story.acts)

    await shrink(STORY, fails)
    assert len(played) == len(set(played))


@pytest.mark.parametrize("seed", range(40))
def test_a_printed_story_is_the_same_story(seed: int) -> None:
    story = draw(seed)
    assert Story.read(story.line()) == story
    assert draw(seed) == story
    assert len(story.told().splitlines()) >= len(story.acts)
