"""How a timeline names what the policy asks for at Stripe when a recovery is exhausted: its steps in words."""

from collections.abc import Mapping

from shared.policy import EndAction

STEPS: Mapping[EndAction, str] = {
    "leave": "nothing",
    "cancel": "cancel the subscription",
    "pause": "pause the subscription's collection",
    "mark_uncollectible": "mark the invoice uncollectible",
}
