"""How the failed invoices ended, and whether anybody was treated badly on the way."""

from dataclasses import dataclass, field

from simulator.payment import DECLINES
from simulator.shapes import DAY
from simulator.simulation import Simulator
from simulator.world import Attempt, World

# Declines after which the networks forbid another attempt with the same card.
_NEVER = {decline.decline_code for decline in DECLINES.values() if decline.advice_code == "do_not_try_again"}
_WINDOW = 30 * DAY


@dataclass(slots=True)
class Summary:
    """Amounts are minor units by currency; lists hold ids of invoices.

    `recovered[currency][source]` has `count` and `amount`, by the charge that paid the rest. `double_charged` lists an
    invoice once for every charge beyond what was due. `after_never` counts attempts by the API on a card that had been
    declined for good; `most_in_30_days` is the highest number of attempts on one card and amount.
    """

    invoices: int = 0
    failed: int = 0
    open: int = 0
    failed_amount: dict[str, int] = field(default_factory=dict)
    open_amount: dict[str, int] = field(default_factory=dict)
    recovered: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    double_charged: list[str] = field(default_factory=list)
    after_never: int = 0
    most_in_30_days: int = 0


def summarize(simulator: Simulator) -> Summary:
    """Counts invoices that failed at least once, what became of them, and attempts that should not be."""
    world, made = simulator.world, Summary()
    paid_by = _charged(simulator, made)
    _judge(world, made)
    for _, invoice in world.everywhere("invoice"):
        made.invoices += 1
        if invoice["id"] not in world.failed:
            continue
        made.failed += 1
        currency, amount = invoice["currency"], invoice["amount_due"]
        _add(made.failed_amount, currency, amount)
        if invoice["status"] == "paid":
            source = paid_by.get(invoice["id"], "out_of_band")
            sources = made.recovered.setdefault(currency, {})
            entry = sources.setdefault(source, {"count": 0, "amount": 0})
            entry["count"] += 1
            entry["amount"] += amount
        elif invoice["status"] == "open":
            made.open += 1
            _add(made.open_amount, currency, amount)
    return made


def _charged(simulator: Simulator, made: Summary) -> dict[str, str]:
    """The source of each invoice's last charge; those beyond what was due are noted as double."""
    paid_by: dict[str, str] = {}
    taken: dict[str, int] = {}
    for movement in simulator.book.movements:
        if movement.kind == "charge" and movement.invoice:
            invoice = simulator.world.accounts[movement.account].get("invoice", movement.invoice)
            taken[movement.invoice] = taken.get(movement.invoice, 0) + movement.amount
            if taken[movement.invoice] > invoice["amount_due"]:
                made.double_charged.append(movement.invoice)
            else:
                paid_by[movement.invoice] = movement.source
    return paid_by


def _judge(world: World, made: Summary) -> None:
    dead: set[str] = set()
    tries: dict[tuple[str, int], list[Attempt]] = {}
    for attempt in world.attempts:
        if attempt.concludes is not None:
            continue  # The end of a debit, whose try has an entry of its own.
        if attempt.source == "api_pay" and attempt.fingerprint in dead:
            made.after_never += 1
        if attempt.decline_code in _NEVER:
            dead.add(attempt.fingerprint)
        recent = tries.setdefault((attempt.fingerprint, attempt.amount), [])
        recent.append(attempt)
        recent[:] = [other for other in recent if attempt.at - other.at < _WINDOW]
        made.most_in_30_days = max(made.most_in_30_days, len(recent))


def _add(totals: dict[str, int], currency: str, amount: int) -> None:
    totals[currency] = totals.get(currency, 0) + amount
