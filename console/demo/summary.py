"""Prints the demo's results: the money, the work, the checks, and where to look next."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from console.demo import elsewhere
from console.demo.checks import Verdict
from console.demo.figures import Figures, cause_of
from console.demo.ladder import Way
from console.demo.story import Told
from console.recovery import in_brief
from shared.money import Money, readable

_CAUSES = {"authentication_required": "3-D Secure asked", "unknown": "generic decline"}


def show(told: Told, console: Console) -> None:
    """Print the summary."""
    figures = told.figures
    _headline(told, console)
    for table in (_by_currency(figures), _by_cause(figures)):
        console.print(table)
        console.print()
    console.print(_LADDERS, style="dim", highlight=False)
    console.print()
    console.print(elsewhere.told(elsewhere.played()))
    console.print()
    console.print(_ELSEWHERE, style="dim", highlight=False)
    console.print()
    work = Table.grid(padding=(0, 2, 0, 0))
    for label, text in _work(told):
        work.add_row(Text(label, style="dim"), text)
    console.print(work)
    console.print()
    if figures.story is not None:
        console.print("[dim]one recovery, as `citadel recovery show --brief` tells it[/]", highlight=False)
        for line in in_brief(figures.story):
            console.print(line, highlight=False, soft_wrap=True)
        console.print()
    for verdict in figures.verdicts:
        _verdict(verdict, console)
    console.print(f"[dim]logs: {_shortest(told.logs)}/[/]", highlight=False, soft_wrap=True)


def _headline(told: Told, console: Console) -> None:
    story, figures = told.story, told.figures
    failed = sum(row["failed_count"] for row in figures.totals)
    recovered = sum(row["recovered_count"] for row in figures.totals)
    console.print()
    console.rule("[bold]The Citadel[/]", style="dim")
    console.print(
        f"{story.days} days of {story.merchants} merchants in {told.seconds:.0f} s: {figures.invoices:,} renewals, "
        f"[bold]{failed:,} failed, {recovered:,} recovered ({_share(recovered, failed)})[/].",
        highlight=False,
    )
    console.print()


# -- tables --------------------------------------------------------------------------------------

_LADDERS = (
    "The ladders have the same cards, customers and emails, replayed with attempts at fixed gaps.\n"
    "Bank debits are not in them: Stripe retries those by other settings, the others are for cards.\n"
    "All of them are simulated: they show what differs, not what a merchant will recover."
)

_ELSEWHERE = (
    f"{elsewhere.FAILURES:,} made-up failures in a world that the default policy was not made for. The clairvoyant\n"
    "knows each fate and keeps the rules: what could be had. `citadel simulate --worlds` lists more worlds."
)


def _table(first: str, columns: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True, min_width=18)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _by_currency(figures: Figures) -> Table:
    """One line per currency: the money, in whole units (the checks count cents). Recovered is net of what went back."""
    table = _table("money", ("failed", "recovered", "", "went back", "elsewhere", "gave up", "at risk"))
    for row in figures.totals:
        failed, recovered = row["failed_cents"], row["recovered_cents"]
        went_back = row["refunded_cents"] + row["disputed_cents"] - row["won_back_cents"]
        at_risk = failed - recovered - went_back - row["exhausted_cents"] - row["stopped_cents"]
        cells = (failed, recovered, went_back, row["stopped_cents"], row["exhausted_cents"], at_risk)
        shown = [readable(Money(cents, row["currency"]), whole=True) if cents else "-" for cents in cells]
        table.add_row(row["currency"].upper(), *shown[:2], _share(recovered, failed), *shown[2:])
    return table


def _by_cause(figures: Figures) -> Table:
    """One line per cause of the decline: how many renewals, and what share was recovered, by us and by ladders. Bank
    debits have a line without ladders."""
    failed = Counter(cause_of(row) for row in figures.recoveries if row["invoice_id"] in figures.compared)
    table = _table("recovered, by cause", ("failed", *(way.name for way in figures.ways)))
    for cause, count in sorted(failed.items(), key=lambda item: (-item[1], item[0])):
        cells = (_part(way.recovered[cause], count) for way in figures.ways)
        table.add_row(_CAUSES.get(cause, cause.replace("_", " ")), str(count), *cells)
    total = failed.total()
    everything = (_part(way.recovered.total(), total) for way in figures.ways)
    table.add_row("all cards", str(total), *everything, style="bold")
    lines: tuple[tuple[str, Callable[[Way], str]], ...] = (
        ("attempts each", lambda way: f"{way.attempts / max(total, 1):.1f}"),
        ("tries on dead cards", lambda way: str(way.after_hard)),
        ("days to payment", lambda way: "-" if way.days is None else f"{way.days:.1f}"),
    )
    for label, shown in lines:
        table.add_row(label, "", *map(shown, figures.ways))
    debits = figures.debits
    if debits.renewals:
        nobody = ["-"] * (len(figures.ways) - 1)
        table.add_row("bank debits", str(debits.renewals), _part(debits.recovered, debits.renewals), *nobody)
    return table


def _part(count: int, of: int) -> str:
    return f"{count} {_share(count, of):>4}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


# -- lines ---------------------------------------------------------------------------------------


def _work(told: Told) -> Iterable[tuple[str, str]]:
    """What was done, a line each."""
    figures = told.figures
    most = max(figures.attempts_per_recovery, default=0)
    yield (
        "attempts",
        (
            f"{sum(figures.attempts.values()):,} of ours, at most {most} per recovery: {_listed(figures.attempts)}; "
            f"{figures.stripe_attempts:,} of Stripe's"
        ),
    )
    by = Counter(row["recovered_by"] for row in figures.recoveries if row["recovered_by"])
    yield ("recovered", f"{by['retry']:,} by our retries, {by['message']:,} by customers after an email")
    yield from _beside(figures)
    yield ("emails", f"{figures.emails.total():,}: {_listed(dict(figures.emails.most_common()))}")
    webhooks = figures.webhooks
    yield (
        "webhooks",
        (
            f"{webhooks.events:,} events, {webhooks.deliveries:,} deliveries, late, shuffled; "
            f"{webhooks.duplicates_ignored:,} duplicates ignored"
        ),
    )
    yield ("tasks", f"{sum(figures.tasks.values()):,}: {_listed(figures.tasks)}")
    crash = told.crash
    if crash is None:
        yield ("crash", "no worker was caught at work, so none was killed")
    else:
        yield (
            "crash",
            (
                f"{crash.worker} was killed with SIGKILL on day {crash.day}: {crash.rescued} of "
                f"{_counted(len(crash.held), 'task')} rescued in {crash.rescued_after_s:.1f} s, {crash.finished} done"
            ),
        )


def _beside(figures: Figures) -> Iterable[tuple[str, str]]:
    """Bank debits, cards renewed in place, money that went back: a line each, where there are any."""
    debits, renewed, back = figures.debits, figures.renewed, figures.went_back
    if debits.renewals or debits.begun:
        failed = f"{_counted(debits.renewals, 'renewal')} by bank debit failed days later"
        yield (
            "debits",
            (
                f"{failed}, {debits.recovered:,} recovered; "
                f"begun since: {debits.begun:,}, of which {debits.paid:,} paid, {debits.failed:,} failed, "
                f"{debits.under_way:,} under way"
            ),
        )
    if renewed.renewed:
        yield (
            "cards",
            (
                f"{_counted(renewed.renewed, 'failing card')} renewed in place by the networks, "
                f"{renewed.charged:,} of them charged at once by us"
            ),
        )
    if back.refunds or back.disputes or back.of_others:
        refunds = (
            f"{_counted(back.refunds, 'refund')} ({back.in_part:,} in part, {back.failed:,} failed)"
            if back.refunds
            else "no refund"
        )
        ends = f"{back.won:,} won, {back.lost:,} lost, {back.undecided:,} open"
        disputes = f"{_counted(back.disputes, 'dispute')} ({ends})" if back.disputes else "no dispute"
        yield (
            "went back",
            f"{refunds} and {disputes} of what was recovered; {back.of_others:,} of charges that are not ours",
        )


def _listed(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()) or "none"


def _verdict(verdict: Verdict, console: Console) -> None:
    mark = "[bold green]✓[/]" if verdict.holds else "[bold red]✗[/]"
    console.print(f"{mark} [bold]{verdict.claim}[/]", highlight=False, soft_wrap=True)
    for figure in verdict.figures:
        console.print(f"  [dim]{figure}[/]", highlight=False, soft_wrap=True)
    for problem in verdict.problems[:10]:
        console.print(f"  [red]{problem}[/]", highlight=False, soft_wrap=True)
    if len(verdict.problems) > 10:
        console.print(f"  [red]and {len(verdict.problems) - 10} more[/]", highlight=False)


# -- with --keep ---------------------------------------------------------------------------------


def show_how_to_look(told: Told, console: Console) -> None:
    """URLs and command lines, for a demo that keeps running."""
    target, story = told.target, told.figures.story
    ledger, curl = target.ledger_url, target.curl
    key = f'-H "Authorization: Bearer {told.api_key}"'
    console.print()
    console.print("[bold]Everything keeps running.[/]", highlight=False)
    lines = (
        ("statistics", f"{curl} {key} {ledger}/v1/stats"),
        ("recoveries", f"{curl} {key} '{ledger}/v1/recoveries?state=recovered&limit=3'"),
        *([("one story", f"{curl} {key} {ledger}/v1/recoveries/{story.id}")] if story is not None else ()),
        ("connect", f"{target.auth_url}/auth/stripe  (in a browser)"),
        *target.how_to_look().items(),
        ("simulator", f"curl -s {target.simulator_url}/_sim/summary"),
    )
    for label, text in lines:
        console.print(Text.assemble((f"{label:<12}", "dim"), text), soft_wrap=True)


def _shortest(folder: Path) -> Path:
    """The shortest path to the folder."""
    try:
        return folder.relative_to(Path.cwd())
    except ValueError:
        return folder
