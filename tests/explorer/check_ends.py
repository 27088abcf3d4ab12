"""The checks of a recovery's life: its opening, its next step, its end, and what follows from that."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson

from tests.explorer.evidence import Evidence, Row, counted, left_alone, paused_by_us, was_refused
from tests.explorer.finding import Finding
from tests.explorer.seen import Closed, Ended, Written
from tests.explorer.story import DAY, HOUR
from tests.explorer.truth import Truth

ENDS = frozenset({"recovered", "exhausted", "stopped"})
LATEST = 11
"""Days after its window within which a recovery has ended, whatever was on its way."""
BY_OPERATORS = frozenset({"canceled_by_operator", "stopped_by_operator", "left_alone"})
_ON = re.compile(r"your subscription will be (?:canceled|paused) on (\w+ \d+)")
HOLDS = frozenset(
    {
        "collection",
        "pauses",
        "operator_leaves_alone",
        "operator_pauses",
        "worker_away",
        "barrier",
        "restricted",
        "outage",
    }
)
SAID = {"cancel": "canceled", "pause": "paused"}


# -- openings and next steps ---------------------------------------------------------------------


def opened(evidence: Evidence) -> Iterator[Finding]:
    """Each failed renewal that was told of while the merchant was there, and what waited for its return."""
    known = {row["invoice_id"] for row in evidence.recoveries}
    for invoice in sorted(evidence.told_failed - known):
        truth = evidence.truths.get(invoice)
        if truth is None or truth.collection == "send_invoice" or evidence.gone:
            continue
        if truth.open and truth.automatic_reason:
            yield Finding("opened", "a failed renewal has no recovery", f"{invoice}: {truth.remaining} are open")
    times = counted([row for row in evidence.book if row["metric_type"] == "recovery_opened"], "recovery_id")
    for row in evidence.recoveries:
        if times[row["id"]] != 1:
            yield Finding(
                "opened", "a recovery is not booked as opened once", f"{row['invoice_id']}: {times[row['id']]}"
            )
    yield from _left_behind(evidence)


def _left_behind(evidence: Evidence) -> Iterator[Finding]:
    """What was stopped because its merchant had left goes on when that comes back, if it is still in time."""
    back = [word.at for word in evidence.seen.words if word.kind == "came_back"]
    # A farewell that is told late may come after the return.
    late = any(act.what.startswith("webhooks_") or act.what == "events_again" for act in evidence.story.acts)
    if not back or not evidence.connected or late:
        return
    for row in evidence.recoveries:
        over = row["opened_at"] + row["policy"].get("window_days", 21) * DAY <= back[-1] + HOUR
        if row["state"] == "stopped" and row["end_reason"] == "merchant_gone" and not over:
            yield Finding("opened", "a merchant is back, and what its leaving stopped is not opened", row["invoice_id"])


def alive(evidence: Evidence) -> Iterator[Finding]:
    """What goes on has a next step, and nothing died on the way."""
    for text in evidence.seen.unfinished:
        yield Finding("alive", "the world does not come to rest", text)
    for text in evidence.seen.broken:
        yield Finding("alive", "the simulation itself breaks", text)
    for invoice in evidence.seen.hidden:
        yield Finding("alive", "a recovery whose task is dead is not shown", invoice)
    for task in evidence.tasks:
        if task["status"] == "dead" and _by_outage(evidence, task):
            continue
        if task["status"] == "dead":
            error = (task["last_error"] or "")[:90]
            yield Finding("alive", f"a {task['task_type']} is dead: {_kind(error)}", error)
        elif task["status"] == "running":
            yield Finding("alive", f"a {task['task_type']} is left running", task["last_error"] or "")
    stopped = {word.invoice for word in evidence.seen.words if word.kind == "stop"}
    looked_after = {
        task["recovery_id"]
        for task in evidence.tasks
        if task["status"] in {"pending", "running"} and task["task_type"] == "dunning_retry"
    }
    dead = {
        task["recovery_id"]
        for task in evidence.tasks
        if task["status"] == "dead" and not (_by_outage(evidence, task) and _long_ago(evidence))
    }
    for row in evidence.recoveries:
        if row["state"] in ENDS or row["id"] in dead:
            continue
        window = row["policy"].get("window_days", 21)
        if row["id"] not in looked_after:
            why = "an operator had stopped it" if row["invoice_id"] in stopped else "no task looks after it"
            yield Finding("alive", f"a recovery goes on and {why}", f"{row['invoice_id']} {row['state']}")
        elif evidence.now > row["opened_at"] + (window + _slack(evidence)) * DAY and not _may_wait(evidence, row):
            yield Finding("alive", "a recovery does not end", f"{row['invoice_id']} {row['state']}")


def _by_outage(evidence: Evidence, task: Row) -> bool:
    """Whether Stripe was away for so long that the task's tries were used up, as it may be."""
    return bool(evidence.seen.outages) and (task["last_error"] or "").startswith("stripe: 500")


def _long_ago(evidence: Evidence) -> bool:
    """Whether what died in an outage had the time to be replaced: a day, and until the next upkeep."""
    return all(until < evidence.now - 5 * DAY for _, until in evidence.seen.outages)


def _kind(error: str) -> str:
    return re.split(r"[(:]", error, maxsplit=1)[0].strip()[:60] or "without a reason"


def _slack(evidence: Evidence) -> int:
    """Days: the time in which people or an outage hold a recovery is added to its window."""
    return LATEST if not HOLDS & set(evidence.seen.done) else LATEST + 40


def _may_wait(evidence: Evidence, row: Row) -> bool:
    """A payment under way is waited for, and people who hold it; a paused queue and an absent worker do nothing."""
    truth = evidence.truths[row["invoice_id"]]
    people = truth.paused or not truth.automatic or left_alone(evidence.seen.words, row["customer_id"], evidence.now)
    if people:
        return True
    away = any(until > evidence.now - 2 * DAY for _, until in evidence.seen.away)
    held = any(
        act.what in {"barrier", "restricted"} and evidence.story.start + act.at + 20 * DAY > evidence.now
        for act in evidence.story.acts
    )
    return truth.processing or bool(evidence.paused) or away or held or not evidence.connected


def cards(evidence: Evidence) -> Iterator[Finding]:
    """A good payment method, there for two days and never charged, while a recovery was given up."""
    for end in evidence.seen.closed:
        row, truth = evidence.recovery(end.recovery), end.truth
        if end.state != "exhausted" or row is None or truth is None or not truth.open or evidence.done("as_account"):
            continue  # of a customer who is an account nobody sees the payment methods
        brought = evidence.seen.cards.get(truth.customer or "")
        if brought is None or not row["opened_at"] < brought < end.at - 2 * DAY:
            continue
        if row["policy"].get("driver") == "stripe" or truth.paused or not truth.automatic or truth.restricted:
            continue
        if any(brought < until and end.at > since for since, until in evidence.seen.away):
            continue
        if any(act.what in {"refuses_pay", "barrier", "operator_pauses"} for act in evidence.story.acts):
            continue
        for method in (truth.method, truth.default):
            if method is None or not method.good or method.expired:
                continue
            tried = any(
                each.invoice == end.invoice
                and each.payment_method == method.id
                and each.fingerprint == method.fingerprint
                and each.at >= brought
                for each in evidence.bank
            )
            tried = tried or was_refused(evidence, end.invoice, method, end.at)
            if not tried and end.rule != "attempts_used_up":
                which = "what Stripe charges" if method == truth.method else "the customer's default"
                yield Finding("cards", f"{which} is good and was never tried", f"{end.invoice}: {method.id}")


# -- ends ----------------------------------------------------------------------------------------


def ends(evidence: Evidence) -> Iterator[Finding]:
    """Each end as it was written, and each end action as it was carried out."""
    for end in evidence.seen.closed:
        row = evidence.recovery(end.recovery)
        problem = None if row is None or end.truth is None else _untrue(evidence, end, end.truth, row)
        if problem is not None:
            day = (end.at - evidence.story.start) // DAY
            yield Finding("ends", problem, f"{end.invoice} {end.state} ({end.rule}) on day {day}")
    for action in evidence.seen.ended:
        yield from _wrong_action(evidence, action)


def _untrue(evidence: Evidence, end: Closed, truth: Truth, row: Row) -> str | None:
    gone = end.rule == "merchant_gone"
    left = any(word.kind == "left" and word.at <= end.at for word in evidence.seen.words)
    window = row["policy"].get("window_days", 21) * DAY
    wrong = {
        "ended while money is on its way": (
            end.state != "recovered" and truth.processing and not (gone and left) and not _unheard(evidence, end)
        ),
        "merchant_gone, and the merchant is there": gone and truth.connected and not left,
        "invoice_missing, and it is there": end.rule == "invoice_missing",
        "paid_elsewhere, and it is not paid": end.rule == "paid_elsewhere" and truth.status != "paid",
        "voided, and it is not": end.rule == "voided" and truth.status != "void",
        "subscription_canceled, and it is not": (
            end.rule == "subscription_canceled" and truth.subscription_status not in {"canceled", None}
        ),
        "given up, and it is paid": end.state == "exhausted" and truth.status == "paid",
        "window_over, and it is not": end.rule == "window_over" and end.at < row["opened_at"] + window - 2,
        "recovered, and not all is paid": end.state == "recovered" and truth.status != "paid",
    }
    return next((problem for problem, holds in wrong.items() if holds), None)


def _unheard(evidence: Evidence, end: Closed) -> bool:
    """Whether an operator ended it in the moment in which the payment began, before Stripe's event could tell of it."""
    begun = [each.at for each in evidence.bank if each.invoice == end.invoice and each.concludes is None]
    return end.rule in BY_OPERATORS and any(abs(at - end.at) < HOUR for at in begun)


def _wrong_action(evidence: Evidence, done: Ended) -> Iterator[Finding]:
    given_up = {end.recovery for end in evidence.seen.closed if end.state == "exhausted" and end.at <= done.at}
    rows = [
        row
        for row in evidence.recoveries
        if row["id"] in given_up and done.target in {row["subscription_id"], row["invoice_id"]}
    ]
    day = (done.at - evidence.story.start) // DAY
    told = f"{done.action} {done.target} on day {day}"
    if not rows:
        yield Finding("ends", "an end action without an exhausted recovery", told)
        return
    if any(truth.processing for truth in done.truths):
        yield Finding("ends", "an end action while money is on its way", told)
    allowed = {row["policy"].get("end_action", "leave") for row in rows}
    if done.action not in allowed:
        yield Finding("ends", "an end action that no policy asks for", f"{told}: {sorted(allowed)}")
    about = [truth for truth in done.truths if truth.invoice in {row["invoice_id"] for row in rows}]
    if about and all(truth.status != "open" for truth in about):
        yield Finding("ends", "an end action for an invoice that is not open", told)
    if done.action != "mark_uncollectible" and about and all(truth.later_paid for truth in about):
        yield Finding("ends", "an end action though a later invoice is paid", told)
    off = evidence.done("collection") and about and all(not truth.automatic for truth in about)
    if off or (about and all(truth.paused for truth in about) and not paused_by_us(evidence, about[0].subscription)):
        yield Finding("ends", "an end action though the merchant has stopped the collection", told)
    said = [word for word in evidence.seen.words if word.at < done.at]
    for row in rows:
        if left_alone(said, row["customer_id"], done.at):
            yield Finding("ends", "an end action for a customer who is left alone", told)
    yield from _by_waking_up(evidence, done, rows, told)
    yield from _unannounced(evidence, done, rows, told)


def _by_waking_up(evidence: Evidence, done: Ended, rows: list[Row], told: str) -> Iterator[Finding]:
    """A worker that was away for most of the window ends nothing by its return."""
    for since, until in evidence.seen.away:
        for row in rows:
            if not row["policy"].get("message_days", True):
                continue  # nothing was promised that it could have missed
            window = row["policy"].get("window_days", 21) * DAY
            missed = min(until, row["opened_at"] + window) - max(since, row["opened_at"])
            if until <= done.at < until + HOUR and missed > window / 2:
                yield Finding("ends", "an end action by a worker that wakes up", told)


def _unannounced(evidence: Evidence, done: Ended, rows: list[Row], told: str) -> Iterator[Finding]:
    """Customers who were written to had been told what would happen."""
    word = SAID.get(done.action)
    if word is None:
        return
    letters = [
        each
        for each in evidence.seen.written
        if each.at < done.at and each.customer in {row["customer_id"] for row in rows} and each.kind != "card_expiring"
    ]
    ids = {row["id"] for row in rows}
    # One email may be about several recoveries, and bear the name of one.
    together = {_email_of(each) for each in evidence.timeline if each["recovery_id"] in ids}
    letters = [each for each in letters if each.recovery in ids or each.id in together]
    if letters and _reachable(evidence, done, letters) and not any(word in each.text for each in letters):
        kinds = ", ".join(each.kind for each in letters)
        yield Finding("ends", "an end action that was not announced", f"{told}, after {kinds}")
    # An email about several invoices names the day of each.
    days = _ON.findall(letters[-1].text) if letters else []
    if days and all(done.at < _start_of(day, done.at) - DAY for day in days):  # give or take the time zone
        yield Finding("ends", "an end action before the day that was told", f"{told}, told for {' and '.join(days)}")


def _email_of(row: Row) -> str | None:
    """The email that a row of the timeline tells of."""
    detail = row["detail"]
    known: dict[str, object] = orjson.loads(detail) if isinstance(detail, str) else detail
    return str(known["email_id"]) if known.get("email_id") else None


def _reachable(evidence: Evidence, done: Ended, letters: list[Written]) -> bool:
    """Whether nothing stood in the way of a last message: no silence, bounce, pause or barrier, and an address."""
    customers = {each.customer for each in letters}
    silenced = any(word.kind == "silence" and word.customer in customers for word in evidence.seen.words)
    in_the_way = {"mailbox", "barrier", "fault", "operator_pauses", "worker_away", "address", "outage"}
    addressed = all(truth.email is not None for truth in done.truths)
    return addressed and not silenced and not in_the_way & set(evidence.seen.done)


def _start_of(day: str, near: int) -> float:
    """The day that a message names without its year."""
    year = datetime.fromtimestamp(near, UTC).year
    days = [datetime.strptime(f"{day} {each}", "%B %d %Y").replace(tzinfo=UTC) for each in (year - 1, year, year + 1)]
    return min((each.timestamp() for each in days), key=lambda each: abs(each - near))
