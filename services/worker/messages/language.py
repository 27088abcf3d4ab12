"""The language of a message, and how dates, months and amounts are written where its reader lives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton

from services.worker.messages.amounts import readable
from shared.money import Money

LANGUAGES = ("en", "de", "fr", "es", "pt", "ja")
"""The languages that there are texts in; the first is for readers of every other one."""

# What a country's customers are written in when they have not said which language they prefer. A country with
# several languages is not here: nobody is addressed in a language for living beside its speakers.
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
    """`texts` is one of LANGUAGES; `region` is Babel's identifier of the reader's own way to write numbers."""

    texts: str
    region: str

    @property
    def tag(self) -> str:
        """As HTML names it (BCP 47)."""
        return self.region.replace("_", "-")

    def amount(self, money: Money) -> str:
        """An amount with its currency."""
        return readable(money, self.region)

    def day(self, day: date) -> str:
        """A day of about now: day and month, without a year."""
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

    `preferred` are BCP 47 tags in order (Stripe's `customer.preferred_locales`), of which nothing is expected to be
    well-formed; `country` is the merchant's (ISO 3166 alpha-2), whose customers' language it most likely is.
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
        region = texts  # a region that CLDR has no ways for, as Spanish in Japan
    return Language(texts, region)
