"""The names of paydays that a policy may use: on which days wages arrive."""

from typing import Final

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ORDINALS: Final = {1: "first", 2: "second", 3: "third", 5: "fifth"}
"""The business days of a month on which wages are known to be paid."""
PAIRS: Final = ((1, 15), (5, 20), (10, 25), (15, 31))
"""The pairs of days of those who are paid twice a month."""

PAYDAYS: Final[tuple[str, ...]] = (
    *(f"day_{day}" for day in range(1, 32)),
    "last_business_day",
    *(f"business_day_{number}" for number in ORDINALS),
    *(f"last_{day}" for day in _WEEKDAYS),
    *(f"weekly_{day}" for day in _WEEKDAYS),
    *(f"biweekly_{day}_{week}" for day in _WEEKDAYS for week in (0, 1)),
    *(f"days_{first}_{second}" for first, second in PAIRS),
)
"""`day_25`: the 25th, or the business day before. `business_day_5`: the fifth of a month. `last_friday`: of a month.
`biweekly_friday_0` and `_1`: in even and odd weeks, counted from year 1. `days_1_15`: on both days of a month.
"""
