"""`python -m tests.chaos`: crash tests. Ends with 1 when a check found something."""

import argparse
import os
import secrets
import sys
import time
from pathlib import Path

import orjson

from console.local.interruption import Interrupted
from console.local.interruption import run as run_until_signal
from tests.chaos import mutants
from tests.chaos.moods import MOODS
from tests.chaos.run import Storm, run, told


def main() -> int:
    """Read the arguments, run, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("CHAOS_SECONDS") or 180))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or secrets.randbelow(1_000_000)))
    parser.add_argument("--merchants", type=int, default=6, help="with 60 subscriptions each")
    parser.add_argument("--mood", choices=sorted(MOODS), default=os.environ.get("MOOD") or "everyday")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the logs and the evidence")
    parser.add_argument("--report", type=Path, help="a file for what was found, as JSON")
    parser.add_argument("--mutants", nargs="*", metavar="NAME", help="run broken builds: these, or all of them")
    given = parser.parse_args()
    if given.mutants is not None:
        return mutants.run_all(given.mutants or None)
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {what}", flush=True)

    say(f"make chaos SEED={given.seed} CHAOS_SECONDS={given.seconds:g} MOOD={given.mood}")
    storm = Storm(given.seed, given.seconds, MOODS[given.mood], given.merchants)
    try:
        result = run_until_signal(run(storm, say, given.keep))
    except Interrupted as interrupted:
        return interrupted.status
    print(told(result))
    if given.report:
        given.report.write_bytes(orjson.dumps({"problems": result.problems, "kills": result.tally.kills.total()}))
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
