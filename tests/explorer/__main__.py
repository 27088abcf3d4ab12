"""`python -m tests.explorer`: random worlds, held against the bank's own book. Ends with 1 after a finding."""

import argparse
import asyncio
import itertools
import os
import secrets
import sys
import time
from pathlib import Path

import orjson

from console.local.interruption import Interrupted
from console.local.interruption import run as run_until_signal
from tests.explorer import mutants
from tests.explorer.moods import MOODS
from tests.explorer.play import play, shortest
from tests.explorer.run import a_server, be_quiet, explore, new_database, told, told_shortest
from tests.explorer.stage import staged
from tests.explorer.story import Story


def main() -> int:
    """Read the arguments, run, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.explorer", description=__doc__)
    seed = os.environ.get("SEED")
    parser.add_argument("--seed", type=int, default=int(seed) if seed else secrets.randbelow(1_000_000))
    parser.add_argument("--mood", choices=sorted(MOODS), default=os.environ.get("MOOD") or "everything")
    parser.add_argument("--worlds", type=int, default=int(os.environ.get("WORLDS") or 1_000_000))
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS") or 180))
    parser.add_argument("--processes", type=int, default=int(os.environ.get("JOBS") or os.cpu_count() or 2))
    parser.add_argument("--story", default=os.environ.get("STORY") or None, help="play this one, as it was printed")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for the shortest stories")
    parser.add_argument("--until", action="append", default=[], metavar="FINDING", help="stop when it is there")
    parser.add_argument("--report", type=Path, help="a file for what was found, as JSON")
    parser.add_argument("--mutants", nargs="*", metavar="NAME", help="run broken builds: these, or all of them")
    parser.add_argument("--shrink", action="store_true", help="with --story: shorten it")
    given = parser.parse_args()
    if given.mutants is not None:
        return mutants.run_all(given.mutants or None)
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {what}", flush=True)

    try:
        if given.story is not None:
            return run_until_signal(_one(Story.read(given.story), shorten=given.shrink))
        say(f"make explore SEED={given.seed} WORLDS={given.worlds} SECONDS={given.seconds:g}")
        tally = run_until_signal(
            explore(
                itertools.count(given.seed),
                say,
                mood=given.mood,
                worlds=given.worlds,
                seconds=given.seconds,
                processes=given.processes,
                shrinking=not given.no_shrink,
                until=given.until,
            )
        )
    except Interrupted as interrupted:
        return interrupted.status
    if given.report:
        given.report.write_bytes(
            orjson.dumps({"worlds": tally.worlds, "kinds": dict(tally.kinds), "first": tally.first})
        )
    print(f"seeds {given.seed} to {given.seed + tally.worlds - 1}\n{told(tally)}")
    return 0 if tally.holds else 1


async def _one(story: Story, *, shorten: bool) -> int:
    be_quiet()
    print(story.told())
    async with a_server() as url, staged(await new_database(url, "explorer_one")) as stage:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        found = await play(stage, story)
        for finding in found:
            print(finding.told())
        if shorten and found:
            shorter, finding = await shortest(stage, story, found[0])
            print(told_shortest(shorter, finding, "everything"))
    print("nothing was found" if not found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
