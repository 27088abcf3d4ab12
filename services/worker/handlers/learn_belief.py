"""`learn_belief`: learns from a merchant's recoveries, or from the pool's. See `services.worker.learning`.

`load` reads attempts and messages, `perform` computes in a thread of its own, `commit` keeps the belief and the hours
in which customers answer. Nobody outside is asked.
A repeat learns from the same attempts, because the task names the time until which they count.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import AwareDatetime

from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.learning import messages_store, store
from services.worker.learning.schedule import ENOUGH
from services.worker.merchants import find_merchant
from services.worker.outside.remote import Remote
from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.differences import Difference, differences
from services.worker.recovery.belief.document import WrongDocument, read_document, to_document
from services.worker.recovery.belief.learning import learn
from services.worker.recovery.message_answers import Counts, Written
from services.worker.recovery.message_differences import hours_told
from services.worker.recovery.outcomes import Tried, outcomes_of
from shared.database import Connection
from shared.ids import MerchantId
from shared.logging import get_logger
from shared.pool import POOL

log = get_logger(__name__)

# From fewer merchants the pool's belief would be what one of them could be recognized by.
LEAST_MERCHANTS: Final = 3
# One at a time in a process, so that payments keep the other cores.
_ONE_AT_A_TIME: Final = ThreadPoolExecutor(1, thread_name_prefix="learning")


class LearnPayload(Payload):
    """`until`: what happened until then is learned from, in business time. The task names the merchant, or the pool."""

    until: AwareDatetime


@dataclass(frozen=True, slots=True)
class Lessons:
    """The attempts to learn from, and the document of what was believed before: the pool's. `merchants`: from so many
    at least they have to come. `written`: the messages that were sent."""

    until: datetime
    attempts: tuple[Tried, ...]
    before: Any = None
    merchants: int = 1
    written: tuple[Written, ...] = ()


@dataclass(frozen=True, slots=True)
class TooFew:
    """There are not enough recoveries to learn from. `counts` of messages, as in `Found`."""

    until: datetime
    counts: Counts | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was learned from so many recoveries, as a document, and where it is clearly not what was expected. `counts`:
    of messages by the hour; None: too few were sent, or by too few merchants."""

    until: datetime
    recoveries: int
    document: dict[str, Any]
    differences: tuple[Difference, ...]
    counts: Counts | None = None


Plan = Nothing | Lessons
Outcome = Nothing | TooFew | Found


@handles("learn_belief")
class LearnBelief(Handler[LearnPayload, Plan, Outcome]):
    """One merchant's belief, or the pool's."""

    payload = LearnPayload
    loads_alone = True

    async def load(self, db: Connection, task: Job[LearnPayload]) -> Plan:
        """Read what is learned from."""
        until = task.payload.until
        if task.merchant_id == POOL:
            attempts = await store.attempts_of_pool(db, until)
            written = await messages_store.messages_of_pool(db, until)
            return Lessons(until, attempts, merchants=LEAST_MERCHANTS, written=written)
        merchant = await find_merchant(db, task.merchant_id)
        if merchant is None or not merchant.active:
            return Nothing("the merchant is gone")
        attempts = await store.attempts_of(db, task.merchant_id, until)
        written = await messages_store.messages_of(db, task.merchant_id, until)
        return Lessons(until, attempts, await store.belief_of(db, POOL), written=written)

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:  # noqa: ARG002 - nobody is asked
        """Learn, off the event loop."""
        if isinstance(plan, Nothing):
            return plan
        return await asyncio.get_running_loop().run_in_executor(_ONE_AT_A_TIME, _learned, plan)

    async def commit(self, db: Connection, task: Job[LearnPayload], outcome: Outcome) -> None:
        """Keep it; the pool's is forgotten if too few are left in the pool."""
        match outcome:
            case Nothing(why):
                log.debug("nothing_learned", reason=why)
            case TooFew(until, counts):
                if task.merchant_id == POOL:
                    await store.forget(db, POOL, until)
                await _keep_hours(db, task.merchant_id, until, counts)
            case Found(until, recoveries, document, found, counts):
                if await _is_there(db, task.merchant_id):
                    await store.keep(db, task.merchant_id, until, recoveries, document, found)
                    log.info("belief_learned", merchant_id=task.merchant_id, recoveries=recoveries, told=len(found))
                await _keep_hours(db, task.merchant_id, until, counts)


async def _is_there(db: Connection, merchant_id: MerchantId) -> bool:
    """Whether it is the pool, or a merchant that has not left meanwhile."""
    merchant = await find_merchant(db, merchant_id)
    return merchant_id == POOL or (merchant is not None and merchant.active)


async def _keep_hours(db: Connection, merchant_id: MerchantId, until: datetime, counts: Counts | None) -> None:
    if counts is None:
        await messages_store.forget(db, merchant_id, until)
    elif await _is_there(db, merchant_id):
        await messages_store.keep(db, merchant_id, until, counts)
        log.info("message_hours_learned", merchant_id=merchant_id, messages=counts.messages)


def _learned(lessons: Lessons) -> TooFew | Found:
    found, counts = outcomes_of(lessons.attempts), _counted(lessons)
    if len(found) < ENOUGH or len({merchant_id for merchant_id, _ in found}) < lessons.merchants:
        return TooFew(lessons.until, counts)
    outcomes = [outcome for _, outcome in found]
    learned = learn(outcomes, lessons.until, _believed(lessons.before), least_merchants=lessons.merchants)
    told = (*differences(outcomes, lessons.until), *hours_told(lessons.written))
    return Found(lessons.until, len(outcomes), to_document(learned), told, counts)


def _counted(lessons: Lessons) -> Counts | None:
    """The messages by the hour; None for none, and for the pool where fewer merchants sent them than it takes."""
    if not lessons.written or len({each.whose for each in lessons.written}) < lessons.merchants:
        return None
    return Counts.of(lessons.written, lessons.until)


def _believed(document: Any) -> Learned | None:
    """The pool's belief; without a readable one, None: the prior."""
    if document is None:
        return None
    try:
        return read_document(document)
    except WrongDocument as wrong:
        log.warning("belief_unreadable", merchant_id=POOL, reason=str(wrong))
        return None
