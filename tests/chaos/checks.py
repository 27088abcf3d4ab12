"""The checks: pure functions from the evidence to its violations, one line each.

events       acknowledged to Stripe = recorded, each once
effects      every failed renewal that was acknowledged has one recovery, opened once
tasks        every task has ended or is due later; every open recovery has one
charges      no invoice is charged twice; the bank's log and our attempts agree, key by key
fences       only the process that claimed a run ends it, under its own fence; a task is rescued only after its lease
leases       a worker that was stopped for longer than its lease sends nothing when it goes on
ledger       the book, the days and the totals agree, also with what the bank says was recovered
recoveries   each end agrees with the charges, and the timeline leads to it without a gap
messages     an email was sent once, and each message that a timeline calls sent was sent
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from tests.chaos.evidence import Evidence, Row, Rows
from tests.chaos.store import SUMS

Check = Callable[[Evidence], list[str]]

OURS, CUSTOMER, RENEWAL = "api_pay", "hosted_page", "renewal"
ENDS = frozenset({"recovered", "exhausted", "stopped"})
CLOCKS_APART_S = 3_600.0
"""Within a step of the time travel the two clocks may differ by this much."""
EMAIL_KEYS_ARE_KEPT_S = 86_400.0
WIRE_S = 0.25
"""The time from a worker's check of its lease until its request reaches the proxy."""


def events(evidence: Evidence) -> list[str]:
    """Acknowledged = recorded."""
    acknowledged = {each["event"] for each in evidence.deliveries if each["first_2xx"]}
    sent = {each["event"] for each in evidence.deliveries if each["sent"]}  # the others are late and not due yet
    recorded = Counter(row["event_id"] for row in evidence.events)
    return [
        *(f"{event}: acknowledged and not recorded" for event in sorted(acknowledged - recorded.keys())),
        *(f"{event}: recorded and never sent" for event in sorted(recorded.keys() - sent)),
        *(
            f"{event}: recorded, and still not acknowledged"
            for event in sorted((recorded.keys() & sent) - acknowledged)
        ),
        *(f"{event}: never accepted" for event in sorted(sent - acknowledged - recorded.keys())),
        *(f"{event}: recorded {times} times" for event, times in recorded.items() if times > 1),
    ]


def effects(evidence: Evidence) -> list[str]:
    """An event and its effects are there together."""
    recorded = {row["object_id"] for row in evidence.events if row["event_type"] == "invoice.payment_failed"}
    failed = {each["invoice"] for each in evidence.bank if each["source"] == RENEWAL and each["outcome"] != "succeeded"}
    recoveries = Counter(row["invoice_id"] for row in evidence.recoveries)
    opened = Counter(row["recovery_id"] for row in evidence.timeline if row["kind"] == "opened")
    booked = {row["recovery_id"]: row["times"] for row in evidence.book if row["metric_type"] == "recovery_opened"}
    queued = {row["recovery_id"] for row in evidence.task_changes if row["old_status"] is None}
    found = [
        *(
            f"{invoice}: its failure is recorded, no recovery is open"
            for invoice in sorted(failed & recorded - recoveries.keys())
        ),
        *(f"{invoice}: has a recovery and never failed" for invoice in sorted(recoveries.keys() - failed)),
        *(f"{invoice}: {times} recoveries" for invoice, times in recoveries.items() if times > 1),
    ]
    for row in evidence.recoveries:
        ident = row["id"]
        if opened[ident] != 1:
            found.append(f"recovery {ident}: opened {opened[ident]} times in its timeline")
        if booked.get(ident, 0) != 1:
            found.append(f"recovery {ident}: booked as opened {booked.get(ident, 0)} times")
        if ident not in queued:
            found.append(f"recovery {ident}: never had a task")
    return found


def tasks(evidence: Evidence) -> list[str]:
    """No task is left over, and no open recovery is without one."""
    found = [
        f"task {row['public_id']} ({row['task_type']}) is {row['status']}{' and due' if row['due'] else ''}: "
        f"{row['last_error']}"
        for row in evidence.tasks
        if row["status"] == "running" or (row["status"] == "pending" and row["due"])
    ]
    found += [
        f"task {row['public_id']} ({row['task_type']}) is dead after {row['attempts']} attempts: {row['last_error']}"
        for row in evidence.tasks
        if row["status"] == "dead"
    ]
    waiting = {
        row["recovery_id"]
        for row in evidence.tasks
        if row["status"] == "pending" and row["task_type"] == "dunning_retry"
    }
    found += [
        f"recovery {row['id']} goes on ({row['state']}) and no task looks after it"
        for row in evidence.recoveries
        if row["state"] not in ENDS and row["id"] not in waiting
    ]
    return found


_SETTLED_AS = {"succeeded": "succeeded", "declined": "declined", "requires_action": "requires_action"}


def charges(evidence: Evidence) -> list[str]:
    """The bank's side and ours, charge by charge and key by key."""
    succeeded = [each for each in evidence.bank if each["outcome"] == "succeeded"]
    per_invoice = Counter(each["invoice"] for each in succeeded)
    ours = [each for each in evidence.bank if each["source"] == OURS]
    per_key = Counter(each["idempotency_key"] for each in ours)
    rows = {row["idempotency_key"]: row for row in evidence.attempts if row["origin"] == "citadel"}
    found = [
        *(f"{invoice}: charged {times} times" for invoice, times in per_invoice.items() if times > 1),
        *(f"key {key}: {times} tries to move money" for key, times in per_key.items() if times > 1),
    ]
    for each in ours:
        row = rows.get(each["idempotency_key"])
        if row is None:
            found.append(f"{each['invoice']}: a try under {each['idempotency_key']}, which is no attempt of ours")
        elif row["result"] != _SETTLED_AS.get(each["outcome"], each["outcome"]):
            found.append(f"{each['invoice']}: {each['outcome']} at the bank, {row['result']} in our row {row['id']}")
        elif row["invoice_id"] != each["invoice"]:
            found.append(f"{each['invoice']}: paid under the key of {row['invoice_id']}")
    for key, row in rows.items():
        if row["result"] in _SETTLED_AS.values() and key not in per_key:
            found.append(
                f"{row['invoice_id']}: attempt {row['number']} is {row['result']}, the bank knows nothing of it"
            )
        if row["result"] == "started":
            found.append(f"{row['invoice_id']}: attempt {row['number']} has no outcome")
    return found


# -- the queue -----------------------------------------------------------------------------------


def fences(evidence: Evidence) -> list[str]:
    """Claims, renewals, ends and rescues, from the audit trigger's rows, and one task of a recovery at a time."""
    found = []
    holder: dict[int, tuple[int, str | None]] = {}
    running: defaultdict[str, set[int]] = defaultdict(set)
    for row in evidence.task_changes:
        task, before, after = row["task_id"], row["old_status"], row["status"]
        name = f"task {row['public_id']} ({row['task_type']}, fence {row['fence']})"
        held = holder.get(task)
        if after == "running" and row["old_fence"] != row["fence"]:
            if before == "running":
                found.append(f"{name}: claimed by {row['client']} while {held} ran it")
            if row["old_fence"] is not None and row["fence"] <= row["old_fence"]:
                found.append(f"{name}: claimed under a fence that is not higher than {row['old_fence']}")
            holder[task] = (row["fence"], row["client"])
            others = running[row["recovery_id"]] - {task} if row["recovery_id"] else set()
            if others:
                found.append(f"{name}: claimed while another task of its recovery runs")
        elif before == "running" and held is not None:
            by = None if row["client"] == held[1] else row["client"] or "somebody else"
            over = row["old_lease"] is not None and row["old_lease"] < row["at"]
            rescued = after != "running" and (row["why"] or "").startswith("lease expired")
            if rescued and not over:
                found.append(
                    f"{name}: taken from {held[1]} by {row['client']} {row['old_lease'] - row['at']:.2f} s too early"
                )
            if by is not None and not rescued:
                what = "renewed" if after == "running" else f"ended as {after}"
                found.append(f"{name}: {what} by {by}, claimed by {held[1]}")
        if row["recovery_id"]:
            (running[row["recovery_id"]].add if after == "running" else running[row["recovery_id"]].discard)(task)
    return found


def leases(evidence: Evidence) -> list[str]:
    """A worker that was stopped beyond its lease while it waited for an answer changes nothing outside afterwards."""
    leased: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in evidence.task_changes:
        if row["status"] == "running" and row["client"] is not None:
            about = row["recovery_id"] or row["public_id"]
            leased[row["client"], about].append((row["at"], row["lease"]))
    about = {row["idempotency_key"]: row["recovery_id"] for row in evidence.attempts if row["idempotency_key"]}
    about |= {
        f"email:{row['public_id']}": row["recovery_id"]
        for row in evidence.task_changes
        if row["recovery_id"] is not None and row["task_type"] == "notify_action_required"
    }
    found = []
    for stop in evidence.stopped:
        for sent in evidence.sent:
            key = about.get(sent.key)
            if sent.worker != stop.worker or key is None or not stop.since < sent.at < stop.until + 5:
                continue
            held = [end for since, end in leased[sent.worker, key] if since <= sent.at + WIRE_S]
            if not any(sent.at <= end + WIRE_S for end in held):
                late = sent.at - max(held, default=sent.at)
                found.append(f"{sent.worker} sent {sent.path} under {sent.key} {late:.2f} s after its lease")
    return found


# -- money and states ----------------------------------------------------------------------------


def sums_of_the_book(book: Rows, daily: Rows, totals: Rows) -> list[str]:
    """Book = days = totals."""
    found = []
    booked: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in book:
        sums = booked[row["merchant_id"], row["currency"]]
        match row["metric_type"].removeprefix("recovery_"):
            case "opened":
                sums.update(failed_cents=row["amount"], failed_count=row["times"])
            case "recovered" | "exhausted" | "stopped" as end:
                sums.update({f"{end}_cents": row["amount"], f"{end}_count": row["times"]})
            case "won_back":
                sums.update(recovered_cents=row["amount"])
            case "refunded" | "disputed":
                sums.update(recovered_cents=-row["amount"])
            case "attempt" | "message" as kind:
                sums.update({f"{kind}_count": row["amount"]})
    for name, rows in (("daily_metrics", daily), ("merchant_totals", totals)):
        kept = {(row["merchant_id"], row["currency"]): {sum_: row[sum_] for sum_ in SUMS} for row in rows}
        for where in sorted(booked.keys() | kept.keys()):
            expected = {sum_: booked[where][sum_] for sum_ in SUMS}
            if kept.get(where) != expected:
                found.append(f"{name} of {where}: {kept.get(where)}, the book says {expected}")
    return found


def ledger(evidence: Evidence) -> list[str]:
    """Book = days = totals = the bank."""
    found = sums_of_the_book(evidence.book, evidence.daily, evidence.totals)
    ends: Counter[str] = Counter()
    for row in evidence.book:
        if row["metric_type"].removeprefix("recovery_") in ENDS:
            ends[row["recovery_id"]] += row["times"]  # an end that is taken back does not count
    found += [f"recovery {ident}: {times} ends in the book" for ident, times in ends.items() if times > 1]
    return found + _recovered(evidence)


def _recovered(evidence: Evidence) -> list[str]:
    """The recovered totals equal what the bank moved for these invoices."""
    recovered = {row["invoice_id"] for row in evidence.recoveries if row["state"] == "recovered"}
    bank: Counter[str] = Counter()
    for each in evidence.bank:
        if each["outcome"] == "succeeded" and each["invoice"] in recovered:
            bank[each["currency"]] += each["amount"]
    ours: Counter[str] = Counter()
    for row in evidence.totals:
        ours[row["currency"]] += row["recovered_cents"]
    return [
        f"{currency}: {bank[currency]} charged for what was recovered, merchant_totals says {ours[currency]}"
        for currency in sorted(bank.keys() | ours.keys())
        if bank[currency] != ours[currency]
    ]


def recoveries(evidence: Evidence) -> list[str]:
    """States agree with charges, and timelines with states."""
    paid = {each["invoice"]: each for each in evidence.bank if each["outcome"] == "succeeded"}
    found = []
    for row in evidence.recoveries:
        problem = _contradiction(row, paid.get(row["invoice_id"]))
        if problem:
            found.append(
                f"{row['invoice_id']} is {row['state']} ({row['end_reason']}, {row['recovered_by']}): {problem}"
            )
    ways: defaultdict[str, list[Row]] = defaultdict(list)
    for row in sorted(evidence.timeline, key=lambda each: each["id"]):
        ways[row["recovery_id"]].append(row)
    for row in evidence.recoveries:
        way = ways[row["id"]]
        breaks = [(a["to_state"], b["from_state"]) for a, b in pairwise(way) if a["to_state"] != b["from_state"]]
        if breaks or not way or way[-1]["to_state"] != row["state"]:
            found.append(f"recovery {row['id']} is {row['state']}; its timeline breaks at {breaks or 'its end'}")
    return found


def _contradiction(recovery: Row, charge: Row | None) -> str | None:
    """Why this end contradicts the one charge of the invoice."""
    source = charge["source"] if charge else None
    state, by = recovery["state"], recovery["recovered_by"]
    told = {
        "our attempt has collected it": source == OURS and (state, by) != ("recovered", "retry"),
        f"no attempt of ours has collected it (charged by {source})": by == "retry" and source != OURS,
        f"the customer has not paid it (charged by {source})": by == "message" and source != CUSTOMER,
        "nobody has paid it": recovery["end_reason"] == "paid_elsewhere" and source is None,
    }
    if charge is not None:
        amount = recovery["amount_recovered"]
        told[f"{amount} recovered, {charge['amount']} charged"] = state == "recovered" and amount != charge["amount"]
        gave_up = recovery["closed_at"] is not None and recovery["closed_at"] <= charge["at"] + CLOCKS_APART_S
        told[f"it was paid ({source})"] = state not in {"recovered", "stopped"} and not gave_up
    return next((problem for problem, holds in told.items() if holds), None)


def messages(evidence: Evidence) -> list[str]:
    """Emails by their keys. The email service deletes a key after a day, which in a storm is some seconds."""
    sent: defaultdict[str, list[float]] = defaultdict(list)
    for each in evidence.outbox:
        sent[each["idempotency_key"]].append(each["at"])
    again = {key: min(b - a for a, b in pairwise(sorted(times))) for key, times in sent.items() if len(times) > 1}
    found = [f"email {key}: sent again after {gap:.0f} s" for key, gap in again.items() if gap < EMAIL_KEYS_ARE_KEPT_S]
    told = {row["detail"].get("email_id") for row in evidence.timeline if row["kind"] == "messaged"}
    ids = {each["id"] for each in evidence.outbox}
    named = told - {None}
    found += [f"email {ident}: told in a timeline and never sent" for ident in sorted(named - ids)]
    # If an earlier try's answer was lost, the service says that it has the email and does not name it. An email about
    # several recoveries is known by the task of the first one only.
    unnamed = Counter(
        row["recovery_id"]
        for row in evidence.timeline
        if row["kind"] == "messaged" and row["detail"].get("email_id") is None and "invoices" not in row["detail"]
    )
    about = {
        f"email:{row['public_id']}": row["recovery_id"]
        for row in evidence.task_changes
        if row["task_type"] == "notify_action_required"
    }
    nameless = Counter(about.get(each["idempotency_key"]) for each in evidence.outbox if each["id"] not in named)
    return found + [
        f"recovery {recovery}: {times} emails told in its timeline without an id, {nameless[recovery]} were sent"
        for recovery, times in unnamed.items()
        if nameless[recovery] < times
    ]


CHECKS: Mapping[str, Check] = {
    "events": events,
    "effects": effects,
    "tasks": tasks,
    "charges": charges,
    "fences": fences,
    "leases": leases,
    "ledger": ledger,
    "recoveries": recoveries,
    "messages": messages,
}


def violations(evidence: Evidence, wanted: Iterable[str] = CHECKS) -> dict[str, list[str]]:
    """The violations that each check found."""
    return {name: CHECKS[name](evidence) for name in wanted}
