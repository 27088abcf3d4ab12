"""How often a task is tried before it goes to the dead letters, by its type.

With the backoff of its handler (`retry`, in `services/worker/handlers`) the number says for how long an outage is
outlived. Every service that queues a task takes it from here, and keeps it in the task's row.
"""

from collections.abc import Mapping

TRIES = 10
"""What a type that is not listed gets."""

TRIES_OF: Mapping[str, int] = {
    "dunning_retry": 15,  # half a day of an outage at Stripe
    "end_dunning": 15,
    "report_usage": 5,  # an operator looks at it while Stripe still takes its time stamp
    "catch_up": 100,  # two days of errors; an outage of Stripe or of the database uses none up
}


def tries_of(task_type: str) -> int:
    """The most tries of a task of this type."""
    return TRIES_OF.get(task_type, TRIES)
