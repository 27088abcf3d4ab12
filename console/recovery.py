"""`citadel recovery`: one recovery's whole timeline, with the reason of every decision; and its stop."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.markup import escape

from console.database import DATA, DataDir, in_transaction, merchant_id_of
from console.terminal import print_json, refuse, terminal
from services.ledger.api.select import Row, fetch
from services.ledger.recoveries.schemas import Recovery, RecoveryStory
from services.ledger.recoveries.store import select_recoveries, whole_story
from shared import interventions
from shared.database import Connection, Role
from shared.money import Money, readable
from shared.recovery_model import EntryKind, OperatorReason, RecoveryState

_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")

recovery_app = typer.Typer(help="Recoveries: what happened to a failed invoice, and why.", no_args_is_help=True)


@recovery_app.command("show")
def show(
    invoice: Annotated[str, typer.Argument(help="Stripe's id of the invoice: in_…")],
    merchant: Annotated[str | None, typer.Option(help="acct_… or our id, where two have this invoice.")] = None,
    brief: Annotated[bool, typer.Option("--brief", help="A line for each step, and what was refused.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it as the API would.")] = False,
    data_dir: DataDir = DATA,
) -> None:
    """Every decision about one failed invoice: the rule, its inputs, what was considered, what comes next."""
    stories = _stories(data_dir, invoice, merchant)
    if not stories:
        refuse(f"there is no recovery of {invoice}", 1)
    if len(stories) > 1:
        refuse(f"{len(stories)} merchants have an invoice {invoice}: name one with --merchant")
    (story,) = stories
    if json:
        print_json(story)
        return
    console = terminal(120)
    for line in in_brief(story) if brief else told(story):
        console.print(line)


@recovery_app.command("stop")
def stop(
    invoice: Annotated[str, typer.Argument(help="Stripe's id of the invoice: in_…")],
    merchant: Annotated[str | None, typer.Option(help="acct_… or our id, where two have this invoice.")] = None,
    reason: Annotated[OperatorReason, typer.Option(help="Why; kept in the timeline.")] = OperatorReason.OTHER,
    data_dir: DataDir = DATA,
) -> None:
    """Stop a recovery: no attempt, no message and no end action any more."""

    async def work(db: Connection) -> tuple[bool, Recovery]:
        found = await _rows(db, invoice, merchant)
        if not found:
            raise LookupError(f"there is no recovery of {invoice}")
        if len(found) > 1:
            raise LookupError(f"several merchants have an invoice {invoice}: name one with --merchant")
        stopped = await interventions.stop(db, found[0]["id"], reason)
        (row,) = await fetch(db, select_recoveries(1, None, {"id": found[0]["id"]}))
        return stopped, Recovery.model_validate(dict(row))

    stopped, recovery = in_transaction(data_dir, Role.LEDGER, work, status=1)
    if recovery.state in {RecoveryState.RECOVERED, RecoveryState.EXHAUSTED}:
        refuse(f"{invoice} has ended: {recovery.state} ({recovery.end_reason})", 1)
    if recovery.stop_requested is not None and not recovery.state.ended:
        print(f"{invoice}: the stop is noted; how the attempt in flight ends decides")
    else:
        print(f"{invoice} is stopped" if stopped else f"it was so already: {invoice} is stopped")


async def _rows(db: Connection, invoice: str, merchant: str | None) -> list[Row]:
    """The recoveries of an invoice: two at most, of different merchants."""
    merchant_id = None if merchant is None else await merchant_id_of(db, merchant)
    return await fetch(db, select_recoveries(2, None, {"merchant_id": merchant_id, "invoice_id": invoice}))


def _stories(data_dir: Path, invoice: str, merchant: str | None) -> list[RecoveryStory]:
    async def read(db: Connection) -> list[RecoveryStory]:
        rows = await _rows(db, invoice, merchant)
        return [RecoveryStory.model_validate(await whole_story(db, row)) for row in rows]

    return in_transaction(data_dir, Role.LEDGER, read, status=1)


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


def in_brief(story: RecoveryStory) -> list[str]:
    """The story with a line for each step and what was considered below it, for a terminal (rich markup)."""
    amount = readable(Money(story.amount_due, story.currency))
    how = f" ({story.end_reason.replace('_', ' ')})" if story.end_reason else ""
    lines = [f"[bold]{escape(story.invoice_id)}[/]  {amount}, [bold]{story.state}[/]{how}"]
    said: list[str] = []
    for entry in story.timeline:
        if entry.rule == "attempt_due":
            continue  # the next step says how the attempt ended
        kind = "heard" if entry.kind == EntryKind.STOP_REQUESTED else entry.kind  # by itself it ends nothing
        explanation = _short_times(entry.explanation)
        roads = (entry.detail.get("reason") or {}).get("considered", ())
        refused = [(str(road["action"]), _short_times(str(road["rejected_because"]))) for road in roads]
        limit = (entry.detail.get("reason") or {}).get("inputs", {}).get("limit")
        waits = [f"not {action}" for action, because in refused if because == explanation]
        waits += [str(limit)] if limit else []
        if entry.next_at is not None and f"{entry.next_at:%d %b %H:%M}" not in explanation:
            waits.append(f"next {entry.next_at:%d %b %H:%M}")
        aside = ["; ".join(waits)] if waits else []
        aside += [f"not {action}: {because}" for action, because in refused if because != explanation]
        step = f"[cyan]{entry.at:%d %b %H:%M}[/]  [bold]{kind:<9}[/]  {escape(explanation)}"
        for line in (step, *(f"{'':25}[dim]{escape(each)}[/]" for each in aside)):
            if line not in said:  # two events about one fact, and a repeated reason, are shown once
                said.append(line)
    return [*lines, *said]


def _short_times(text: str) -> str:
    """Times within a sentence in the short form: `12 Nov 03:28`."""
    return _ISO_TIME.sub(lambda found: f"{datetime.fromisoformat(found[0]):%d %b %H:%M}", text)


def _input(name: str, value: object) -> str:
    shown = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return f"[dim]  {name}={escape(str(shown))}[/]"
