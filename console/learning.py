"""`citadel learning`: what was learned of a merchant's customers, and whether it teaches others."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from console.database import DATA, DataDir, in_transaction, merchant_id_of
from console.terminal import print_json
from services.ledger.learning.endpoints import learned_of
from services.ledger.learning.schemas import Learned
from shared import pool
from shared.database import Connection, Role
from shared.ids import MerchantId

learning_app = typer.Typer(
    help="What was learned of merchants' customers, and which merchants teach others.", no_args_is_help=True
)

Merchant = Annotated[str, typer.Option(help="acct_… or our id.")]


def _of(
    data_dir: Path, merchant: str | None, change: Callable[[Connection, MerchantId], Awaitable[None]] | None = None
) -> Learned:
    async def inside(db: Connection) -> Learned:
        merchant_id = None if merchant is None else await merchant_id_of(db, merchant)
        if merchant_id is not None and change is not None:
            await change(db, merchant_id)
        return await learned_of(db, merchant_id)

    return in_transaction(data_dir, Role.LEDGER, inside, status=1)


@learning_app.command("show")
def show(
    merchant: Annotated[str | None, typer.Option(help="acct_… or our id; by default the whole pool.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As the API would.")] = False,
    data_dir: DataDir = DATA,
) -> None:
    """What was learned, and whether the merchant is in the pool."""
    found = _of(data_dir, merchant)
    if json:
        print_json(found)
        return
    if merchant is not None:
        out = "" if found.opted_out_at is None else f" since {found.opted_out_at:%Y-%m-%d %H:%M} UTC"
        print("in the pool" if found.in_pool else f"not in the pool{out}")
    print("\n".join(told(found)))


@learning_app.command("opt-out")
def opt_out(merchant: Merchant, data_dir: DataDir = DATA) -> None:
    """Take a merchant out of the pool: it teaches others nothing any more, and is learned from for itself."""
    _of(data_dir, merchant, pool.opt_out)
    print(f"{merchant} is not in the pool; what it has taught is gone with the pool's next learning, within minutes")


@learning_app.command("opt-in")
def opt_in(merchant: Merchant, data_dir: DataDir = DATA) -> None:
    """Put a merchant back into the pool."""
    _of(data_dir, merchant, pool.opt_in)
    print(f"{merchant} is in the pool")


def told(found: Learned) -> list[str]:
    """What was learned, line by line."""
    if found.learned_at is None:
        return ["nothing was learned, so far: there were not enough recoveries"]
    head = f"learned at {found.learned_at:%Y-%m-%d %H:%M} UTC from {found.recoveries:,} recoveries"
    if not found.differences:
        return [f"{head}: nothing that clearly differs from what was expected"]
    return [f"{head}:", *(f"  {each.text}" for each in found.differences)]
