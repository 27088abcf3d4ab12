"""How often a task is tried before it goes to the dead letters, by its type.

With its handler's backoff (`retry`, in `services/worker/handlers`) the number decides how long an outage may last
before a task is dead. Every service that queues a task takes the number from here and stores it in the task's row.
"""

from collections.abc import Mapping

TRIES = 10
"""The tries of a type that is not listed."""

TRIES_OF: Mapping[str, int] = {
    "dunning_retry": 15,  # half a day of an outage at Stripe
    "end_dunning": 15,
    "report_usage": 5,  # few, so that an operator looks at it while Stripe still accepts its timestamp
    "catch_up": 100,  # two days of errors; an outage of Stripe or of the database uses none up
}


def tries_of(task_type: str) -> int:
    """The most tries of a task of this type."""
    return TRIES_OF.get(task_type, TRIES)
