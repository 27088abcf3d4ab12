"""Policies: the merchant's rules as typed, versioned documents."""

from shared.policy.causes import DeclineCause
from shared.policy.comparison import Difference, differences
from shared.policy.document import (
    SCHEMA_VERSION,
    WEEKDAYS,
    AttemptTimes,
    Conditions,
    Delays,
    EndAction,
    Likeliest,
    Overrides,
    Paydays,
    Policy,
    Schedule,
    Schedules,
    Segment,
    Weekday,
    json_schema,
)
from shared.policy.message_hours import AnyHour, HourWindow, LikeliestHour, MessageHours
from shared.policy.validation import PolicyProblem, PolicyRefused, problems_of, read_policy

__all__ = [
    "SCHEMA_VERSION",
    "WEEKDAYS",
    "AnyHour",
    "AttemptTimes",
    "Conditions",
    "DeclineCause",
    "Delays",
    "Difference",
    "EndAction",
    "HourWindow",
    "Likeliest",
    "LikeliestHour",
    "MessageHours",
    "Overrides",
    "Paydays",
    "Policy",
    "PolicyProblem",
    "PolicyRefused",
    "Schedule",
    "Schedules",
    "Segment",
    "Weekday",
    "differences",
    "json_schema",
    "problems_of",
    "read_policy",
]
