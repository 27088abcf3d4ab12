"""A running ingress in front of a real database, and what the tests do to both."""

import base64
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import asyncpg
import orjson
import stripe
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from services.ingress.app import create_app
from services.ingress.settings import IngressSettings
from shared import recoveries
from shared.database import Database
from shared.ids import AccountId, MerchantId, RecoveryId
from shared.recovery_model import Entry, EntryKind, RecoveryState
from tests import world
from tests.unit.shared.events.examples import event_of, invoice

Client = TestClient[web.Request, web.Application]

ACCOUNT = AccountId("acct_1")
SECRETS = ("whsec_old", "whsec_new")
LIMIT = 64 * 1024
RESEND_SECRETS = (
    "whsec_" + base64.b64encode(b"the old secret of resend").decode(),
    "whsec_bmV3IHNlY3JldCBvZiByZXNlbmQ=",
)
UNSUBSCRIBE_SECRET = "a secret of at least thirty-two bytes for tests"
WHY = Entry(EntryKind.CHANGED, "test", "A test changed it.")

_numbers = count(1)


def app_for(database: Database) -> web.Application:
    """The ingress with the secrets and the limit above."""
    settings = IngressSettings(
        database_url=SecretStr("postgresql://unused"),
        stripe_webhook_secrets=SecretStr(",".join(SECRETS)),
        max_event_bytes=LIMIT,
        resend_webhook_secrets=SecretStr(",".join(RESEND_SECRETS)),
        unsubscribe_secrets=SecretStr(UNSUBSCRIBE_SECRET),
    )
    return create_app(settings, database)


def client_for(database: Database) -> Client:
    """The ingress on a port of its own, and a client that talks to it."""
    return TestClient(TestServer(app_for(database)))


def new_id() -> str:
    """An event id that was not there before."""
    return f"evt_{next(_numbers)}"


def signed(body: bytes, secret: str = SECRETS[0], age: int = 0) -> str:
    """The Stripe-Signature header that Stripe would have sent `age` seconds ago."""
    header: str = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, int(time.time()) - age)
    return header


@dataclass
class World(world.World):
    """`client` posts to an ingress under its own role."""

    client: Client
    merchant_id: MerchantId = field(default=MerchantId(""))

    async def send(self, body: bytes, signature: str | None = None) -> ClientResponse:
        """Post raw bytes, signed now with the first secret unless a signature is given."""
        headers = {"Stripe-Signature": signed(body) if signature is None else signature}
        return await self.client.post("/webhooks/stripe", data=body, headers=headers)

    async def post(self, event: dict[str, Any]) -> dict[str, Any]:
        """Post an event that must be taken; the answer."""
        response = await self.send(orjson.dumps(event))
        answer: dict[str, Any] = orjson.loads(await response.read())
        assert response.status == 200, answer
        return answer

    async def happen(
        self, kind: str, resource: dict[str, Any], previous: dict[str, Any] | None = None, **fields: Any
    ) -> str:
        """Something happened at Stripe: post it under a new event id, which is given back."""
        event = event_of(kind, resource, previous, **{"id": new_id(), "account": ACCOUNT, **fields})
        await self.post(event)
        event_id: str = event["id"]
        return event_id

    async def fail(self, invoice_id: str = "in_1", **fields: Any) -> RecoveryId:
        """A renewal fails; the id of its recovery."""
        await self.happen("invoice.payment_failed", invoice(id=invoice_id, **fields))
        return (await self.recovery(invoice_id))["id"]  # type: ignore[no-any-return]  # a Record is untyped

    async def move(self, recovery_id: RecoveryId, *states: RecoveryState) -> None:
        """Take a recovery through these states, as the worker would."""
        async with self.database.transaction() as db:
            for state in states:
                await recoveries.change(db, recovery_id, state, WHY)

    async def wait(self, recovery_id: RecoveryId, state: RecoveryState = RecoveryState.WAITING) -> None:
        """A recovery was evaluated, and its next evaluation is in three days."""
        await self.move(recovery_id, state)
        await self.execute(
            "UPDATE scheduled_tasks SET run_at = citadel_now() + interval '3 days' WHERE recovery_id = $1", recovery_id
        )

    async def message(self, recovery_id: RecoveryId) -> None:
        """The customer was sent a message."""
        async with self.database.transaction() as db:
            await recoveries.record(db, recovery_id, Entry(EntryKind.MESSAGED, "test", "A message was sent."))

    async def recovery(self, invoice_id: str = "in_1") -> asyncpg.Record:
        (row,) = await self.rows("SELECT * FROM recoveries WHERE invoice_id = $1", invoice_id)
        return row

    async def metric(self, line: str) -> float:
        """The value of the series that is written like `line` in Prometheus' text; 0 when there is none yet."""
        lines = (await (await self.client.get("/metrics")).text()).splitlines()
        return sum(float(found.rpartition(" ")[2]) for found in lines if found.startswith(line + " "))

    async def outcome(self, event_id: str) -> str | None:
        """What was recorded of an event; None when nothing was."""
        rows = await self.rows("SELECT outcome FROM processed_events WHERE event_id = $1", event_id)
        return rows[0]["outcome"] if rows else None

    async def tasks(self, invoice_id: str = "in_1") -> list[tuple[str, str, bool]]:
        """(type, status, due now) of the tasks of an invoice's recovery."""
        rows = await self.rows(
            """
            SELECT task_type, status, run_at <= citadel_now() AS due
            FROM scheduled_tasks
            WHERE recovery_id = (SELECT id FROM recoveries WHERE invoice_id = $1)
            ORDER BY id
            """,
            invoice_id,
        )
        return [(row["task_type"], row["status"], row["due"]) for row in rows]

    async def story(self, invoice_id: str = "in_1") -> list[str]:
        """The rules of a recovery's timeline, in order."""
        rows = await self.rows(
            """
            SELECT rule
            FROM recovery_timeline
            WHERE recovery_id = (SELECT id FROM recoveries WHERE invoice_id = $1) AND rule <> 'test'
            ORDER BY id
            """,
            invoice_id,
        )
        return [row["rule"] for row in rows]
