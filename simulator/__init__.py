"""A stateful, deterministic stand-in for Stripe (Connect, Billing) and Resend.

    simulator = Simulator(seed=1)
    async with serve(simulator) as url:
        async with SimulatorClient(url) as control:
            account = await control.add_account(connected=True)

See README.md for the control API and for what is and is not imitated.
"""

from simulator.app import make_app, serve
from simulator.client import SimulatorClient, SimulatorError
from simulator.simulation import CLIENT_ID, PLATFORM, RESEND_KEY, SECRET_KEY, Simulator

__all__ = [
    "CLIENT_ID",
    "PLATFORM",
    "RESEND_KEY",
    "SECRET_KEY",
    "Simulator",
    "SimulatorClient",
    "SimulatorError",
    "make_app",
    "serve",
]
