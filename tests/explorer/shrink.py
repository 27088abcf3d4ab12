"""The shortest story that still goes wrong in the same way.

Delta debugging (Zeller and Hildebrandt, 2002) on the list of acts, and then on what each act says: any part of a story
is a story, so acts are left out in halves, quarters and so on, as long as the rest still has a finding of the same
kind; then the fields of each act, of the shop and of the policy are left out one by one, and times are made round.
Every story that is tried is played anew, so what remains is known to go wrong.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tests.explorer.story import DAY, HOUR, Act, Story

T = TypeVar("T")

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


async def shrink(story: Story, fails: Fails, *, most: int = 150) -> Story:
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
    moved = True
    while moved:
        moved = False
        for plainer in _details(story):
            if await tries(plainer):
                story, moved = plainer, True
                break
    return story


def _details(story: Story) -> Iterator[Story]:
    """Every story with one detail less."""
    for name in ("policy", "shop"):
        for shorter in _without(getattr(story, name)):
            yield replace(story, policy=shorter) if name == "policy" else replace(story, shop=shorter)
    for place, act in enumerate(story.acts):
        for how in _without(act.how):
            yield _with(story, place, replace(act, how=how))
        for at in _rounder(act.at):
            yield _with(story, place, replace(act, at=at))


def _without(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The fields without one of them, or without one of a field's own."""
    for name, value in fields.items():
        yield {other: kept for other, kept in fields.items() if other != name}
        if isinstance(value, dict):
            for shorter in _without(value):
                yield {**fields, name: shorter}


def _rounder(at: int) -> Iterator[int]:
    """The day or the hour of a time, unless it is that already."""
    for unit in (DAY, HOUR):
        if at % unit:
            yield at - at % unit


def _with(story: Story, place: int, act: Act) -> Story:
    acts = [*story.acts[:place], act, *story.acts[place + 1 :]]
    return story.with_acts(sorted(acts, key=lambda each: each.at))
