"""`citadel ledger rebuild`: the kept totals, held against the book and corrected from it.

`citadel ledger` alone runs the service (`console/__main__.py`).
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from console.database import DATA, DataDir, in_transaction, merchant_id_of
from services.ledger.totals.store import Difference, differences, rebuild
from shared.database import Connection, Role

ledger_app = typer.Typer()


@ledger_app.command("rebuild")
def rebuild_totals(
    merchant: Annotated[str | None, typer.Option(help="acct_… or our id; by default all merchants.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only compare; status 1 if anything differs.")] = False,
    data_dir: DataDir = DATA,
) -> None:
    """Compute daily_metrics and merchant_totals anew from usage_logs, and correct what differs.

    Bookings wait meanwhile, reading goes on; with --check nothing waits. Correcting takes the owner's login.
    """
    correct: Callable[..., Awaitable[list[Difference]]] = differences if check else rebuild

    async def work(db: Connection) -> list[Difference]:
        if check:
            await db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return await correct(db, None if merchant is None else await merchant_id_of(db, merchant))

    found = in_transaction(data_dir, Role.LEDGER if check else None, work, status=1)
    for each in found:
        print(told(each))
    if not found:
        print("The totals are what the book says.")
    elif check:
        raise typer.Exit(1)
    else:
        print(f"{len(found)} rows corrected from the book.")


def told(found: Difference) -> str:
    """One difference in a line."""
    where = found.table if found.day is None else f"{found.table} {found.day}"
    numbers = ", ".join(f"{name} is {kept}, the book says {booked}" for name, (kept, booked) in found.numbers.items())
    return f"{where} {found.merchant_id} {found.currency}: {numbers}"
