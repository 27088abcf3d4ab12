"""`citadel report recoveries`: what was recovered, by whom, and what would have been paid anyway."""

import sys
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from console.database import DATA, DataDir, in_transaction, merchant_id_of
from console.terminal import print_json, refuse, terminal
from services.ledger.api.csv_export import lines
from services.ledger.reports.endpoints import file_of, flat, report
from services.ledger.reports.lift import ENOUGH, Verdict
from services.ledger.reports.schemas import Lift, RecoveryReport
from services.ledger.reports.store import GroupBy
from services.ledger.stats.schemas import Sum
from shared.database import Connection, Role
from shared.http import Problem

report_app = typer.Typer(help="Reports: what the engine is worth, measured.", no_args_is_help=True)


@report_app.callback()
def _reports() -> None:
    """Reports."""


@report_app.command("recoveries")
def recoveries(
    merchant: Annotated[str | None, typer.Option(help="acct_… or our id; by default all merchants together.")] = None,
    by: Annotated[GroupBy | None, typer.Option(help="Break down by this.")] = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of opening (UTC).")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; by default today.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV, a row per group and currency.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As the API would.")] = False,
    data_dir: DataDir = DATA,
) -> None:
    """What failed, what was recovered and by whom, and how much more than without us, by the holdout."""
    if csv and json:
        refuse("--csv or --json, not both")
    found = _read(data_dir, merchant, first.date() if first else None, last.date() if last else None, by)
    if json:
        print_json(found)
    elif csv:
        file = file_of(found)
        text = lines([file.columns]) + lines([row[name] for name in file.columns] for row in flat(found))
        sys.stdout.buffer.write(text.encode())
    else:
        _show(found, terminal(160))


def _read(
    data_dir: Path, merchant: str | None, first: date | None, last: date | None, by: GroupBy | None
) -> RecoveryReport:
    async def read(db: Connection) -> RecoveryReport:
        merchant_id = None if merchant is None else await merchant_id_of(db, merchant)
        return await report(db, merchant_id, first, last, by)

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
