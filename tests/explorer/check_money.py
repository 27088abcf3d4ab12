"""The checks of money: the bank's own book beside ours."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

from simulator.book import Movement
from simulator.world import Attempt
from tests.chaos.checks import sums_of_the_book
from tests.explorer.evidence import Evidence, Row, counted, left_alone, paused_by_us
from tests.explorer.finding import Finding
from tests.explorer.seen import Charging
from tests.explorer.story import HOUR

OURS, CUSTOMER = "api_pay", "hosted_page"
UNRESOLVED = frozenset({"started", "processing"})
# After these a card must not be charged again, by whatever network (docs/recovery.md). `fraudulent` is also what a rule
# of Radar's says, which is the merchant's matter.
FOR_GOOD = frozenset(
    {
        "lost_card",
        "stolen_card",
        "pickup_card",
        "incorrect_number",
        "transaction_not_allowed",
        "revocation_of_authorization",
        "revocation_of_all_authorizations",
        "do_not_try_again",
        # of bank accounts
        "account_closed",
        "bank_account_closed",
        "no_account",
        "account_frozen",
        "bank_account_frozen",
        "bank_account_unusable",
        "debit_not_authorized",
    }
)
# ACH: two retries of one debit (docs/recovery.md). By whom does not matter; a customer on a page is another debit.
ACH, ACH_TRIES = "us_bank_account", 3


# -- what was recovered --------------------------------------------------------------------------


def booked(evidence: Evidence) -> Iterator[Finding]:
    """For each recovery: the charges that are ours, and what the book says."""
    for row in evidence.recoveries:
        required, allowed = _ours(evidence, row)
        said = sum(each["amount"] for each in evidence.book if _is(each, row, "recovery_recovered"))
        must, may = sum(each.amount for each in required), sum(each.amount for each in allowed)
        told = f"{row['invoice_id']} {row['state']} by {row['recovered_by']}: {said} booked"
        unread = "dunning_retry" in evidence.paused  # nobody may look until an operator says so
        if unread:
            pass
        elif said < must:
            yield Finding("booked", "money of ours is not booked", f"{told}, {must} came in {_told(required)}")
        elif said > may:
            yield Finding("booked", "more is booked than came in", f"{told}, at most {may} came in {_told(allowed)}")
        elif said not in _possible(required, allowed):
            yield Finding("booked", "what is booked did not move", f"{told}, {_told(allowed)} came in")
        yield from _by_charge(evidence, row, said)


def _is(entry: Row, recovery: Row, metric: str) -> bool:
    return bool(entry["recovery_id"] == recovery["id"] and entry["metric_type"] == metric)


def _told(movements: list[Movement]) -> str:
    return "; ".join(f"{each.charge} {each.amount} {each.source}" for each in movements) or "nothing"


def _possible(required: list[Movement], allowed: list[Movement]) -> set[int]:
    """The sums that the book may have: all that is required, and any of the rest."""
    least = sum(each.amount for each in required)
    rest = [each.amount for each in allowed if each not in required][:8]
    return {least + sum(some) for size in range(len(rest) + 1) for some in combinations(rest, size)}


def _ours(evidence: Evidence, recovery: Row) -> tuple[list[Movement], list[Movement]]:
    """The charges that must be booked as recovered, and those that may be.

    Ours are our attempts' charges, and what a customer paid after a message of ours. A payment that somebody began
    after the end may count or not; so may one whose maker cannot be told from a customer: the merchant's own charge,
    and a try of Stripe's that it had not announced.
    """
    required: list[Movement] = []
    allowed: list[Movement] = []
    messaged = [each["at"] for each in evidence.timeline if _messaged(each, recovery)]
    for movement in evidence.movements:
        if movement.kind != "charge" or movement.invoice != recovery["invoice_id"]:
            continue
        begun = next((each.at for each in evidence.bank if each.charge == movement.charge), movement.at)
        if begun + 2 < recovery["opened_at"]:
            continue
        after_message = bool(messaged) and min(messaged) <= movement.at + 1
        known = movement.at < evidence.quiet_since and not any(gone >= begun for gone in evidence.gone)
        if movement.source == OURS:
            allowed.append(movement)
            if known:
                required.append(movement)
        elif after_message and movement.source == CUSTOMER:
            allowed.append(movement)
            while_open = recovery["closed_at"] is None or begun <= recovery["closed_at"]
            if known and while_open and min(messaged) < begun and recovery["state"] != "stopped":
                required.append(movement)
        elif after_message and (movement.source == "merchant" or evidence.done("stripe_tries")):
            allowed.append(movement)
    return required, allowed


def _messaged(entry: Row, recovery: Row) -> bool:
    return bool(entry["recovery_id"] == recovery["id"] and entry["kind"] == "messaged")


def _by_charge(evidence: Evidence, recovery: Row, said: int) -> Iterator[Finding]:
    rows = [each for each in evidence.charges if each["recovery_id"] == recovery["id"]]
    if not rows:
        return
    moved = {each.charge: each for each in evidence.movements if each.kind == "charge"}
    for row in rows:
        movement = moved.get(row["charge_id"])
        if movement is None or (movement.amount, movement.currency) != (row["amount"], row["currency"]):
            yield Finding("booked", "a charge is booked that did not move so", f"{row['charge_id']} {row['amount']}")
    total = sum(row["amount"] for row in rows)
    if total != said:
        yield Finding("booked", "the charges and the book differ", f"{recovery['invoice_id']}: {total} and {said}")


# -- what went back ------------------------------------------------------------------------------


def returned(evidence: Evidence) -> Iterator[Finding]:
    """Refunds and disputes of what is booked as recovered."""
    ours = {row["charge_id"] for row in evidence.charges}
    if not evidence.charges:
        for row in evidence.recoveries:
            if any(_is(each, row, "recovery_recovered") for each in evidence.book):
                ours |= {each.charge for each in _ours(evidence, row)[0]}
    kinds = {
        "refunded": ("refund", "refund_failed"),
        "disputed": ("dispute_withdrawn",),
        "won_back": ("dispute_reinstated",),
    }
    for metric, names in kinds.items():
        moved = [each for each in evidence.movements if each.kind in names and each.charge in ours]
        if any(each.at >= evidence.quiet_since or any(gone <= each.at for gone in evidence.gone) for each in moved):
            continue  # not told of yet
        at_bank = abs(sum(each.amount for each in moved))
        said = abs(sum(each["amount"] for each in evidence.book if each["metric_type"] == metric))
        if at_bank != said:
            charges = ", ".join(sorted({each.charge for each in moved})) or "nothing"
            yield Finding("returned", f"{metric} is not booked as it moved", f"{said} booked, {at_bank} of {charges}")


def totals(evidence: Evidence) -> Iterator[Finding]:
    """The book, the days and the totals agree."""
    summed: Counter[tuple[str | None, str, str, str]] = Counter()
    times: Counter[tuple[str | None, str, str, str]] = Counter()
    for row in evidence.book:
        key = (row["recovery_id"], row["merchant_id"], row["metric_type"], row["currency"])
        summed[key] += row["amount"]
        times[key] += -1 if row["amount"] < 0 else 1  # an end that is taken back
    names = ("recovery_id", "merchant_id", "metric_type", "currency")
    book = [
        {**dict(zip(names, key, strict=True)), "amount": amount, "times": times[key]} for key, amount in summed.items()
    ]
    for problem in sums_of_the_book(book, evidence.daily, evidence.totals):
        yield Finding("totals", problem.split(" of ")[0] + " differs from the book", problem)


# -- what was tried ------------------------------------------------------------------------------

_SETTLED = {
    "succeeded": {"succeeded"},
    "declined": {"declined"},
    "failed": {"declined", "failed"},
    "requires_action": {"requires_action"},
    "processing": {"processing", "started"},
    "refused": {"failed", "declined"},
}


def attempts(evidence: Evidence) -> Iterator[Finding]:
    """Our rows beside the bank's log, key by key and charge by charge."""
    rows = {row["idempotency_key"]: row for row in evidence.attempts if row["origin"] == "citadel"}
    ends = {each.concludes: each for each in evidence.bank if each.concludes is not None}
    ours = [each for each in evidence.bank if each.source == OURS and each.concludes is None]
    for key, times in Counter(each.idempotency_key for each in ours).items():
        if times > 1:
            yield Finding("attempts", "one key moved money twice", f"{key}: {times} times")
    for each in ours:
        row = rows.get(each.idempotency_key)
        if row is None:
            yield Finding("attempts", "a try is no attempt of ours", f"{each.invoice} under {each.idempotency_key}")
        else:
            yield from _settled(evidence, each, ends.get(each.seq, each), row)
    tried = {each.idempotency_key for each in ours}
    for key, row in rows.items():
        if row["result"] in {"succeeded", "declined", "requires_action"} and key not in tried:
            yield Finding(
                "attempts", "an attempt is settled that the bank knows nothing of", f"{row['invoice_id']} {key}"
            )
    for charge, times in counted(evidence.attempts, "charge_id").items():
        if charge is not None and times > 1:
            yield Finding("attempts", "a charge has two rows", f"{charge}: {times} rows")
    yield from _foreign(evidence)


def _settled(evidence: Evidence, begun: Attempt, end: Attempt, row: Row) -> Iterator[Finding]:
    where = f"{begun.invoice} attempt {row['number']}"
    recent = end.at >= evidence.quiet_since or any(gone >= begun.at for gone in evidence.gone)
    recent = recent or "dunning_retry" in evidence.paused  # nobody may look until an operator says so
    if row["result"] not in _SETTLED[end.outcome] and not (recent and row["result"] in UNRESOLVED | {"unknown"}):
        yield Finding(
            "attempts", "our row says otherwise than the bank", f"{where}: {row['result']}, {end.outcome} at the bank"
        )
    if row["payment_method_id"] is not None and row["payment_method_id"] != begun.payment_method:
        yield Finding("attempts", "another method is named than was charged", f"{where}: {row['payment_method_id']}")
    if row["card_fingerprint"] not in {None, begun.fingerprint}:
        yield Finding("attempts", "another card is named than was charged", f"{where}: {row['card_fingerprint']}")
    if row["charge_id"] is not None and row["charge_id"] != begun.charge:
        yield Finding("attempts", "another charge is named than was made", f"{where}: {row['charge_id']}")
    if end.outcome == "succeeded" and row["result"] == "succeeded" and row["amount"] != end.amount:
        yield Finding("attempts", "another amount than was charged", f"{where}: {row['amount']}, not {end.amount}")


def _foreign(evidence: Evidence) -> Iterator[Finding]:
    """Tries of others are others' in our rows, too."""
    theirs = {each.charge: each for each in evidence.bank if each.charge is not None and each.source != OURS}
    for row in evidence.attempts:
        if row["origin"] == "citadel" and row["charge_id"] in theirs:
            each = theirs[row["charge_id"]]
            yield Finding("attempts", "another's charge counts as ours", f"{each.invoice}: {each.charge} {each.source}")


# -- what must not be charged --------------------------------------------------------------------


def charged(evidence: Evidence) -> Iterator[Finding]:
    """Each try of ours, by what we had read right before it and had been told before that."""
    for each in evidence.seen.charging:
        problem = _forbidden(evidence, each)
        if problem is not None:
            day = (each.attempt.at - evidence.story.start) // (24 * HOUR)
            text = f"{each.attempt.invoice} on day {day}: {each.attempt.outcome} {each.attempt.amount}"
            yield Finding("charged", problem, text)
        if each.attempt.amount > each.truth.remaining:
            yield Finding("charged", "more than is left", f"{each.attempt.invoice}: {each.attempt.amount}")
    yield from _too_often(evidence)
    moved: Counter[str] = Counter()
    for movement in evidence.movements:
        if movement.kind == "charge" and movement.invoice is not None:
            moved[movement.invoice] += movement.amount
    for invoice, amount in moved.items():
        truth = evidence.truths.get(invoice)
        sources = {each.source for each in evidence.movements if each.invoice == invoice and each.kind == "charge"}
        if truth is not None and amount > truth.due and OURS in sources and not evidence.done("credit_note"):
            yield Finding("charged", "more was charged than was due", f"{invoice}: {amount} of {truth.due}")


def _too_often(evidence: Evidence) -> Iterator[Finding]:
    tried: Counter[tuple[str, str]] = Counter()
    for each in evidence.bank:
        if each.outcome == "processing" and each.source != CUSTOMER and evidence.kinds.get(each.payment_method) == ACH:
            tried[each.invoice, each.fingerprint] += 1
            if tried[each.invoice, each.fingerprint] == ACH_TRIES + 1 and each.source == OURS:
                yield Finding("charged", "more retries of a debit than its network allows", each.invoice)
    refused = Counter(
        (row["invoice_id"], row["amount"])
        for row in evidence.attempts
        if row["error_code"] == "amount_too_small" and row["result"] == "failed"
    )
    for (invoice, amount), times in refused.items():
        if times > 1:
            yield Finding("charged", "too small an amount is tried again", f"{invoice}: {amount}, {times} times")


def _forbidden(evidence: Evidence, each: Charging) -> str | None:
    read, said = each.read, evidence.seen.words[: each.words]
    about = [word for word in said if word.invoice == each.attempt.invoice and word.at < each.attempt.at]
    row = evidence.recovery_of(each.attempt.invoice)
    collects_ending = row is None or row["policy"].get("collect_ending", True)
    pauses = [word for word in said if word.kind in {"pause", "resume"}]
    reasons = {
        "its subscription is canceled": read.subscription_status == "canceled",
        "its subscription's collection is paused": read.paused and not paused_by_us(evidence, read.subscription),
        "the merchant has turned its collection off": not read.automatic and evidence.done("collection"),
        "it is collected by hand": read.collection == "send_invoice",
        "an operator had stopped it": any(word.kind == "stop" for word in about),
        # One who has become an account is another customer by every id.
        "its customer is left alone": (
            left_alone(said, read.customer, each.attempt.at) and not evidence.done("as_account")
        ),
        "its subscription ends, and the policy leaves such invoices": read.ends_at is not None and not collects_ending,
        "the merchant's tasks are paused": bool(pauses) and pauses[-1].kind == "pause",
        "the card was declined for good": _dead(evidence, each.attempt),
    }
    return next((problem for problem, holds in reasons.items() if holds), None)


def _dead(evidence: Evidence, attempt: Attempt) -> bool:
    """Whether this card had been declined for good before, for this invoice."""
    earlier = (
        each
        for each in evidence.bank
        if each.seq < attempt.seq and each.fingerprint == attempt.fingerprint and each.invoice == attempt.invoice
    )
    return any(each.decline_code in FOR_GOOD for each in earlier) and not evidence.done("card_renewed")
