"""`catch_up`: one step of fetching what Stripe could not deliver for a merchant. See `services.worker.catch_up`."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from services.worker import metrics
from services.worker.backoff import RetryPolicy
from services.worker.catch_up import store
from services.worker.catch_up.listing import (
    TYPES,
    EventsListed,
    Fetched,
    InvoicesListed,
    InvoicesRead,
    PlaceLost,
    fetch,
)
from services.worker.catch_up.plan import ListEvents, Progress, Step, after_page, from_the_start, next_step
from services.worker.catch_up.schedule import next_task
from services.worker.errors import Hold, MerchantUnreachable
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.merchants import find_merchant
from services.worker.outside.remote import Remote
from shared.clock import business_now
from shared.database import Connection
from shared.events.effects import open_found
from shared.events.store import MerchantLock, find_merchants
from shared.events.taking import EventOutcome, lock_for_list, take_listed
from shared.ids import AccountId, MerchantId
from shared.logging import get_logger
from shared.queue import tasks

log = get_logger(__name__)

# Recoveries that would wait longer are evaluated within this time; spread, so that not all are read at once.
LOOK_AGAIN_WITHIN = timedelta(hours=1)
LOOKED_AT_ONCE = 1_000
UNREACHABLE_FOR = timedelta(days=1)


class CatchUpPayload(Payload):
    """Empty: the task names the merchant, and its progress is in `catch_ups`."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Make this step for the account."""

    account: AccountId
    livemode: bool | None
    step: Step


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The platform's key does not reach the merchant's account."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a step found for the account."""

    account: AccountId
    fetched: Fetched


Plan = Nothing | Fetch
Outcome = Nothing | Unreachable | Found


@dataclass(frozen=True, slots=True)
class Came:
    """The progress after a step, and what was new."""

    progress: Progress
    events: int = 0
    recoveries: int = 0


@handles("catch_up")
class CatchUp(Handler[CatchUpPayload, Plan, Outcome]):
    """One step."""

    payload = CatchUpPayload
    calls = ("stripe",)
    retry = RetryPolicy(base=timedelta(seconds=30), factor=3.0, longest=timedelta(minutes=30))

    async def load(self, db: Connection, task: Job[CatchUpPayload]) -> Plan:
        """The next step, by the merchant's row."""
        merchant = await find_merchant(db, task.merchant_id)
        if merchant is None or not merchant.active:
            return Nothing("the merchant is gone")
        progress = await store.find(db, task.merchant_id)
        if progress is None:
            return Nothing("the merchant has no row yet: the sweep gives it one")
        step = next_step(progress, await business_now(db), TYPES)
        return Nothing("it is up to date") if step is None else Fetch(merchant.account, merchant.livemode, step)

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Fetch the step's list or objects. Changes nothing at Stripe."""
        if isinstance(plan, Nothing):
            return plan
        mode = remote.stripe.livemode
        if None not in (mode, plan.livemode) and mode != plan.livemode:
            # The lists of the other mode are empty, which must not pass for "nothing has happened".
            raise MerchantUnreachable("the platform's key is of the other mode than the connection", Hold.WRONG_MODE)
        try:
            return Found(plan.account, await fetch(remote.stripe.for_merchant(plan.account), plan.account, plan.step))
        except MerchantUnreachable as unreachable:
            if unreachable.why is not Hold.NO_ACCESS:
                raise
            return Unreachable()

    async def commit(self, db: Connection, task: Job[CatchUpPayload], outcome: Outcome) -> None:
        """Take what was found, save the progress, and queue the next step: all of it or nothing."""
        match outcome:
            case Nothing(why):
                log.debug("not_caught_up", reason=why)
                await store.forget_task(db, task.claimed.id)
            case Unreachable():
                # The merchant may have left without an event of Stripe's. There is nobody to hurry for.
                metrics.HELD.labels(Hold.NO_ACCESS).inc()
                log.error("merchant_held", merchant_id=task.merchant_id, reason=Hold.NO_ACCESS.value)
                await store.put_off(db, task.merchant_id, UNREACHABLE_FOR)
            case Found(account, fetched):
                await self._take(db, task, account, fetched)
            case _:
                assert_never(outcome)

    async def _take(self, db: Connection, task: Job[CatchUpPayload], account: AccountId, fetched: Fetched) -> None:
        # At once as strongly as the events need it: two that strengthen their locks later wait for each other.
        lock = lock_for_list(fetched.events) if isinstance(fetched, EventsListed) else MerchantLock.STAYS
        merchant = (await find_merchants(db, [account], lock)).get(account)
        progress = await store.find(db, task.merchant_id, lock=True)
        if merchant is None or merchant.status != "active" or progress is None:
            return  # the merchant has left meanwhile
        came = await _came(db, task.merchant_id, account, progress, fetched)
        following = next_step(came.progress, await business_now(db), TYPES)
        finished = following is None
        await store.save(
            db, task.merchant_id, came.progress, finished=finished, events=came.events, recoveries=came.recoveries
        )
        if following is not None:
            await tasks.enqueue(db, next_task(task.merchant_id))
        if not came.events and not came.recoveries:
            await store.forget_task(db, task.claimed.id)


async def _came(
    db: Connection, merchant_id: MerchantId, account: AccountId, progress: Progress, fetched: Fetched
) -> Came:
    match fetched:
        case EventsListed():
            return await _events(db, account, progress, fetched)
        case InvoicesListed():
            return await _invoices(db, merchant_id, progress, fetched)
        case InvoicesRead(read, failed):
            opened = await open_found(db, merchant_id, failed)
            metrics.MISSED_RENEWALS.inc(len(opened))
            left = tuple(each for each in progress.to_read if each not in read)
            return Came(replace(progress, to_read=left), recoveries=len(opened))
        case PlaceLost(ListEvents() as step):
            return Came(from_the_start(progress, step))
        case PlaceLost():
            return Came(replace(progress, invoices_after=None))
    assert_never(fetched)


async def _events(db: Connection, account: AccountId, progress: Progress, page: EventsListed) -> Came:
    found = 0
    for event, accepted in zip(page.events, await take_listed(db, account, page.events), strict=True):
        outcome = "duplicate" if accepted.duplicate else accepted.outcome.value
        metrics.MISSED_EVENTS.labels(event.event_type, outcome).inc()
        if not accepted.duplicate and accepted.outcome is EventOutcome.ROUTED:
            found += 1
            log.info("missed_event_taken", event_id=event.event_id, type=event.event_type)
    return Came(after_page(progress, page.step, page.last, TYPES), events=found)


async def _invoices(db: Connection, merchant_id: MerchantId, progress: Progress, page: InvoicesListed) -> Came:
    known = await store.have_recoveries(db, merchant_id, page.candidates)
    to_read = tuple(each for each in page.candidates if each not in known)
    came = replace(progress, invoices_from=page.step.began, to_read=(*progress.to_read, *to_read))
    if page.last is not None:
        return Came(replace(came, invoices_after=page.last))
    looked = await store.look_again(db, merchant_id, LOOK_AGAIN_WITHIN, LOOKED_AT_ONCE)
    if looked == LOOKED_AT_ONCE:
        return Came(came)  # the same page again: more recoveries may have to be evaluated
    return Came(replace(came, invoices_at=page.step.began, invoices_from=None, invoices_after=None))
