"""A merchant's past failures as a file, and how they are read from Stripe."""

from console.evaluation.history.document import (
    Attempt,
    Card,
    Failure,
    Header,
    HistoryRefused,
    OnFile,
    Problem,
    read_history,
    write_history,
)

__all__ = [
    "Attempt",
    "Card",
    "Failure",
    "Header",
    "HistoryRefused",
    "OnFile",
    "Problem",
    "read_history",
    "write_history",
]
