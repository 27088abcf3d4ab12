"""The two small pages for a merchant's browser. No script, nothing from other sites, every value escaped."""

import base64
import hashlib
from html import escape

from aiohttp import web

from shared.ids import AccountId

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1.5rem; color: #1a1f36 }
h1 { font-size: 1.4rem }
code { background: #f2f4f8; padding: .1rem .3rem; border-radius: .2rem }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title><meta name="viewport" content="width=device-width">
<style>{style}</style></head>
<body><main><h1>{title}</h1>
{content}
</main></body>
</html>
"""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)


def _page(status: int, title: str, content: str) -> web.Response:
    text = _PAGE.format(title=escape(title), style=_STYLE, content=content)
    return web.Response(status=status, text=text, content_type="text/html")


def connected_page(stripe_connect_id: AccountId) -> web.Response:
    """The account is connected."""
    text = "Renewals that fail are recovered from now on. You can close this page."
    return _page(
        200,
        "Your Stripe account is connected",
        f"<p>Account <code>{escape(stripe_connect_id)}</code>. {escape(text)}</p>",
    )


def problem_page(status: int, detail: str, start_url: str) -> web.Response:
    """The account is not connected: why, and the way to begin again."""
    return _page(
        status,
        "Your Stripe account was not connected",
        f'<p>{escape(detail)}</p>\n<p><a href="{escape(start_url)}">Connect with Stripe</a></p>',
    )
