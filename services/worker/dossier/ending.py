"""The words that a timeline uses for a policy's end actions."""

from collections.abc import Mapping

from shared.policy import EndAction

STEPS: Mapping[EndAction, str] = {
    "leave": "nothing",
    "cancel": "cancel the subscription",
    "pause": "pause the subscription's collection",
    "mark_uncollectible": "mark the invoice uncollectible",
}
