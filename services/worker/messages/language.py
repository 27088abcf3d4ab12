"""The language of a message, and how dates, months and amounts are written where its recipient lives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton
from babel.lists import format_list

from shared.money import Money, readable

LANGUAGES = ("en", "de", "fr", "es", "pt", "ja")
"""The languages that have texts; the first is for recipients of every other language."""

# The language for customers of a country who have not said which one they prefer. A country with several languages is
# not here, because the language cannot be known from it.
LANGUAGE_OF_COUNTRY = {
    **dict.fromkeys(("DE", "AT", "LI"), "de"),
    **dict.fromkeys(("FR", "MC"), "fr"),
    **dict.fromkeys(("ES", "MX", "AR", "CL", "CO", "PE", "UY", "EC", "CR", "PA", "DO", "GT", "BO", "PY"), "es"),
    **dict.fromkeys(("PT", "BR"), "pt"),
    "JP": "ja",
}

_TERRITORY = re.compile(r"[A-Za-z]{2}|\d{3}")


@dataclass(frozen=True, slots=True)
class Language:
    """`texts` is one of LANGUAGES; `region` is Babel's identifier of how the recipient's region writes numbers."""

    texts: str
    region: str

    @property
    def tag(self) -> str:
        """The language's tag for HTML (BCP 47)."""
        return self.region.replace("_", "-")

    def amount(self, money: Money) -> str:
        """An amount with its currency."""
        return readable(money, self.region)

    def together(self, parts: Sequence[str]) -> str:
        """Several amounts or names as one phrase: `a`, `a and b`, `a, b, and c`."""
        return str(format_list(list(parts), locale=self.region))

    def day(self, day: date) -> str:
        """A day near the present: day and month, without a year."""
        return str(format_skeleton("MMMMd", day, locale=self.region))

    def whole_day(self, day: date) -> str:
        """A day with its year."""
        return str(format_date(day, "long", locale=self.region))

    def month(self, year: int, month: int) -> str:
        """A month with its year."""
        return str(format_skeleton("yMMMM", date(year, month, 1), locale=self.region))

    def plural(self, count: int) -> str:
        """CLDR's plural category of a count: `one`, `other`, …"""
        return str(Locale.parse(self.region).plural_form(count))


def choose(preferred: Sequence[str], country: str | None = None) -> Language:
    """The language of the first preferred locale that there are texts in; else by the country; else English.

    `preferred` are BCP 47 tags in order (Stripe's `customer.preferred_locales`), which may be malformed. `country` is
    the merchant's (ISO 3166 alpha-2), because its customers most likely speak that country's language.
    """
    for tag in preferred:
        found = _of_tag(tag)
        if found is not None:
            return found
    texts = LANGUAGE_OF_COUNTRY.get(country or "", LANGUAGES[0])
    return _of_tag(f"{texts}-{country}") or Language(texts, texts)


@lru_cache(maxsize=512)
def _of_tag(tag: str) -> Language | None:
    parts = tag.replace("_", "-").split("-")
    texts = parts[0].lower()
    if texts not in LANGUAGES:
        return None
    territory = next((part.upper() for part in parts[1:] if _TERRITORY.fullmatch(part)), None)
    try:
        region = str(Locale(texts, territory))
    except (UnknownLocaleError, ValueError):
        region = texts  # CLDR has no such region for the language, as Spanish in Japan
    return Language(texts, region)
