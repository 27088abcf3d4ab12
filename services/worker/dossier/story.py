"""The timeline of a recovery as its dossier holds it: what it tells of messages, holds and news."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.worker.recovery import HOLDS, MessageKind, SentMessage
from shared.recovery_model import (
    CANCELED_BY_OPERATOR,
    CARD_CHANGED,
    COLLECTION_OFF,
    COLLECTION_ON,
    FAILED_AGAIN,
    INVOICE_CHANGED,
    PAID_SOMEHOW,
    PAYMENT_NEWS,
    STRIPE_NEXT,
    SUBSCRIPTION_CHANGED,
    WANTED_AGAIN,
    EntryKind,
    RecoveryState,
)

NEWS = frozenset({CARD_CHANGED, FAILED_AGAIN, INVOICE_CHANGED, PAID_SOMEHOW, PAYMENT_NEWS, SUBSCRIPTION_CHANGED})
"""The rules of entries about events that a reading made before may not have seen."""
UNREAD_NEWS = "news"
"""The refusal of what was decided before the newest event: that is to be looked at first."""
_TURNED = frozenset({COLLECTION_OFF, COLLECTION_ON})
_NO_TIME = timedelta(0)

UNDER_WAY = "payment_under_way"
"""The rule of a decision to wait for the end of a payment."""


@dataclass(frozen=True, slots=True)
class Told:
    """One row of the timeline. A recovery's rows have ids in the order in which they were written: under its lock."""

    id: int
    at: datetime
    kind: str
    rule: str
    next_at: datetime | None
    detail: dict[str, Any]
    to_state: RecoveryState | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """The timeline so far."""

    rows: tuple[Told, ...]

    @property
    def sent(self) -> tuple[SentMessage, ...]:
        """The messages that were sent, and those that were printed because there is no key for the email service."""
        return tuple(
            SentMessage(MessageKind(row.detail["kind"]), row.at)
            for row in self.rows
            if row.kind in {EntryKind.MESSAGED, EntryKind.PRINTED}
        )

    @property
    def canceled_messages(self) -> tuple[SentMessage, ...]:
        """The messages that an operator took away, at the times for which they were queued at the earliest."""
        wanted = {row.detail.get("task_id") for row in self.rows if row.rule == WANTED_AGAIN}
        return tuple(
            SentMessage(MessageKind(row.detail["kind"]), max(row.at, datetime.fromisoformat(row.detail["due"])))
            for row in self.rows
            if (row.kind, row.rule) == (EntryKind.NOT_MESSAGED, CANCELED_BY_OPERATOR)
            and row.detail.get("kind") in set(MessageKind)
            and row.detail.get("task_id") not in wanted
        )

    def since(self, state: RecoveryState) -> datetime | None:
        """When the recovery came into the state that it is in; None: it is in another. Attempts do not count: after one
        it goes on in the state that it was in, or comes into another."""
        since = None
        for row in reversed(self.rows):
            if row.to_state is None or row.to_state is RecoveryState.ATTEMPTING:
                continue
            if row.to_state is not state:
                break
            since = row.at
        return since

    @property
    def turned(self) -> Told | None:
        """The last row that says that the merchant turned automatic collection off, or on again."""
        return next((row for row in reversed(self.rows) if row.rule in _TURNED), None)

    @property
    def collected_by_stripe(self) -> tuple[bool, int] | None:
        """Whether Stripe collected the invoice by itself when that was last recorded, and after how many attempts."""
        for row in reversed(self.rows):
            on, count = row.detail.get("auto_advance"), row.detail.get("attempt_count")
            if on is not None and count is not None:
                return on, count
        return None

    def held(self, now: datetime, since: datetime | None = None) -> timedelta:
        """How long the recovery was held by what people said, since a moment or in all."""
        total, began = _NO_TIME, None
        for row in (*self.rows, None):
            if row is not None and row.kind != EntryKind.DECIDED:
                continue
            if row is not None and row.rule in HOLDS:
                began = began or row.at
            elif began is not None:
                from_then = began if since is None else max(began, since)
                total += max(_NO_TIME, (now if row is None else row.at) - from_then)
                began = None
        return total

    @property
    def messages_sent(self) -> int:
        """How many messages reached the email service."""
        return sum(row.kind == EntryKind.MESSAGED for row in self.rows)

    @property
    def last_decision(self) -> Told | None:
        """The last row that holds a decision."""
        return next((row for row in reversed(self.rows) if row.kind == EntryKind.DECIDED), None)

    @property
    def segment(self) -> str | None:
        """The policy's segment that the last decision was made for."""
        last = self.last_decision
        segment = last.detail.get("reason", {}).get("inputs", {}).get("segment") if last is not None else None
        return segment if isinstance(segment, str) else None

    @property
    def last_id(self) -> int:
        """The id of the last row; 0 before the first."""
        return self.rows[-1].id if self.rows else 0

    def told_anew_since(self, last_id: int) -> bool:
        """Whether an event after this row says that the invoice will be collected in another way or from another
        card, or tells of a payment or a stop. By ids: a transaction that waited for the lock has an older time."""
        return any(row.id > last_id and _is_news(row) for row in self.rows)

    @property
    def under_way_since(self) -> datetime | None:
        """When the payment that is under way was first seen; None when the last decision was another."""
        since = None
        for row in reversed(self.rows):
            if row.kind == EntryKind.DECIDED:
                if row.rule != UNDER_WAY:
                    break
                since = row.at
        return since

    @property
    def announced_by_stripe(self) -> tuple[datetime, ...]:
        """The times for which Stripe announced attempts of its own."""
        told = (row.detail.get(STRIPE_NEXT) for row in self.rows)
        return tuple(datetime.fromisoformat(each) for each in told if each)


def _is_news(row: Told) -> bool:
    """Whether the row tells of an event that a reading made before may not have seen."""
    if row.rule in _TURNED:
        return "event_id" in row.detail  # else a reading itself has told
    return row.rule in NEWS or row.kind == EntryKind.STOP_REQUESTED
