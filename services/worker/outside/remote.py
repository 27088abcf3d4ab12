"""What `perform` gets: the ways out of the house. No database is among them, and none can be reached from here.

One question may be asked on the way out: whether what is about to be sent is still wanted (`Permission`).
"""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from services.worker.outside.circuits import Circuits
from services.worker.outside.email import EmailSender
from services.worker.outside.lease import Lease
from shared.silences import SilenceReason
from shared.stripe_clients import StripeClientFactory
from shared.unsubscribe import Recipient


class Permission(Protocol):
    """Says right before a call whether somebody has stopped meanwhile what was claimed."""

    async def refusal(self, recovery_id: UUID) -> str | None:
        """Why nothing may be sent for the recovery any more; None when it may. Raises RetryLater."""

    async def silence(self, recipient: Recipient) -> SilenceReason | None:
        """Why this customer is not written to; None for one who is. Raises RetryLater."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The remote services; they live as long as the process. `circuits` says which of them can be reached."""

    stripe: StripeClientFactory
    email: EmailSender
    permission: Permission
    circuits: Circuits = field(default_factory=Circuits)

    def remote(self, lease: Lease) -> "Remote":
        """What one task gets of it."""
        return Remote(self.stripe, self.email, lease, self.permission)


@dataclass(frozen=True, slots=True)
class Remote:
    """The remote services, and the lease of the task at hand: check it before anything outside is changed."""

    stripe: StripeClientFactory
    email: EmailSender
    lease: Lease
    permission: Permission
