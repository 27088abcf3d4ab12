"""The whole control API: importing this registers every route of it, one module a subject."""

from simulator import control_access, control_cards, control_collection, control_money, control_resend, control_shapes
from simulator.control import CONTROL, Ask

__all__ = [
    "CONTROL",
    "Ask",
    "control_access",
    "control_cards",
    "control_collection",
    "control_money",
    "control_resend",
    "control_shapes",
]
