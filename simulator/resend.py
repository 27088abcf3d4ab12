"""Resend's `POST /emails`: checked, kept in an outbox, replayed for a repeated key.

Sources: resend.com/docs/api-reference/emails/send-email, …/errors, …/dashboard/emails/idempotency-keys.
"""

import uuid
from dataclasses import dataclass
from email.utils import parseaddr

import jsonschema_rs
import orjson

from simulator.resend_limits import Gate, Mailboxes, ResendError, check_address
from simulator.shapes import DAY, Json
from simulator.world import World

_ADDRESSES = {
    "anyOf": [
        {"type": "string", "pattern": "@"},
        {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {"type": "string", "pattern": "@"},
        },
    ]
}
_TEXT = {"type": "string"}
EMAIL: Json = {
    "type": "object",
    "required": ["from", "to", "subject"],
    "additionalProperties": False,
    "anyOf": [{"required": ["html"]}, {"required": ["text"]}],
    "properties": {
        "from": {"type": "string", "pattern": "@"},
        "to": _ADDRESSES,
        "cc": _ADDRESSES,
        "bcc": _ADDRESSES,
        "reply_to": _ADDRESSES,
        "subject": {"type": "string", "minLength": 1},
        "html": _TEXT,
        "text": _TEXT,
        "scheduled_at": _TEXT,
        "headers": {"type": "object", "additionalProperties": _TEXT},
        "tags": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "value"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,256}$"},
                    "value": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,256}$"},
                },
            },
        },
        "attachments": {"type": "array", "items": {"type": "object"}},
    },
}


@dataclass(frozen=True, slots=True)
class Email:
    """One accepted email."""

    id: str
    at: int
    idempotency_key: str | None
    message: Json

    @property
    def text(self) -> str:
        """All that its reader sees."""
        return f"{self.message.get('html', '')}\n{self.message.get('text', '')}"

    @property
    def address(self) -> str:
        """Its first recipient's, without a name."""
        to = self.message["to"]
        return parseaddr(to if isinstance(to, str) else to[0])[1]


class Resend:
    """The outbox of the platform."""

    def __init__(self, world: World, api_key: str) -> None:
        self._world = world
        self._api_key = api_key
        self._valid = jsonschema_rs.Draft202012Validator(EMAIL)
        self._keys: dict[str, tuple[int, bytes, str]] = {}
        self._untold: list[Email] = []
        self.gate = Gate()
        self.mailboxes = Mailboxes()
        self.outbox: dict[str, Email] = {}

    def check_key(self, authorization: str | None) -> None:
        """Refuses a missing (401) or wrong (403) API key."""
        if not authorization:
            raise ResendError(401, "missing_api_key", "Missing API key in the authorization header")
        if authorization != f"Bearer {self._api_key}":
            raise ResendError(403, "invalid_api_key", "API key is invalid")

    def accept(self, body: bytes, key: str | None) -> tuple[Json, Email | None]:
        """The answer, and the email if it is a new one (None when the key was seen before)."""
        message = self._checked(body)
        if key is not None and not 1 <= len(key) <= 256:
            raise ResendError(400, "invalid_idempotency_key", "The key must be between 1-256 chars")
        now = self._world.clock.now
        known = self._keys.get(key) if key is not None else None
        canonical = orjson.dumps(message, option=orjson.OPT_SORT_KEYS)
        if known and now - known[0] < DAY:
            if known[1] != canonical:
                text = "Same idempotency key used with a different request payload"
                raise ResendError(409, "invalid_idempotent_request", text)
            return {"id": known[2]}, None
        self.gate.email(now)
        number = len(self.outbox) + 1
        ident = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._world.seed}:email:{number}"))
        email = Email(ident, now, key, message)
        self.outbox[ident] = email
        self._untold.append(email)
        if key is not None:
            self._keys[key] = (now, canonical, ident)
        return {"id": ident}, email

    def undelivered(self) -> list[tuple[Email, str]]:
        """Each email that nothing was told of yet, with the event that tells what became of it."""
        untold, self._untold = self._untold, []
        return [(email, self.mailboxes.outcome(email.address)) for email in untold]

    def _checked(self, body: bytes) -> Json:
        try:
            message = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise ResendError(400, "validation_error", "The body is not JSON") from None
        problem = next(self._valid.iter_errors(message), None)
        if problem is not None:
            where = ".".join(map(str, problem.instance_path)) or "body"
            raise ResendError(422, "validation_error", f"Invalid `{where}`: {problem.message[:300]}")
        check_address("from", message["from"])
        for field in ("to", "cc", "bcc", "reply_to"):
            given = message.get(field, [])
            for address in [given] if isinstance(given, str) else given:
                check_address(field, address)
        accepted: Json = message
        return accepted
