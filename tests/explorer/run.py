"""Plays many worlds, in as many processes as there are cores, each with a database of its own.

Seeds are handed out one by one. Of each kind of finding the first story is shrunk and printed at once; further worlds
with the same kind are only counted.
"""

import asyncio
import logging
import multiprocessing
import os
import queue
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import structlog
import uvloop

from console.local.postgres import EmbeddedPostgres
from shared import migrations
from tests.explorer.finding import Finding
from tests.explorer.play import play, shortest
from tests.explorer.plot import draw
from tests.explorer.stage import staged
from tests.explorer.story import Story

MEMORY = Path("/dev/shm")
TEMPLATE = "explorer_template"
SETTINGS = {"max_connections": "100"}
PLAYS_OF_A_SHRINK = 80

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A story to play; `shrink`: a finding whose shortest story is looked for."""

    story: Story
    shrink: Finding | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What a job came to. `story`: the shortest one, of a shrink."""

    job: Job
    found: list[Finding]
    seconds: float
    cpu: float
    story: Story | None = None


@dataclass(slots=True)
class Tally:
    """What a run came to. `first`: the seed of the first world with each kind of finding."""

    mood: str = "everything"
    worlds: int = 0
    bad: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    shortest: dict[str, tuple[Story, Finding]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.kinds


@asynccontextmanager
async def a_server() -> Any:
    """A PostgreSQL with a migrated template in it; the URL of its database `postgres`."""
    below = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * 1024**3 else None
    async with EmbeddedPostgres.temporary(fast=True, below=below) as server:
        url = server.url("postgres")
        if server.socket_dir is not None:  # a fifth less than over TCP for each statement
            whom = urlsplit(url).netloc.rpartition("@")[0]
            url = f"postgresql://{whom}@/postgres?host={server.socket_dir}&port={server.port}"
        await _on_server(url, f"CREATE DATABASE {TEMPLATE}")
        await asyncio.to_thread(migrations.upgrade, with_database(url, TEMPLATE))
        yield url


async def new_database(url: str, name: str) -> str:
    """A clone of the template; its URL."""
    await _on_server(url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    return with_database(url, name)


def with_database(url: str, name: str) -> str:
    """The same server's database of that name."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def _on_server(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def be_quiet() -> None:
    """The services log every trouble that they are given here, which is much."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)


# -- a process that plays ------------------------------------------------------------------------


def _player(url: str, jobs: "Queue[Job | None]", done: "Queue[Done]") -> None:
    be_quiet()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_play_all(url, jobs, done))


async def _play_all(url: str, jobs: "Queue[Job | None]", done: "Queue[Done]") -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # connections that a story breaks
    async with staged(url) as stage:
        while (job := await loop.run_in_executor(None, jobs.get)) is not None:
            began, cpu = time.monotonic(), time.process_time()
            found: list[Finding] = []
            story: Story | None = None
            if job.shrink is None:
                found = await play(stage, job.story)
            else:
                story, finding = await shortest(stage, job.story, job.shrink, most=PLAYS_OF_A_SHRINK)
                found = [finding]
            done.put(Done(job, found, time.monotonic() - began, time.process_time() - cpu, story))


@dataclass
class Players:
    """The processes, and what goes to and fro."""

    jobs: "Queue[Job | None]"
    done: "Queue[Done]"
    processes: list[SpawnProcess]
    under_way: int = 0

    def give(self, job: Job) -> None:
        """Hand a job out."""
        self.under_way += 1
        self.jobs.put(job)

    def take(self) -> Done:
        """The next job that is done. Raises RuntimeError when a process has ended by itself."""
        while True:
            try:
                made = self.done.get(timeout=5)
            except queue.Empty:
                if not all(each.is_alive() for each in self.processes):
                    codes = [each.exitcode for each in self.processes]
                    raise RuntimeError(f"a process of the explorer has ended by itself: {codes}") from None
                continue
            self.under_way -= 1
            return made

    def end(self) -> None:
        """Let them finish."""
        for _ in self.processes:
            self.jobs.put(None)
        for each in self.processes:
            each.join(timeout=30)
            if each.is_alive():
                each.terminate()


async def explore(
    seeds: Iterator[int],
    say: Say,
    *,
    mood: str,
    worlds: int,
    seconds: float,
    processes: int,
    shrinking: bool = True,
    until: Sequence[str] = (),
) -> Tally:
    """Play the worlds of these seeds until there were so many, so much time has passed, or there was one of the
    findings `until`."""
    tally, began = Tally(mood), time.monotonic()
    stories = (draw(seed, mood) for seed in seeds)
    async with a_server() as url:
        players = await _start(url, processes)
        try:
            await asyncio.to_thread(
                _lead, players, stories, say, tally, worlds, began + seconds, shrinking, frozenset(until)
            )
        finally:
            await asyncio.to_thread(players.end)
    tally.seconds = time.monotonic() - began
    return tally


async def _start(url: str, processes: int) -> Players:
    context = multiprocessing.get_context("spawn")
    players = Players(context.Queue(), context.Queue(), [])
    for number in range(processes):
        own = await new_database(url, f"explorer_{os.getpid()}_{number}")
        process = context.Process(target=_player, args=(own, players.jobs, players.done), daemon=True)
        process.start()
        players.processes.append(process)
    return players


def _lead(
    players: Players,
    stories: Iterator[Story],
    say: Say,
    tally: Tally,
    worlds: int,
    until: float,
    shrinking: bool,
    stops: frozenset[str],
) -> None:
    told = began = time.monotonic()
    given = 0
    while True:
        while given < worlds and time.monotonic() < until and players.under_way < 2 * len(players.processes):
            story = next(stories, None)
            if story is None:
                worlds = given
                break
            given += 1
            players.give(Job(story))
        if not players.under_way:
            return
        _note(players, players.take(), say, tally, shrinking and time.monotonic() < until + 60)
        if stops & tally.kinds.keys():
            worlds = given  # enough; those under way are waited for
        if time.monotonic() - told > 30:
            told = time.monotonic()
            say(f"{tally.worlds} worlds, {tally.worlds / (told - began):.1f} a second, {tally.bad} with findings")


def _note(players: Players, done: Done, say: Say, tally: Tally, shrinking: bool) -> None:
    tally.cpu += done.cpu
    story = done.job.story
    if done.story is not None:
        finding = done.found[0]
        tally.shortest[finding.name] = (done.story, finding)
        say(told_shortest(done.story, finding, tally.mood))
        return
    tally.worlds += 1
    tally.bad += bool(done.found)
    for finding in done.found:
        tally.kinds[finding.name] += 1
        if tally.kinds[finding.name] == 1:
            tally.first[finding.name] = story.seed
            say(f"FOUND {finding.told()}\n    {command(story.seed, tally.mood)}")
            if shrinking:
                players.give(Job(story, finding))


def command(seed: int, mood: str) -> str:
    """What plays the world of a seed again."""
    return f"make explore SEED={seed} WORLDS=1" + ("" if mood == "everything" else f" MOOD={mood}")


def told_shortest(story: Story, finding: Finding, mood: str) -> str:
    """A finding with its shortest story, and how to play it again."""
    lines = "\n".join(f"    {line}" for line in story.told().splitlines())
    return (
        f"SHORTEST {finding.told()}\n{lines}\n"
        f"    again: {command(story.seed, mood)}, or this one: make explore STORY='{story.line()}'"
    )


def told(tally: Tally) -> str:
    """The end of a run."""
    lines = [f"{count:>6}  {name}" for name, count in tally.kinds.most_common()]
    rate = tally.worlds / tally.seconds if tally.seconds else 0.0
    each = tally.cpu / tally.worlds if tally.worlds else 0.0
    pace = f"{rate:.1f} a second, {each:.2f} s of CPU each, PostgreSQL's not counted"
    head = f"{tally.worlds} worlds in {tally.seconds:.0f} s ({pace})"
    return "\n".join([head, *(lines or ["nothing was found"])])
