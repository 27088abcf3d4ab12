"""When a policy's messages go out while a failure is unpaid.

Where the policy waits for the hour in which customers answer most, that is what is assumed of hours before anything was
learned: history does not show which messages were sent, so that nothing can be learned from it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from console.evaluation.backtest.past import Past
from services.worker.recovery import HourOfMessages, MessageKind, Policy, SentMessage, next_moment
from shared.policy import AnyHour

Asks = tuple[tuple[float, MessageKind], ...]
"""What the customer is asked for, and from when on: seconds since the failure."""


class MessageDays:
    """The messages of one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._gaps: dict[tuple[str | None, MessageKind], tuple[float, ...]] = {}

    def gaps(self, segment: str | None, asks: Asks, past: Past) -> tuple[float, ...]:
        """Seconds from the failure to each message, up to the window's end."""
        policy = self._policy.segment(segment)
        if len(asks) > 1 or asks[0][0] > 0 or not isinstance(policy.message_hours, AnyHour):
            return _gaps(policy, asks, past)
        key = (segment, asks[0][1])
        if key not in self._gaps:
            self._gaps[key] = _gaps(policy, asks, past)
        return self._gaps[key]


def _gaps(policy: Policy, asks: Sequence[tuple[float, MessageKind]], past: Past) -> tuple[float, ...]:
    opened, sent = past.opened, list[SentMessage]()
    learns = policy.timing == "learned"
    hours = HourOfMessages(policy.message_hours, past.card.country, past.failure.invoice, tries=learns)
    for number, (after, kind) in enumerate(asks):
        now = opened + timedelta(seconds=after)
        until: datetime | None = None
        if number + 1 < len(asks):
            until = opened + timedelta(seconds=asks[number + 1][0])
        while (found := next_moment(policy, opened, sent, kind, now, hours=hours)) is not None:
            now = max(now, found.at)
            if until is not None and now >= until:
                break
            sent.append(SentMessage(kind, now))
    return tuple((message.at - opened).total_seconds() for message in sent)
