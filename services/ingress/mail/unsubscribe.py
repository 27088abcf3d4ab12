"""`/unsubscribe/{token}`: a customer unsubscribes from all messages of a merchant, with one click.

    GET   shows a button, and changes nothing: mail programs and scanners fetch every link of an email
    POST  ends the messages; from a mail program (`List-Unsubscribe=One-Click`, RFC 8058, section 3.2) or by the button

The token names the merchant and the customer, and is signed by us; no login is needed. Only the customer's id is
stored. A POST has no other parameter, so its body is not read.
"""

from aiohttp import web
from prometheus_client import Counter

from services.ingress.mail.pages import Page, render
from services.ingress.mail.silencing import silence
from services.ingress.settings import IngressSettings
from shared.crypto import BadSignature
from shared.database import Connection
from shared.http import DATABASE
from shared.logging import get_logger
from shared.silences import SilenceReason
from shared.unsubscribe import PATH, Recipient, UnsubscribePages

log = get_logger(__name__)

PAGES = web.AppKey("unsubscribe_pages", UnsubscribePages)
_UNSUBSCRIBED = Counter("citadel_unsubscribed_total", "Customers who ended their messages", ["outcome"])


def add_unsubscribe_routes(app: web.Application, settings: IngressSettings) -> None:
    """Serve the page, if there is a secret to check its addresses with."""
    if settings.unsubscribe_secrets is not None:
        app[PAGES] = UnsubscribePages.of(settings.unsubscribe_secrets)
        app.router.add_get(PATH + "{token}", _ask)
        app.router.add_post(PATH + "{token}", _end)


def _recipient(request: web.Request) -> Recipient | None:
    try:
        return request.app[PAGES].recipient(request.match_info["token"])
    except BadSignature:
        return None


async def _ask(request: web.Request) -> web.Response:
    accepted = request.headers.get("Accept-Language", "")
    return render(Page.ASK, accepted) if _recipient(request) else render(Page.UNKNOWN, accepted, status=404)


async def _end(request: web.Request) -> web.Response:
    accepted = request.headers.get("Accept-Language", "")
    recipient = _recipient(request)
    if recipient is None:
        _UNSUBSCRIBED.labels("unknown").inc()
        return render(Page.UNKNOWN, accepted, status=404)

    async def work(db: Connection) -> bool:
        origin = {"source": "unsubscribe"}
        return await silence(db, recipient.merchant_id, recipient.customer_id, SilenceReason.OPTED_OUT, origin)

    new = await request.app[DATABASE].committed(work)
    _UNSUBSCRIBED.labels("new" if new else "again").inc()
    log.info("unsubscribed", merchant_id=recipient.merchant_id, again=not new)
    return render(Page.DONE, accepted)
