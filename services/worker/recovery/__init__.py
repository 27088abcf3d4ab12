"""The recovery brain: what to do next about a failed invoice, as a pure function of what is known.

No I/O, no clock, no randomness. `decide` is the rulebook; the other modules are its tables and its types.
"""

from services.worker.recovery.attribution import attribute_payment
from services.worker.recovery.decide import HOLDS, decide
from services.worker.recovery.declines import Classified, Hardness, classify
from services.worker.recovery.message_hours import HourOfMessages, Moment
from services.worker.recovery.messages import MessageKind, SentMessage, missed_message, next_moment
from services.worker.recovery.model import (
    AskNewMethod,
    AttemptNow,
    AttemptResult,
    AwaitPayment,
    Card,
    Close,
    Considered,
    Decision,
    Decline,
    FirstDefault,
    InvoiceStatus,
    InvoiceTruth,
    OnFile,
    Origin,
    PastAttempt,
    Pause,
    Prediction,
    Reason,
    RecoveryFacts,
    RequireAction,
    Wait,
    end_of_card,
)
from services.worker.recovery.networks import CURRENT_RULES, Allowed, Never, NotBefore, check
from services.worker.recovery.schedule import next_retry
from services.worker.recovery.segments import in_holdout, segment_facts
from services.worker.recovery.timing import BY_THE_RULES, Timing
from shared.policy import DeclineCause, Delays, Likeliest, Paydays, Policy, Schedule, Schedules

__all__ = [
    "BY_THE_RULES",
    "CURRENT_RULES",
    "HOLDS",
    "Allowed",
    "AskNewMethod",
    "AttemptNow",
    "AttemptResult",
    "AwaitPayment",
    "Card",
    "Classified",
    "Close",
    "Considered",
    "Decision",
    "Decline",
    "DeclineCause",
    "Delays",
    "FirstDefault",
    "Hardness",
    "HourOfMessages",
    "InvoiceStatus",
    "InvoiceTruth",
    "Likeliest",
    "MessageKind",
    "Moment",
    "Never",
    "NotBefore",
    "OnFile",
    "Origin",
    "PastAttempt",
    "Pause",
    "Paydays",
    "Policy",
    "Prediction",
    "Reason",
    "RecoveryFacts",
    "RequireAction",
    "Schedule",
    "Schedules",
    "SentMessage",
    "Timing",
    "Wait",
    "attribute_payment",
    "check",
    "classify",
    "decide",
    "end_of_card",
    "in_holdout",
    "missed_message",
    "next_moment",
    "next_retry",
    "segment_facts",
]
