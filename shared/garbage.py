"""Python's garbage collector, set for a process that lives long and makes many short-lived objects.

What there is after the start (modules, classes, models) stays for good: it is frozen, so that no collection walks over
it. The youngest generation is looked through after 20,000 objects more instead of a few hundred: a worker or an intake
at full speed holds thousands that are simply in use. On no-op tasks this saves a fifth of the worker's processor time
(docs/performance.md); the price is a few MiB.
"""

import gc

YOUNG = 20_000


def tune() -> None:
    """Call once, when everything is imported and set up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
