"""The shortest story that still goes wrong in the same way.

Delta debugging (Zeller and Hildebrandt, 2002) on the list of acts, and then on what each act says: any part of a story
is a story, so acts are left out in halves, quarters and so on, as long as the rest still has a finding of the same
kind; then the fields of each act, of the shop and of the policy are left out one by one, and times are made round.
Every story that is tried is played anew, so what remains is known to go wrong.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tests.explorer.story import DAY, HOUR, Act, Story

T = TypeVar("T")

Fields = dict[str, Any]
Fails = Callable[[Story], Awaitable[bool]]
"""Whether a story still goes wrong in the way that is looked for."""


class Tries:
    """Plays stories, each once, and no more than `most` of them."""

    def __init__(self, fails: Fails, most: int) -> None:
        self._fails, self._left = fails, most
        self._known: dict[str, bool] = {}

    async def __call__(self, story: Story) -> bool:
        line = story.line()
        if line not in self._known:
            if self._left <= 0:
                return False
            self._left -= 1
            self._known[line] = await self._fails(story)
        return self._known[line]


async def shrink(story: Story, fails: Fails, *, most: int = 80) -> Story:
    """The shortest story found with at most `most` plays; `story` itself if nothing can be left out."""
    tries = Tries(fails, most)
    shorter = await _fewer_acts(story, tries)
    shorter = await _plainer(shorter, tries)
    return await _fewer_acts(shorter, tries)


async def _fewer_acts(story: Story, tries: Tries) -> Story:
    async def still(acts: Sequence[Act]) -> bool:
        return await tries(story.with_acts(acts))

    return story.with_acts(await fewest(story.acts, still))


async def fewest(items: Sequence[T], still: Callable[[Sequence[T]], Awaitable[bool]]) -> Sequence[T]:
    """A part of the items of which none can be left out while `still` holds; `still` holds for all of them."""
    parts = 2
    while len(items) >= 2:
        size = max(1, len(items) // parts)
        for start in range(0, len(items), size):
            rest = [*items[:start], *items[start + size :]]
            if rest and await still(rest):
                items, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(items), parts * 2)
    return items


async def _plainer(story: Story, tries: Tries) -> Story:
    """The same story with as few details as it needs."""

    async def framed(policy: Fields) -> bool:
        return await tries(replace(story, policy=policy))

    story = replace(story, policy=await fewest_fields(story.policy, framed))

    async def in_shop(shop: Fields) -> bool:
        return await tries(replace(story, shop=shop))

    story = replace(story, shop=await fewest_fields(story.shop, in_shop))
    for place in range(len(story.acts)):
        story = await _plainer_act(story, place, tries)
    return story


async def _plainer_act(story: Story, place: int, tries: Tries) -> Story:
    act = story.acts[place]

    async def done_so(how: Fields) -> bool:
        return await tries(_with(story, place, replace(act, how=how)))

    act = replace(act, how=await fewest_fields(act.how, done_so))
    for unit in (DAY, HOUR):
        rounder = replace(act, at=act.at - act.at % unit)
        # In its place: another order would be another story.
        if rounder.at != act.at and _in_order(story, place, rounder) and await tries(_with(story, place, rounder)):
            act = rounder
            break
    return _with(story, place, act)


async def fewest_fields(fields: Fields, still: Callable[[Fields], Awaitable[bool]]) -> Fields:
    """The fields that are needed, each with the fewest fields of its own; `still` holds for all of them."""
    if not fields or await still({}):
        return {}
    names = await fewest(list(fields), lambda kept: still({name: fields[name] for name in kept}))
    fields = {name: fields[name] for name in names}
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            needed = await fewest_fields(value, _inside(fields, name, still))
            fields = {**fields, name: needed}
    return fields


def _inside(
    fields: Fields, name: str, still: Callable[[Fields], Awaitable[bool]]
) -> Callable[[Fields], Awaitable[bool]]:
    return lambda kept: still({**fields, name: kept})


def _in_order(story: Story, place: int, act: Act) -> bool:
    earlier = story.acts[place - 1].at if place else 0
    return earlier <= act.at


def _with(story: Story, place: int, act: Act) -> Story:
    return story.with_acts([*story.acts[:place], act, *story.acts[place + 1 :]])
