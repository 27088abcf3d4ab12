"""What the processes of a benchmark agree on; light, because every one of them imports it."""

import sys

import orjson

SECRET = "whsec_benchmark"  # noqa: S105 - of these benchmarks only


def tell(**what: object) -> None:
    """One line for whoever started this process: `@` and JSON."""
    sys.stdout.buffer.write(b"@" + orjson.dumps(what) + b"\n")
    sys.stdout.flush()
