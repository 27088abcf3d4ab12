"""Waiting in tests: it ends with what was seen, and says what it waited for in vain."""

import asyncio
from itertools import count

import pytest

from tests.waiting import until, wait_until


async def test_it_looks_until_what_it_sees_holds_and_gives_that() -> None:
    numbers = count()

    async def look() -> int:
        return next(numbers)

    assert await until(look, "there are three", lambda number: number >= 3, pause_s=0) == 3
    assert await until(lambda: next(numbers), "there are five", lambda number: number >= 5, pause_s=0) == 5
    assert wait_until(lambda: next(numbers), "there are seven", lambda number: number >= 7, pause_s=0) == 7


async def test_in_vain_it_says_what_it_waited_for_and_what_it_saw_last() -> None:
    async def look() -> str:
        return "pending"

    told = "not within 0.05 s: the task has ended; last seen: 'pending'"
    with pytest.raises(AssertionError) as failure:
        await until(look, "the task has ended", lambda status: status == "dead", patience_s=0.05)
    assert str(failure.value) == told
    with pytest.raises(AssertionError) as failure:
        wait_until(lambda: "pending", "the task has ended", lambda status: status == "dead", patience_s=0.05)
    assert str(failure.value) == told


async def test_a_look_that_never_ends_is_told_too() -> None:
    with pytest.raises(AssertionError, match=r"there is an answer; last seen: .*no look came to its end"):
        await until(asyncio.Event().wait, "there is an answer", patience_s=0.05)


async def test_what_a_look_raises_is_not_waited_for() -> None:
    async def look() -> bool:
        raise TimeoutError("of the look's own")

    with pytest.raises(TimeoutError, match="own"):
        await until(look, "there is an answer")


async def test_others_have_their_turn_between_two_looks() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("done")

    task = asyncio.create_task(work())
    assert await until(lambda: list(done), "the other task is done", pause_s=0) == ["done"]
    await task
