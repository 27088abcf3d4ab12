"""The report on calibration: how likely attempts were said to be to succeed, and how many of them did.

Only attempts with a predicted chance are in it: those that follow from a belief (`likeliest` in a policy). The chance
is what the plan said before the attempt was made; nothing is computed anew. Attempts without an outcome yet are left
out and counted: taken for failures, they would make every recent prediction look too high.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from services.ledger.api.endpoint import Call, Endpoint
from services.ledger.api.schemas import NoBody
from services.ledger.api.select import fetch
from services.ledger.api.tenancy import NO_MERCHANT, visible_merchant
from services.ledger.calibration.measure import (
    BINS,
    Bin,
    agreement,
    calibration_error,
    error_by_chance,
    told,
)
from services.ledger.calibration.schemas import CalibrationGroup, CalibrationRange, CalibrationReport
from services.ledger.calibration.store import CalibratedBy, select_calibration
from services.ledger.learning.endpoints import learned_of
from services.ledger.reports.endpoints import days_of
from services.ledger.reports.lift import CONFIDENCE
from shared.api_keys import Scope
from shared.clock import business_now
from shared.database import Connection
from shared.http import invalid
from shared.ids import MerchantId

Cell = Mapping[str, Any]
"""A row of `select_calibration`: one bin of one group."""


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _figures(each: Bin) -> dict[str, Any]:
    low, high = each.interval or (None, None)
    return {
        "attempts": each.attempts,
        "succeeded": each.succeeded,
        "predicted": _rounded(each.predicted),
        "observed": _rounded(each.observed),
        "low": _rounded(low),
        "high": _rounded(high),
    }


def shown(cells: Sequence[Cell]) -> dict[str, Any]:
    """The fields of a `Calibration`: shares and chances with six decimal places."""
    places = [Bin()] * BINS
    for cell in cells:
        places[cell["bin"]] += Bin(cell["attempts"], cell["expected"], cell["succeeded"])
    whole = sum(places, Bin())
    verdict, chance = agreement(places), error_by_chance(places)
    return {
        **_figures(whole),
        "error": _rounded(calibration_error(places)),
        "error_by_chance": None if chance is None else round(chance.mean, 6),
        "error_limit": None if chance is None else round(chance.limit, 6),
        "verdict": verdict,
        "text": told(whole, verdict),
        "without_outcome": sum(cell["without_outcome"] for cell in cells),
        "refused": sum(cell["refused"] for cell in cells),
        "bins": [
            {"at_least": number / BINS, "below": (number + 1) / BINS, **_figures(each)}
            for number, each in enumerate(places)
        ],
    }


def groups_of(cells: Sequence[Cell]) -> list[CalibrationGroup]:
    """The report's groups, those with the most attempts first."""
    named: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        named[cell["group"]].append(cell)
    groups = [CalibrationGroup.model_validate({"group": name, **shown(own)}) for name, own in named.items()]
    return sorted(groups, key=lambda each: (-each.attempts, each.group))


async def calibration(
    db: Connection, merchant_id: MerchantId | None, first: date | None, last: date | None, group_by: CalibratedBy
) -> CalibrationReport:
    """The report on the recoveries that were opened on these days (UTC), both included. Raises Problem 400."""
    now = await business_now(db)
    first, last = days_of(first, last, now.date())
    start, until = (datetime.combine(day, time(), UTC) for day in (first, last + timedelta(days=1)))
    cells = [dict(row) for row in await fetch(db, select_calibration(start, until, merchant_id, group_by))]
    return CalibrationReport.model_validate(
        {
            "merchant_id": merchant_id,
            "from": first,
            "to": last,
            "as_of": now,
            "group_by": group_by,
            "confidence": CONFIDENCE,
            "learned": await learned_of(db, merchant_id),
            "total": shown(cells),
            "data": groups_of(cells),
        }
    )


async def calibration_report(call: Call[CalibrationRange, NoBody]) -> CalibrationReport:
    """The report as JSON."""
    asked = call.parameters
    if asked.group_by == "merchant" and call.key.merchant_id is not None:
        raise invalid(400, "malformed-request", [("group_by", "merchant: only with a key of the platform")])
    merchant_id = await visible_merchant(call.db, call.key, asked.merchant_id)
    return await calibration(call.db, merchant_id, asked.from_, asked.to, asked.group_by)


ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="reportCalibration",
        method="GET",
        path="/v1/reports/calibration",
        scope=Scope.RECOVERIES_READ,
        summary="How likely attempts were said to be to succeed, and how many of them did",
        description="Of the attempts with a predicted chance of the recoveries that were opened from `from` to `to`: "
        "predicted against observed in ten bins, in all and by group, with the expected calibration error. The chance "
        "is the one that the plan said before the attempt was made. `learned` says where the customers clearly differ "
        "from what was expected.",
        handler=calibration_report,
        parameters=CalibrationRange,
        body=NoBody,
        answer=CalibrationReport,
        refusals={404: NO_MERCHANT},
    ),
)
