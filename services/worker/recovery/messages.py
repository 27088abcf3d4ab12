"""When the next message to the customer is due."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.worker.recovery.case import window_end
from services.worker.recovery.message_hours import UNTIMED, HourOfMessages, Moment
from services.worker.recovery.model import as_utc
from shared.policy import Policy

ONE_DAY = timedelta(days=1)
# A message that has been due for so long would have been sent: two are a day apart, and a repeat takes hours.
MESSAGE_TAKES = timedelta(hours=12)


class MessageKind(StrEnum):
    """What a message is for: to inform, to ask for 3-D Secure, or to ask for another payment method."""

    PAYMENT_FAILED = "payment_failed"
    ACTION_REQUIRED = "action_required"
    NEW_METHOD_NEEDED = "new_method_needed"


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that went out."""

    kind: MessageKind
    at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", as_utc("SentMessage.at", self.at))


def next_moment(
    policy: Policy,
    opened_at: datetime,
    sent: Sequence[SentMessage],
    kind: MessageKind,
    now: datetime,
    window_until: datetime | None = None,
    canceled: Sequence[SentMessage] = (),
    hours: HourOfMessages = UNTIMED,
    since: datetime | None = None,
) -> Moment | None:
    """When the next message of `kind` goes out (at or before `now`: now); None when none follows.

    It is due on the policy's days for that kind, counted from `opened_at`. The first message of another kind than all
    before does not wait for its day. Missed days become one message. Two messages are never within 24 hours, except
    for the first request to authenticate, which the bank waits for. None is due after the window: the message for the
    window's last day is due at the beginning of that day. `window_until` is the window's end if it is later.

    `canceled` are messages that an operator took away, at the times when they were due: each uses up the days of its
    kind until then, and no other. `hours` say for which hour of the customer's day it waits once it is due: less than
    a day, and not at all for the first request to authenticate. `since`: from when on there has been something to tell;
    what was due before is due then.
    """
    now = as_utc("now", now)
    end = _end(policy, opened_at, window_until)
    due = _due(policy, opened_at, sent, kind, now, end, canceled, hours)
    if due is None:
        return None
    if kind is MessageKind.ACTION_REQUIRED and all(each.kind is not kind for each in (*sent, *canceled)):
        return Moment(due)
    return hours.moment(due if since is None else max(due, min(as_utc("since", since), now)), end)


def missed_message(
    policy: Policy,
    opened_at: datetime,
    sent: Sequence[SentMessage],
    kind: MessageKind,
    until: datetime,
    window_until: datetime | None = None,
    hours: HourOfMessages = UNTIMED,
) -> bool:
    """Whether a message of `kind` was due before `until`, and was not sent: long enough before to be sent by then, or
    it still waits for its hour, or it is the first of all. It counts from when it was due, whatever its hour."""
    end, until = _end(policy, opened_at, window_until), as_utc("until", until)
    long_before = until - MESSAGE_TAKES
    due = _due(policy, opened_at, sent, kind, long_before, end, (), hours)
    if due is not None and due <= long_before:
        return True
    due = _due(policy, opened_at, sent, kind, until, end, (), hours)
    return due is not None and due <= until and (not sent or hours.moment(due, end).at > until)


def _end(policy: Policy, opened_at: datetime, window_until: datetime | None) -> datetime:
    return window_end(as_utc("opened_at", opened_at) + timedelta(days=policy.window_days), window_until)


def _due(
    policy: Policy,
    opened_at: datetime,
    sent: Sequence[SentMessage],
    kind: MessageKind,
    now: datetime,
    end: datetime,
    canceled: Sequence[SentMessage],
    hours: HourOfMessages,
) -> datetime | None:
    """When the next message of `kind` is due: the first of the days that nothing was sent on, so that one which is put
    off past the next of them has waited since the first."""
    opened_at = as_utc("opened_at", opened_at)
    message_days = _days_for(policy, kind)
    if now >= end or not message_days:
        return None
    last = max((message.at for message in sent), default=None)
    last_due = max(opened_at, hours.last_due(end))
    days = [min(opened_at + day * ONE_DAY, last_due) for day in message_days]
    passed = max((message.at for message in canceled if message.kind is kind), default=None)
    first_of_its_kind = passed is None and all(m.kind is not kind for m in sent)
    if kind is not MessageKind.PAYMENT_FAILED and first_of_its_kind:
        due = opened_at
    else:
        done = max((at for at in (last, passed) if at is not None), default=None)
        ahead = [day for day in days if done is None or day > done]
        if not ahead:
            return None
        due = ahead[0]
    hurries = kind is MessageKind.ACTION_REQUIRED and first_of_its_kind
    if last is not None and not hurries:
        due = max(due, last + ONE_DAY)
    return due if due < end else None


def _days_for(policy: Policy, kind: MessageKind) -> Sequence[int]:
    own: Mapping[MessageKind, Sequence[int] | None] = {
        MessageKind.ACTION_REQUIRED: policy.action_required_days,
        MessageKind.NEW_METHOD_NEEDED: policy.new_method_days,
    }
    days = own.get(kind)
    return policy.message_days if days is None else days
