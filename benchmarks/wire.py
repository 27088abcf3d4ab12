"""How the processes of a benchmark talk to each other; small, because each of them imports it."""

import sys

import orjson

SECRET = "whsec_benchmark"  # noqa: S105 - of these benchmarks only


def tell(**what: object) -> None:
    """Print one line for the process that started this one: `@` and JSON."""
    sys.stdout.buffer.write(b"@" + orjson.dumps(what) + b"\n")
    sys.stdout.flush()
