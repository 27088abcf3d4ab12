"""`citadel tasks`: an operator's commands for the queue, under the ledger's role and in short transactions."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from console.database import DATA, DataDir, in_transaction, merchant_id_of, with_database
from console.terminal import refuse, terminal
from shared.database import Connection, Database, Role
from shared.queue import control
from shared.queue.control import BATCH, Which

tasks_app = typer.Typer(
    help="The queue by hand: pause, resume, cancel, retry from the dead letters.", no_args_is_help=True
)

Merchant = Annotated[str | None, typer.Option(help="Of this merchant only: acct_… or our id.")]
TaskType = Annotated[str | None, typer.Option("--type", help="Of this task type only.")]


def _named(data_dir: Path, merchant: str | None, task_type: str | None) -> Which:
    """The tasks that a command is about. Ends the command when there is no such merchant."""
    if merchant is None and task_type is None:
        raise typer.BadParameter("name a merchant (--merchant), a task type (--type), or both")
    if merchant is None:
        return Which(None, task_type)
    merchant_id = in_transaction(data_dir, Role.LEDGER, lambda db: merchant_id_of(db, merchant), status=1)
    return Which(merchant_id, task_type)


async def in_batches(database: Database, step: Callable[[Connection], Awaitable[int]]) -> int:
    """Repeat a limited step, each in a transaction of its own, until it finds less than a batch; how many in all."""
    count = 0
    while True:
        async with database.transaction() as db:
            done = await step(db)
        count += done
        if done < BATCH:
            return count


@tasks_app.command("pause")
def pause(
    merchant: Merchant = None,
    task_type: TaskType = None,
    reason: Annotated[str, typer.Option(help="For other operators.")] = "",
    data_dir: DataDir = DATA,
) -> None:
    """Hand out no tasks of a merchant, of a type, or of both; running tasks go on."""
    which = _named(data_dir, merchant, task_type)

    async def work(database: Database) -> bool:
        async with database.transaction() as db:
            return await control.pause(db, which, reason)

    print("paused" if with_database(data_dir, Role.LEDGER, work) else "it was paused already")


@tasks_app.command("resume")
def resume(merchant: Merchant = None, task_type: TaskType = None, data_dir: DataDir = DATA) -> None:
    """End a pause, by the same merchant and type."""
    which = _named(data_dir, merchant, task_type)

    async def work(database: Database) -> tuple[bool, int]:
        async with database.transaction() as db:
            ended = await control.resume(db, which)
        return ended, await in_batches(database, control.unpark)

    ended, count = with_database(data_dir, Role.LEDGER, work)
    if not ended:
        refuse("there is no such pause; `citadel tasks pauses` lists them", 1)
    print(f"resumed; {count} tasks had been set aside")


@tasks_app.command("pauses")
def pauses(data_dir: DataDir = DATA) -> None:
    """List the pauses in force."""

    async def work(database: Database) -> list[control.Pause]:
        async with database.transaction() as db:
            return await control.pauses(db)

    table = Table("merchant", "type", "since", "reason", box=None, pad_edge=False)
    for each in with_database(data_dir, Role.LEDGER, work):
        table.add_row(
            each.merchant_id or "any", each.task_type or "any", f"{each.paused_at:%Y-%m-%d %H:%M}", each.reason
        )
    terminal(250).print(table)


@tasks_app.command("retry")
def retry(
    merchant: Merchant = None,
    task_type: TaskType = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    data_dir: DataDir = DATA,
) -> None:
    """Run dead tasks again, now and with all their attempts."""
    which = Which() if everything else _named(data_dir, merchant, task_type)
    count = with_database(data_dir, Role.LEDGER, lambda db: in_batches(db, lambda each: control.revive(each, which)))
    print(f"{count} dead tasks are pending again")


@tasks_app.command("cancel")
def cancel(
    merchant: Merchant = None,
    task_type: TaskType = None,
    reason: Annotated[str, typer.Option(help="Kept with each task.")] = "canceled by `citadel tasks`",
    data_dir: DataDir = DATA,
) -> None:
    """Cancel pending tasks, and what they were for: who cancels a `dunning_retry` stops its recovery."""
    which = _named(data_dir, merchant, task_type)
    count = with_database(
        data_dir, Role.LEDGER, lambda db: in_batches(db, lambda each: control.cancel(each, which, reason))
    )
    print(f"{count} pending tasks are canceled")
