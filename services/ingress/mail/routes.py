"""Which routes about emails an ingress has: those that it has a secret for."""

from aiohttp import web

from services.ingress.mail.unsubscribe import add_unsubscribe_routes
from services.ingress.mail.webhook import add_webhook_routes
from services.ingress.settings import IngressSettings


def add_mail_routes(app: web.Application, settings: IngressSettings) -> None:
    """Serve what comes back about emails; without its secret a route is not there."""
    add_webhook_routes(app, settings)
    add_unsubscribe_routes(app, settings)
