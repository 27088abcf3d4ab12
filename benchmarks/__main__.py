"""`python -m benchmarks [--quick] [measure …]`: measure, print, and write into `benchmarks/results/`."""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from benchmarks import design_measures, intake_measures, latency_measures, queue_measures, renewal_measures
from benchmarks.measure import Measure, keep, machine, show
from benchmarks.queueing import PAYLOAD_BYTES
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.server import Server, running

Benchmark = Callable[[Server, Scale], Awaitable[list[Measure]]]

BENCHMARKS: Mapping[str, Benchmark] = {
    "drain": queue_measures.drain,
    "steady": queue_measures.steady,
    "renewals": renewal_measures.renewals,
    "intake": intake_measures.intake,
    "wake_up": latency_measures.wake_up,
    "flatness": latency_measures.flatness,
    "fairness": latency_measures.fairness,
    "snapshot": queue_measures.snapshot,
    "memory": queue_measures.memory,
    "idle": latency_measures.idle,
    "designs": design_measures.designs,
}


async def main(names: list[str], scale: Scale) -> None:
    """Run the benchmarks one after the other on one server; the results are written after each."""
    measures: list[Measure] = []
    async with running() as server:
        conditions = {**machine(), **await server.conditions(), "payload_bytes": PAYLOAD_BYTES, "quick": scale.quick}
        for name in names or list(BENCHMARKS):
            started = time.monotonic()
            found = await BENCHMARKS[name](server, scale)
            keep(found, conditions)
            measures += found
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    show(measures, conditions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small counts: asserts that all is right, not that it is fast"
    )
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="only these")
    parser.add_argument(
        "--seconds", type=float, help="how long steady work and the old snapshot last (default: 5 and 10 minutes)"
    )
    given = parser.parse_args()
    scale = QUICK if given.quick else FULL
    if given.seconds is not None:
        scale = replace(scale, steady_seconds=given.seconds, snapshot_seconds=given.seconds)
    asyncio.run(main(given.names, scale))
