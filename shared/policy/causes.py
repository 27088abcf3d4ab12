"""The causes of a decline that a policy may name."""

from enum import StrEnum


class DeclineCause(StrEnum):
    """Causes that need different reactions. Those after UNKNOWN are always hard declines."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    TRY_LATER = "try_later"
    DO_NOT_HONOR = "do_not_honor"
    LIMIT_EXCEEDED = "limit_exceeded"
    EXPIRED_CARD = "expired_card"
    NOT_ALLOWED = "not_allowed"
    UNKNOWN = "unknown"
    LOST_OR_STOLEN = "lost_or_stolen"
    INCORRECT_DETAILS = "incorrect_details"
    AUTHENTICATION_REQUIRED = "authentication_required"
    FRAUD_SUSPECTED = "fraud_suspected"
    REVOKED = "revoked"
