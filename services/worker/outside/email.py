"""Emails through Resend, or printed where there is no key for it.

A repeat has the same `Idempotency-Key`, which Resend keeps for 24 hours
(https://resend.com/docs/dashboard/emails/idempotency-keys). An address exists only in an `Email` while it is sent: it
is neither stored nor logged nor printed.

Resend has a circuit (`circuits.py`): while it is open no email is sent, and the tasks that would send one wait. Calls a
second are spaced over all workers (`call_rates.py`); a quota that is used up holds all emails (`mail_quota.py`).

A bounce or a complaint names its email by the tags that the email was sent with, all of them ids.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.utils import parseaddr
from enum import StrEnum
from typing import Any, Protocol

import aiohttp
import orjson
from pydantic import SecretStr

from services.worker import metrics
from services.worker.errors import Refused, RetryLater
from services.worker.outside.call_rates import CallRates
from services.worker.outside.circuits import Circuits
from services.worker.outside.lease import check_guarding
from services.worker.outside.mail_quota import MailQuota
from shared.logging import get_logger
from shared.unsubscribe import Recipient, UnsubscribePages

log = get_logger(__name__)

REMOTE = "resend"
TEAM = "team"
"""Resend's limits are a team's, whatever key is used; there is one for the whole platform."""

# What Resend takes of a sender is not documented; Amazon SES, which it sends through, takes 320 bytes
# (https://github.com/zulip/zulip/pull/17799, read November 2026).
SENDER_BYTES = 320
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\"\\\x00-\x1f\x7f]{1,64}@[^\s@<>()\[\],;:\"\\\x00-\x1f\x7f]{1,253}")


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


class Answer(StrEnum):
    """What to do about one of Resend's errors."""

    SLOW_DOWN = "slow_down"  # too many calls a second: wait as long as it asks
    QUOTA = "quota"  # no email goes out until the quota is there again, or larger
    OPERATOR = "operator"  # key, domain or sender: nothing goes out before the operator has seen to it
    SENT_BEFORE = "sent_before"  # the same key sent another text before: this email is out
    AGAIN = "again"  # the same request in a moment
    REFUSED = "refused"  # this email never


# By name: https://resend.com/docs/api-reference/errors, read November 2026. A name that is not here is judged by its
# status. `validation_error` is each of several things, which `_understood` tells apart.
ANSWERS: Mapping[str, Answer] = {
    "rate_limit_exceeded": Answer.SLOW_DOWN,
    "daily_quota_exceeded": Answer.QUOTA,  # "wait until 24 hours have passed", or a larger plan
    "monthly_quota_exceeded": Answer.QUOTA,
    "missing_api_key": Answer.OPERATOR,
    "invalid_api_key": Answer.OPERATOR,
    "restricted_api_key": Answer.OPERATOR,
    "suspended_api_key": Answer.OPERATOR,
    "invalid_from_address": Answer.OPERATOR,
    "not_found": Answer.OPERATOR,  # CITADEL_RESEND_BASE leads elsewhere
    "method_not_allowed": Answer.OPERATOR,
    "invalid_idempotent_request": Answer.SENT_BEFORE,
    "concurrent_idempotent_requests": Answer.AGAIN,
    "application_error": Answer.AGAIN,
    "internal_server_error": Answer.AGAIN,
    "invalid_idempotency_key": Answer.REFUSED,
    "invalid_attachment": Answer.REFUSED,
    "invalid_parameter": Answer.REFUSED,
    "missing_required_field": Answer.REFUSED,
    "security_error": Answer.REFUSED,
}
# The answer to the key itself and to a domain that is not verified is a `validation_error` or a name of its own, always
# with one of these.
_OPERATORS = frozenset({401, 403})
OPERATOR_DELAY = timedelta(minutes=5)
MOMENT = timedelta(seconds=15)


class ResendSender:
    """Sends through Resend's `POST /emails`, unless the circuit is open.

    `rates=None`: calls are not spaced. `quota` is told when Resend's is used up.
    """

    def __init__(
        self,
        circuits: Circuits,
        session: aiohttp.ClientSession,
        base: str,
        api_key: SecretStr,
        sender: str,
        timeout_seconds: float,
        pages: UnsubscribePages | None = None,
        rates: CallRates | None = None,
        quota: MailQuota | None = None,
    ) -> None:
        self._circuits = circuits
        self._session = session
        self._url = f"{base}/emails"
        self._api_key = api_key
        self._sender = sender
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._pages = pages
        self._rates = rates
        self._quota = quota

    def unsubscribe_page(self, recipient: Recipient) -> str | None:
        """The recipient's page at our ingress."""
        return self._pages.address(recipient) if self._pages is not None else None

    async def send(self, email: Email) -> Sent:
        """Send the email. The text of Resend's errors is not kept, because it may quote the address.

        A merchant's name or address for answers that Resend does not take is left out: the email matters more.
        """
        if not is_address(email.to):
            raise Refused("no email address", status=422, code=BAD_RECIPIENT)
        said = await self._post(email)
        plain = replace(email, sender_name=None, reply_to=None)
        if said.field in {"from", "reply_to"} and plain != email:
            log.warning("sender_name_refused", field=said.field)
            said = await self._post(plain)
        if said.status < 300:
            metrics.EMAILS.labels(email.kind, "sent").inc()
            return Sent(printed=False, provider_id=said.id)
        return await self._refusal(email, said)

    async def _post(self, email: Email) -> "_Said":
        """One call. Raises CircuitOpen, and RetryLater without a complete answer or when it is not this call's turn."""
        headers = {
            "Authorization": f"Bearer {self._api_key.get_secret_value()}",
            "Content-Type": "application/json",
            "Idempotency-Key": email.key,
        }
        body = orjson.dumps(message_of(email, self._sender))
        self._circuits.check(REMOTE)
        if self._rates is not None:
            await self._rates.turn(TEAM)
            check_guarding()  # waiting for the turn may have taken longer than the lease
        self._circuits.enter(REMOTE)
        failed: bool | None = None  # stays None if this side breaks the call off
        try:
            async with self._session.post(self._url, data=body, headers=headers, timeout=self._timeout) as response:
                answer = await response.read()
            failed = response.status >= 500
            return _understood(response.status, response.headers.get("Retry-After", ""), answer)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            failed = True
            raise RetryLater(f"resend: no whole answer ({type(error).__name__})") from error
        finally:
            self._circuits.left(REMOTE, failed=failed)

    async def _refusal(self, email: Email, said: "_Said") -> Sent:
        """What to do about an answer that is not a success."""
        what = f"resend: {said.status} {said.name or ''}".rstrip()
        match _answer(said):
            case Answer.SENT_BEFORE:
                # An earlier try of this task sent the email, with a text that has changed since.
                metrics.EMAILS.labels(email.kind, "sent_before").inc()
                return Sent(printed=False)
            case Answer.SLOW_DOWN:
                seconds = min(float(said.retry_after), 3600.0) if said.retry_after.isdigit() else None
                if self._rates is not None:
                    await self._rates.slow_down(TEAM, min(seconds or 1.0, 60.0))
                raise RetryLater(what, delay=timedelta(seconds=seconds) if seconds else None, counts=False)
            case Answer.QUOTA:
                log.critical("resend_quota_used_up", reason=what)
                metrics.EMAILS.labels(email.kind, "quota").inc()
                delay = await self._quota.used_up() if self._quota is not None else MailQuota.LOOK_AGAIN
                raise RetryLater(what, delay=delay, counts=False)
            case Answer.OPERATOR:
                log.critical("resend_refuses_the_platform", reason=what)
                raise RetryLater(what, delay=OPERATOR_DELAY, counts=False)
            case Answer.AGAIN:
                # A server's error may be this email's fault and counts; a request in flight is nobody's.
                blameless = said.status == 409
                raise RetryLater(what, delay=MOMENT if blameless else None, counts=not blameless)
            case Answer.REFUSED:
                field = f" {said.field}" if said.field else ""
                raise Refused(what + field, status=said.status, code=BAD_RECIPIENT if said.field == "to" else said.name)


BAD_RECIPIENT = "bad_recipient"
"""The code of a refusal because of the recipient's address."""


def is_address(text: str) -> bool:
    """Whether it is one email address in the form that Resend takes: `email@example.com`."""
    return _ADDRESS.fullmatch(text) is not None and len(text.encode()) <= SENDER_BYTES


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
    if email.reply_to is not None and is_address(email.reply_to):
        message["reply_to"] = [email.reply_to]
    return message


def _from(sender: str, name: str | None) -> str:
    """The platform's address with another name.

    In quotes (RFC 5322, section 3.2.4), so that no comma, bracket or quote of the name can become part of the address.
    What looks like an encoded word (RFC 2047) is broken up, because mail programs decode it even in quotes.
    """
    _, address = parseaddr(sender)
    room = SENDER_BYTES - len(f'"" <{address}>'.encode())
    shown = plain_name(name, room) if name is not None else ""
    return f'"{shown}" <{address}>' if shown else sender


def plain_name(name: str, most_bytes: int) -> str:
    """A name without what has a meaning in a mail header, cut to so many bytes at a whole character."""
    kept = "".join(each if each.isprintable() and each not in '"\\' else " " for each in name)
    kept = kept.replace("=?", "= ?").strip()
    if len(kept.encode()) <= most_bytes:
        return kept
    cut = kept.encode()[: max(0, most_bytes - len("…".encode()))].decode(errors="ignore").rstrip()
    return f"{cut}…"


@dataclass(frozen=True, slots=True)
class _Said:
    """Resend's answer. `field` is the field of the email that it is about; its text is dropped."""

    status: int
    retry_after: str
    id: str | None
    name: str | None
    field: str | None
    about_key: bool


_FIELD = re.compile(r"`(to|from|reply_to|cc|bcc|subject|tags|headers|html|text)\b")


def _understood(status: int, retry_after: str, body: bytes) -> _Said:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    text = str(answer.get("message", "")) if status >= 400 else ""
    field = _FIELD.search(text) if status in {400, 422} else None
    return _Said(
        status,
        retry_after,
        _code(answer.get("id")),
        _code(answer.get("name")),
        field[1] if field else None,
        "API key" in text,
    )


def _code(value: object) -> str | None:
    """A value of an answer; None when it is missing or not a plain code."""
    return value if isinstance(value, str) and len(value) <= 80 and "@" not in value and " " not in value else None


def _answer(said: _Said) -> Answer:
    # A `validation_error` of the sender or the key is the platform's own matter, whatever its status.
    if said.status in _OPERATORS or said.about_key or said.field == "from":
        return Answer.OPERATOR
    known = ANSWERS.get(said.name or "")
    if known is not None:
        return known
    if said.status == 429:
        return Answer.SLOW_DOWN
    return Answer.AGAIN if said.status >= 500 or said.status == 409 else Answer.REFUSED
