"""Idempotency keys as Stripe keeps them (docs.stripe.com/api/idempotent_requests).

A key belongs to an account. Once an endpoint began to run, its answer is kept for the key, declines
and 500s included, and replayed for 24 hours of simulated time. Validation errors, 409s and 429s keep
nothing. The same key with other parameters is refused, and so is a key that is still in use.
"""

from dataclasses import dataclass

from simulator.errors import ApiError
from simulator.shapes import DAY

KEPT = DAY


@dataclass(slots=True)
class Saved:
    """What is known of a key: while `body` is None its request is still running."""

    request: str
    at: int
    status: int = 0
    body: bytes | None = None
    request_id: str = ""


class Keys:
    """All keys of all accounts."""

    def __init__(self) -> None:
        self._saved: dict[tuple[str, str], Saved] = {}

    def begin(self, scope: str, key: str, request: str, now: int) -> Saved | None:
        """The saved answer to replay, or None when this request now owns the key.

        Raises Stripe's 400 when the key was used for another request, 409 while it is in use.
        """
        if len(key) > 255:
            raise ApiError(400, "Idempotency keys are at most 255 characters.", type="idempotency_error")
        known = self._saved.get((scope, key))
        if known is None or now - known.at >= KEPT:
            self._saved[scope, key] = Saved(request, now)
            return None
        if known.request != request:
            raise ApiError(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were "
                f"first used with. Try using a key other than '{key}' if you meant to execute a "
                "different request.",
                type="idempotency_error",
            )
        if known.body is None:
            raise ApiError(
                409,
                "There is currently another in-progress request using this Idempotent Key (that "
                "probably means you submitted twice, and the other request is still going through): "
                f"{key}. Please try again later.",
                type="idempotency_error",
                code="idempotency_key_in_use",
            )
        return known

    def save(self, scope: str, key: str, status: int, body: bytes, request_id: str) -> None:
        """Keeps the answer for the key."""
        saved = self._saved[scope, key]
        saved.status, saved.body, saved.request_id = status, body, request_id

    def forget(self, scope: str, key: str) -> None:
        """Frees the key: its request left nothing behind."""
        self._saved.pop((scope, key), None)
