"""`citadel demo`: runs the story, prints the summary, and returns whether every check holds."""

import asyncio
import contextlib
import shutil
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path

from rich.console import Console

from console.compose.stack import Stack
from console.demo import summary
from console.demo.compose_target import compose_target
from console.demo.connect import ConnectFailed
from console.demo.local_target import local_target
from console.demo.progress import Teller
from console.demo.story import Story, tell
from console.demo.target import Target
from console.demo.travel import Stuck
from simulator.client import SimulatorError


class DemoFailed(Exception):
    """The story did not finish; the message says where the logs are."""


class Where(StrEnum):
    """Where the story runs."""

    LOCAL = "local"
    COMPOSE = "compose"


async def run_demo(
    story: Story, where: Where, data_dir: Path, database_url: str | None, console: Console, *, keep: bool
) -> bool:
    """Run the demo; returns whether every check holds. With `keep`, and if they hold, it runs until it is cancelled.

    `data_dir` gets the logs of this run; those of the last run are deleted. `database_url`: a server on which to create
    a database, instead of an embedded one. A stack in containers keeps running in any case. Raises DemoFailed and
    LocalStackError.
    """
    await asyncio.to_thread(shutil.rmtree, data_dir, ignore_errors=True)
    teller = Teller(console)
    target: AbstractAsyncContextManager[Target]
    if where is Where.COMPOSE:
        target = compose_target(Stack(simulator=True), story.workers, data_dir, teller)
    else:
        target = local_target(story.seed, story.workers, data_dir, database_url, teller)
    try:
        async with tell(story, target, data_dir, teller) as told:
            summary.show(told, console)
            if told.holds and (keep or where is Where.COMPOSE):
                summary.show_how_to_look(told, console)
            if told.holds and keep and where is Where.LOCAL:
                with contextlib.suppress(asyncio.CancelledError):  # cancelling is the normal end
                    await asyncio.Event().wait()
            return told.holds
    except (ConnectFailed, Stuck, SimulatorError) as error:
        raise DemoFailed(f"the demo did not come to its end: {error}\nlogs: {data_dir / 'logs'}") from error
