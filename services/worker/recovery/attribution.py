"""Attribution: whether the payment of an invoice counts as ours."""

from collections.abc import Sequence
from typing import Literal

from services.worker.recovery.model import AttemptResult, Origin, PastAttempt
from shared.recovery_model import EndReason, RecoveredBy


def attribute_payment(
    attempts: Sequence[PastAttempt], messages_sent: int, *, paid_out_of_band: bool, charged: bool = True
) -> tuple[Literal["recovered"], RecoveredBy] | tuple[Literal["stopped"], Literal[EndReason.PAID_ELSEWHERE]]:
    """How a recovery of a paid invoice ends: `("recovered", by)` or `("stopped", "paid_elsewhere")`.

    Only what can be shown is ours: an attempt of ours that succeeded (`retry`), or a payment at Stripe by the customer
    after a message of ours (`message`). A success of Stripe's own retry, a payment outside Stripe and one that the
    merchant made in parts (not `charged`) are not ours. An attempt without an outcome proves nothing: settle it first.
    """
    succeeded = {attempt.origin for attempt in attempts if attempt.result is AttemptResult.SUCCEEDED}
    if Origin.CITADEL in succeeded:
        return "recovered", RecoveredBy.RETRY
    if paid_out_of_band or not charged or Origin.STRIPE in succeeded or messages_sent == 0:
        return "stopped", EndReason.PAID_ELSEWHERE
    return "recovered", RecoveredBy.MESSAGE
