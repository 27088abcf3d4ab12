"""Python's garbage collector, set for a process that lives long and makes many short-lived objects.

The objects that exist after the start (modules, classes, models) stay for good: they are frozen, so that no collection
walks over them. The youngest generation is collected after 20,000 more objects instead of a few hundred, because a
worker or an ingress at full speed has thousands in use. On no-op tasks this saves a fifth of the worker's processor
time (docs/performance.md); it costs a few MiB.
"""

import gc

YOUNG = 20_000


def tune() -> None:
    """Call once, when everything is imported and set up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
