"""The three checks of the demo, each computed from two independent sides.

    money     what moved at the bank = what the ledger says was recovered, per currency, net of what went back
    twice     no invoice was charged twice
    privacy   nothing personal that the simulator gave out is in the database or in a log

The simulator's book is the bank's side: every movement of money, once, with the invoice and the charge that it was for.
A charge's source says who made it (`api_pay`: our attempt; `hosted_page`: the customer; `stripe_retry`: Stripe's own
schedule; `renewal`: the renewal). A bank debit is in it when it is paid, and never when it fails.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from console.demo import store
from console.demo.needles import Needles
from shared.database import Connection, Database

Row = Mapping[str, Any]

OURS, CUSTOMER = "api_pay", "hosted_page"

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
class Booked:
    """Cents of one currency as our books have them: recovered is net of the other three."""

    recovered: int = 0
    refunded: int = 0
    disputed: int = 0
    won_back: int = 0

    @property
    def went_back(self) -> int:
        """What of the recovered charges is no longer there."""
        return self.refunded + self.disputed - self.won_back


@dataclass(frozen=True, slots=True)
class MoneyLine:
    """One currency in cents: the bank's side, and the ledger's (`totals`: merchant_totals; `api`: GET /v1/stats).

    `refunded`, `disputed` and `won_back` are of the charges that count as ours. `elsewhere` and `late` are on the
    bank's side, too: paid by Stripe's own retry, without a message, or out of band; and paid by the customer after the
    recovery had ended. Neither counts as recovered, and neither does what goes back of it.
    """

    currency: str
    by_retry: int = 0
    by_customer: int = 0
    refunded: int = 0
    disputed: int = 0
    won_back: int = 0
    elsewhere: int = 0
    late: int = 0
    totals: Booked = Booked()
    api: Booked = Booked()
    stopped_paid_elsewhere: int = 0

    @property
    def charged(self) -> int:
        """What the simulator charged because of our retries and messages."""
        return self.by_retry + self.by_customer

    @property
    def bank(self) -> Booked:
        """The bank's side in the ledger's words."""
        net = self.charged - self.refunded - self.disputed + self.won_back
        return Booked(net, self.refunded, self.disputed, self.won_back)


# -- money ---------------------------------------------------------------------------------------

# What a movement after the charge is called in our books, and its sign there: the bank's book has it as the merchant's
# balance sees it. Fees are neither recovered nor taken back.
_BACK: Final = {
    "refund": ("refunded", -1),
    "refund_failed": ("refunded", -1),
    "dispute_withdrawn": ("disputed", -1),
    "dispute_reinstated": ("won_back", 1),
}


@dataclass(slots=True)
class _Sums:
    lines: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    ours: dict[str, Row] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def compare_money(
    movements: Iterable[Row],
    begun: Mapping[str, int],
    failed_invoices: Iterable[str],
    recoveries: Iterable[Row],
    booked_charges: Iterable[Row],
    ledger_totals: Mapping[str, Booked],
    api_totals: Mapping[str, Booked],
) -> tuple[list[MoneyLine], list[str]]:
    """Compare the bank's side with the ledger's, per currency; returns the lines and the differences.

    `movements`: the simulator's book. `begun`: when each bank debit was begun, by charge. `failed_invoices`: all that
    ever failed there. `recoveries`, `booked_charges`: the rows of RECOVERIES and BOOKED_CHARGES. `ledger_totals`,
    `api_totals`: by currency, from `merchant_totals` and from `GET /v1/stats`.
    """
    failed = set(failed_invoices)
    known = {row["invoice_id"]: row for row in recoveries}
    sums = _Sums()
    missing = failed - known.keys()
    if missing:
        sums.problems.append(f"{len(missing)} failed invoices without a recovery, e.g. {min(missing)}")
    for movement in movements:
        if movement["kind"] == "charge" and movement["invoice"] in failed:
            _place(movement, begun, known.get(movement["invoice"]), sums)
        elif movement["kind"] in _BACK and movement["charge"] in sums.ours:
            name, sign = _BACK[movement["kind"]]
            sums.lines[movement["currency"]][name] += sign * movement["amount"]
    for row in known.values():
        if row["end_reason"] == "paid_elsewhere":
            sums.lines[row["currency"]]["stopped"] += row["amount_due"]
    lines = [
        MoneyLine(
            currency,
            by_retry=sums.lines[currency][OURS],
            by_customer=sums.lines[currency][CUSTOMER],
            refunded=sums.lines[currency]["refunded"],
            disputed=sums.lines[currency]["disputed"],
            won_back=sums.lines[currency]["won_back"],
            elsewhere=sums.lines[currency]["elsewhere"],
            late=sums.lines[currency]["late"],
            totals=ledger_totals.get(currency, Booked()),
            api=api_totals.get(currency, Booked()),
            stopped_paid_elsewhere=sums.lines[currency]["stopped"],
        )
        for currency in sorted({*sums.lines, *ledger_totals, *api_totals})
    ]
    return lines, [*sums.problems, *_misbooked(sums.ours, booked_charges), *_disagreements(lines)]


def _place(charge: Row, begun: Mapping[str, int], recovery: Row | None, sums: _Sums) -> None:
    """Add a charge to the sum that it belongs to on the bank's side; note a problem if our row disagrees."""
    source, amount = charge["source"], charge["amount"]
    sum_ = sums.lines[charge["currency"]]
    what = f"{charge['invoice']} ({source}, {amount} {charge['currency']})"
    if recovery is None:
        sum_[source] += amount
        return
    told = (recovery["state"], recovery["recovered_by"])
    if source == OURS:
        expected, counted = told == ("recovered", "retry"), OURS
    elif source == CUSTOMER and _gave_up_before(recovery, begun.get(charge["charge"], charge["at"])):
        expected, counted = True, "late"
    elif source == CUSTOMER:
        expected, counted = told == ("recovered", "message"), CUSTOMER
    else:
        expected, counted = recovery["end_reason"] == "paid_elsewhere", "elsewhere"
    sum_[counted] += amount
    if counted in {OURS, CUSTOMER}:
        sums.ours[charge["charge"]] = charge
    if not expected:
        sums.problems.append(f"{what}: our row says {recovery['state']}, {recovery['end_reason']}")


def _gave_up_before(recovery: Row, at: int) -> bool:
    """Whether the recovery had ended without money when the payment was made, or begun."""
    paid_at = datetime.fromtimestamp(at, UTC)
    return bool(recovery["state"] == "exhausted" and recovery["closed_at"] <= paid_at + CLOCKS_APART)


def _misbooked(ours: Mapping[str, Row], booked_charges: Iterable[Row]) -> list[str]:
    """Each charge of ours is booked once, with its own amount, and nothing else is."""
    bank = {(charge["charge"], charge["amount"], charge["currency"]) for charge in ours.values()}
    rows = [(row["charge_id"], row["amount"], row["currency"]) for row in booked_charges]
    return [
        *(f"{charge}: {amount} {currency} is not booked" for charge, amount, currency in sorted(bank - set(rows))),
        *(f"{charge}: {amount} {currency} did not move" for charge, amount, currency in sorted(set(rows) - bank)),
        *(f"{row[0]}: booked {times} times" for row, times in sorted(Counter(rows).items()) if times > 1),
    ]


def _disagreements(lines: Sequence[MoneyLine]) -> list[str]:
    found = []
    for line in lines:
        for where, booked in (("merchant_totals", line.totals), ("GET /v1/stats", line.api)):
            for name in ("recovered", "refunded", "disputed", "won_back"):
                ours, theirs = getattr(booked, name), getattr(line.bank, name)
                if ours != theirs:
                    label = name.replace("_", " ")
                    found.append(f"{line.currency}: {label} {theirs} at the bank, {where} says {ours}")
        if line.elsewhere != line.stopped_paid_elsewhere:
            found.append(
                f"{line.currency}: {line.elsewhere} paid elsewhere, stopped as such {line.stopped_paid_elsewhere}"
            )
    return found


# -- twice ---------------------------------------------------------------------------------------


def check_twice(attempts: Sequence[Row], succeeded: Iterable[Row]) -> Verdict:
    """Check that no invoice is twice in the bank's log, that nothing was begun while a payment of the same invoice was
    under way, that no idempotency key was used twice, and that successes agree.

    `attempts`: every attempt in the simulator's log, where a bank debit's end is an entry of its own, which
    `concludes` its beginning; one that fails is no charge. `succeeded`: the rows of SUCCEEDED_ATTEMPTS.
    """
    charges = [each for each in attempts if each["outcome"] == "succeeded"]
    per_invoice = Counter(each["invoice"] for each in charges)
    ours = [each for each in attempts if each["source"] == OURS and each["concludes"] is None]
    per_key = Counter(each["idempotency_key"] for each in ours)
    rows = list(succeeded)
    per_recovery = Counter(row["invoice_id"] for row in rows)
    problems = [
        *(f"{invoice}: charged {times} times" for invoice, times in per_invoice.items() if times > 1),
        *(f"{invoice}: charged while a debit was under way" for invoice in _begun_meanwhile(attempts)),
        *(f"key {key}: {times} tries" for key, times in per_key.items() if key is None or times > 1),
        *(f"{invoice}: {times} succeeded attempts" for invoice, times in per_recovery.items() if times > 1),
    ]
    bank = {(each["invoice"], each["charge"]) for each in charges if each["source"] == OURS}
    booked = {(row["invoice_id"], row["charge_id"]) for row in rows if row["origin"] == "citadel"}
    problems += [f"{invoice}: charge {charge} has no attempt of ours" for invoice, charge in sorted(bank - booked)]
    problems += [f"{invoice}: attempt {charge} is no charge" for invoice, charge in sorted(booked - bank, key=str)]
    figures = [
        f"{len(charges):,} charges for {len(per_invoice):,} invoices",
        f"{len(ours):,} retries of ours under {len(per_key):,} idempotency keys",
    ]
    begun = sum(each["outcome"] == "processing" for each in attempts)
    if begun:
        ends = Counter(each["outcome"] for each in attempts if each["concludes"] is not None)
        paid, failed = ends["succeeded"], ends["failed"]
        figures.append(
            f"{begun:,} bank debits: {paid:,} paid; {failed:,} failed and {begun - paid - failed:,} under way, "
            "which are no charges"
        )
    return Verdict("No invoice was charged twice", tuple(figures), tuple(problems))


def _begun_meanwhile(attempts: Iterable[Row]) -> list[str]:
    """The invoices for which a charge was made or a debit begun before the end of another debit was known."""
    under_way: defaultdict[str, set[int]] = defaultdict(set)
    found = []
    for each in attempts:
        of_invoice = under_way[each["invoice"]]
        if each["concludes"] is not None:
            of_invoice.discard(each["concludes"])
        elif each["outcome"] in {"processing", "succeeded"}:
            if of_invoice:
                found.append(each["invoice"])
            if each["outcome"] == "processing":
                of_invoice.add(each["seq"])
    return found


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
