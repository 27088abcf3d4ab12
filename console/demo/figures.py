"""The story's results: numbers read from the database, the ledger's API, the ingress and the simulator."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from console.demo import store
from console.demo.checks import Booked, MoneyLine, Verdict, check_privacy, check_twice, compare_money
from console.demo.crash import Crash
from console.demo.ladder import Way, side_by_side
from console.demo.movements import Debits, RenewedCards, WentBack, debits, renewed_cards, went_back
from console.demo.target import Target, browsing
from services.ledger.recoveries.schemas import RecoveryStory
from shared.database import Database
from simulator.client import SimulatorClient

_BACK = ("refunded", "disputed", "won_back")


@dataclass(frozen=True, slots=True)
class Webhooks:
    """How many webhooks were sent, and how many of them were duplicates for the ingress."""

    events: int
    deliveries: int
    duplicates_ignored: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that the summary prints. `totals`: rows of TOTALS, `recoveries`: rows of RECOVERIES.

    `ways`: ours and the ladders, on the same failed renewals by card; `compared`: their invoices. `story`: one recovery
    from its beginning to its end.
    """

    invoices: int
    totals: list[dict[str, Any]]
    recoveries: list[dict[str, Any]]
    money: list[MoneyLine]
    attempts: Mapping[str, int]
    attempts_per_recovery: Counter[int]
    stripe_attempts: int
    emails: Counter[str]
    tasks: Mapping[str, int]
    webhooks: Webhooks
    ways: list[Way]
    compared: frozenset[str]
    debits: Debits
    renewed: RenewedCards
    went_back: WentBack
    story: RecoveryStory | None
    verdicts: tuple[Verdict, ...]


async def collect(
    target: Target, simulator: SimulatorClient, database: Database, api_key: str, crash: Crash | None
) -> Figures:
    """Read everything when no work is left, and compute the checks."""
    attempts, movements, fates = await simulator.attempts(), await simulator.book(), await simulator.fates()
    async with database.transaction() as db:
        totals = await store.rows(db, store.TOTALS)
        recoveries = await store.rows(db, store.RECOVERIES)
        booked = await store.rows(db, store.BOOKED_CHARGES)
        succeeded = await store.rows(db, store.SUCCEEDED_ATTEMPTS)
        results = await store.rows(db, store.ATTEMPT_RESULTS)
        ours = await store.rows(db, store.OUR_ATTEMPTS)
        tasks = await store.rows(db, store.TASKS_BY_STATUS)
        instructive = await store.rows(db, store.INSTRUCTIVE)
    ended = [each for each in attempts if each["source"] == "renewal" and each["outcome"] != "processing"]
    failed = {each["invoice"] for each in ended if each["outcome"] != "succeeded"}
    recovered = {row["invoice_id"] for row in recoveries if row["state"] == "recovered"}
    stats = await _asked(target, api_key, "/v1/stats")
    story = await _asked(target, api_key, f"/v1/recoveries/{instructive[0]['id']}") if instructive else None
    lines, problems = compare_money(
        movements,
        {each["charge"]: each["at"] for each in attempts if each["outcome"] == "processing"},
        failed,
        recoveries,
        booked,
        {row["currency"]: Booked(row["recovered_cents"], *(row[f"{part}_cents"] for part in _BACK)) for row in totals},
        {
            line["currency"]: Booked(line["recovered"]["amount"], *(line[part] for part in _BACK))
            for line in stats["money"]
        },
    )
    disputes = {each["dispute"] for each in movements if each["kind"] == "dispute_withdrawn"}
    now = await simulator.now()
    accounts = [account["id"] for account in await simulator.accounts() if account["subscriptions"]]
    tasks_by_status = {row["status"]: row["tasks"] for row in tasks}
    verdicts = (
        _money_verdict(lines, [*problems, *_lost(tasks_by_status, crash)]),
        check_twice(attempts, succeeded),
        await check_privacy(database, await target.logs(), await simulator.pii(), accounts),
    )
    return Figures(
        invoices=(await simulator.summary())["invoices"],
        totals=totals,
        recoveries=recoveries,
        money=lines,
        attempts={row["result"]: row["attempts"] for row in results if row["origin"] == "citadel"},
        attempts_per_recovery=Counter(row["attempts"] for row in ours),
        stripe_attempts=sum(row["attempts"] for row in results if row["origin"] == "stripe"),
        emails=Counter(_kind(email["message"]) for email in await simulator.outbox()),
        tasks=tasks_by_status,
        webhooks=await _webhooks(target, simulator),
        ways=side_by_side(fates, attempts, {row["invoice_id"]: cause_of(row) for row in recoveries}, recovered, now),
        compared=frozenset(fate["invoice"] for fate in fates),
        debits=debits(attempts, recovered),
        renewed=renewed_cards(fates, attempts, now),
        went_back=went_back(
            movements,
            {ident: (await simulator.object(ident))["status"] for ident in sorted(disputes)},
            {row["charge_id"] for row in booked},
        ),
        story=RecoveryStory.model_validate(story) if story else None,
        verdicts=verdicts,
    )


def _kind(message: Mapping[str, Any]) -> str:
    """What an email is about, by the tag that it was sent with."""
    return next((tag["value"] for tag in message.get("tags") or () if tag["name"] == "kind"), "without a kind")


def _money_verdict(lines: list[MoneyLine], problems: list[str]) -> Verdict:
    figures = []
    for line in lines:
        bank, totals, api = line.bank, line.totals, line.api
        if line.charged or totals != Booked() or api != Booked():
            charged = f"charged {line.charged:,} cents"
            if bank.went_back:
                charged += f" - {bank.went_back:,} that went back = {bank.recovered:,}"
            figures.append(
                f"{line.currency}: {charged} {_is(totals, bank)} merchant_totals {totals.recovered:,} "
                f"{_is(api, totals)} /v1/stats {api.recovered:,}"
            )
        if line.refunded or line.disputed:
            figures.append(
                f"{line.currency}: of it {line.refunded:,} refunded, {line.disputed:,} disputed, "
                f"{line.won_back:,} won back"
            )
    figures += [
        f"{line.currency}: not counted as ours: {line.elsewhere:,} paid elsewhere, {line.late:,} after we gave up"
        for line in lines
        if line.elsewhere or line.late
    ]
    return Verdict("What was charged is what the ledger says was recovered", tuple(figures), tuple(problems))


def _is(one: Booked, other: Booked) -> str:
    return "=" if one.recovered == other.recovered else "≠"


def _lost(tasks: Mapping[str, int], crash: Crash | None) -> list[str]:
    """Problems with work that was given up: even if the money agrees, a task did not run."""
    problems = []
    if tasks.get("dead"):
        problems.append(f"{tasks['dead']} tasks ended in the dead letters")
    if crash is not None and crash.rescued < len(crash.held):
        problems.append(f"{len(crash.held) - crash.rescued} tasks of the killed worker were not rescued")
    return problems


def cause_of(recovery: Mapping[str, Any]) -> str:
    """The cause of a recovery's decline, or a word that says that it is unknown."""
    return recovery["cause"] or "not known yet"


async def _asked(target: Target, api_key: str, path: str) -> dict[str, Any]:
    """The ledger's API's answer."""
    headers = {"Authorization": f"Bearer {api_key}"}
    async with (
        browsing(target, headers) as session,
        session.get(f"{target.ledger_url}{path}", raise_for_status=True) as answer,
    ):
        answered: dict[str, Any] = await answer.json()
    return answered


async def _webhooks(target: Target, simulator: SimulatorClient) -> Webhooks:
    deliveries = await simulator.deliveries()
    text = await target.ingress_metrics()
    ignored = sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "citadel_ingress_events_total" and sample.labels["outcome"] == "duplicate"
    )
    return Webhooks(len(deliveries), sum(each["sent"] for each in deliveries), int(ignored))
