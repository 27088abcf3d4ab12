"""Whose turn it is to write to a customer: one task at a time, one email a day, about everything that is open.

The turn is a row (`written_customers`), taken in the transaction that decides on the email and given back in the one
that records it. A task that is killed in between runs again, finds its own turn, and sends the same email under the
same key. A task that is dead or canceled holds nobody up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.worker.messages import store
from services.worker.messages.campaign import ONE_DAY
from services.worker.recovery import SentMessage
from shared.database import Connection
from shared.ids import RecoveryId
from shared.queue.tasks import Task
from shared.unsubscribe import Recipient

SOON = timedelta(minutes=1)
"""When to look again for another task's email, or for another invoice's evaluation."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is known when a task asks.

    `taken_until` is when another task that is writing runs again, None when there is none; `ours` are the recoveries
    that this task's email was about when it was tried before. `written_at`, `asked_at`: the last email, and the last
    that asked to authenticate.
    """

    taken_until: datetime | None
    ours: tuple[RecoveryId, ...]
    written_at: datetime | None
    asked_at: datetime | None

    def free_from(self, now: datetime, sent: Sequence[SentMessage] = (), *, hurries: bool = False) -> datetime:
        """The earliest time for the next email: a day after the last one, about whichever invoice.

        A first request to authenticate hurries, because the bank waits for it: one a day may follow another email at
        once. `sent` are a recovery's messages, which may be older than the customer's row.
        """
        if self.taken_until is not None:
            return max(now + SOON, self.taken_until)  # a task that is held waits for hours
        if hurries:
            return now if self.asked_at is None else max(now, self.asked_at + ONE_DAY)
        last = max((*(each.at for each in sent), *((self.written_at,) if self.written_at else ())), default=None)
        return now if last is None else max(now, last + ONE_DAY)


async def ask(db: Connection, recipient: Recipient, task: Task) -> Turn:
    """Lock the customer's row until the end of the transaction, after the recoveries; what it says."""
    row = await store.turn_of(db, recipient)
    mine = row.task_id == task.id
    return Turn(
        taken_until=None if mine else row.writes_at,
        ours=row.recoveries if mine else (),
        written_at=row.written_at,
        asked_at=row.asked_at,
    )


async def take(db: Connection, recipient: Recipient, task: Task, recoveries: Sequence[RecoveryId] = ()) -> None:
    """Take the turn, to write about these recoveries."""
    await store.take_turn(db, recipient, task.id, recoveries)


async def give_back(
    db: Connection, recipient: Recipient, task: Task, *, written: bool = False, asked: bool = False
) -> None:
    """Give the turn back if it is the task's. `written`: the email is out; `asked`: it asks to authenticate."""
    await store.end_turn(db, recipient, task.id, written=written, asked=asked)
