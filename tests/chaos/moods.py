"""Storms of several kinds: the relative frequency of each of the monkey's faults."""

from collections.abc import Mapping
from typing import Final

Mood = Mapping[str, int]

EVERYDAY: Final[Mood] = {
    "kill_worker": 30,
    "kill_ingress": 10,
    "kill_postgres": 6,
    "stop_worker": 4,
    "stop_waiting_worker": 4,
    "stop_ingress": 2,
    "cut_database": 8,
    "slow_database": 8,
    "refuse_database": 4,
    "stall_database": 4,
    "cut_stripe": 6,
    "slow_stripe": 4,
    "cut_webhooks": 6,
    "slow_webhooks": 2,
    "stripe_fault": 24,
    "send_again": 8,
    "same_fact_again": 4,
    "customer_pays": 3,
    "customer_changes_card": 3,
    "customer_crosses": 3,
    "day_without_workers": 1,
}

# Workers are stopped beyond their leases again and again, while Stripe's answers are on their way.
SLEEPERS: Final[Mood] = {"stop_waiting_worker": 10, "stop_worker": 3, "slow_pay": 20, "kill_worker": 1}

# Customers act while workers write: transactions are slow, so that two concern one recovery at a time.
CROSSINGS: Final[Mood] = {"customer_crosses": 40, "slow_database": 20, "slow_pay": 4, "kill_worker": 2, "send_again": 4}

# The intake: ingress and PostgreSQL die in the middle of commits, and commits are slow.
INTAKE: Final[Mood] = {"kill_ingress": 10, "kill_postgres": 4, "slow_database": 20, "cut_webhooks": 4, "send_again": 4}

# Money moves and the answer gets lost.
UNANSWERED: Final[Mood] = {"unanswered_pay": 20, "kill_worker": 10, "cut_stripe": 6, "slow_pay": 4}

MOODS: Final[Mapping[str, Mood]] = {
    "everyday": EVERYDAY,
    "sleepers": SLEEPERS,
    "crossings": CROSSINGS,
    "intake": INTAKE,
    "unanswered": UNANSWERED,
}
