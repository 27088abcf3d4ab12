"""One time zone for each country: where its banks' mornings are.

Countries with one zone come from CLDR (the library babel); for those with several the zone of the most people is
named here, by its name in the IANA tz database.
"""

from collections.abc import Mapping
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


def zone_of(country: str | None) -> ZoneInfo:
    """The time zone of an ISO 3166 alpha-2 country; UTC for none and for one that is not known."""
    code = (country or "").upper()
    if code in MOST_POPULOUS_ZONE:
        return ZoneInfo(MOST_POPULOUS_ZONE[code])
    zones: list[str] = get_global("territory_zones").get(code, [])
    return ZoneInfo(zones[0]) if len(zones) == 1 else UTC
