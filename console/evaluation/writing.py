"""When customers are written to in a simulation: by the worker's function, from what a simulated past has taught."""

from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from console.evaluation.population import NEVER, Failure, Kind
from services.worker.recovery import HourOfMessages, MessageKind, Policy, SentMessage, next_moment
from services.worker.recovery.message_answers import (
    NOTHING_LEARNED,
    REMEMBERED,
    Answers,
    Counts,
    Sent,
    Written,
    believed,
    written_of,
)
from services.worker.recovery.message_hours import UNTIMED
from services.worker.recovery.timezones import zone_of
from shared.policy import AnyHour

SOME_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Any: where messages wait for no hour, they depend on the days since the opening only."""
_HOUR: Final = 3600.0
_A_DAY: Final = 24


class Writer:
    """When a policy's messages go out while nothing is paid, by what was learned of answers.

    `foreseen`: each as soon as it is due, whatever the policy says of hours.
    """

    def __init__(self, answers: Answers = NOTHING_LEARNED, *, foreseen: bool = False) -> None:
        self._answers, self._foreseen = answers, foreseen
        # Many kinds of failures share their messages: those of one hour, in one country, with one key.
        self._sent: dict[Hashable, tuple[float, ...]] = {}

    def messages(self, policy: Policy, segment: str | None, kind: Kind, about: MessageKind) -> tuple[float, ...]:
        """When messages about a failure of this kind go out; `policy` is the segment's. Seconds since the epoch."""
        shared = (about, segment, kind.opened_at, kind.country, kind.spread)
        found = self._sent.get(shared)
        if found is None:
            found = self._sent[shared] = self._messages(policy, kind, about)
        return found

    def _messages(self, policy: Policy, kind: Kind, about: MessageKind) -> tuple[float, ...]:
        if self._foreseen or isinstance(policy.message_hours, AnyHour):
            gaps = message_gaps(policy, about, kind.opened)
        else:
            key, learns = f"simulated/{kind.spread}", policy.timing == "learned"
            hours = HourOfMessages(policy.message_hours, kind.country, key, self._answers, tries=learns)
            gaps = message_gaps(policy, about, kind.opened, hours)
        return tuple([kind.opened_at + gap for gap in gaps])


def message_gaps(
    policy: Policy, about: MessageKind, opened: datetime = SOME_TIME, hours: HourOfMessages = UNTIMED
) -> tuple[float, ...]:
    """The seconds from the opening to each message, while nothing is paid; as soon as each is due without `hours`."""
    sent: list[SentMessage] = []
    now = opened
    while (found := next_moment(policy, opened, sent, about, now, hours=hours)) is not None:
        now = max(now, found.at)
        sent.append(SentMessage(about, now))
    return tuple((message.at - opened).total_seconds() for message in sent)


def answered_soonest(failure: Failure, number: int, due_at: float, before: float) -> float:
    """When the customer pays by the `number`-th message (from 0) if it goes out in the first hour, from when it is due
    on, in which it is answered; NEVER if in none `before` that time."""
    zone = zone_of(failure.kind.country)
    local = datetime.fromtimestamp(due_at, zone)
    begins = due_at - timedelta(minutes=local.minute, seconds=local.second).total_seconds()
    for waited in range(_A_DAY):
        sent_at = due_at if waited == 0 else begins + waited * _HOUR
        if sent_at >= before:
            break
        answered_at = failure.answered_at(number, sent_at)
        if answered_at < NEVER:
            return answered_at
    return NEVER


def written_about(
    kind: Kind, about: MessageKind, messages: Sequence[float], paid_at: float | None, until: float
) -> list[Written]:
    """What a failure's messages teach by `until`. `paid_at`: when the customer paid after a message; None: not so."""
    zone = zone_of(kind.country)
    times = [datetime.fromtimestamp(at, UTC) for at in messages if at < until]
    sent = [Sent(about, at, at.astimezone(zone).hour) for at in times]
    paid = None if paid_at is None else datetime.fromtimestamp(paid_at, UTC)
    return written_of(sent, paid, datetime.fromtimestamp(until, UTC))


def answers_by(recoveries: Iterable[list[Written]], until: float) -> Answers:
    """What is believed of answers after these recoveries, the latest last."""
    latest = [each for each in recoveries if each][-REMEMBERED:]
    if not latest:
        return NOTHING_LEARNED
    written = [each for recovery in latest for each in recovery]
    return believed(own=Counts.of(written, datetime.fromtimestamp(until, UTC)))
