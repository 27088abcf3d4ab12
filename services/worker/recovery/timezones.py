"""One time zone for each country, to tell when its banks' morning is.

Countries with one zone come from CLDR (the library babel). For those with several, the zone with the most people is
listed here, by its name in the IANA tz database.
"""

from collections.abc import Mapping
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel.core import get_global

MOST_POPULOUS_ZONE: Mapping[str, str] = {
    "AR": "America/Argentina/Buenos_Aires",
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "CD": "Africa/Kinshasa",
    "CL": "America/Santiago",
    "CN": "Asia/Shanghai",
    "CY": "Asia/Nicosia",
    "DE": "Europe/Berlin",
    "EC": "America/Guayaquil",
    "ES": "Europe/Madrid",
    "FM": "Pacific/Chuuk",
    "GL": "America/Nuuk",
    "ID": "Asia/Jakarta",
    "KI": "Pacific/Tarawa",
    "KZ": "Asia/Almaty",
    "MH": "Pacific/Majuro",
    "MN": "Asia/Ulaanbaatar",
    "MX": "America/Mexico_City",
    "MY": "Asia/Kuala_Lumpur",
    "NZ": "Pacific/Auckland",
    "PF": "Pacific/Tahiti",
    "PG": "Pacific/Port_Moresby",
    "PS": "Asia/Gaza",
    "PT": "Europe/Lisbon",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
    "US": "America/New_York",
    "UZ": "Asia/Tashkent",
}

UTC = ZoneInfo("UTC")


@lru_cache(maxsize=1024)
def zone_of(country: str | None) -> ZoneInfo:
    """The time zone of a country (ISO 3166 alpha-2); UTC for None and for an unknown one."""
    code = (country or "").upper()
    if code in MOST_POPULOUS_ZONE:
        return ZoneInfo(MOST_POPULOUS_ZONE[code])
    zones: list[str] = get_global("territory_zones").get(code, [])
    return ZoneInfo(zones[0]) if len(zones) == 1 else UTC
