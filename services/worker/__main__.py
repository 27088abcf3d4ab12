"""`python -m services.worker`: do the work until told to stop."""

import uvloop

from services.worker.app import run
from services.worker.settings import WorkerSettings
from shared import garbage, logging
from shared.database import Database, Role
from shared.http import stop_signal
from shared.settings import load


async def main(settings: WorkerSettings) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = stop_signal()
    garbage.tune()
    url = settings.database_url.get_secret_value()
    size = settings.worker_database_connections
    async with Database.open(url, Role.WORKER, size=size, name="citadel-worker") as database:
        await run(settings, database, stop)


if __name__ == "__main__":
    started_with = load(WorkerSettings)
    logging.configure("worker", started_with.log_format, started_with.log_level)
    uvloop.run(main(started_with))
