"""`citadel backtest`: reads a merchant's past, from Stripe or a file, and says what a policy would have done."""

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from console.database import DATA, DataDir
from console.evaluation.backtest.compare import compare
from console.evaluation.backtest.report import as_json, show
from console.evaluation.history import Failure, Header, HistoryRefused, read_history, write_history
from console.evaluation.history.collect import LISTS, CannotRead, Pace, collect, history_of
from console.evaluation.history.journal import Journal, JournalRefused, Window
from console.local.interruption import run
from console.local.preflight import problems_of
from console.local.preflight import refuse as refuse_settings
from console.terminal import print_json, read_policy_file, refuse, terminal
from shared.ids import AccountId
from shared.policy import Policy
from shared.settings import StripeSettings, load
from shared.stripe_clients import StripeClientFactory

_ACCOUNT = re.compile(r"acct_[A-Za-z0-9_]+")
_DAY = 86_400
DEFAULT_DAYS = 180


def backtest(
    policy: Annotated[Path | None, typer.Option(help="A policy (JSON); without it only the default policy.")] = None,
    merchant: Annotated[str | None, typer.Option(help="The account whose past is read from Stripe: acct_…")] = None,
    from_: Annotated[Path | None, typer.Option("--from", help="A history file, in place of Stripe.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=730, help="How far back to read; by default 180.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Read up to this day (UTC).")] = None,
    keep: Annotated[Path | None, typer.Option(help="Where the history is kept; by default in the data folder.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin to read anew, in place of going on.")] = False,
    calls_per_second: Annotated[float, typer.Option(min=0.1, max=25, help="Calls to Stripe, at most.")] = 5.0,
    driver: Annotated[str | None, typer.Option(help="In place of the policies' own: citadel, auto, stripe.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other intervals.")] = 7,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    data_dir: DataDir = DATA,
) -> None:
    """What a policy would have done about a merchant's own past failures, beside what happened."""
    policies = _policies(policy, driver)
    if (merchant is None) == (from_ is None):
        refuse("say whose past: --merchant acct_… reads it from Stripe, --from FILE from a file; one of the two")
    if from_ is not None:
        header, failures = _from_file(from_)
    else:
        given = {"--days": days, "--until": until, "--keep": keep}
        header, failures = _from_stripe(str(merchant), given, data_dir, calls_per_second, fresh=fresh)
    if not failures:
        refuse("no renewal failed in this time: there is nothing to replay", 1)
    comparison = compare(header, failures, policies, seed=seed)
    if json:
        print_json(as_json(comparison, policies))
    else:
        show(comparison, policies, terminal(140))


# -- the policies --------------------------------------------------------------------------------


def _policies(file: Path | None, driver: str | None) -> dict[str, Policy]:
    if driver is not None and driver not in {"citadel", "auto", "stripe"}:
        raise typer.BadParameter(f"expected citadel, auto or stripe, not {driver!r}", param_hint="--driver")
    policies = {} if file is None else {file.name: read_policy_file(file)}
    policies["default policy"] = Policy.default()
    if driver is not None:
        policies = {name: each.model_copy(update={"driver": driver}) for name, each in policies.items()}
    return policies


# -- the past ------------------------------------------------------------------------------------


def _from_file(file: Path) -> tuple[Header, list[Failure]]:
    try:
        return read_history(file)
    except OSError as error:
        refuse(f"{file} cannot be read: {error.strerror}")
    except HistoryRefused as refused:
        for each in refused.problems:
            print(each, file=sys.stderr)
        listed = "listed above" if refused.count == len(refused.problems) else "the first are listed above"
        refuse(f"{file} is no history: {refused.count} problems, {listed}")


def _from_stripe(
    merchant: str, given: dict[str, int | datetime | Path | None], data_dir: Path, per_second: float, *, fresh: bool
) -> tuple[Header, list[Failure]]:
    """Read the past from Stripe and keep it in a file; continues a run that was killed."""
    if not _ACCOUNT.fullmatch(merchant):
        raise typer.BadParameter(
            f"expected a connected account's id (acct_…), not {merchant!r}", param_hint="--merchant"
        )
    refuse_settings(problems_of([StripeSettings]))
    kept = given["--keep"] if isinstance(given["--keep"], Path) else data_dir / "backtest" / f"{merchant}.jsonl"
    pages = kept.with_name(f"{kept.name}.partial")
    if fresh:
        pages.unlink(missing_ok=True)
    day = given["--until"]
    now = int(time.time())
    account = AccountId(merchant)
    until = int(day.replace(tzinfo=UTC).timestamp()) if isinstance(day, datetime) else now
    if until > now:
        raise typer.BadParameter("a day that has not come yet: nothing is known of it", param_hint="--until")
    days = given["--days"] if isinstance(given["--days"], int) else DEFAULT_DAYS
    window = Window(account, until - days * _DAY, until)
    try:
        journal = Journal.open(pages, window, days_given=given["--days"] is not None)
    except JournalRefused as refused:
        refuse(str(refused))
    except OSError as error:
        refuse(f"{pages} cannot be written: {error.strerror}")
    try:
        run(_collect(journal, account, per_second))
    except CannotRead as error:
        refuse(f"{error}; what was read is kept in {pages}: the same command goes on from there", 1)
    finally:
        journal.close()
    header, failures = history_of(journal)
    write_history(kept, header, failures)
    journal.remove()
    print(f"kept {len(failures):,} failures in {kept}: citadel backtest --from {kept} needs no Stripe", file=sys.stderr)
    return header, failures


async def _collect(journal: Journal, account: AccountId, per_second: float) -> None:
    settings = load(StripeSettings)
    if any(journal.cursors.values()):
        pages = sum(len(rows) for rows in journal.rows.values())
        print(f"going on with what an earlier run has read ({pages:,} rows)", file=sys.stderr)
    columns = (TextColumn("{task.description:>8}"), BarColumn(), TextColumn("{task.fields[kept]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        tasks: dict[str, TaskID] = {name: bar.add_task(name, total=1.0, kept="") for name in LISTS}
        for name in journal.done:
            bar.update(tasks[name], completed=1.0, kept="read before")

        def progress(name: str, share: float, rows: int) -> None:
            whole = 1.0 if name in journal.done else share
            bar.update(tasks[name], completed=whole, kept=f"{rows:,} kept")

        async with StripeClientFactory.open(settings) as clients:
            await collect(clients.for_merchant(account), journal, Pace(per_second), progress)
