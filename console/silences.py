"""`citadel silences`: silences and lifts silences of customers, by the API's functions and with the same rights."""

import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import orjson
import typer
from rich.table import Table

from console.database import DATA, DataDir, in_transaction, merchant_id_of
from console.terminal import refuse, terminal
from services.ledger.api.pagination import ById
from services.ledger.api.select import Row, fetch
from services.ledger.silences import endpoints
from services.ledger.silences.schemas import Silence
from services.ledger.silences.store import select_silences
from shared.database import Connection, Role
from shared.ids import CustomerId, MerchantId
from shared.silences import SilenceReason

T = TypeVar("T")

silences_app = typer.Typer(help="Customers who are not written to, by Stripe's id.", no_args_is_help=True)

Merchant = Annotated[str, typer.Option(help="acct_… or our id.")]
Customer = Annotated[str, typer.Argument(help="Stripe's id of the customer: cus_…")]
_CUSTOMER = re.compile(r"cus_[A-Za-z0-9_]{1,250}")
PAGE = 200


def _with_merchant(data_dir: Path, merchant: str, work: Callable[[Connection, MerchantId], Awaitable[T]]) -> T:
    async def inside(db: Connection) -> T:
        return await work(db, await merchant_id_of(db, merchant))

    return in_transaction(data_dir, Role.LEDGER, inside, status=1)


def _customer(given: str) -> CustomerId:
    if not _CUSTOMER.fullmatch(given):
        refuse(f"{given!r} is no customer's id: expected cus_…, never an address")
    return CustomerId(given)


@silences_app.command("list")
def list_silences(
    merchant: Merchant,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    data_dir: DataDir = DATA,
) -> None:
    """List all silences of a merchant, newest first."""

    async def work(db: Connection, merchant_id: MerchantId) -> list[Silence]:
        found: list[Row] = []
        before = None
        while True:
            given = {"merchant_id": merchant_id, "before": before}
            rows = await fetch(db, select_silences(PAGE, given))
            found += rows
            if len(rows) < PAGE:
                return [Silence.model_validate(dict(row)) for row in found]
            before = ById(rows[-1]["id"])

    shown = _with_merchant(data_dir, merchant, work)
    if json:
        for each in shown:
            sys.stdout.buffer.write(orjson.dumps(each.model_dump(mode="json")) + b"\n")
        return
    table = Table("customer", "reason", "since", box=None, pad_edge=False)
    for each in shown:
        table.add_row(each.customer_id, each.reason, f"{each.silenced_at:%Y-%m-%d %H:%M}")
    terminal(350).print(table)


@silences_app.command("add")
def add(
    customer: Customer,
    merchant: Merchant,
    reason: Annotated[SilenceReason, typer.Option(help="Why.")] = SilenceReason.OPTED_OUT,
    data_dir: DataDir = DATA,
) -> None:
    """Silence a customer: no more messages. Payments are not concerned."""
    customer_id = _customer(customer)
    new = _with_merchant(data_dir, merchant, lambda db, owner: endpoints.start(db, owner, customer_id, reason))
    print(f"{customer} is not written to: {reason}" if new else f"it was so already: {customer}, {reason}")


@silences_app.command("lift")
def lift(
    customer: Customer,
    merchant: Merchant,
    reason: Annotated[
        SilenceReason | None, typer.Option(help="This silence only; by default all of the customer's.")
    ] = None,
    data_dir: DataDir = DATA,
) -> None:
    """Lift a customer's silences, if they asked for it or their mailbox works again."""
    customer_id = _customer(customer)
    count = _with_merchant(data_dir, merchant, lambda db, owner: endpoints.end(db, owner, customer_id, reason))
    if not count:
        refuse(f"{customer} has no such silence; `citadel silences list` shows them", 1)
    print(f"lifted {count} of {customer}")
