"""What became of an email, told as Resend tells it: a webhook in Svix's signature scheme.

Sources: resend.com/docs/webhooks/event-types, …/emails/bounced, docs.svix.com/receiving/verifying-payloads/how-manual.
"""

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import orjson

from simulator.resend import Email
from simulator.shapes import Json
from simulator.world import World

# What Resend adds to an event of this type, beside what all have.
_DETAILS: dict[str, Json] = {
    "email.bounced": {
        "bounce": {
            "type": "Permanent",
            "subType": "General",
            "message": "The recipient's email provider sent a hard bounce message.",
        }
    },
    "email.suppressed": {"suppressed": {"type": "OnAccountSuppressionList", "message": "A bounce came before."}},
    "email.complained": {},
    "email.delivered": {},
    "email.delivery_delayed": {},
    "email.opened": {},
}


@dataclass(slots=True)
class ResendWebhookPlan:
    """Where events about emails go. The secret is base64 behind its prefix."""

    url: str | None = None
    secret: str = "whsec_" + base64.b64encode(b"the simulator of resend").decode()
    timeout: float = 10.0


class ResendWebhooks:
    """Posts events about emails of the outbox, one when it is asked to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sent = 0
        self.plan = ResendWebhookPlan()

    async def post(self, email: Email, kind: str, *, message_id: str | None = None, **bounce: str) -> Json:
        """Tell that `kind` became of an email: the answer's `status`, and the `id` to send the same one again by.

        `bounce` are fields of a bounce that differ from a permanent one.
        """
        if kind not in _DETAILS:
            raise ValueError(f"unknown event {kind!r}; known: {sorted(_DETAILS)}")
        if self.plan.url is None:
            raise ValueError("set a url for Resend's webhooks first")
        if message_id is None:
            self._sent += 1
            message_id = f"msg_simulator{self._world.seed}x{self._sent}"
        body = orjson.dumps(self._event(email, kind, bounce))
        at = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "svix-id": message_id,
            "svix-timestamp": str(at),
            "svix-signature": f"v1,{signature(self.plan.secret, message_id, at, body)}",
        }
        timeout = aiohttp.ClientTimeout(total=self.plan.timeout)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(self.plan.url, data=body, headers=headers) as answer,
        ):
            await answer.read()
            return {"status": answer.status, "id": message_id}

    def _event(self, email: Email, kind: str, bounce: dict[str, str]) -> Json:
        detail = dict(_DETAILS[kind])
        if "bounce" in detail:
            detail["bounce"] = {**detail["bounce"], **bounce}
        return {
            "type": kind,
            "created_at": _iso(self._world.clock.now),
            "data": {
                "created_at": _iso(email.at),
                "email_id": email.id,
                "from": email.message["from"],
                "to": email.message["to"],
                "subject": email.message["subject"],
                "tags": {tag["name"]: tag["value"] for tag in email.message.get("tags", ())},
                **detail,
            },
        }


def signature(secret: str, message_id: str, at: int, body: bytes) -> str:
    """Svix's signature of a message, without its version."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{at}.".encode() + body
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
