"""`python -m services.ingress`: take Stripe's events in until told to stop."""

import uvloop

from services.ingress.app import create_app
from services.ingress.settings import IngressSettings
from shared import garbage, logging
from shared.database import Database, Role
from shared.http import serve_until_stopped
from shared.settings import load


async def main(settings: IngressSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    url = settings.database_url.get_secret_value()
    async with Database.open(url, Role.INGRESS, name="citadel-ingress") as database:
        app = create_app(settings, database)
        garbage.tune()
        await serve_until_stopped(app, settings.host, settings.ingress_port, settings.shutdown_grace_seconds)


if __name__ == "__main__":
    started_with = load(IngressSettings)
    logging.configure("ingress", started_with.log_format, started_with.log_level)
    uvloop.run(main(started_with))
