"""`python -m services.ledger`: serve the API until SIGTERM or SIGINT."""

import asyncio

from services.ledger.app import run
from services.ledger.settings import LedgerSettings
from shared import logging
from shared.settings import load


def main() -> None:
    """Read the settings, then serve."""
    settings = load(LedgerSettings)
    logging.configure("ledger", settings.log_format, settings.log_level)
    asyncio.run(run(settings))


if __name__ == "__main__":
    main()
