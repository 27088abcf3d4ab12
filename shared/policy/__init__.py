"""Policies: the merchant's rules as typed, versioned documents, for those that write them and those that obey."""

from shared.policy.causes import DeclineCause
from shared.policy.document import (
    SCHEMA_VERSION,
    WEEKDAYS,
    AttemptTimes,
    Conditions,
    Delays,
    EndAction,
    Overrides,
    Paydays,
    Policy,
    Schedule,
    Schedules,
    Segment,
    Weekday,
    json_schema,
)

__all__ = [
    "SCHEMA_VERSION",
    "WEEKDAYS",
    "AttemptTimes",
    "Conditions",
    "DeclineCause",
    "Delays",
    "EndAction",
    "Overrides",
    "Paydays",
    "Policy",
    "Schedule",
    "Schedules",
    "Segment",
    "Weekday",
    "json_schema",
]
