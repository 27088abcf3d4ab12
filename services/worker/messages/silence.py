"""Why a customer is not written to, and how a recovery's timeline says it."""

from enum import StrEnum


class Silence(StrEnum):
    """The reason; `silenced_customers.reason`."""

    OPTED_OUT = "opted_out"
    COMPLAINED = "complained"
    BOUNCED = "bounced"


TOLD = {
    Silence.OPTED_OUT: "No messages: the customer has unsubscribed.",
    Silence.COMPLAINED: "No messages: the customer marked one as spam.",
    Silence.BOUNCED: "No messages: the customer's mailbox does not exist.",
}
