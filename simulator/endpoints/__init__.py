"""Stripe's endpoints, one module a subject; importing this package registers all of them."""

from simulator.endpoints import (
    accounts,
    billing_tools,
    credit,
    customers,
    invoices,
    payments,
    subscriptions,
)
from simulator.endpoints.registry import ENDPOINTS, Call, Endpoint

__all__ = [
    "ENDPOINTS",
    "Call",
    "Endpoint",
    "accounts",
    "billing_tools",
    "credit",
    "customers",
    "invoices",
    "payments",
    "subscriptions",
]
