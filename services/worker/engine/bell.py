"""The bell: PostgreSQL's LISTEN/NOTIFY, which makes an idle worker claim sooner. Nothing depends on it.

An idle worker declares itself in `idle_workers` and waits for the bell. A trigger rings the bell when due tasks are
inserted, but only while some worker is declared idle: at the commit, NOTIFY takes a lock of the whole database. If
every ring is lost, the worker still claims at the end of its polling interval.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

import asyncpg

from services.worker.engine import store
from shared.database import Database, DatabaseAway
from shared.logging import get_logger

log = get_logger(__name__)

CHANNEL = "citadel_tasks"
IDLE_FOR = timedelta(seconds=60)
_AGAIN_SECONDS = (0.5, 10.0)
_PROBE_SECONDS = 30.0


class Bell:
    """Listens on a connection of its own. `ringing` is set by each ring; `heard`: the LISTEN connection is up."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._waiting_until = 0.0
        self._declared = False
        self.ringing = asyncio.Event()
        self.heard = False

    async def run(self) -> None:
        """Listen until cancelled; a broken connection is replaced."""
        pause = _AGAIN_SECONDS[0]
        while True:
            try:
                await self._listen()
            except (DatabaseAway, asyncpg.PostgresError) as error:
                log.debug("bell_not_heard", reason=type(error).__name__)
            finally:
                self.heard = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, _AGAIN_SECONDS[1])

    async def _listen(self) -> None:
        gone = asyncio.Event()
        async with self._database.statement() as db:
            ring: Callable[..., None] = lambda *_: self.ringing.set()  # noqa: E731 - the same object is taken off again
            ended: Callable[..., None] = lambda *_: gone.set()  # noqa: E731 - as above
            db.add_termination_listener(ended)
            await db.add_listener(CHANNEL, ring)
            self.heard = True
            self.ringing.set()  # tasks may have been inserted before
            try:
                while not gone.is_set():
                    try:
                        await asyncio.wait_for(gone.wait(), _PROBE_SECONDS)
                    except TimeoutError:
                        await store.probe(db)  # an unused connection may be dead without anybody noticing
            finally:
                # Terminated, not given back: an UNLISTEN on a breaking connection would never be answered.
                self.heard = False
                db.terminate()

    async def wait(self) -> bool:
        """Declare this worker idle. True: it was not declared before, so tasks may have come without a ring."""
        now = time.monotonic()
        if not self.heard or now < self._waiting_until:
            return False
        async with self._database.statement() as db:
            await store.declare_idle(db, self._name, IDLE_FOR)
        self._waiting_until = now + IDLE_FOR.total_seconds() / 2
        news, self._declared = not self._declared, True
        return news

    async def busy(self) -> None:
        """Withdraw the declaration: nobody needs to ring for this worker. Raises DatabaseAway."""
        if not self._declared:
            return
        async with self._database.statement() as db:
            await store.withdraw_idle(db, self._name)
        self._declared, self._waiting_until = False, 0.0
