"""The messages of a campaign, and which of them is due.

The brain decides what a message is for (`MessageKind`) and when it is sent; this module chooses one of the messages
that have texts. A new kind of the brain needs one line of `_FIRST`, and one of `_AGAIN` and `_LAST` where those differ.
A new message needs one member of `Message`, one line of `STEPS`, its texts in every language (a test checks all of
them), and, if a recovery sends it, one line of `_MESSAGED` in `handlers/notify_action_required.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.worker.recovery import MessageKind, SentMessage

ONE_DAY = timedelta(days=1)


class Message(StrEnum):
    """A message to a customer; the name of its texts, and its tag at the email service."""

    PAYMENT_FAILED = "payment_failed"
    REMINDER = "reminder"
    LAST_NOTICE = "last_notice"
    ACTION_REQUIRED = "action_required"
    NEW_METHOD_NEEDED = "new_method_needed"
    CARD_EXPIRING = "card_expiring"
    RECOVERED = "recovered"


class Link(StrEnum):
    """Where a message's button leads: to the invoice's page, or to the form for another card."""

    INVOICE = "invoice"
    CARD = "card"


@dataclass(frozen=True, slots=True)
class Step:
    """The rules of a message. `may_hurry`: it may follow another within a day, because the customer has to act."""

    link: Link
    may_hurry: bool = False


STEPS: Mapping[Message, Step] = {
    Message.PAYMENT_FAILED: Step(Link.INVOICE),
    Message.REMINDER: Step(Link.INVOICE),
    Message.LAST_NOTICE: Step(Link.INVOICE),
    Message.ACTION_REQUIRED: Step(Link.INVOICE, may_hurry=True),
    Message.NEW_METHOD_NEEDED: Step(Link.CARD),
    Message.CARD_EXPIRING: Step(Link.CARD),
    Message.RECOVERED: Step(Link.INVOICE),
}

_FIRST: Mapping[MessageKind, Message] = {
    MessageKind.PAYMENT_FAILED: Message.PAYMENT_FAILED,
    MessageKind.ACTION_REQUIRED: Message.ACTION_REQUIRED,
    MessageKind.NEW_METHOD_NEEDED: Message.NEW_METHOD_NEEDED,
}
# The second message of a kind, and each later one. A message that asks for an action repeats that request.
_AGAIN: Mapping[MessageKind, Message] = {**_FIRST, MessageKind.PAYMENT_FAILED: Message.REMINDER}
# The last message of a campaign, unless it is the only one.
_LAST: Mapping[MessageKind, Message] = {**_FIRST, MessageKind.PAYMENT_FAILED: Message.LAST_NOTICE}


def message_for(kind: MessageKind, sent: Sequence[SentMessage], *, last: bool) -> Message:
    """The message for `kind`, after those that were sent. `last`: no other one follows."""
    if not sent:
        return _FIRST[kind]
    return (_LAST if last else _AGAIN)[kind]


def free_from(message: Message, sent: Sequence[SentMessage]) -> datetime | None:
    """The earliest time for another message of the same recovery; None: any time.

    A day after the last one, except for a message that may hurry and was not sent before.
    """
    if not sent:
        return None
    hurries = STEPS[message].may_hurry and all(_FIRST[each.kind] is not message for each in sent)
    return None if hurries else max(each.at for each in sent) + ONE_DAY
