"""The size of a run: full, or quick, which checks that everything works but says little about speed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts of tasks and rows, and seconds of load. `rounds`: how often competitors take turns."""

    quick: bool
    drain: int
    slow_peer: int
    rounds: int
    steady_seconds: float
    snapshot_seconds: float
    intake_seconds: float
    wakes: int
    flat_rows: tuple[int, int]
    whale: int
    memory: int
    idle_seconds: float
    renewals: int


QUICK = Scale(
    quick=True,
    drain=10_000,
    slow_peer=300,
    rounds=1,
    steady_seconds=4,
    snapshot_seconds=4,
    intake_seconds=1,
    wakes=50,
    flat_rows=(10_000, 50_000),
    whale=20_000,
    memory=10_000,
    idle_seconds=5,
    renewals=40,
)

FULL = Scale(
    quick=False,
    drain=200_000,
    slow_peer=5_000,
    rounds=3,
    steady_seconds=300,
    snapshot_seconds=600,
    intake_seconds=10,
    wakes=1_000,
    flat_rows=(10_000, 10_000_000),
    whale=1_000_000,
    memory=1_000_000,
    idle_seconds=60,
    renewals=3_000,
)
