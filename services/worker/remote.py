"""What `perform` gets: the ways out of the house. No database is among them, and none can be reached from here."""

from dataclasses import dataclass, field

from services.worker.circuits import Circuits
from services.worker.email import EmailSender
from services.worker.lease import Lease
from shared.stripe_clients import StripeClientFactory


@dataclass(frozen=True, slots=True)
class Outside:
    """The remote services; they live as long as the process. `circuits` says which of them can be reached."""

    stripe: StripeClientFactory
    email: EmailSender
    circuits: Circuits = field(default_factory=Circuits)


@dataclass(frozen=True, slots=True)
class Remote:
    """The remote services, and the lease of the task at hand: check it before anything outside is changed."""

    stripe: StripeClientFactory
    email: EmailSender
    lease: Lease
