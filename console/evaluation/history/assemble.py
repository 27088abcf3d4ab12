"""Puts Stripe's charges and invoices together into failures. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from console.evaluation.history.document import Attempt, Card, Elsewhere, Ending, Failure
from console.evaluation.history.rows import LATE_SECONDS

Row = dict[str, Any]

# The longest window of a network's rule (ACH's 40 days): earlier charges on the card count for no limit.
LOOK_BACK_SECONDS = 40 * 86_400

WITHOUT_ATTEMPT = "unpaid, and no attempt on record"
PAID_LATE = "paid late, and no failed attempt on record"


def assemble(
    charges: Iterable[Row], invoices: Iterable[Row], waiting: Iterable[Row], until: int
) -> tuple[list[Failure], dict[str, int]]:
    """The failures, in the order of time, and how many renewals were left out, by reason."""
    of_intent: defaultdict[str, list[Row]] = defaultdict(list)
    on_card: defaultdict[str, list[Row]] = defaultdict(list)
    for charge in sorted(charges, key=lambda each: (each["at"], each["id"])):
        of_intent[charge["intent"]].append(charge)
        if "fingerprint" in charge:
            on_card[charge["fingerprint"]].append(charge)
    waits = {each["intent"] for each in waiting}
    left_out: Counter[str] = Counter()
    found: list[tuple[Row, list[Row], list[Attempt]]] = []
    for invoice in invoices:
        its = sorted((c for i in invoice["intents"] for c in of_intent[i]), key=lambda each: (each["at"], each["id"]))
        attempts = _attempts(invoice, its, waits, left_out)
        if attempts:
            found.append((invoice, its, attempts))
    replayed = {intent for invoice, _, _ in found for intent in invoice["intents"]}
    failures = [
        _failure(invoice, its, attempts, list(_elsewhere(its, on_card, replayed)), until)
        for invoice, its, attempts in found
    ]
    failures.sort(key=lambda each: (each.opened_at, each.invoice))
    return failures, dict(sorted(left_out.items()))


def _attempts(invoice: Row, charges: list[Row], waits: set[str], left_out: Counter[str]) -> list[Attempt]:
    """The attempts from the failure on; empty when there was no failure, or when that cannot be known."""
    finalized_at = invoice["finalized_at"]
    first = charges[0] if charges else None
    if first is not None and first["failed"]:
        return _of_charges(charges, first)
    if first is not None:
        if first["at"] - finalized_at <= LATE_SECONDS:
            return []  # the renewal succeeded
        if first["authenticated"]:
            # The renewal's own attempt waited for 3-D Secure, which leaves no charge.
            return [Attempt(at=finalized_at, result="requires_action"), *_of_charges(charges, None)]
        left_out[PAID_LATE] += 1
        return []
    if not waits.isdisjoint(invoice["intents"]):
        return [Attempt(at=finalized_at, result="requires_action")]
    left_out[PAID_LATE if invoice["status"] == "paid" else WITHOUT_ATTEMPT] += 1
    return []


def _of_charges(charges: list[Row], first: Row | None) -> list[Attempt]:
    """The attempts up to the first success. One with another payment method, or authenticated, is the customer's."""
    attempts = []
    for each in charges:
        other = first is not None and each.get("method") != first.get("method")
        attempts.append(
            Attempt(
                at=each["at"],
                result="declined" if each["failed"] else "succeeded",
                by="customer" if other or (each["authenticated"] and each is not first) else "retry",
                method=each.get("method") if other else None,
                **{name: each.get(name) for name in CODES},
            )
        )
        if not each["failed"]:
            break
    return attempts


CODES = ("code", "decline_code", "advice_code", "network_decline_code", "network_advice_code")


def _elsewhere(charges: list[Row], on_card: dict[str, list[Row]], replayed: set[str]) -> Iterator[Elsewhere]:
    """Charges on the same card for invoices that are not replayed."""
    first = charges[0] if charges else {}
    for each in on_card.get(first.get("fingerprint", ""), ()):
        if each["intent"] not in replayed and each["at"] >= first["at"] - LOOK_BACK_SECONDS:
            yield Elsewhere(
                at=each["at"],
                amount=each["amount"],
                currency=each["currency"],
                result="declined" if each["failed"] else "succeeded",
                network_decline_code=each.get("network_decline_code"),
                network_advice_code=each.get("network_advice_code"),
            )


def _failure(
    invoice: Row, charges: list[Row], attempts: list[Attempt], elsewhere: list[Elsewhere], until: int
) -> Failure:
    first = charges[0] if charges else {}
    ending, ended_at = _ending(invoice, attempts, until)
    return Failure(
        invoice=invoice["id"],
        amount=invoice["amount"],
        currency=invoice["currency"],
        attempts=tuple(attempts),
        card=Card(**{name: first.get(name) for name in Card.model_fields}),
        elsewhere=tuple(elsewhere),
        ending=ending,
        ended_at=ended_at,
        subscribed_at=invoice.get("subscribed_at"),
        products=tuple(invoice["products"]),
        prices=tuple(invoice["prices"]),
    )


def _ending(invoice: Row, attempts: list[Attempt], until: int) -> tuple[Ending, int | None]:
    """The first end before `until` that was not an attempt; an invoice that ended later was still open then."""
    if attempts[-1].result == "succeeded":
        return "open", None
    ends: list[tuple[int, Ending]] = []
    for name, ending in _ENDINGS.items():
        at = invoice.get(name)
        if at is not None and at < until:
            ends.append((max(at, attempts[0].at), ending))
    at, ending = min(ends, default=(None, "open"))
    return ending, at


_ENDINGS: dict[str, Ending] = {
    "paid_at": "paid_elsewhere",
    "voided_at": "void",
    "uncollectible_at": "uncollectible",
    "canceled_at": "canceled",
}
