"""`python -m services.auth`: connect and disconnect merchants until told to stop."""

import uvloop

from services.auth.app import create_app
from services.auth.settings import AuthSettings
from shared import logging
from shared.database import Database, Role
from shared.http import serve_until_stopped
from shared.settings import load
from shared.stripe_clients import StripeClientFactory


async def main(settings: AuthSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    url = settings.database_url.get_secret_value()
    async with (
        Database.open(url, Role.AUTH, name="citadel-auth") as database,
        StripeClientFactory.open(settings) as clients,
    ):
        app = create_app(settings, database, clients)
        await serve_until_stopped(app, settings.host, settings.auth_port, settings.shutdown_grace_seconds)


if __name__ == "__main__":
    started_with = load(AuthSettings)
    logging.configure("auth", started_with.log_format, started_with.log_level)
    uvloop.run(main(started_with))
