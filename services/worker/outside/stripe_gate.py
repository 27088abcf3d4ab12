"""What every call to Stripe passes: the limits on calls a second (`call_rates`) and the circuit (`circuits`)."""

from services.worker.outside.call_rates import CallRates
from services.worker.outside.circuits import Circuits
from services.worker.outside.lease import check_guarding
from shared.ids import AccountId

REMOTE = "stripe"
_TOO_MANY = 429


class StripeGate:
    """In front of the HTTP client (`shared.stripe_clients.Gate`). `rates=None`: calls are not spaced."""

    def __init__(self, circuits: Circuits, rates: CallRates | None) -> None:
        self._circuits = circuits
        self._rates = rates

    async def enter(self, account: AccountId | None) -> None:
        """Wait for this call's slot. Raises RetryLater (no try is used up) and LeaseLost: the call is not made."""
        self._circuits.check(REMOTE)
        if self._rates is not None:
            await self._rates.turn(account or "platform")
            check_guarding()  # waiting for the slot may have taken longer than the lease
        self._circuits.enter(REMOTE)

    async def left(self, account: AccountId | None, status: int | None, retry_after: str | None) -> None:
        """Note how the call ended: its status, None without a complete answer."""
        self._circuits.left(REMOTE, failed=status is None or status >= 500)
        if status == _TOO_MANY and self._rates is not None:
            asked = float(retry_after) if retry_after and retry_after.isdigit() else 1.0
            await self._rates.slow_down(account or "platform", min(asked, 60.0))

    def broken_off(self) -> None:
        """Note that this side broke the call off."""
        self._circuits.left(REMOTE, failed=None)


def calls_per_second(secret_key: str) -> float:
    """What Stripe accepts for one account: 100/s live, 25/s in a sandbox (https://docs.stripe.com/rate-limits)."""
    return 100.0 if "_live_" in secret_key else 25.0
