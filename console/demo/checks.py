"""The three checks of the demo, each computed from two independent sides.

    money     what the simulator charged = what the ledger says was recovered, per currency
    twice     no invoice was charged twice
    privacy   nothing personal that the simulator gave out is in the database or in a log

The simulator's charge log is the bank's side: it says when money moved, for which invoice and who made the charge
(`api_pay`: our attempt; `hosted_page`: the customer; `stripe_retry`: Stripe's own schedule; `renewal`: the renewal).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from console.demo import store
from console.demo.needles import Needles
from shared.database import Connection, Database

Row = Mapping[str, Any]

OURS, CUSTOMER = "api_pay", "hosted_page"

TAKEN_BACK = frozenset({"refund", "refund_failed", "dispute_withdrawn", "dispute_reinstated"})
"""The kinds of movement in the bank's own book by which money of a charge goes back, or comes back from there."""

CLOCKS_APART = timedelta(minutes=2)
"""Within a step the simulator's clock stands still and the database's runs: they may differ by this much."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check: its title, its figures in short lines, and the problems (none: the check holds)."""

    claim: str
    figures: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class MoneyLine:
    """One currency in cents. `charged` by source is the bank's side, `recovered` by table is the ledger's.

    `elsewhere` and `late` are on the bank's side, too: paid by Stripe's own retry, without a message, or out of band;
    and paid by the customer after the recovery had ended. Neither counts as recovered. `taken_back` was refunded or
    disputed of what does.
    """

    currency: str
    by_retry: int = 0
    by_customer: int = 0
    elsewhere: int = 0
    late: int = 0
    taken_back: int = 0
    totals: int = 0
    api: int = 0
    stopped_paid_elsewhere: int = 0

    @property
    def charged(self) -> int:
        """What the simulator charged because of our retries and messages, less what it took back."""
        return self.by_retry + self.by_customer - self.taken_back


# -- money ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sums:
    lines: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    problems: list[str] = field(default_factory=list)


def compare_money(
    charges: Iterable[Row],
    failed_invoices: Iterable[str],
    recoveries: Iterable[Row],
    ledger_totals: Mapping[str, int],
    api_totals: Mapping[str, int],
    movements: Iterable[Row] = (),
) -> tuple[list[MoneyLine], list[str]]:
    """Compare the bank's side with the ledger's, per currency; returns the lines and the differences.

    `charges`: the simulator's charge log. `failed_invoices`: all that ever failed there.
    `recoveries`: the rows of RECOVERIES. `ledger_totals`, `api_totals`: recovered cents by currency, from
    `merchant_totals` and from `GET /v1/stats`. `movements`: the bank's own book, of which refunds and disputes count.
    """
    back: Counter[str] = Counter()
    for row in movements:
        if row["kind"] in TAKEN_BACK:
            back[row["charge"]] -= row["amount"]
    failed = set(failed_invoices)
    known = {row["invoice_id"]: row for row in recoveries}
    sums = _Sums()
    missing = failed - known.keys()
    if missing:
        sums.problems.append(f"{len(missing)} failed invoices without a recovery, e.g. {min(missing)}")
    for charge in charges:
        if charge["invoice"] in failed:
            _place(charge, known.get(charge["invoice"]), sums, back[charge["charge"]])
    for row in known.values():
        if row["end_reason"] == "paid_elsewhere":
            sums.lines[row["currency"]]["stopped"] += row["amount_due"]
    for currency in {*ledger_totals, *api_totals}:
        sums.lines[currency]["totals"] = ledger_totals.get(currency, 0)
        sums.lines[currency]["api"] = api_totals.get(currency, 0)
    lines = [
        MoneyLine(
            currency,
            by_retry=sum_[OURS],
            by_customer=sum_[CUSTOMER],
            elsewhere=sum_["elsewhere"],
            late=sum_["late"],
            taken_back=sum_["taken_back"],
            totals=sum_["totals"],
            api=sum_["api"],
            stopped_paid_elsewhere=sum_["stopped"],
        )
        for currency, sum_ in sorted(sums.lines.items())
    ]
    return lines, [*sums.problems, *_disagreements(lines)]


def _place(charge: Row, recovery: Row | None, sums: _Sums, taken_back: int) -> None:
    """Add a charge to the sum that it belongs to on the bank's side; note a problem if our row disagrees."""
    source, amount = charge["source"], charge["amount"]
    sum_ = sums.lines[charge["currency"]]
    what = f"{charge['invoice']} ({source}, {amount} {charge['currency']})"
    if recovery is None:
        sum_[source] += amount
        return
    told = (recovery["state"], recovery["recovered_by"])
    if source == OURS:
        sum_[OURS] += amount
        sum_["taken_back"] += taken_back
        expected = told == ("recovered", "retry")
    elif source == CUSTOMER and _gave_up_before(recovery, charge):
        sum_["late"] += amount
        expected = True
    elif source == CUSTOMER:
        sum_[CUSTOMER] += amount
        sum_["taken_back"] += taken_back
        expected = told == ("recovered", "message")
    else:
        sum_["elsewhere"] += amount
        expected = recovery["end_reason"] == "paid_elsewhere"
    if not expected:
        sums.problems.append(f"{what}: our row says {recovery['state']}, {recovery['end_reason']}")


def _gave_up_before(recovery: Row, charge: Row) -> bool:
    """Whether the recovery had ended without money when the charge was made."""
    paid_at = datetime.fromtimestamp(charge["at"], UTC)
    return bool(recovery["state"] == "exhausted" and recovery["closed_at"] <= paid_at + CLOCKS_APART)


def _disagreements(lines: Sequence[MoneyLine]) -> list[str]:
    found = []
    for line in lines:
        if line.charged != line.totals:
            found.append(f"{line.currency}: charged {line.charged}, merchant_totals says {line.totals}")
        if line.charged != line.api:
            found.append(f"{line.currency}: charged {line.charged}, GET /v1/stats says {line.api}")
        if line.elsewhere != line.stopped_paid_elsewhere:
            found.append(
                f"{line.currency}: {line.elsewhere} paid elsewhere, stopped as such {line.stopped_paid_elsewhere}"
            )
    return found


# -- twice ---------------------------------------------------------------------------------------


def check_twice(attempts: Sequence[Row], succeeded: Iterable[Row]) -> Verdict:
    """Check that no invoice is twice in the bank's log, no idempotency key was used twice, and successes agree.

    `attempts`: every attempt in the simulator's log. `succeeded`: the rows of SUCCEEDED_ATTEMPTS.
    """
    charges = [each for each in attempts if each["outcome"] == "succeeded"]
    per_invoice = Counter(each["invoice"] for each in charges)
    ours = [each for each in attempts if each["source"] == OURS]
    per_key = Counter(each["idempotency_key"] for each in ours)
    rows = list(succeeded)
    per_recovery = Counter(row["invoice_id"] for row in rows)
    problems = [
        *(f"{invoice}: charged {times} times" for invoice, times in per_invoice.items() if times > 1),
        *(f"key {key}: {times} tries" for key, times in per_key.items() if key is None or times > 1),
        *(f"{invoice}: {times} succeeded attempts" for invoice, times in per_recovery.items() if times > 1),
    ]
    bank = {(each["invoice"], each["charge"]) for each in charges if each["source"] == OURS}
    booked = {(row["invoice_id"], row["charge_id"]) for row in rows if row["origin"] == "citadel"}
    problems += [f"{invoice}: charge {charge} has no attempt of ours" for invoice, charge in sorted(bank - booked)]
    problems += [f"{invoice}: attempt {charge} is no charge" for invoice, charge in sorted(booked - bank, key=str)]
    figures = (
        f"{len(charges):,} charges for {len(per_invoice):,} invoices",
        f"{len(ours):,} retries of ours under {len(per_key):,} idempotency keys",
    )
    return Verdict("No invoice was charged twice", figures, tuple(problems))


# -- privacy -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Scan:
    """What was searched, and what was found where."""

    columns: int = 0
    characters: int = 0
    files: int = 0
    found: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def look(self, needles: Needles, place: str, text: str) -> None:
        """Search one text for the needles."""
        self.characters += len(text)
        for value in needles.found_in(text):
            self.found[value].add(place)


async def scan(database: Database, logs: Iterable[Path], needles: Needles) -> Scan:
    """Search every text-like column of every table, and the logs, for the needles."""
    result = Scan()
    async with database.transaction() as db:
        await _scan_tables(db, needles, result)
    for file in logs:
        result.files += 1
        for line in file.read_text(errors="replace").splitlines():
            result.look(needles, file.name, line)
    return result


async def _scan_tables(db: Connection, needles: Needles, result: Scan) -> None:
    columns = await store.text_columns(db)
    result.columns = len(columns)
    async for column, text in store.texts(db, columns):
        result.look(needles, str(column), text)


async def check_privacy(
    database: Database, logs: Sequence[Path], personal: Iterable[str], known: Iterable[str]
) -> Verdict:
    """Check that nothing of `personal` is anywhere. `known` are control values that are surely in the database: if the
    scan misses one of them, it has proven nothing, and the check fails."""
    personal, known = set(personal), set(known)
    needles = Needles(personal | known)
    result = await scan(database, logs, needles)
    leaks = {value: places for value, places in result.found.items() if value in personal}
    missed = known - result.found.keys()
    # The values themselves are not printed, because the demo's output may be logged.
    problems = [f"a personal value of {len(value)} characters is in {_some(places)}" for value, places in leaks.items()]
    if missed:
        problems.append(f"the scan is blind: {len(missed)} of {len(known)} values that are surely there were not found")
    if not personal - needles.too_short:
        problems.append("there was nothing to look for")
    figures = (
        f"{len(personal - needles.too_short):,} names, addresses, emails and telephone numbers looked for",
        f"in {result.columns} columns and {result.files} logs, {result.characters / 1e6:.1f} million characters",
        f"{len(known) - len(missed)} of {len(known)} control values were found, so the scan does look",
    )
    return Verdict("No personal data of customers in the database or in a log", figures, tuple(problems))


def _some(places: set[str], limit: int = 3) -> str:
    shown = ", ".join(sorted(places)[:limit])
    return shown if len(places) <= limit else f"{shown} and {len(places) - limit} more"
