"""The report on recoveries: what failed, what was paid and by whom, and what would have been paid anyway.

Only recoveries whose window is over are counted, whether they ended early or not. To count all that have ended would
include every quick success and leave out slow failures: of a recent week nearly all that have ended were paid. A
recovery counts in the group that it was drawn into, whatever was done about it later (intention to treat).

What was recovered counts by the money that is left of it, less refunds and disputes. A recovery of which nothing is
left counts as unpaid, also in the lift. Refunds of payments that are not ours are not known here, so this makes the
lift smaller and never larger.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from services.ledger.api.csv_export import CsvFile
from services.ledger.api.endpoint import Call, Endpoint
from services.ledger.api.schemas import NoBody
from services.ledger.api.select import fetch
from services.ledger.api.tenancy import NO_MERCHANT, visible_merchant
from services.ledger.recoveries.schemas import (
    RecoveryMatch,
)
from services.ledger.reports.lift import CONFIDENCE, Group, Stratum, Verdict, lift_of
from services.ledger.reports.lift import Lift as Measured
from services.ledger.reports.schemas import (
    Elsewhere,
    Lift,
    LiftGroup,
    Ours,
    RecoveryReport,
    ReportGroup,
    ReportMoney,
    ReportRange,
)
from services.ledger.reports.store import EXPORT_COLUMNS, GroupBy, select_export, select_report
from services.ledger.stats.schemas import Sum
from shared.api_keys import Scope
from shared.clock import business_now
from shared.database import Connection
from shared.http import invalid
from shared.ids import MerchantId

MAX_DAYS = 366
DEFAULT_DAYS = 90

OURS = ("retry", "message")
ELSEWHERE = ("stripe", "customer")
PAID = frozenset((*OURS, *ELSEWHERE))
TAKEN_BACK = "taken_back"

Cell = Mapping[str, Any]
"""A row of `select_report`: recoveries that are equal in everything that the report groups by, and their amounts."""

_SUMS = ("failed", "young", "counted", "recovered", *OURS, *ELSEWHERE, "unpaid", "taken_back")
REPORT_COLUMNS = (
    "group",
    "label",
    "currency",
    *(f"{name}_{part}" for name in ("failed", "young", "counted", "recovered") for part in ("count", "amount")),
    "recovered_share",
    "recovered_amount_share",
    "refunded_amount",
    "disputed_amount",
    *(f"{name}_{part}" for name in (*OURS, *ELSEWHERE, "unpaid", "taken_back") for part in ("count", "amount")),
    "group_treatment_assigned",
    "group_treatment_paid",
    "group_holdout_assigned",
    "group_holdout_paid",
    "group_lift",
    "group_lift_low",
    "group_lift_high",
    "group_verdict",
)


def days_of(first: date | None, last: date | None, today: date) -> tuple[date, date]:
    """The days of a report, both included. Raises Problem 400."""
    last = last or today
    try:
        first = first or last - timedelta(days=DEFAULT_DAYS - 1)
        last + timedelta(days=1)
    except OverflowError:
        raise invalid(400, "malformed-request", [("to", f"leaves no {DEFAULT_DAYS} days around it")]) from None
    if not 0 <= (last - first).days < MAX_DAYS:
        raise invalid(400, "malformed-request", [("from", f"expected at most {MAX_DAYS} days, from ≤ to")])
    return first, last


def _sum(cells: Iterable[Cell], amount: str) -> Sum:
    rows = list(cells)
    return Sum(amount=sum(each[amount] for each in rows), count=sum(each["count"] for each in rows))


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def money_of(currency: str, cells: Sequence[Cell]) -> ReportMoney:
    """One currency's numbers. Ours: the amount collected that is left; others: the amount due."""
    counted = [each for each in cells if not each["young"]]

    def of(attribution: str) -> Sum:
        amount = "recovered" if attribution in OURS else "due"
        return _sum((each for each in counted if each["attribution"] == attribution), amount)

    every, recovered = (
        _sum(counted, "due"),
        _sum((each for each in counted if each["attribution"] in OURS), "recovered"),
    )
    return ReportMoney(
        currency=currency,
        failed=_sum(cells, "due"),
        young=_sum((each for each in cells if each["young"]), "due"),
        counted=every,
        recovered=recovered,
        recovered_share=_share(recovered.count, every.count),
        recovered_amount_share=_share(recovered.amount, every.amount),
        ours=Ours(retry=of("retry"), message=of("message")),
        elsewhere=Elsewhere(stripe=of("stripe"), customer=of("customer")),
        refunded=sum(each["refunded"] for each in counted),
        disputed=sum(each["disputed"] for each in counted),
        unpaid=_sum((each for each in counted if each["attribution"] not in PAID), "due"),
        taken_back=_sum((each for each in counted if each["attribution"] == TAKEN_BACK), "due"),
    )


def measure(cells: Iterable[Cell]) -> Measured:
    """The lift of the counted recoveries: a stratum per holdout share, all currencies together."""
    groups: dict[float, dict[bool, Group]] = defaultdict(lambda: {True: Group(), False: Group()})
    for each in cells:
        if each["share"] > 0:
            count = 0 if each["young"] else each["count"]
            groups[each["share"]][each["holdout"]] += Group(count, count if each["attribution"] in PAID else 0)
    return lift_of(Stratum(both[False], both[True]) for both in groups.values())


def _lift(cells: Sequence[Cell], group_by: GroupBy | None) -> Lift:
    if group_by == "attribution":  # an outcome: in a group of paid recoveries none can be unpaid
        return shown(Measured(Verdict.NOT_APPLICABLE, Group(), Group()))
    return shown(measure(cells))


def shown(found: Measured) -> Lift:
    """A lift as the API shows it: shares and differences with six decimal places."""

    def group(each: Group) -> LiftGroup:
        return LiftGroup(assigned=each.assigned, paid=each.paid, paid_share=_share(each.paid, each.assigned))

    def points(value: float | None) -> float | None:
        return None if value is None else round(value, 6)

    return Lift(
        verdict=found.verdict,
        treatment=group(found.treatment),
        holdout=group(found.holdout),
        difference=points(found.difference),
        low=points(found.low),
        high=points(found.high),
        confidence=CONFIDENCE,
    )


def _label(name: str | None, cells: Sequence[Cell]) -> str:
    version = cells[0]["version"]
    if version is not None:
        return f"version {version}, {'the platform' if cells[0]['of_platform'] else 'the merchant'}'s"
    return name or "no decline was read"


def groups_of(cells: Iterable[Cell], group_by: GroupBy | None) -> list[ReportGroup]:
    """The report's groups: weeks in their order, everything else by size."""
    named: dict[str | None, list[Cell]] = defaultdict(list)
    for each in cells:
        named[each["group"]].append(each)
    shown = []
    for name, own in named.items():
        currencies: dict[str, list[Cell]] = defaultdict(list)
        for each in own:
            currencies[each["currency"]].append(each)
        money = [money_of(currency, currencies[currency]) for currency in sorted(currencies)]
        shown.append(ReportGroup(group=name, label=_label(name, own), money=money, lift=_lift(own, group_by)))

    def order(each: ReportGroup) -> tuple[int, str]:
        size = 0 if group_by == "cohort_week" else sum(money.failed.count for money in each.money)
        return -size, each.group or ""

    return sorted(shown, key=order)


async def report(
    db: Connection, merchant_id: MerchantId | None, first: date | None, last: date | None, group_by: GroupBy | None
) -> RecoveryReport:
    """The report on the recoveries that were opened on these days (UTC), both included. Raises Problem 400."""
    now = await business_now(db)
    first, last = days_of(first, last, now.date())
    start, until = (datetime.combine(day, time(), UTC) for day in (first, last + timedelta(days=1)))
    rows = await fetch(db, select_report(start, until, merchant_id, group_by))
    return RecoveryReport.model_validate(
        {
            "merchant_id": merchant_id,
            "from": first,
            "to": last,
            "as_of": now,
            "group_by": group_by,
            "data": groups_of([dict(row) for row in rows], group_by),
        }
    )


def flat(found: RecoveryReport) -> list[dict[str, Any]]:
    """The report as rows of REPORT_COLUMNS, one per group and currency; numbers of the whole group are repeated."""
    rows = []
    for group in found.data:
        lift = group.lift
        of_group = {
            "group": group.group,
            "label": group.label,
            "group_treatment_assigned": lift.treatment.assigned,
            "group_treatment_paid": lift.treatment.paid,
            "group_holdout_assigned": lift.holdout.assigned,
            "group_holdout_paid": lift.holdout.paid,
            "group_lift": lift.difference,
            "group_lift_low": lift.low,
            "group_lift_high": lift.high,
            "group_verdict": lift.verdict,
        }
        for money in group.money:
            sums = {**dict(money), **dict(money.ours), **dict(money.elsewhere)}
            row = {**of_group, "currency": money.currency}
            row["recovered_share"] = money.recovered_share
            row["recovered_amount_share"] = money.recovered_amount_share
            row["refunded_amount"] = money.refunded
            row["disputed_amount"] = money.disputed
            for name in _SUMS:
                row |= {f"{name}_count": sums[name].count, f"{name}_amount": sums[name].amount}
            rows.append(row)
    return rows


def file_of(found: RecoveryReport) -> CsvFile:
    """The report as a file."""
    return CsvFile(f"recoveries-{found.from_}-{found.to}.csv", REPORT_COLUMNS, flat(found))


async def recovery_report(call: Call[ReportRange, NoBody]) -> RecoveryReport:
    """The report as JSON."""
    asked = call.parameters
    merchant_id = await visible_merchant(call.db, call.key, asked.merchant_id)
    return await report(call.db, merchant_id, asked.from_, asked.to, asked.group_by)


async def recovery_report_csv(call: Call[ReportRange, NoBody]) -> CsvFile:
    """The report as CSV."""
    return file_of(await recovery_report(call))


async def export_recoveries(call: Call[RecoveryMatch, NoBody]) -> CsvFile:
    """A row per recovery."""
    wanted = call.parameters
    given = wanted.model_dump(exclude={"state"})
    given["merchant_id"] = await visible_merchant(call.db, call.key, wanted.merchant_id)
    return CsvFile("recoveries.csv", EXPORT_COLUMNS, select_export(wanted.state, given))


ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    Endpoint(
        name="exportRecoveries",
        method="GET",
        path="/v1/recoveries.csv",
        scope=Scope.RECOVERIES_READ,
        summary="Recoveries as CSV, newest first: all that match, of one moment",
        description="Filters as in the list. Ids, codes, amounts and times; `attribution` says whose payment it was "
        "(`retry`, `message`, `stripe`, `customer`), or `open`, `unpaid`, or `taken_back` when nothing is left of what "
        "we recovered; `assigned_to` whether it was drawn into "
        "the treatment or the holdout, empty where the policy held nothing out. At most two at once (503).",
        handler=export_recoveries,
        parameters=RecoveryMatch,
        body=NoBody,
        answer=CsvFile,
        refusals={404: NO_MERCHANT},
    ),
    Endpoint(
        name="reportRecoveries",
        method="GET",
        path="/v1/reports/recoveries",
        scope=Scope.RECOVERIES_READ,
        summary="What failed, what was recovered and by whom, and what the holdout says would have come anyway",
        description="Of the recoveries that were opened from `from` to `to`. Only those whose window is over are "
        "counted, ended or not: `young` ones would be counted as soon as they are paid and not while they are not.",
        handler=recovery_report,
        parameters=ReportRange,
        body=NoBody,
        answer=RecoveryReport,
        refusals={404: NO_MERCHANT},
    ),
    Endpoint(
        name="exportReport",
        method="GET",
        path="/v1/reports/recoveries.csv",
        scope=Scope.RECOVERIES_READ,
        summary="The report as CSV",
        description="A row per group and currency; the columns `group_…` are of the whole group, and repeated.",
        handler=recovery_report_csv,
        parameters=ReportRange,
        body=NoBody,
        answer=CsvFile,
        refusals={404: NO_MERCHANT},
    ),
)
