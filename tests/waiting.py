"""The one way to wait in a test: for a condition, and never for a fixed time.

    await until(bench.statuses, "every task has ended", lambda found: not {"pending", "running"} & set(found))
    await until(lambda: not engine.running, "the engine has nothing in its hands")
    wait_until(lambda: deployed.health("worker"), "the worker is well", lambda health: health == "healthy")

Both look again and again until what they see holds, and give back what they saw. What is looked at is best a value with
a condition on it rather than a yes or no: when time runs out, the test fails with what was waited for and with the last
value that was seen.

Patience costs nothing when all is well, so it is long: a busy machine must not fail a test. A promise about time is not
tested by a short patience but by what the product wrote down about it.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

PATIENCE_S = 90.0
PAUSE_S = 0.01
"""Between two looks."""

T = TypeVar("T")

_NOTHING: Any = "nothing: no look came to its end"


@overload
async def until(
    look: Callable[[], Awaitable[T]],
    what: str,
    holds: Callable[[T], object] = ...,
    *,
    patience_s: float = ...,
    pause_s: float = ...,
) -> T: ...


@overload
async def until(
    look: Callable[[], T],
    what: str,
    holds: Callable[[T], object] = ...,
    *,
    patience_s: float = ...,
    pause_s: float = ...,
) -> T: ...


async def until(
    look: Callable[[], Any],
    what: str,
    holds: Callable[[Any], object] = bool,
    *,
    patience_s: float = PATIENCE_S,
    pause_s: float = PAUSE_S,
) -> Any:
    """What `look` (a function or a coroutine function) gave as soon as that `holds`.

    AssertionError after `patience_s` seconds, also when it is a look that does not come to an end; whatever a look
    raises ends the waiting at once. Each look gives the other tasks of the loop a turn, also with a pause of 0.
    """
    seen = _NOTHING
    try:
        async with asyncio.timeout(patience_s) as limit:
            while True:
                found = look()
                seen = await found if inspect.isawaitable(found) else found
                if holds(seen):
                    return seen
                await asyncio.sleep(pause_s)
    except TimeoutError:
        if not limit.expired():
            raise  # the look's own
    raise AssertionError(_in_vain(what, seen, patience_s))


def wait_until(
    look: Callable[[], T],
    what: str,
    holds: Callable[[T], object] = bool,
    *,
    patience_s: float = PATIENCE_S,
    pause_s: float = PAUSE_S,
) -> T:
    """As `until`, where there is no event loop."""
    ends = time.monotonic() + patience_s
    while not holds(seen := look()):
        if time.monotonic() > ends:
            raise AssertionError(_in_vain(what, seen, patience_s))
        time.sleep(pause_s)
    return seen


def _in_vain(what: str, seen: object, patience_s: float) -> str:
    return f"not within {patience_s:g} s: {what}; last seen: {seen!r}"
