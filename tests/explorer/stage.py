"""What all worlds of a process share: one database, the services on it, and a line to the present simulation.

The services are the real ones: the ingress with its intake (and its port, for a part of the worlds), the worker's
engine, the ledger's API and auth. They are started once; each world finds an empty database and puts its own simulation
at the other end of the line.
"""

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from services.auth.app import create_app as make_auth_app
from services.auth.settings import AuthSettings
from services.ingress.app import create_app as make_ingress_app
from services.ingress.settings import IngressSettings
from services.ledger.app import make_ledger_app
from services.worker.app import make_email_sender
from services.worker.catch_up.schedule import catching_up
from services.worker.dossier.permission import PermissionFromDatabase
from services.worker.engine import committing
from services.worker.engine.janitor import sweep_recoveries, unpark
from services.worker.engine.loop import Engine, Pace
from services.worker.engine.periodic import PeriodicRunner
from services.worker.handlers import discover
from services.worker.outside import stripe_calls
from services.worker.outside.circuits import Circuits
from services.worker.outside.remote import Outside
from services.worker.outside.stripe_gate import StripeGate
from services.worker.settings import WorkerSettings
from shared.api_keys import Scope, hash_secret, new_secret
from shared.clock import travel_to
from shared.crypto import KeyRing
from shared.database import Database, Role
from shared.stripe_clients import StripeClientFactory
from simulator import CLIENT_ID, RESEND_KEY, SECRET_KEY
from tests.explorer.wire import Line

Client = TestClient[web.Request, web.Application]

URL = "http://stripe.invalid"
PUBLIC = "http://auth.invalid"
WEBHOOK_SECRET = "whsec_simulator"
RESEND_SECRET = "whsec_" + base64.b64encode(b"the simulator of resend").decode()
LONG_SECRET = "a secret of tests that has more than 32 bytes"

# One task after the other, so that a world is the same each time it is played.
ONE_BY_ONE = Pace(concurrency=1, batch=1, lease=timedelta(seconds=600), grace_seconds=5)

# The ids of rows are drawn by the database; attempts are spread by them. Here they are counted instead.
COUNTED_IDS = """
CREATE SCHEMA explorer;
CREATE SEQUENCE explorer.ids;
CREATE FUNCTION explorer.next_id() RETURNS uuid LANGUAGE sql VOLATILE SECURITY DEFINER AS
    $$ SELECT md5('explorer' || nextval('explorer.ids'))::uuid $$;
GRANT USAGE ON SCHEMA explorer TO PUBLIC;
ALTER TABLE recoveries ALTER COLUMN id SET DEFAULT explorer.next_id();
ALTER TABLE attempts ALTER COLUMN id SET DEFAULT explorer.next_id();
ALTER TABLE merchants ALTER COLUMN id SET DEFAULT explorer.next_id();
ALTER TABLE policies ALTER COLUMN id SET DEFAULT explorer.next_id();
"""
TABLES = """
SELECT quote_ident(relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND relname NOT IN ('alembic_version', 'recovery_transitions', 'policies')
ORDER BY relname
"""
INSERT_KEY = "INSERT INTO api_keys (name, key_hash, scopes) VALUES ('operator', $1, $2)"
CUT_CONNECTIONS = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database()
"""


class StepEngine(Engine):
    """An engine that is stepped by hand, and stops when a moment's work does not come to an end."""

    async def run_some(self, most: int) -> int:
        """Run what is due and what that makes due; how many runs, `most` if more would follow. Raises DatabaseAway."""
        count = 0
        async with self._at_work():
            while count < most:
                self._lanes.look_behind()
                claimed = await self._claim(self._pace.batch)
                if not claimed and not self._lanes.more:
                    return count
                count += claimed
                while self._runs:
                    self._room.clear()
                    await self._room.wait()
        return count


@dataclass
class Stage:
    """The services, on one database that belongs to this process alone."""

    url: str
    line: Line
    owner: Database
    worker: Database
    ingress: Client
    ledger: Client
    auth: Client
    settings: WorkerSettings
    kept_policies: list[Any]
    tables: str
    key: str = ""

    async def clear(self, start: datetime) -> None:
        """An empty database at the time at which a world begins."""
        self.key = new_secret()
        async with self.owner.transaction() as db:
            await db.execute(f"TRUNCATE {self.tables} RESTART IDENTITY CASCADE")
            await db.execute("DELETE FROM policies WHERE id <> ALL ($1::uuid[])", self.kept_policies)
            await db.execute("SELECT setval('explorer.ids', 1)")
            await db.execute(INSERT_KEY, hash_secret(self.key), list(Scope))
            await travel_to(db, start)

    def outside(self, circuits: Circuits) -> Outside:
        """The remote services, over the line."""
        session: Any = self.line
        stripe = StripeClientFactory(self.settings, session, StripeGate(circuits, None))
        email = make_email_sender(self.settings, session, circuits)
        return Outside(stripe, email, PermissionFromDatabase(self.worker), circuits)

    def engine(self, name: str, outside: Outside, seed: int, database: Database | None = None) -> StepEngine:
        """A worker; what it draws at random comes from the seed."""
        made = StepEngine(name, database or self.worker, discover(), outside, ONE_BY_ONE)
        made._draw.seed(seed)
        made._committer._draw.seed(seed)
        stripe_calls._jitter.seed(seed)
        return made

    async def keep_up(self) -> None:
        """The upkeep that a recovery's life depends on."""
        async with self.worker.transaction() as db:
            await unpark(db)
            await sweep_recoveries(db)

    def catching_up(self, every: timedelta) -> PeriodicRunner:
        """The periodic work that finds what Stripe could not deliver."""
        return PeriodicRunner(self.worker, catching_up(every))

    async def look(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Everything that one statement gives, in one round trip."""
        async with self.owner.statement() as db:
            return list(await db.fetch(statement, *arguments))

    async def cut(self, name: str) -> None:
        """The connections of that name break."""
        async with self.owner.transaction() as db:
            await db.fetchval(CUT_CONNECTIONS, name)

    async def ask_ledger(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """An operator's request: the status and the answer."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else orjson.dumps(body)
        async with self.ledger.request(method, path, data=data, headers=headers) as answer:
            text = await answer.read()
            return answer.status, orjson.loads(text) if text else None


def _worker_settings() -> WorkerSettings:
    given: dict[str, Any] = {
        "database_url": SecretStr("postgresql://unused"),
        "stripe_secret_key": SecretStr(SECRET_KEY),
        "stripe_api_base": URL,
        "stripe_connect_base": URL,
        "resend_api_key": SecretStr(RESEND_KEY),
        "resend_base": URL,
        "unsubscribe_url": "http://ingress.invalid",
        "unsubscribe_secrets": SecretStr(LONG_SECRET),
        "stripe_timeout_seconds": 30.0,
        "worker_port": 0,
    }
    return WorkerSettings(_env_file=None, **given)


def _ingress_settings() -> IngressSettings:
    given: dict[str, Any] = {
        "database_url": SecretStr("postgresql://unused"),
        "stripe_webhook_secrets": SecretStr(WEBHOOK_SECRET),
        "resend_webhook_secrets": SecretStr(RESEND_SECRET),
        "unsubscribe_secrets": SecretStr(LONG_SECRET),
    }
    return IngressSettings(_env_file=None, **given)


def _auth_settings() -> AuthSettings:
    given: dict[str, Any] = {
        "database_url": SecretStr("postgresql://unused"),
        "stripe_secret_key": SecretStr(SECRET_KEY),
        "stripe_client_id": CLIENT_ID,
        "stripe_api_base": URL,
        "stripe_connect_base": URL,
        "encryption_keys": f"k1:{KeyRing.generate()}",
        "state_secret": LONG_SECRET,
        "public_url": PUBLIC,
    }
    return AuthSettings(_env_file=None, **given)


@asynccontextmanager
async def staged(url: str) -> AsyncIterator[Stage]:
    """Everything on a migrated database at `url`, for the life of the block."""
    # Between two tries of a commit a worker pauses in real time.
    committing.COMMIT_AGAIN_SECONDS = (0.01, 0.01, 0.02, 0.02, 0.05, 0.05)
    line = Line()
    async with AsyncExitStack() as stack:

        async def opened(role: Role | None, name: str) -> Database:
            return await stack.enter_async_context(Database.open(url, role, size=5, name=name))

        async def served(app: web.Application) -> Client:
            return await stack.enter_async_context(TestClient(TestServer(app)))

        owner = await opened(None, "owner")
        async with owner.transaction() as db:
            if not await db.fetchval("SELECT to_regnamespace('explorer') IS NOT NULL"):
                await db.execute(COUNTED_IDS)
            tables = ", ".join(row[0] for row in await db.fetch(TABLES))
            kept = [row["id"] for row in await db.fetch("SELECT id FROM policies")]
        session: Any = line
        settings = _auth_settings()
        clients = StripeClientFactory(settings, session)
        yield Stage(
            url=url,
            line=line,
            owner=owner,
            worker=await opened(Role.WORKER, "worker"),
            ingress=await served(make_ingress_app(_ingress_settings(), await opened(Role.INGRESS, "ingress"))),
            ledger=await served(make_ledger_app(await opened(Role.LEDGER, "ledger"))),
            auth=await served(make_auth_app(settings, await opened(Role.AUTH, "auth"), clients)),
            settings=_worker_settings(),
            kept_policies=kept,
            tables=tables,
        )
