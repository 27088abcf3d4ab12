"""A merchant's name and colour, read from its Stripe account for each email and dropped with it."""

import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_INK, _PAPER = "#1c2330", "#ffffff"
# WCAG 2.2, success criterion 1.4.3: a contrast of at least 4.5:1 between text and background.
_READABLE = 4.5
# A name is part of subjects and sentences; a longer one is cut.
_LONGEST_NAME = 80


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Profile(_Part):
    name: str | None = None
    support_email: str | None = None


class _Branding(_Part):
    primary_color: str | None = None


class _Dashboard(_Part):
    display_name: str | None = None


class _Settings(_Part):
    branding: _Branding | None = None
    dashboard: _Dashboard | None = None


class Account(_Part):
    """The parts of a Stripe account that emails show. `country` is ISO 3166 alpha-2."""

    country: str | None = None
    business_profile: _Profile | None = None
    settings: _Settings | None = None


@dataclass(frozen=True, slots=True)
class Brand:
    """A merchant's name, the colours of a button and of its text, and `reply_to`, the address for answers."""

    name: str | None = field(repr=False)
    color: str = _INK
    on_color: str = _PAPER
    reply_to: str | None = field(default=None, repr=False)
    country: str | None = None


def brand_of(account: dict[str, Any], fallback_name: str | None = None) -> Brand:
    """The brand of an account (Stripe's own JSON); `fallback_name` is the account's name on an invoice."""
    read = Account.model_validate(account)
    profile, settings = read.business_profile or _Profile(), read.settings or _Settings()
    shown = settings.dashboard.display_name if settings.dashboard else None
    chosen = settings.branding.primary_color if settings.branding else None
    color = chosen.lower() if chosen and _HEX.fullmatch(chosen) else _INK
    return Brand(
        name=next((name for each in (profile.name, shown, fallback_name) if (name := _readable(each))), None),
        color=color,
        on_color=_PAPER if _contrast(color, _PAPER) >= min(_READABLE, _contrast(color, _INK)) else _INK,
        reply_to=profile.support_email,
        country=read.country,
    )


def _readable(name: str | None) -> str | None:
    """A name on one line, without characters that cannot be seen; None when nothing is left."""
    words = "".join(each if each.isprintable() else " " for each in name or "").split()
    shown = " ".join(words)
    return (shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1].rstrip()}…") or None


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
