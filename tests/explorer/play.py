"""Plays a story on a stage, and says what is wrong in its world."""

import asyncio
import traceback

from tests.explorer import acts
from tests.explorer.checks import findings
from tests.explorer.evidence import collect
from tests.explorer.finding import Finding
from tests.explorer.shrink import shrink
from tests.explorer.stage import Stage
from tests.explorer.story import Story
from tests.explorer.world import DOINGS, World

PATIENCE_S = 600.0
"""A world takes about a second on an idle machine; one that hangs is a finding."""

assert acts.__name__, "the acts are registered by their import"


async def play(stage: Stage, story: Story) -> list[Finding]:
    """What is wrong in the world of this story."""
    unknown = {act.what for act in story.acts} - DOINGS.keys()
    if unknown:
        raise ValueError(f"no such acts: {sorted(unknown)}; there are {sorted(DOINGS)}")
    world = World(stage, story)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await world.play()
            return findings(await collect(world))
    except TimeoutError:
        return [Finding("alive", "the world hangs", f"after {PATIENCE_S:g} s of real time")]
    except Exception as error:  # noqa: BLE001 - whatever a service raises is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"a service raised {type(error).__name__}"
        return [Finding("alive", kind, f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno} {error!r}"[:200])]
    finally:
        stage.line.connect(None)


async def shortest(stage: Stage, story: Story, finding: Finding, *, most: int = 80) -> tuple[Story, Finding]:
    """The shortest story with a finding of the same kind, and that finding."""
    last = finding

    async def fails(shorter: Story) -> bool:
        nonlocal last
        same = [each for each in await play(stage, shorter) if each.name == finding.name]
        if same:
            last = same[0]
        return bool(same)

    return await shrink(story, fails, most=most), last
