"""`python -m benchmarks.ingress_server '{"url": …, "kind": …}'`: the ingress, or a server to compare it with.

group         the product
transaction   the same, with a transaction for each request
no-database   the same, answering without a database
bare          aiohttp, which only reads a body and answers: no signature, no routing
"""

import asyncio
import sys

import orjson
import uvloop
from aiohttp import web
from pydantic import SecretStr

from benchmarks.wire import SECRET, tell
from services.ingress.app import INTAKE, create_app
from services.ingress.batcher import Limits
from services.ingress.intake import Intake
from services.ingress.settings import IngressSettings
from shared import garbage, logging
from shared.database import Database, Role
from shared.events.incoming import Incoming
from shared.events.taking import Accepted, EventOutcome, take
from shared.http import serving, stop_signal


class OneByOne(Intake):
    """A transaction for each request."""

    async def accept(self, event: Incoming) -> Accepted:
        """Commit the event alone."""
        async with self._database.transaction() as db:
            return await take(db, event)


class WithoutDatabase(Intake):
    """Commits nothing: measures the server without its database."""

    async def accept(self, event: Incoming) -> Accepted:
        """Answer."""
        await asyncio.sleep(0)
        return Accepted(EventOutcome.ROUTED, None, False, None)


KINDS: dict[str, type[Intake]] = {"group": Intake, "transaction": OneByOne, "no-database": WithoutDatabase}


async def _answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=b'{"received":true}', content_type="application/json")


async def main(url: str, kind: str) -> None:
    """Serve until told to stop."""
    stop = stop_signal()
    async with Database.open(url, Role.INGRESS, name="bench-ingress") as database:
        if kind == "bare":
            app = web.Application()
            app.router.add_post("/webhooks/stripe", _answer)
        else:
            settings = IngressSettings(
                _env_file=None, database_url=SecretStr(url), stripe_webhook_secrets=SecretStr(SECRET)
            )
            app = create_app(settings, database)
            garbage.tune()
            if kind != "group":
                app[INTAKE] = KINDS[kind](database, Limits())
        async with serving(app, "127.0.0.1", 0, 10) as port:
            tell(port=port)
            await stop.wait()


if __name__ == "__main__":
    given = orjson.loads(sys.argv[1])
    # As in production: a JSON line for each event, into a pipe that is read.
    logging.configure("ingress", "json", "INFO")
    uvloop.run(main(**given))
