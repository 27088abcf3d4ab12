"""A back-test as tables for people and as JSON for programs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from console.evaluation.backtest.compare import HAPPENED, Comparison, Held, Interval, PolicyOutcome, Totals
from console.evaluation.backtest.lessons import WEEKS_OF_STEP
from console.evaluation.backtest.replay import learns_hours, learns_plans, tries_backups
from services.worker.recovery import CURRENT_RULES, Policy
from shared.money import Money, readable

_BAR = 24
FEW_RETRIES = 200
"""With fewer retried failures, the model's rates are mostly a guess."""


RETRY_UNKNOWN = (
    "Whether a retry would have gone through at a time at which nobody tried: that is estimated from how the "
    "merchant's other retries went after the same cause, by the time since the failure. The intervals have in them how "
    "few those are, not that the kind of estimate may be wrong."
)
MESSAGES_UNKNOWN = (
    "What a message would have done: history does not show which messages were sent. Customers are taken to pay when "
    "they did, whatever a policy writes to them."
)
LATER_UNKNOWN = "What became of a failure after the history ends, or after 60 days: neither row counts it."


def as_json(comparison: Comparison, policies: dict[str, Policy]) -> dict[str, Any]:
    """The figures as plain values; money in minor units, shares of all failures."""
    header = comparison.header
    return {
        "merchant": header.merchant,
        "since": header.since,
        "until": header.until,
        "failures": comparison.failures,
        "failures_ever_retried": comparison.few,
        "failures_with_backups": comparison.with_backups,
        "backups_tried": comparison.backups_tried,
        "backups_worked": comparison.backups_worked,
        "still_open": comparison.still_open,
        "left_out": header.left_out,
        "due": comparison.due,
        "seed": comparison.seed,
        "network_rules": CURRENT_RULES.version,
        "replayed_per_second": {name: round(each) for name, each in comparison.replayed_a_second.items()},
        "learned_from": comparison.recoveries if comparison.learned else 0,
        "learned": list(comparison.learned),
        "outcomes": {each.name: _figures(each) for each in comparison.outcomes},
        "cannot_tell": cannot_tell(comparison, policies),
    }


def _figures(outcome: PolicyOutcome) -> dict[str, Any]:
    totals, policy = outcome.totals, outcome.gain is not None
    figures: dict[str, Any] = {
        "paid_share": _spread(outcome.share, 5),
        "paid": round(totals.paid, 2),
        "paid_by_retry": round(totals.by_retry, 2),
        "paid_otherwise": round(totals.otherwise, 2),
        "paid_amount": {currency: _spread(each, 0) for currency, each in outcome.money.items()},
        "attempts": round(totals.attempts, 2),
        "rule_breaches": outcome.breaches,
        "attempts_checked": outcome.attempts_checked,
        "by_cause": {
            cause.value: {
                "failures": each.failures,
                "paid_share": round(each.paid / each.failures, 5),
                "attempts": round(each.attempts, 2),
            }
            for cause, each in sorted(outcome.by_cause.items())
        },
    }
    if policy and outcome.gain is not None:
        figures |= {
            "gain_share": _spread(outcome.gain, 5),
            "gain_amount": {currency: _spread(each, 0) for currency, each in outcome.money_gain.items()},
            "attempts_saved": round(outcome.saved, 2),
            "attempts_added": round(outcome.added, 2),
            "attempts_estimated": round(totals.estimated, 2),
            "messages": round(totals.messages, 2),
            "learned_timing_moved": outcome.moved,
            "backup_first_tries": round(totals.first_tries, 2),
            "paid_by_backup_first_tries": round(totals.by_first_try, 2),
        }
        if outcome.held is not None:
            figures["holdout"] = _holdout_figures(outcome.held)
    return figures


def _holdout_figures(held: Held) -> dict[str, Any]:
    def each(after: Totals, before: Totals) -> dict[str, Any]:
        count = after.failures or 1
        return {
            "failures": after.failures,
            "paid_share": round(after.paid / count, 5),
            "paid_share_happened": round(before.paid / count, 5),
            "attempts": round(after.attempts, 2),
            "messages": round(after.messages, 2),
        }

    return {
        "watched": each(held.watched, held.watched_before),
        "acted_on": each(held.acted_on, held.acted_on_before),
    }


def _spread(each: Interval, digits: int) -> dict[str, float]:
    return {
        "value": round(each.value, digits),
        "low_95": round(each.low, digits),
        "high_95": round(each.high, digits),
    }


def show(comparison: Comparison, policies: dict[str, Policy], console: Console) -> None:
    """Print the tables, with explanations."""
    header = comparison.header
    whose = f" of {escape(header.merchant)}" if header.merchant else ""
    console.print(
        f"\n[bold]{comparison.failures:,} failed renewals[/]{whose}, {_day(header.since)} to {_day(header.until)}; "
        f"{comparison.still_open:,} of them were still unpaid and followed when the history ends.\n"
        f"Each row is the same failures: as they went, and as they would be expected to go under a policy.\n",
        highlight=False,
    )
    console.print(_shares(comparison), highlight=False)
    if comparison.learned:
        console.print("\n[bold]What was learned of customers by the end[/]", highlight=False)
    for sentence in comparison.learned:
        console.print(f"  {sentence}", highlight=False)
    console.print("\n[bold]Against what happened[/]", highlight=False)
    for outcome in comparison.outcomes[1:]:
        _tell_difference(outcome, console)
    console.print()
    console.print(_money(comparison), highlight=False)
    console.print()
    console.print(_causes(comparison), highlight=False)
    _tell_breaches(comparison, console)
    console.print("\n[bold]What history cannot tell[/]", highlight=False)
    for line in cannot_tell(comparison, policies):
        console.print(Padding(f"- {escape(line)}", (0, 0, 0, 2)), highlight=False)
    speeds = ", ".join(f"{escape(name)} {each:,.0f}" for name, each in comparison.replayed_a_second.items())
    console.print(
        f"\nFailures replayed a second of processor time: {speeds}; all in {comparison.seconds:.1f} s. "
        f"Intervals are 95 %.",
        style="dim",
        highlight=False,
    )


def _shares(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("paid", justify="right")
    table.add_column("interval", justify="right")
    table.add_column("")
    for column in ("by retry", "otherwise", "attempts", "per failure", "messages", "breaches"):
        table.add_column(column, justify="right")
    for outcome in comparison.outcomes:
        totals, count = outcome.totals, comparison.failures
        known = outcome.gain is None
        table.add_row(
            escape(outcome.name),
            f"{outcome.share.value:.1%}",
            f"{outcome.share.low:.1%} - {outcome.share.high:.1%}",
            _bar(outcome.share),
            f"{totals.by_retry / count:.1%}",
            f"{totals.otherwise / count:.1%}",
            f"{totals.attempts:,.0f}",
            f"{totals.attempts / count:.2f}",
            "unknown" if known else f"{totals.messages:,.0f}",
            f"{sum(outcome.breaches.values()):,}",
        )
    return table


def _bar(share: Interval) -> str:
    """A bar: full up to the interval's low end, dotted over the interval."""
    low, high = round(_BAR * share.low), round(_BAR * share.high)
    return "█" * low + "░" * (high - low) + " " * (_BAR - high)


def _tell_difference(outcome: PolicyOutcome, console: Console) -> None:
    gain = outcome.gain
    if gain is None:
        return
    sure = "" if gain.low > 0 or gain.high < 0 else "; chance alone could make that difference"
    console.print(
        f"  {escape(outcome.name)}: {gain.value * 100:+.1f} points of failures paid "
        f"({gain.low * 100:+.1f} to {gain.high * 100:+.1f}){sure}",
        highlight=False,
    )
    for currency, each in outcome.money_gain.items():
        low, high = _signed(each.low, currency), _signed(each.high, currency)
        console.print(f"    money     {_signed(each.value, currency)} ({low} to {high})", highlight=False)
    share = outcome.totals.estimated / outcome.totals.attempts if outcome.totals.attempts else 0.0
    console.print(
        f"    attempts  {outcome.saved:,.0f} saved, {outcome.added:,.0f} added; "
        f"{share:.0%} of its attempts are at times at which nobody tried",
        highlight=False,
    )
    console.print(
        f"    rules     {sum(outcome.breaches.values()):,} breaches in {outcome.attempts_checked:,} attempts checked, "
        f"all those that it could come to make (rules version {CURRENT_RULES.version})",
        highlight=False,
    )
    if outcome.moved:
        console.print(
            f"    hours     {outcome.moved:,} of these at the hours that learned timing picks", highlight=False
        )
    if outcome.totals.first_tries:
        tried, paid = outcome.totals.first_tries, outcome.totals.by_first_try
        console.print(f"    backups   {tried:,.0f} other cards on file tried first, {paid:,.0f} paid", highlight=False)
    if outcome.held is not None:
        _tell_held(outcome.held, console)


def _tell_held(held: Held, console: Console) -> None:
    for word, after, before in (
        ("watched", held.watched, held.watched_before),
        ("acted on", held.acted_on, held.acted_on_before),
    ):
        count = after.failures or 1
        console.print(
            f"    holdout   {after.failures:,} {word}: {after.paid / count:.1%} paid, {before.paid / count:.1%} in the "
            f"past; {after.attempts:,.0f} attempts, {after.messages:,.0f} messages",
            highlight=False,
        )


def _money(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(("paid, by currency", "due", *(each.name for each in comparison.outcomes))):
        table.add_column(escape(column), justify="right" if number else "left")
    for currency, due in comparison.due.items():
        cells = []
        for outcome in comparison.outcomes:
            each = outcome.money[currency]
            shown = (readable(Money(round(value), currency)) for value in (each.value, each.low, each.high))
            value, low, high = shown
            cells.append(f"{value}\n[dim]{low} - {high}[/]")
        table.add_row(currency.upper(), readable(Money(due, currency)), *cells)
    return table


def _causes(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("paid share, by cause")
    table.add_column("failures", justify="right")
    for outcome in comparison.outcomes:
        table.add_column(escape(outcome.name), justify="right")
    first = comparison.outcomes[0]
    for cause, totals in sorted(first.by_cause.items(), key=lambda item: -item[1].failures):
        shares = (each.by_cause[cause].paid / totals.failures for each in comparison.outcomes)
        table.add_row(cause.value.replace("_", " "), f"{totals.failures:,}", *(f"{share:.1%}" for share in shares))
    return table


def _tell_breaches(comparison: Comparison, console: Console) -> None:
    broken = [each for each in comparison.outcomes if each.breaches]
    if not broken:
        console.print("\nNo network rule was broken by what happened, or would be.", highlight=False)
    for outcome in broken:
        what = "Retries made against a rule" if outcome.name == HAPPENED else "Attempts against a rule"
        console.print(f"\n[bold]{what}, {escape(outcome.name)}[/]", highlight=False)
        for rule, count in sorted(outcome.breaches.items(), key=lambda item: -item[1]):
            console.print(f"  {count:>8,}  {rule.replace('_', ' ')}", highlight=False)


def cannot_tell(comparison: Comparison, policies: dict[str, Policy]) -> list[str]:
    """Sentences about what the figures cannot tell, for this history and these policies."""
    lines = [RETRY_UNKNOWN, MESSAGES_UNKNOWN, LATER_UNKNOWN]
    if comparison.few < FEW_RETRIES:
        lines.append(
            f"Much at all: only {comparison.few} of these failures were ever retried. With so few, the estimates lean "
            f"on a guess, and the intervals are wide; a longer history (--days) narrows them."
        )
    drivers = {name: policy.driver for name, policy in policies.items() if policy.driver != "citadel"}
    for name, driver in drivers.items():
        rest = "ours come only after them" if driver == "auto" else "there are none of ours"
        lines.append(
            f"What {name} would do without Stripe's retries: its driver is `{driver}`, so they stay as they were, and "
            f"{rest}. All past retries count as Stripe's. Compare with --driver citadel."
        )
    for name, policy in policies.items():
        lines += _of_policy(name, policy, comparison)
    lines.extend(
        f"About {count:,} renewals: {reason}. They are left out."
        for reason, count in comparison.header.left_out.items()
    )
    return lines


def _of_policy(name: str, policy: Policy, comparison: Comparison) -> Iterator[str]:
    """What cannot be told of a policy's learned timing, backup methods and holdout."""
    if learns_hours(policy):
        yield (
            f"What the hours gain that {name} learns: its attempts are at the hours that it would have picked, week by "
            f"week, from the {comparison.retries:,} retries on record; but the estimate takes all hours of a day to be "
            f"alike. It learns from the retries that were made, because nobody knows how its own would have ended."
        )
    elif policy.learns_hours:
        yield (
            f"What the hours gain that {name} learns: past retries count as Stripe's, which teach it no hours. "
            f"Compare with --driver citadel."
        )
    if learns_plans(policy):
        yield (
            f"What {name} gains by learning about customers: its likeliest attempts are planned by what could have "
            f"been learned of them by then, every {WEEKS_OF_STEP} weeks, from up to {comparison.recoveries:,} failures "
            f"that were retried, by anybody. How these attempts would have gone is as good as the estimate, which "
            f"knows of each country's usual paydays, of no others, and not that money goes again."
        )
    if tries_backups(policy) and not comparison.with_backups:
        yield (
            f"What other cards on file would have done: {name} allows them, and the history names none (`backups`). "
            f"They are not read from Stripe."
        )
    elif tries_backups(policy):
        tried, worked = comparison.backups_tried, comparison.backups_worked
        yield (
            f"How often other cards on file would have worked under {name}: that is guessed at one in two, and "
            f"corrected by the first tries of such cards in the past ({worked:,} of {tried:,} worked); the intervals "
            f"have in them how little that is. One that is declined is taken to be declined without a reason. The "
            f"history names other cards of {comparison.with_backups:,} of {comparison.failures:,} failures; of the "
            f"others none are known. It does not say whether the customers agreed to be charged on them."
        )
    if policy.holdout_share:
        yield (
            f"What the holdout of {name} would show: the failures that it only watches are in its row, and shown "
            f"apart. Whether their customers would have paid alone is estimated where a retry paid in the past."
        )


def _signed(value: float, currency: str) -> str:
    sign = "-" if round(value) < 0 else "+"
    return f"{sign}{readable(Money(abs(round(value)), currency))}"


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
