"""The page of `/unsubscribe`, in the languages of the emails. No script, nothing from other sites."""

import base64
import hashlib
import tomllib
from enum import StrEnum
from html import escape
from importlib.resources import files

from aiohttp import web


class Page(StrEnum):
    """What the page shows."""

    ASK = "ask"
    DONE = "done"
    UNKNOWN = "unknown"


_TEXTS = tomllib.loads((files("services.ingress.mail") / "pages.toml").read_text(encoding="utf-8"))

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1.5rem }
h1 { font-size: 1.4rem; line-height: 1.3 }
button { font: inherit; font-weight: 600; padding: .7rem 1.3rem; border-radius: .5rem; border: 1px solid #7f7f7f66; \
background: #1c2330; color: #fff; cursor: pointer }
"""
_PAGE = """<!doctype html>
<html lang="{language}">
<head><meta charset="utf-8"><title>{title}</title><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><style>{style}</style></head>
<body><main><h1>{title}</h1><p>{text}</p>{form}</main></body>
</html>
"""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


def render(page: Page, accepted: str, *, status: int = 200) -> web.Response:
    """The page in the best language of an `Accept-Language` header."""
    language = language_of(accepted)
    title, text = _TEXTS[language][page]["title"], _TEXTS[language][page]["text"]
    button = escape(_TEXTS[language]["button"])
    form = f'<form method="post"><button>{button}</button></form>' if page is Page.ASK else ""
    body = _PAGE.format(language=language, title=escape(title), text=escape(text), style=_STYLE, form=form)
    return web.Response(status=status, text=body, content_type="text/html", headers=_HEADERS)


def language_of(accepted: str) -> str:
    """The customer's preferred one of our languages (RFC 9110, section 12.5.4); English if none or unreadable."""
    wishes: list[tuple[float, str]] = []
    for wish in accepted[:500].split(","):
        tag, _, weight = wish.partition(";")
        language = tag.strip().lower().split("-")[0]
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if language in _TEXTS and quality > 0:
            wishes.append((-quality, language))
    return min(wishes, key=lambda wish: wish[0], default=(0.0, "en"))[1]
