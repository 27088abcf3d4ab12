"""The ledger's application: every endpoint of the route table, and the document made from the same table."""

import orjson
from aiohttp import web

from services.ledger.api.csv_export import EXPORTS, Exports
from services.ledger.api.endpoint import serve_endpoint
from services.ledger.api.openapi import document
from services.ledger.routes import ENDPOINTS
from services.ledger.settings import LedgerSettings
from shared.database import Database, Role
from shared.http import make_app, serve_until_stopped

MAX_BODY_BYTES = 64 * 1024


def make_ledger_app(database: Database) -> web.Application:
    """The API over `database`, which is opened under Role.LEDGER."""
    app = make_app("ledger", database, max_body_bytes=MAX_BODY_BYTES)
    app[EXPORTS] = Exports()
    for endpoint in ENDPOINTS:
        # aiohttp's default pattern excludes braces: an id in braces would be an unknown path instead of a wrong id.
        app.router.add_route(endpoint.method, endpoint.path.replace("}", ":[^/]+}"), serve_endpoint(endpoint))
    text = orjson.dumps(document(ENDPOINTS))

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(body=text, content_type="application/json")

    app.router.add_get("/openapi.json", openapi)
    return app


async def run(settings: LedgerSettings) -> None:
    """Serve until the process is told to stop."""
    url = settings.database_url.get_secret_value()
    async with Database.open(url, Role.LEDGER, name="ledger") as database:
        app = make_ledger_app(database)
        await serve_until_stopped(app, settings.host, settings.ledger_port, settings.shutdown_grace_seconds)
