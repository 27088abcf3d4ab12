"""Emails through Resend, or printed where there is no key for it.

A repeat has the same `Idempotency-Key`, which Resend keeps for 24 hours
(https://resend.com/docs/dashboard/emails/idempotency-keys). An address exists only in an `Email` while it is sent: it
is neither stored nor logged nor printed.

Resend has a circuit (`circuits.py`): while it is open no email is sent, and the tasks that would send one wait.

A bounce or a complaint names its email by the tags that the email was sent with, all of them ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parseaddr
from typing import Any, Protocol

import aiohttp
import orjson
from pydantic import SecretStr

from services.worker import metrics
from services.worker.errors import Refused, RetryLater
from services.worker.outside.circuits import Circuits
from shared.logging import get_logger
from shared.unsubscribe import Recipient, UnsubscribePages

log = get_logger(__name__)

REMOTE = "resend"


@dataclass(frozen=True, slots=True)
class Email:
    """One email. `key` and `entity_ref` are made of ids; `kind` names its texts; `tags` are ids and codes.

    `sender_name` is shown as the sender, with the platform's own address; answers go to `reply_to`. `unsubscribe` is
    the page on which the recipient unsubscribes: it becomes the headers of RFC 8058.
    """

    kind: str
    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    key: str
    entity_ref: str
    tags: Mapping[str, str] = field(default_factory=dict)
    sender_name: str | None = field(default=None, repr=False)
    reply_to: str | None = field(default=None, repr=False)
    unsubscribe: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of sending. `printed`: nobody received it, because there is no key for the email service."""

    printed: bool
    provider_id: str | None = None


class EmailSender(Protocol):
    """Sends emails. Raises RetryLater (not now), CircuitOpen (no email now) and Refused (this email never)."""

    async def send(self, email: Email) -> Sent:
        """Send the email; repeats with the same key within a day send nothing more."""
        ...

    def unsubscribe_page(self, recipient: Recipient) -> str | None:
        """The page on which this recipient unsubscribes; None where none is set up."""
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

    def unsubscribe_page(self, recipient: Recipient) -> str | None:  # noqa: ARG002 - the protocol's; nobody reads it
        """None: nothing is sent."""
        return None


class ResendSender:
    """Sends through Resend's `POST /emails`, unless the circuit is open."""

    def __init__(
        self,
        circuits: Circuits,
        session: aiohttp.ClientSession,
        base: str,
        api_key: SecretStr,
        sender: str,
        timeout_seconds: float,
        pages: UnsubscribePages | None = None,
    ) -> None:
        self._circuits = circuits
        self._session = session
        self._url = f"{base}/emails"
        self._api_key = api_key
        self._sender = sender
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._pages = pages

    def unsubscribe_page(self, recipient: Recipient) -> str | None:
        """The recipient's page at our ingress."""
        return self._pages.address(recipient) if self._pages is not None else None

    async def send(self, email: Email) -> Sent:
        """Send the email. The text of Resend's errors is not kept, because it may quote the address."""
        status, retry_after, answer = await self._post(email)
        if status < 300:
            metrics.EMAILS.labels(email.kind, "sent").inc()
            return Sent(printed=False, provider_id=_field(answer, "id"))
        return _refusal(email, status, _field(answer, "name"), retry_after)

    async def _post(self, email: Email) -> tuple[int, str, bytes]:
        """One call: status, `Retry-After` and body. Raises CircuitOpen, and RetryLater without a complete answer."""
        headers = {
            "Authorization": f"Bearer {self._api_key.get_secret_value()}",
            "Content-Type": "application/json",
            "Idempotency-Key": email.key,
        }
        body = orjson.dumps(message_of(email, self._sender))
        self._circuits.enter(REMOTE)
        failed: bool | None = None  # stays None if this side breaks the call off
        try:
            async with self._session.post(self._url, data=body, headers=headers, timeout=self._timeout) as response:
                answer = await response.read()
            failed = response.status >= 500
            return response.status, response.headers.get("Retry-After", ""), answer
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            failed = True
            raise RetryLater(f"resend: no whole answer ({type(error).__name__})") from error
        finally:
            self._circuits.left(REMOTE, failed=failed)


def message_of(email: Email, sender: str) -> dict[str, Any]:
    """The email as Resend takes it (https://resend.com/docs/api-reference/emails/send-email).

    `X-Entity-Ref-ID` keeps mail programs from folding messages of one subject into one.
    """
    headers = {"X-Entity-Ref-ID": email.entity_ref}
    if email.unsubscribe is not None:
        headers["List-Unsubscribe"] = f"<{email.unsubscribe}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message: dict[str, Any] = {
        "from": _from(sender, email.sender_name),
        "to": [email.to],
        "subject": email.subject,
        "text": email.text,
        "html": email.html,
        "headers": headers,
        "tags": [{"name": name, "value": value} for name, value in {"kind": email.kind, **email.tags}.items()],
    }
    if email.reply_to is not None:
        message["reply_to"] = [email.reply_to]
    return message


def _from(sender: str, name: str | None) -> str:
    """The platform's address with another name, in quotes so that the name cannot become part of the address."""
    if name is None:
        return sender
    _, address = parseaddr(sender)
    shown = "".join(each if each.isprintable() and each not in '"\\' else " " for each in name).strip()
    return f'"{shown}" <{address}>' if shown else sender


def _refusal(email: Email, status: int, name: str | None, retry_after: str) -> Sent:
    """What to do about an answer that is not a success (https://resend.com/docs/api-reference/errors)."""
    what = f"resend: {status} {name or ''}".rstrip()
    if name == "invalid_idempotent_request":
        # An earlier try of this task sent the email, with a text that has changed since.
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
    """A field of an answer; None when it is missing or not a plain code."""
    try:
        value = orjson.loads(body).get(name)
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return value if isinstance(value, str) and len(value) <= 80 and "@" not in value and " " not in value else None
