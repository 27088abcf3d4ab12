"""The messages of a campaign, and which of them is due.

The brain decides what a message is for (`MessageKind`) and when it is sent; this module chooses one of the messages
that have texts. A new kind of the brain needs one line of `_FIRST`, and one of `_AGAIN` and `_LAST` where those differ.
A new message needs one member of `Message`, one line of `LINKS`, its texts in every language (a test checks all of
them), and, if a recovery sends it, one line of `_MESSAGED` in `handlers/notify_action_required.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
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
    SEVERAL = "several"
    ENDED = "ended"
    CARD_EXPIRING = "card_expiring"
    RECOVERED = "recovered"


class Link(StrEnum):
    """Where a message's button leads: to the invoice's page, or to the form for another card."""

    INVOICE = "invoice"
    CARD = "card"


LINKS: Mapping[Message, Link] = {
    Message.PAYMENT_FAILED: Link.INVOICE,
    Message.REMINDER: Link.INVOICE,
    Message.LAST_NOTICE: Link.INVOICE,
    Message.ACTION_REQUIRED: Link.INVOICE,
    Message.NEW_METHOD_NEEDED: Link.CARD,
    Message.SEVERAL: Link.CARD,
    Message.ENDED: Link.INVOICE,
    Message.CARD_EXPIRING: Link.CARD,
    Message.RECOVERED: Link.INVOICE,
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


URGENCY = (MessageKind.ACTION_REQUIRED, MessageKind.NEW_METHOD_NEEDED, MessageKind.PAYMENT_FAILED)
"""What is asked for, the most urgent first: a bank waits for the customer, nothing can be charged, we try again."""
