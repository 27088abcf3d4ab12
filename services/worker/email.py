"""Emails through Resend, or printed where there is no key for it.

A repeat has the same `Idempotency-Key`, which Resend keeps for 24 hours
(https://resend.com/docs/dashboard/emails/idempotency-keys). An address is in an `Email` while it is sent, and nowhere
else: neither stored nor logged nor printed.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import aiohttp
import orjson
from pydantic import SecretStr

from services.worker import metrics
from services.worker.errors import Refused, RetryLater
from shared.logging import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Email:
    """One email. `key` and `entity_ref` are made of ids; `kind` names its template."""

    kind: str
    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    key: str
    entity_ref: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an email. `printed`: nobody received it, there is no key for the email service."""

    printed: bool
    provider_id: str | None = None


class EmailSender(Protocol):
    """Sends emails. Raises RetryLater (not now) and Refused (this email never)."""

    async def send(self, email: Email) -> Sent:
        """Send it, once however often it is repeated with the same key within a day."""
        ...


class PrintingSender:
    """Says on the standard output that an email would go out, without its address and its text."""

    async def send(self, email: Email) -> Sent:
        """Print it; never sends."""
        print(
            f"email not sent (CITADEL_RESEND_API_KEY is not set): {email.kind}, reference {email.entity_ref}; "
            "recipient and text are left out, they are personal",
            flush=True,
        )
        metrics.EMAILS.labels(email.kind, "printed").inc()
        return Sent(printed=True)


class ResendSender:
    """Sends through Resend's `POST /emails`."""

    def __init__(
        self, session: aiohttp.ClientSession, base: str, api_key: SecretStr, sender: str, timeout_seconds: float
    ) -> None:
        self._session = session
        self._url = f"{base}/emails"
        self._api_key = api_key
        self._sender = sender
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def send(self, email: Email) -> Sent:
        """Send it. What Resend answers to an error is not kept: it may quote the address."""
        message = {
            "from": self._sender,
            "to": [email.to],
            "subject": email.subject,
            "text": email.text,
            "html": email.html,
            "headers": {"X-Entity-Ref-ID": email.entity_ref},
            "tags": [{"name": "kind", "value": email.kind}],
        }
        headers = {
            "Authorization": f"Bearer {self._api_key.get_secret_value()}",
            "Content-Type": "application/json",
            "Idempotency-Key": email.key,
        }
        try:
            async with self._session.post(
                self._url, data=orjson.dumps(message), headers=headers, timeout=self._timeout
            ) as response:
                body = await response.read()
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise RetryLater(f"resend: no whole answer ({type(error).__name__})") from error
        if status < 300:
            metrics.EMAILS.labels(email.kind, "sent").inc()
            return Sent(printed=False, provider_id=_field(body, "id"))
        return _refusal(email, status, _field(body, "name"), retry_after)


def _refusal(email: Email, status: int, name: str | None, retry_after: str) -> Sent:
    """What to do about an answer that is no success (https://resend.com/docs/api-reference/errors)."""
    what = f"resend: {status} {name or ''}".rstrip()
    if name == "invalid_idempotent_request":
        # An earlier try of this very task got through, with a text that has changed since.
        metrics.EMAILS.labels(email.kind, "sent_before").inc()
        return Sent(printed=False)
    if status == 429:
        delay = timedelta(seconds=min(float(retry_after), 3600.0)) if retry_after.isdigit() else None
        raise RetryLater(what, delay=delay, counts=False)
    if status in {401, 403}:
        log.critical("resend_key_refused", reason=what)
        raise RetryLater(what, delay=timedelta(minutes=1), counts=False)
    if status >= 500 or status == 409:
        raise RetryLater(what)
    raise Refused(what, status=status, code=name)


def _field(body: bytes, name: str) -> str | None:
    """A field of an answer; None for one that is missing, or is no word of a closed list."""
    try:
        value = orjson.loads(body).get(name)
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return value if isinstance(value, str) and len(value) <= 80 and "@" not in value and " " not in value else None
