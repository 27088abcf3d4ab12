"""`citadel report`: what was recovered, by whom, and what would have been paid anyway; what predictions were worth."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from console.database import DATA, DataDir, in_transaction, merchant_id_of
from console.learning import told as told_of_customers
from console.terminal import print_json, refuse, terminal
from services.ledger.api.csv_export import lines
from services.ledger.calibration.endpoints import calibration
from services.ledger.calibration.schemas import Calibration, CalibrationBin, CalibrationReport
from services.ledger.calibration.store import CalibratedBy
from services.ledger.reports.endpoints import file_of, flat, report
from services.ledger.reports.lift import ENOUGH, Verdict
from services.ledger.reports.schemas import Lift, RecoveryReport
from services.ledger.reports.store import GroupBy
from services.ledger.stats.schemas import Sum
from shared.database import Connection, Role
from shared.http import Problem
from shared.ids import MerchantId

T = TypeVar("T")

report_app = typer.Typer(help="Reports: what the engine is worth, measured.", no_args_is_help=True)

_Merchant = Annotated[str | None, typer.Option(help="acct_… or our id; by default all merchants together.")]
_First = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of opening (UTC).")]
_Last = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; by default today.")]
_Json = Annotated[bool, typer.Option("--json", help="As the API would.")]


@report_app.callback()
def _reports() -> None:
    """Reports."""


@report_app.command("recoveries")
def recoveries(
    merchant: _Merchant = None,
    by: Annotated[GroupBy | None, typer.Option(help="Break down by this.")] = None,
    first: _First = None,
    last: _Last = None,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV, a row per group and currency.")] = False,
    json: _Json = False,
    data_dir: DataDir = DATA,
) -> None:
    """What failed, what was recovered and by whom, and how much more than without us, by the holdout."""
    if csv and json:
        refuse("--csv or --json, not both")

    async def read(db: Connection, merchant_id: MerchantId | None) -> RecoveryReport:
        return await report(db, merchant_id, _day(first), _day(last), by)

    found = _read(data_dir, merchant, read)
    if json:
        print_json(found)
    elif csv:
        file = file_of(found)
        text = lines([file.columns]) + lines([row[name] for name in file.columns] for row in flat(found))
        sys.stdout.buffer.write(text.encode())
    else:
        _show(found, terminal(160))


@report_app.command("calibration")
def calibrated(
    merchant: _Merchant = None,
    by: Annotated[CalibratedBy, typer.Option(help="Break down by this.")] = "cause",
    first: _First = None,
    last: _Last = None,
    json: _Json = False,
    data_dir: DataDir = DATA,
) -> None:
    """How likely attempts were said to be to succeed, and how many of them did."""

    async def read(db: Connection, merchant_id: MerchantId | None) -> CalibrationReport:
        return await calibration(db, merchant_id, _day(first), _day(last), by)

    found = _read(data_dir, merchant, read)
    if json:
        print_json(found)
    else:
        _show_calibration(found, terminal(120))


def _day(at: datetime | None) -> date | None:
    return None if at is None else at.date()


def _read(data_dir: Path, merchant: str | None, asked: Callable[[Connection, MerchantId | None], Awaitable[T]]) -> T:
    async def read(db: Connection) -> T:
        return await asked(db, None if merchant is None else await merchant_id_of(db, merchant))

    try:
        return in_transaction(data_dir, Role.LEDGER, read, status=1)
    except Problem as problem:
        refuse(problem.detail)


def _show(found: RecoveryReport, console: Console) -> None:
    console.print(f"Recoveries opened from {found.from_} to {found.to}; amounts in minor units.\n")
    if not found.data:
        console.print("None.")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column(str(found.group_by or "group"))
    table.add_column("currency")
    for column in (
        "failed",
        "young",
        "counted",
        "recovered",
        "",
        "retry",
        "message",
        "Stripe",
        "customer",
        "unpaid",
        "back",
    ):
        table.add_column(column, justify="right")
    for group in found.data:
        for money in group.money:
            share = "-" if money.recovered_share is None else f"{money.recovered_share:.1%}"
            sums = (money.failed, money.young, money.counted, money.recovered)
            by = (money.ours.retry, money.ours.message, money.elsewhere.stripe, money.elsewhere.customer, money.unpaid)
            back = money.refunded + money.disputed
            table.add_row(
                group.label, money.currency, *map(_sum, sums), share, *map(_sum, by), f"{back:,}" if back else "-"
            )
    console.print(table)
    console.print("\nPaid by whomever, against the holdout (95 % interval):\n")
    for group in found.data:
        console.print(f"  {group.label}: {told(group.lift)}")


def _sum(each: Sum) -> str:
    return f"{each.count:,} ({each.amount:,})" if each.count else "-"


def told(lift: Lift) -> str:
    """A lift in one line."""
    groups = f"{lift.treatment.paid:,} of {lift.treatment.assigned:,}, holdout {lift.holdout.paid:,} of "
    groups += f"{lift.holdout.assigned:,}"
    match lift.verdict:
        case Verdict.NO_HOLDOUT:
            return "no holdout to compare with: the policy held nothing out"
        case Verdict.NOT_APPLICABLE:
            return "not by attribution: who paid is an outcome"
        case Verdict.NOT_ENOUGH_DATA:
            return f"not enough data: fewer than {ENOUGH} in one of the groups ({groups})"
    points = (
        f"{100 * (lift.difference or 0):+.1f} points, {100 * (lift.low or 0):+.1f} to {100 * (lift.high or 0):+.1f}"
    )
    unclear = "; no difference that chance could not make" if lift.verdict is Verdict.UNCLEAR else ""
    return f"{points} ({groups}){unclear}"


def _show_calibration(found: CalibrationReport, console: Console) -> None:
    console.print(f"Attempts with a predicted chance, of recoveries opened from {found.from_} to {found.to}.\n")
    if not found.data:
        console.print("None: only schedules of the kind `likeliest` predict.")
        _show_learned(found, console)
        return
    figures = ("attempts", "predicted", "succeeded", "95 % interval")
    table = _table(str(found.group_by), (*figures, "error", "chance's limit", "no outcome", "refused"))
    groups = [(each.group, each) for each in found.data]
    for name, each in (*groups, ("all", found.total)):
        errors = ("-" if error is None else f"{error:.3f}" for error in (each.error, each.error_limit))
        table.add_row(name, *_compared(each), *errors, *(f"{n:,}" if n else "-" for n in _left_out(each)))
    console.print(table)
    console.print()
    for name, each in (*groups, ("all", found.total)):
        console.print(f"  {name}: {each.text}")
    console.print("\nAll of them, by the predicted chance:\n")
    bins = _table("chance", figures)
    for place in found.total.bins:
        bins.add_row(f"{place.at_least:.0%} to {place.below:.0%}", *_compared(place))
    console.print(bins)
    _show_learned(found, console)


def _show_learned(found: CalibrationReport, console: Console) -> None:
    console.print("\nOf the customers:\n")
    for line in told_of_customers(found.learned):
        console.print(f"  {line}", highlight=False)


def _table(first: str, columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _compared(each: Calibration | CalibrationBin) -> tuple[str, str, str, str]:
    if each.predicted is None or each.observed is None or each.low is None or each.high is None:
        return "-", "-", "-", "-"
    between = f"{each.low:.1%} to {each.high:.1%}"
    return f"{each.attempts:,}", f"{each.predicted:.1%}", f"{each.observed:.1%}", between


def _left_out(each: Calibration) -> tuple[int, int]:
    return each.without_outcome, each.refused
