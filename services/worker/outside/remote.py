"""Remote services that `perform` may use. No database is among them, and none can be reached through them.

Before a call `perform` may ask one question: whether the call is still wanted (`Permission`).
"""

from dataclasses import dataclass, field
from typing import Protocol

from services.worker.outside.circuits import Circuits
from services.worker.outside.email import EmailSender
from services.worker.outside.lease import Lease
from shared.ids import CustomerId, MerchantId, RecoveryId, SubscriptionId
from shared.silences import SilenceReason
from shared.stripe_clients import StripeClientFactory
from shared.unsubscribe import Recipient


class Permission(Protocol):
    """Says right before a call whether the recovery was stopped, or the customer silenced or left alone, since then."""

    async def refusal(self, recovery_id: RecoveryId, last_id: int) -> str | None:
        """Why nothing may be sent for the recovery any more, or yet: `news` after the timeline's row `last_id`.

        None when it may. Raises RetryLater.
        """

    async def left_alone(self, recovery_id: RecoveryId) -> bool:
        """Whether the recovery's customer or subscription is left alone. Raises RetryLater."""

    async def spared(self, merchant_id: MerchantId, customer_id: CustomerId, subscription_id: SubscriptionId) -> bool:
        """Whether this customer or this subscription is left alone. Raises RetryLater."""

    async def silence(self, recipient: Recipient) -> SilenceReason | None:
        """Why this customer gets no messages; None for one who does. Raises RetryLater."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The remote services, for the life of the process. `circuits` says which of them may be called."""

    stripe: StripeClientFactory
    email: EmailSender
    permission: Permission
    circuits: Circuits = field(default_factory=Circuits)

    def remote(self, lease: Lease) -> "Remote":
        """The remote services for one task, with its lease."""
        return Remote(self.stripe, self.email, lease, self.permission)


@dataclass(frozen=True, slots=True)
class Remote:
    """The remote services and the task's lease: check the lease before you change anything outside."""

    stripe: StripeClientFactory
    email: EmailSender
    lease: Lease
    permission: Permission
