"""When a policy's messages go out while a failure is unpaid."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.worker.recovery import MessageKind, Policy, SentMessage, next_message

Asks = tuple[tuple[float, MessageKind], ...]
"""What the customer is asked for, and from when on: seconds since the failure."""


class MessageDays:
    """The messages of one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._gaps: dict[tuple[str | None, MessageKind], tuple[float, ...]] = {}

    def gaps(self, segment: str | None, asks: Asks) -> tuple[float, ...]:
        """Seconds from the failure to each message, up to the window's end."""
        policy = self._policy.segment(segment)
        if len(asks) > 1 or asks[0][0] > 0:
            return _gaps(policy, asks)
        key = (segment, asks[0][1])
        if key not in self._gaps:
            self._gaps[key] = _gaps(policy, asks)
        return self._gaps[key]


def _gaps(policy: Policy, asks: Sequence[tuple[float, MessageKind]]) -> tuple[float, ...]:
    opened = datetime(2026, 1, 1, tzinfo=UTC)  # any time: messages depend on the days since the opening only
    sent: list[SentMessage] = []
    for number, (after, kind) in enumerate(asks):
        now = opened + timedelta(seconds=after)
        until = opened + timedelta(seconds=asks[number + 1][0]) if number + 1 < len(asks) else None
        while (due := next_message(policy, opened, sent, kind, now)) is not None:
            now = max(now, due)
            if until is not None and now >= until:
                break
            sent.append(SentMessage(kind, now))
    return tuple((message.at - opened).total_seconds() for message in sent)
