"""The check of messages: what a customer reads is compared with the truth of the moment in which it was sent."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations

from simulator.currencies import decimals
from simulator.world import Attempt
from tests.explorer.check_money import CUSTOMER
from tests.explorer.evidence import Evidence, Row, left_alone, paused_by_us, was_refused
from tests.explorer.finding import Finding
from tests.explorer.seen import Written
from tests.explorer.story import DAY
from tests.explorer.truth import Truth

ASKING = frozenset({"payment_failed", "reminder", "last_notice", "action_required", "new_method_needed"})
THANKS, SEVERAL, ENDED = "recovered", "several", "ended"
ENDED_WORDS = {"cancel": "canceled", "pause": "paused"}
# A debit that the account did not cover may be tried again; so often after the first.
MAY_BE_TRIED_AGAIN, RETRIES_OF_A_DEBIT = "insufficient_funds", 2
# What may keep every message back.
QUIET = frozenset(
    {
        "mailbox",
        "barrier",
        "fault",
        "operator_pauses",
        "worker_away",
        "collection",
        "pauses",
        "deauthorize",
        "deleted",
        "as_account",
        "restricted",
        "outage",
    }
)
# What may keep back the word of an end.
UNTOLD = QUIET | {"restricted", "cancels", "status"}
TOGETHER_S = 600
_NUMBER = re.compile(r"\d[\d,\u00a0\u202f]*(?:\.\d+)?")
_RETRY = re.compile(r"We will try again on (\w+ \d+)")
_CONSEQUENCE = re.compile(r"your subscription will be (canceled|paused)")
_COUNT = re.compile(r"(\d+) payments? to ")
_ACTION = {"canceled": "cancel", "paused": "pause"}


def told(evidence: Evidence) -> Iterator[Finding]:
    """Every email to a customer about an invoice, and those that should have been written."""
    yield from _unwritten(evidence)
    yield from _untold(evidence)
    last: dict[str, Written] = {}
    for letter in evidence.seen.written:
        row = evidence.recovery(letter.recovery)
        for problem in _wrong(evidence, letter, row):
            day = (letter.at - evidence.story.start) // DAY
            yield Finding("told", problem, f"{letter.kind} on day {day}: {letter.subject!r}")
        if letter.kind in {*ASKING, SEVERAL}:
            before = last.get(letter.to)
            if before is not None and letter.at - before.at < TOGETHER_S and before.id != letter.id:
                yield Finding("told", "two requests in a few minutes", f"{before.kind} and {letter.kind}")
            last[letter.to] = letter


def _unwritten(evidence: Evidence) -> Iterator[Finding]:
    """An address that appears wakes what waits for it."""
    for row in evidence.recoveries:
        since = evidence.seen.addresses.get(row["customer_id"] or "")
        if since is None or since >= evidence.quiet_since or not row["policy"].get("message_days", True):
            continue
        refused = [
            each["at"]
            for each in evidence.timeline
            if each["recovery_id"] == row["id"] and each["kind"] == "not_messaged" and each["rule"] == "no_address"
        ]
        if any(each["rule"] == "payment_under_way" and each["recovery_id"] == row["id"] for each in evidence.timeline):
            continue
        over = row["closed_at"] is not None and row["closed_at"] < since + 2 * DAY
        said = [each for each in evidence.seen.words if each.customer == row["customer_id"]]
        if not refused or min(refused) > since or over or said or QUIET & set(evidence.seen.done):
            continue
        if not any(each.customer == row["customer_id"] and each.at >= since for each in evidence.seen.written):
            yield Finding("told", "nobody was written to though an address has come", f"{row['invoice_id']}")


def _untold(evidence: Evidence) -> Iterator[Finding]:
    """Who is written to is told that the subscription was canceled or paused, unless it is not so any more."""
    for done in evidence.seen.ended:
        if done.action not in ENDED_WORDS or done.at > evidence.now - 3 * DAY or UNTOLD & set(evidence.seen.done):
            continue
        for row in evidence.recoveries:
            entries = [each for each in evidence.timeline if each["recovery_id"] == row["id"]]
            ours = any(each["rule"] == "end_action_done" for each in entries)
            if row["subscription_id"] != done.target or not ours or not row["policy"].get("tell_end_customer", True):
                continue
            now = evidence.truths[row["invoice_id"]]
            then = next((each for each in done.truths if each.invoice == now.invoice), done.truths[0])
            silenced = any(each.kind == "silence" and each.customer == now.customer for each in evidence.seen.words)
            gone = any(left >= done.at - DAY for left in evidence.gone) or not evidence.connected
            if silenced or gone or now.status != "open" or now.deleted or now.email is None or then.email is None:
                continue
            letters = [each for each in evidence.seen.written if each.kind == ENDED and each.customer == now.customer]
            if not any(each.at >= done.at and ENDED_WORDS[done.action] in each.subject for each in letters):
                yield Finding("told", "nobody was told of an end action", f"{done.action} {done.target}")


def _wrong(evidence: Evidence, letter: Written, row: Row | None) -> Iterator[str]:
    said = evidence.seen.words[: letter.words]
    silences = [each for each in said if each.customer == letter.customer and each.kind in {"silence", "lifted"}]
    if silences and silences[-1].kind == "silence":
        yield "to a customer who is silenced"
    if letter.kind in {*ASKING, SEVERAL} and left_alone(said, letter.customer, letter.at):
        yield "to a customer who is left alone"
    truth = None if row is None else letter.truths.get(row["invoice_id"])
    if letter.kind == SEVERAL:
        yield from _asks_for_several(letter)
    if row is None or truth is None:
        return
    if letter.kind == ENDED:
        yield from _ended(letter, truth)
    if letter.kind in ASKING:
        stopped = any(each.kind == "stop" and each.invoice == truth.invoice and each.at < letter.at for each in said)
        if stopped:
            yield "about a recovery that an operator had stopped"
        yield from _asks(evidence, letter, truth, row)
        if _is_blocked(evidence, letter, truth):
            yield "about what only the merchant can change"
    elif letter.kind == THANKS:
        yield from _thanks(letter, truth, row, evidence)


def amounts_in(text: str) -> set[Decimal]:
    """Every number of a text, as English writes it."""
    return {Decimal(re.sub(r"[,\u00a0\u202f]", "", found)) for found in _NUMBER.findall(text)}


def as_people_count(amount: int, currency: str) -> Decimal:
    """Minor units as people write the amount, by the simulation's own table."""
    return Decimal(amount).scaleb(-decimals(currency))


def _asks(evidence: Evidence, letter: Written, truth: Truth, row: Row) -> Iterator[str]:
    if truth.status == "paid":
        yield "asks for what is paid"
    elif truth.processing:
        yield "asks for what is being paid"
    elif truth.status != "open" or truth.remaining <= 0:
        yield f"asks for what is {truth.status}"
    elif as_people_count(truth.remaining, truth.currency) not in amounts_in(letter.text):
        yield "names another amount than is due"
    if truth.deleted:
        yield "to a customer who is deleted"
    if truth.paused and not paused_by_us(evidence, truth.subscription):
        yield "about a subscription whose collection is paused"
    if not truth.automatic and evidence.done("collection"):
        yield "about an invoice whose collection the merchant has turned off"
    if truth.collection == "send_invoice":
        yield "about an invoice that is collected by hand"
    late = any(act.what.startswith("webhooks_") for act in evidence.story.acts)
    if truth.subscription_status == "canceled" and not late:
        yield "about a subscription that is canceled"
    retry = _RETRY.search(letter.text)
    on_a_clock = evidence.done("test_clock")  # whose times are the customer's own
    if retry is not None and not on_a_clock and not _planned(letter, truth, retry.group(1)):
        yield "promises an attempt that nobody has planned"
    yield from _threatens(letter, truth, row)
    # While an operator has evaluations paused, what came since is not known.
    known = not evidence.done("operator_pauses")
    if letter.kind == "action_required" and known and not _waits_for_3ds(evidence, letter, truth):
        yield "asks to confirm what needs no confirmation"
    if letter.kind == "new_method_needed":
        yield from _another_card(evidence, letter, truth)


def _asks_for_several(letter: Written) -> Iterator[str]:
    """So many invoices are open, and nobody is paying them, whose sum is the one in the message."""
    open_now = [each for each in letter.truths.values() if each.open and not each.processing]
    count = _COUNT.match(letter.subject.removeprefix("Reminder: "))
    sums = {
        as_people_count(sum(each.remaining for each in some), some[0].currency)
        for some in combinations(open_now, int(count.group(1)) if count else 0)
        if some
    }
    if not sums & amounts_in(letter.text):
        yield "asks for several invoices that are not open so"


def _ended(letter: Written, truth: Truth) -> Iterator[str]:
    if "canceled" in letter.subject and truth.subscription_status not in {"canceled", None}:
        yield "says that a subscription was canceled that was not"
    if "paused" in letter.subject and not truth.paused:
        yield "says that a subscription is paused that is not"
    if truth.status == "paid":
        yield "says that what is paid could not be collected"


def _planned(letter: Written, truth: Truth, day: str) -> bool:
    """Whether an attempt of ours or Stripe's is planned for this day, give or take the time zone."""
    times = [plan["next_attempt_at"] for plan in letter.plans if plan["invoice_id"] == truth.invoice]
    times.append(truth.next_attempt)
    around = {
        f"{moment:%B} {moment.day}"
        for at in times
        if at is not None
        for moment in (datetime.fromtimestamp(at, UTC) + timedelta(days=shift) for shift in (-1, 0, 1))
    }
    return day in around


def _threatens(letter: Written, truth: Truth, row: Row) -> Iterator[str]:
    found = _CONSEQUENCE.search(letter.text)
    if found is None:
        return
    if row["policy"].get("end_action") != _ACTION[found.group(1)]:
        yield "names a consequence that no policy asks for"
    elif truth.subscription is None:
        yield "names a consequence for a subscription that is not there"


def _waits_for_3ds(evidence: Evidence, letter: Written, truth: Truth) -> bool:
    tried = [each for each in evidence.bank if each.invoice == truth.invoice and each.at <= letter.at]
    # A bank that asked for it has not taken that back by a later decline for something else, of the same card, unless
    # the customer was there.
    card = truth.method.fingerprint if truth.method is not None else None
    alone = [each for each in tried if each.fingerprint == card]
    there = max((place for place, each in enumerate(alone) if each.source == CUSTOMER), default=0)
    wants = any(_asks_to_authenticate(each) for each in alone[there:]) or (
        bool(tried) and _asks_to_authenticate(tried[-1])
    )
    return truth.asks_3ds or wants or (truth.method is not None and truth.method.needs_3ds)


def _asks_to_authenticate(tried: Attempt) -> bool:
    # One that failed the authentication itself is declined without a code and before there is a charge.
    without_code = tried.decline_code is None and tried.charge is None
    return tried.outcome == "requires_action" or tried.decline_code == "authentication_required" or without_code


def _is_blocked(evidence: Evidence, letter: Written, truth: Truth) -> bool:
    """Whether all that was ever tried for the invoice was blocked, and by no bank."""
    tried = [each for each in evidence.bank if each.invoice == truth.invoice and each.at <= letter.at]
    expired = truth.method is None or truth.method.expired
    # Of a customer who is an account nobody sees the payment method; without one, another is asked for.
    unseen = "as_account" in evidence.seen.done
    return bool(tried) and not expired and not unseen and all(each.charge in evidence.blocked for each in tried)


def _another_card(evidence: Evidence, letter: Written, truth: Truth) -> Iterator[str]:
    method = truth.method
    if evidence.done("as_account"):
        return  # of a customer who is an account nobody sees the payment methods
    if method is None or (method.kind == "card" and (method.expired or not method.good)):
        return
    tried = [
        each
        for each in evidence.bank
        if each.invoice == truth.invoice
        and each.payment_method == method.id
        and each.fingerprint == method.fingerprint
        and each.at <= letter.at
        and each.concludes is None
    ]
    refused = was_refused(evidence, truth.invoice, method, letter.at)
    if not tried and not refused and not method.expired:
        yield "asks for another card, though one is there that was never tried"
    ends = [
        each
        for each in evidence.bank
        if each.invoice == truth.invoice
        and each.payment_method == method.id
        and each.concludes
        and each.at <= letter.at
    ]
    soft = ends and ends[-1].decline_code == MAY_BE_TRIED_AGAIN
    if method.kind != "card" and soft and not refused and len(ends) <= RETRIES_OF_A_DEBIT:
        yield "asks for another card after a debit that may be tried again"


def _of_several(letter: Written) -> set[Decimal]:
    """What was paid for each group of invoices of the customer that are paid."""
    paid_now = [each for each in letter.truths.values() if each.status == "paid"][:6]
    return {
        as_people_count(sum(sum(each.charges.values()) for each in some), some[0].currency)
        for size in range(2, len(paid_now) + 1)
        for some in combinations(paid_now, size)
    }


def _thanks(letter: Written, truth: Truth, row: Row, evidence: Evidence) -> Iterator[str]:
    if truth.status != "paid":
        yield "thanks for what is not paid"
        return
    moved = list(truth.charges.values())
    booked = sum(
        each["amount"]
        for each in evidence.book
        if each["recovery_id"] == row["id"] and each["metric_type"] == "recovery_recovered"
    )
    true = {as_people_count(amount, truth.currency) for amount in (*moved, sum(moved), truth.paid, booked)}
    true |= _of_several(letter)
    if not true & amounts_in(letter.text):
        yield "thanks for another amount than was paid"
    if "goes on" in letter.text and not truth.goes_on:
        yield "says that a subscription goes on that does not"
