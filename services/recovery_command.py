"""`citadel recovery show`: one recovery's whole story, with the reason of every decision."""

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from services.ledger import store
from services.ledger.schemas import RecoveryStory
from services.local.command import DATA, DataDir, refuse, with_database
from shared.database import Database, Role

recovery_app = typer.Typer(help="Recoveries: what happened to a failed invoice, and why.", no_args_is_help=True)


@recovery_app.command("show")
def show(
    invoice: Annotated[str, typer.Argument(help="Stripe's id of the invoice: in_…")],
    merchant: Annotated[str | None, typer.Option(help="The merchant, where two have an invoice of this id.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as the API would.")] = False,
    data_dir: DataDir = DATA,
) -> None:
    """Every decision about one failed invoice: the rule, its inputs, what was refused and why, what comes next."""
    stories = _stories(data_dir, invoice, merchant)
    if not stories:
        refuse(f"there is no recovery of {invoice}", 1)
    if len(stories) > 1:
        refuse(f"{len(stories)} merchants have an invoice {invoice}: name one with --merchant")
    (story,) = stories
    if json:
        sys.stdout.buffer.write(story.model_dump_json(indent=2).encode() + b"\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    for line in told(story):
        console.print(line)


def _stories(data_dir: Path, invoice: str, merchant: str | None) -> list[RecoveryStory]:
    async def read(database: Database) -> list[RecoveryStory]:
        async with database.transaction() as db:
            given = {"merchant_id": merchant, "invoice_id": invoice}
            rows = await store.fetch(db, store.select_recoveries(2, None, given))
            return [RecoveryStory.model_validate(await store.whole_story(db, row)) for row in rows]

    return with_database(data_dir, Role.LEDGER, read)


def told(story: RecoveryStory) -> list[str]:
    """The story as lines for a terminal (rich markup)."""
    how = f", {story.end_reason}" if story.end_reason else ""
    due = f"{story.amount_due} {story.currency} (minor units)"
    lines = [
        f"[bold]{escape(story.invoice_id)}[/]  {due}  [bold]{story.state}[/]{how}",
        f"[dim]recovery {story.id}, merchant {story.merchant_id}, policy {story.policy_id}[/]",
    ]
    lines.extend(
        f"[dim]{each.warned_at:%Y-%m-%d}: the customer was told that a card ends {each.exp_year}-{each.exp_month:02}[/]"
        for each in story.card_warnings
    )
    for entry in story.timeline:
        lines.append("")
        lines.append(f"[cyan]{entry.at:%Y-%m-%d %H:%M:%S}[/]  [bold]{entry.kind}[/]  {escape(entry.explanation)}")
        reason = entry.detail.get("reason") or {}
        inputs = reason.get("inputs") or {name: value for name, value in entry.detail.items() if name != "reason"}
        lines.append(f"    rule {entry.rule}{''.join(_input(name, value) for name, value in inputs.items())}")
        lines.extend(
            f"    not {escape(str(road['action']))}: {escape(str(road['rejected_because']))}"
            for road in reason.get("considered", ())
        )
        if entry.next_step is not None:
            at = f" at {entry.next_at:%Y-%m-%d %H:%M:%S}" if entry.next_at else ""
            lines.append(f"    next {escape(entry.next_step)}{at}")
    return lines


def _input(name: str, value: object) -> str:
    shown = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return f"[dim]  {name}={escape(str(shown))}[/]"
