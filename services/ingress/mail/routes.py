"""The routes about emails: an ingress serves those for which it has a secret."""

from aiohttp import web

from services.ingress.mail.unsubscribe import add_unsubscribe_routes
from services.ingress.mail.webhook import add_webhook_routes
from services.ingress.settings import IngressSettings


def add_mail_routes(app: web.Application, settings: IngressSettings) -> None:
    """Add the routes; one without its secret is missing."""
    add_webhook_routes(app, settings)
    add_unsubscribe_routes(app, settings)
