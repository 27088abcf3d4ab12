"""`citadel leave-alone`: customers and subscriptions that nothing is done about, by the API's functions."""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import orjson
import typer
from rich.table import Table

from console.database import DATA, DataDir, in_transaction, merchant_id_of
from console.terminal import refuse, terminal
from services.ledger.api.pagination import ByTime
from services.ledger.api.select import Row, fetch
from services.ledger.left_alone.endpoints import LONGEST
from services.ledger.left_alone.schemas import LeftAlone
from services.ledger.left_alone.store import select_left_alone
from shared import interventions, left_alone
from shared.clock import business_now
from shared.database import Connection, Role
from shared.ids import CustomerId, SubscriptionId
from shared.left_alone import Whom
from shared.recovery_model import OperatorReason

leave_alone_app = typer.Typer(
    help="Customers and subscriptions that are left alone: no attempt, no message, no end action.", no_args_is_help=True
)

Merchant = Annotated[str, typer.Option(help="acct_… or our id.")]
Named = Annotated[str, typer.Argument(help="Stripe's id of the customer (cus_…) or of the subscription (sub_…).")]
_NAMED = re.compile(r"(cus|sub)_[A-Za-z0-9_]{1,250}")
PAGE = 200


def _ids(given: str) -> tuple[CustomerId | None, SubscriptionId | None]:
    if not _NAMED.fullmatch(given):
        refuse(f"{given!r} is no customer's or subscription's id: expected cus_… or sub_…, never an address")
    return (CustomerId(given), None) if given.startswith("cus_") else (None, SubscriptionId(given))


@leave_alone_app.command("add")
def add(
    named: Named,
    merchant: Merchant,
    days: Annotated[int | None, typer.Option(min=1, max=LONGEST.days, help="For so many days.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Until this time (UTC).")] = None,
    reason: Annotated[OperatorReason, typer.Option(help="Why; kept.")] = OperatorReason.OTHER,
    data_dir: DataDir = DATA,
) -> None:
    """Leave a customer or a subscription alone: for good, unless --days or --until says for how long."""
    customer_id, subscription_id = _ids(named)
    if days is not None and until is not None:
        refuse("give --days or --until, not both")

    async def work(db: Connection) -> left_alone.LeftAlone:
        now = await business_now(db)
        end = now + timedelta(days=days) if days is not None else until.replace(tzinfo=UTC) if until else None
        if end is not None and not now < end <= now + LONGEST:
            raise LookupError("expected a time within the next year; without one it is for good")
        whom = Whom(await merchant_id_of(db, merchant), customer_id, subscription_id)
        return await interventions.leave_alone(db, whom, end, reason)

    row = in_transaction(data_dir, Role.LEDGER, work, status=1)
    print(f"{named} is left alone {'for good' if row.until is None else f'until {row.until:%Y-%m-%d %H:%M} UTC'}")


@leave_alone_app.command("list")
def list_left_alone(
    merchant: Merchant,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    data_dir: DataDir = DATA,
) -> None:
    """List whom a merchant leaves alone, newest first."""

    async def work(db: Connection) -> list[LeftAlone]:
        merchant_id = await merchant_id_of(db, merchant)
        found: list[Row] = []
        before = None
        while True:
            rows = await fetch(db, select_left_alone(PAGE, {"merchant_id": merchant_id, "before": before}))
            found += rows
            if len(rows) < PAGE:
                return [LeftAlone.model_validate(dict(row)) for row in found]
            before = ByTime(rows[-1]["created_at"], rows[-1]["id"])

    shown = in_transaction(data_dir, Role.LEDGER, work, status=1)
    if json:
        for each in shown:
            sys.stdout.buffer.write(orjson.dumps(each.model_dump(mode="json")) + b"\n")
        return
    table = Table("id", "who", "until", "reason", "since", box=None, pad_edge=False)
    for each in shown:
        until = "for good" if each.until is None else f"{each.until:%Y-%m-%d %H:%M}"
        who = each.customer_id or each.subscription_id or ""
        table.add_row(str(each.id), who, until, each.reason, f"{each.created_at:%Y-%m-%d %H:%M}")
    terminal(350).print(table)


@leave_alone_app.command("remove")
def remove(named: Named, merchant: Merchant, data_dir: DataDir = DATA) -> None:
    """Leave a customer or a subscription alone no more: what waits for it is decided anew at once."""
    customer_id, subscription_id = _ids(named)

    async def work(db: Connection) -> UUID | None:
        whom = Whom(await merchant_id_of(db, merchant), customer_id, subscription_id)
        row = await left_alone.find(db, whom)
        if row is not None:
            await interventions.lift(db, row.id, whom.merchant_id)
        return None if row is None else row.id

    if in_transaction(data_dir, Role.LEDGER, work, status=1) is None:
        refuse(f"{named} is not left alone; `citadel leave-alone list` shows who is", 1)
    print(f"{named} is not left alone any more")
