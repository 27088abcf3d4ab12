"""`python -m tests.chaos`: crash tests. Ends with 1 when a check found something."""

import argparse
import os
import secrets
import sys
import time
from pathlib import Path

from services.local.interruption import Interrupted
from services.local.interruption import run as run_until_signal
from tests.chaos.run import Storm, run, told


def main() -> int:
    """Read the arguments, run, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("CHAOS_SECONDS") or 180))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or secrets.randbelow(1_000_000)))
    parser.add_argument("--keep", type=Path, help="a folder that keeps the processes' logs")
    given = parser.parse_args()
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {what}", flush=True)

    say(f"seed {given.seed}, {given.seconds:g} s: make chaos SEED={given.seed} CHAOS_SECONDS={given.seconds:g}")
    try:
        result = run_until_signal(run(Storm.of(given.seed, given.seconds), say, given.keep))
    except Interrupted as interrupted:
        return interrupted.status
    print(told(result))
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
