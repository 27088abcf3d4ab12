"""Limits on calls per second to one account of a remote service, and to all accounts together, over all workers.

A call books the earliest free slot in a row of `call_rates`, which all workers share. So the limit holds however many
workers run, and a worker that dies leaves nothing behind. Slots are a gap apart (10 ms for 100/s), so that the limit
holds in every second. Calls that ask at the same time share one statement.

Nobody waits long: a call whose slot is further away is put off (RetryLater, no try used up), each one a gap later than
the one before. So a merchant with a million tasks books its own slots and ties up no worker.
"""

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import timedelta

from services.worker import metrics
from services.worker.batching import Batcher
from services.worker.errors import RetryLater
from services.worker.outside import store
from shared.database import Database, DatabaseAway

ALL = ""
"""The name under which calls to all accounts together are counted."""

HORIZON_SECONDS = 0.25
WAITING_AT_ONCE = 8


@dataclass(slots=True)
class _Asked:
    account: str
    moment: asyncio.Future[float | None]


class CallRates:
    """Spaces the calls to `remote`: at most `per_account` and `in_all` a second; None is no limit."""

    def __init__(self, database: Database, remote: str, per_account: float | None, in_all: float | None = None) -> None:
        self._database = database
        self._remote = remote
        self._rates = {"account": per_account, ALL: in_all}
        self._batcher = Batcher(self._grant, most=500)
        self._waiting: dict[str, int] = {}
        self._calendar: dict[str, float] = {}
        self._draw = random.Random()  # noqa: S311 - jitter, not a secret

    async def run(self) -> None:
        """Book slots until cancelled."""
        await self._batcher.run()

    async def turn(self, account: str) -> None:
        """Wait until a call to the account may be made. Raises RetryLater when that is not soon, and DatabaseAway."""
        for key in (account, ALL):
            rate = self._rate(key)
            if rate is not None:
                await self._one_turn(key, rate)

    async def slow_down(self, account: str, seconds: float) -> None:
        """Make no call to the account for so long, because it answered 429. Best effort."""
        if self._rate(account) is None:
            return
        try:
            async with self._database.statement() as db:
                await store.hold_calls(db, self._remote, account, seconds)
        except DatabaseAway:
            return  # then there are no calls anyway

    def _rate(self, key: str) -> float | None:
        return self._rates[ALL if key == ALL else "account"]

    async def _one_turn(self, key: str, rate: float) -> None:
        if self._waiting.get(key, 0) >= WAITING_AT_ONCE and key != ALL:
            raise self._put_off(key, rate)
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            asked = _Asked(key, asyncio.get_running_loop().create_future())
            self._batcher.add(asked)
            moment = await asked.moment
            if moment is None:
                raise self._put_off(key, rate)
            wait = moment - time.monotonic()
            if wait > 0:
                metrics.CALLS_DELAYED.labels(self._remote).inc()
                await asyncio.sleep(wait)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    def _put_off(self, key: str, rate: float) -> RetryLater:
        now = time.monotonic()
        at = max(self._calendar.get(key, 0.0), now + HORIZON_SECONDS) + 1 / rate
        self._calendar[key] = at
        if len(self._calendar) > 10_000:
            self._calendar = {name: until for name, until in self._calendar.items() if until > now}
        metrics.CALLS_DELAYED.labels(self._remote).inc()
        delay = timedelta(seconds=(at - now) * self._draw.uniform(1.0, 1.1))
        return RetryLater(f"{self._remote}: the limit of calls per second", delay=delay, counts=False)

    async def _grant(self, asked: list[_Asked]) -> None:
        """Book a slot for each: those of one account one after the other."""
        wanted: dict[str, list[_Asked]] = {}
        for each in asked:
            wanted.setdefault(each.account, []).append(each)
        keys = sorted(wanted)
        gaps = [1 / (self._rate(key) or 1.0) for key in keys]
        try:
            async with self._database.statement() as db:
                waits = await store.take_calls(
                    db, self._remote, keys, [len(wanted[key]) for key in keys], gaps, HORIZON_SECONDS
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, each asking run judges it
            for each in asked:
                if not each.moment.done():
                    each.moment.set_exception(error)
            return
        # Counted from the answer, so that a call may go out a little late, never early.
        now = time.monotonic()
        for key, gap in zip(keys, gaps, strict=True):
            first = waits.get(key)
            for place, each in enumerate(wanted[key]):
                if not each.moment.done():
                    each.moment.set_result(None if first is None else now + first + place * gap)
