"""The ladders that others use when a renewal fails: attempts at fixed gaps, whatever the decline."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rungs:
    """A ladder: the gaps between its attempts, the first one after the failure. `obeys_hard`: no attempt on a card
    after a hard decline."""

    name: str
    gaps: tuple[timedelta, ...]
    obeys_hard: bool


STRIPE: Final = Rungs("stripe 8 in 14 days", (_DAY * 14 / 8,) * 8, obeys_hard=True)
"""Stripe: "8 tries within 2 weeks", its recommended default; its times are learned and not published, so they are
spread evenly here: https://docs.stripe.com/billing/revenue-recovery/smart-retries"""

POLAR: Final = Rungs("polar 2-5-7-7", (2 * _DAY, 5 * _DAY, 7 * _DAY, 7 * _DAY), obeys_hard=False)
"""Polar: after 2, 5, 7 and 7 days, as its source code has it."""

KILL_BILL: Final = Rungs("kill bill 8-8-8", (8 * _DAY,) * 3, obeys_hard=False)
"""Kill Bill: three retries, 8 days apart, the default of its `org.killbill.payment.retry.days`."""

LADDERS: Final = (STRIPE, POLAR, KILL_BILL)
