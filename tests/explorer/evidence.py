"""What the checks read when a world is over: the bank's side, ours, and what was seen on the way."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from simulator.book import Movement
from simulator.world import Attempt
from tests.chaos import store
from tests.explorer.seen import Seen, Word
from tests.explorer.story import DAY, Story
from tests.explorer.truth import Method, Truth
from tests.explorer.world import World

Row = dict[str, Any]
Rows = list[Row]

RECOVERIES = """
SELECT r.id::text AS id, r.merchant_id, r.invoice_id, r.customer_id, r.subscription_id, r.state, r.end_reason,
    r.stop_requested, r.recovered_by, r.amount_due, r.amount_recovered, r.currency,
    extract(epoch FROM r.opened_at)::float8 AS opened_at, extract(epoch FROM r.closed_at)::float8 AS closed_at,
    p.document AS policy
FROM recoveries AS r JOIN policies AS p ON p.id = r.policy_id
ORDER BY r.opened_at
"""
ATTEMPTS = """
SELECT a.id::text AS id, a.recovery_id::text AS recovery_id, r.invoice_id, a.origin, a.number, a.result, a.amount,
    a.currency, a.idempotency_key, a.charge_id, a.error_code, a.payment_method_id, a.card_fingerprint,
    extract(epoch FROM a.started_at)::float8 AS at
FROM attempts AS a JOIN recoveries AS r ON r.id = a.recovery_id
ORDER BY a.started_at
"""
TIMELINE = """
SELECT id, recovery_id::text AS recovery_id, kind, rule, from_state, to_state, detail,
    extract(epoch FROM at)::float8 AS at
FROM recovery_timeline ORDER BY id
"""
BOOK = """
SELECT recovery_id::text AS recovery_id, merchant_id, metric_type, currency, amount
FROM usage_logs ORDER BY id
"""
TASKS = """
SELECT public_id::text AS public_id, task_type, status, recovery_id::text AS recovery_id, attempts, last_error, parked,
    run_at <= citadel_now() AS due
FROM scheduled_tasks ORDER BY id
"""
CHARGES = (
    "SELECT charge_id, recovery_id::text AS recovery_id, amount, currency FROM recovered_charges ORDER BY charge_id"
)
PAUSED = "SELECT task_type FROM queue_pauses"


@dataclass(frozen=True, slots=True)
class Evidence:
    """`told_failed`: invoices of which an event said that their payment failed, and that was handed over; `kinds`: what
    each payment method is; `blocked`: charges that Stripe or the merchant's own rules stopped, and no bank."""

    story: Story
    now: int
    connected: bool
    seen: Seen
    movements: tuple[Movement, ...]
    bank: tuple[Attempt, ...]
    truths: dict[str, Truth]
    told_failed: frozenset[str]
    kinds: dict[str, str]
    blocked: frozenset[str]
    recoveries: Rows
    attempts: Rows
    timeline: Rows
    book: Rows
    tasks: Rows
    charges: Rows
    paused: frozenset[str | None]
    daily: Rows
    totals: Rows

    @property
    def quiet_since(self) -> float:
        """What happened before this had the time to be known and worked on."""
        lost_or_late = any(act.what.startswith("webhooks_") for act in self.story.acts)
        return self.now - (10 if lost_or_late else 3) * DAY

    @property
    def gone(self) -> list[int]:
        """When the merchant left."""
        return [word.at for word in self.seen.words if word.kind == "left"]

    def recovery_of(self, invoice: str) -> Row | None:
        """The recovery of an invoice."""
        return next((row for row in self.recoveries if row["invoice_id"] == invoice), None)

    def recovery(self, ident: str | None) -> Row | None:
        """The recovery with this id."""
        return next((row for row in self.recoveries if row["id"] == ident), None)

    def done(self, what: str) -> bool:
        """Whether such an act took place."""
        return what in self.seen.done


async def collect(world: World) -> Evidence:
    """Read it, right after the world's end."""
    simulation = world.simulation
    rows: dict[str, Rows] = {}
    async with world.stage.owner.transaction() as db:
        for name, statement in {
            "recoveries": RECOVERIES,
            "attempts": ATTEMPTS,
            "timeline": TIMELINE,
            "book": BOOK,
            "tasks": TASKS,
            "charges": CHARGES,
            "daily": store.DAILY,
            "totals": store.TOTALS,
        }.items():
            rows[name] = [dict(row) for row in await _fetch(db, statement)]
        paused = frozenset(row["task_type"] for row in await _fetch(db, PAUSED))
    account = world.account
    invoices = account.objects["invoice"]
    return Evidence(
        story=world.story,
        now=world.now,
        connected=account.connected,
        seen=world.seen,
        movements=tuple(each for each in simulation.book.movements if each.account == account.id),
        bank=tuple(each for each in simulation.world.attempts if each.account == account.id),
        truths={ident: truth for ident in invoices if (truth := world.truth(ident)) is not None},
        told_failed=frozenset(world.told_failed),
        kinds={ident: method["type"] for ident, method in account.objects["payment_method"].items()},
        blocked=frozenset(
            ident
            for ident, charge in account.objects["charge"].items()
            if charge["outcome"] is not None and charge["outcome"]["type"] == "blocked"
        ),
        paused=paused,
        **rows,
    )


async def _fetch(db: Any, statement: str) -> list[asyncpg.Record]:
    return list(await db.fetch(statement))


def left_alone(words: Sequence[Word], customer: str | None, at: int) -> bool:
    """Whether an operator had said that the customer is to be left alone, and it still held."""
    about = [word for word in words if word.customer == customer and word.kind in {"left_alone", "taken_back"}]
    return bool(about) and about[-1].kind == "left_alone" and (about[-1].until is None or at < about[-1].until)


def paused_by_us(evidence: Evidence, subscription: str | None) -> bool:
    """Whether an end action of ours has paused the subscription, which is no word of the merchant's."""
    return any(each.action == "pause" and each.target == subscription for each in evidence.seen.ended)


def was_refused(evidence: Evidence, invoice: str, method: Method, at: float) -> bool:
    """Whether Stripe had refused to charge this method for this invoice, so that the bank knows nothing of it.

    A card that was replaced under the method's id is another one.
    """
    return any(
        row["invoice_id"] == invoice
        and row["payment_method_id"] == method.id
        and row["card_fingerprint"] in {None, method.fingerprint}
        and row["result"] in {"failed", "declined"}
        and int(row["at"]) <= at  # the simulation's clock has whole seconds
        for row in evidence.attempts
    )


def counted(rows: Rows, name: str) -> Counter[Any]:
    """How often each value of a column is there."""
    return Counter(row[name] for row in rows)
