"""What Resend allows: so many requests a second, so many emails a day, and senders in its format.

Sources: resend.com/docs/api-reference/rate-limit (headers; by default 5 requests a second and team, 2 in older copies
of the page, 10 in the changelog; read 2026-11), …/errors (names), and for what the refusal of a format says
https://github.com/resend/resend-python/issues/65. Amazon SES takes 320 bytes of a sender
(https://github.com/zulip/zulip/pull/17799, 2021-03): that Resend refuses longer ones, and names with unquoted specials,
is assumed.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from simulator.errors import bad_request
from simulator.shapes import DAY

SENDER_BYTES = 320
_ADDRESS = r"[^\s@<>()\[\],;:\"\\]+@[^\s@<>()\[\],;:\"\\]+"
# An address alone, or a name and an address in angle brackets. A name that has one of RFC 5322's specials is quoted.
_SENDER = re.compile(
    rf"{_ADDRESS}|(?:[^\x00-\x1f\x7f<>()\[\],;:@\"\\]*|\"(?:[^\x00-\x1f\x7f\"\\]|\\.)*\")\s*<{_ADDRESS}>"
)


class ResendError(Exception):
    """An answer of the shape `{"statusCode": …, "name": …, "message": …}`."""

    def __init__(self, status: int, name: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.body = {"statusCode": status, "name": name, "message": message}


@dataclass(slots=True)
class Limits:
    """`rate` requests a second of real time and `daily_quota` emails a simulated day; None: without limit."""

    rate: int | None = None
    daily_quota: int | None = None


class Gate:
    """Counts requests in windows of a second, from the first request of each on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._opened = -math.inf
        self._used = 0
        self._day = -1
        self._sent = 0
        self.limits = Limits()

    def request(self) -> dict[str, str]:
        """The headers that every answer then has. Raises a 429 for a request too many."""
        rate = self.limits.rate
        if rate is None:
            return {}
        now = self._clock()
        if now - self._opened >= 1:
            self._opened, self._used = now, 0
        self._used += 1
        reset = str(max(1, math.ceil(self._opened + 1 - now)))
        headers = {
            "ratelimit-limit": str(rate),
            "ratelimit-remaining": str(max(0, rate - self._used)),
            "ratelimit-reset": reset,
        }
        if self._used > rate:
            raise too_many(rate, {**headers, "retry-after": reset})
        return headers

    def email(self, now: int) -> None:
        """One more email on the simulated day of `now`. Raises a 429 when the day's are used up."""
        quota, day = self.limits.daily_quota, now // DAY
        if day != self._day:
            self._day, self._sent = day, 0
        if quota is not None and self._sent >= quota:
            raise ResendError(429, "daily_quota_exceeded", "You have reached your daily email sending quota.")
        self._sent += 1


def too_many(rate: int, headers: dict[str, str]) -> ResendError:
    """The answer to a request beyond the rate."""
    text = f"Too many requests. You can only make {rate} requests per second."
    return ResendError(429, "rate_limit_exceeded", text, headers)


def check_address(field: str, value: str) -> None:
    """Raises Resend's 422 for a sender or recipient that is no address, with or without a name."""
    if _SENDER.fullmatch(value) is None:
        text = (
            f"Invalid `{field}` field. The email address needs to follow the `email@example.com` or "
            "`Name <email@example.com>` format."
        )
        raise ResendError(422, "validation_error", text)
    if field == "from" and len(value.encode()) > SENDER_BYTES:
        raise ResendError(422, "validation_error", f"Invalid `from` field: more than {SENDER_BYTES} bytes.")


OUTCOMES = {
    "delivers": "email.delivered",
    "bounces": "email.bounced",
    "complains": "email.complained",
    "delays": "email.delivery_delayed",
}


class Mailboxes:
    """What becomes of emails by their address; an address that bounced is suppressed until it is set right."""

    def __init__(self) -> None:
        self._outcomes: dict[str, str] = {}
        self._suppressed: set[str] = set()

    def set(self, address: str, outcome: str) -> None:
        """From now on emails to this address end so: a name of `OUTCOMES`."""
        if outcome not in OUTCOMES:
            raise bad_request(f"Unknown outcome {outcome!r}; known: {sorted(OUTCOMES)}.")
        self._outcomes[address.lower()] = outcome
        self._suppressed.discard(address.lower())

    def outcome(self, address: str) -> str:
        """The event that tells of one email to this address."""
        known = address.lower()
        if known in self._suppressed:
            return "email.suppressed"
        kind = OUTCOMES[self._outcomes.get(known, "delivers")]
        if kind == "email.bounced":
            self._suppressed.add(known)
        return kind
