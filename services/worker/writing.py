"""Emails as text and HTML, from the templates beside this module."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_templates = Environment(
    loader=PackageLoader("services.worker"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write(kind: str, facts: Mapping[str, Any]) -> tuple[str, str]:
    """The email of this kind: (text, HTML). HTML escapes every fact; a fact that is missing raises UndefinedError."""
    text = _templates.get_template(f"{kind}.txt").render(facts)
    html = _templates.get_template(f"{kind}.html").render(facts)
    return text, html
