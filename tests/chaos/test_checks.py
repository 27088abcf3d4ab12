"""The checker itself: valid evidence passes, and each kind of violation is found by its check."""

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.checks import CHECKS, violations
from tests.chaos.evidence import Evidence
from tests.chaos.monkey import Stopped
from tests.chaos.stack import Sent
from tests.chaos.store import SUMS

M, R, IN, KEY, TASK = "merchant", "recovery", "in_1", "recovery:1", "task"


def change(number: int, at: float, client: str, before: str | None, after: str, fence: int, **fields: Any) -> Any:
    """One row of the audit trigger."""
    raised = before == "pending" and after == "running"
    return {
        "id": number,
        "at": at,
        "client": client,
        "task_id": 1,
        "public_id": TASK,
        "recovery_id": R,
        "task_type": "dunning_retry",
        "old_status": before,
        "status": after,
        "old_fence": None if before is None else fence - 1 if raised else fence,
        "fence": fence,
        "old_lease": None,
        "lease": None,
        "why": None,
    } | fields


def story(kind: str, before: str | None, after: str, number: int) -> Any:
    return {"id": number, "recovery_id": R, "kind": kind, "from_state": before, "to_state": after, "detail": {}}


SUMMED = dict.fromkeys(SUMS, 0) | {
    "failed_cents": 500,
    "failed_count": 1,
    "recovered_cents": 500,
    "recovered_count": 1,
    "attempt_count": 1,
}
BOOKED = {"recovery_id": R, "merchant_id": M, "currency": "usd", "times": 1}
BANK = {"invoice": IN, "amount": 500, "currency": "usd", "at": 100.0, "idempotency_key": None}
IN_ORDER = Evidence(
    deliveries=[{"event": "evt_1", "sent": 2, "first_2xx": 1.0}],
    bank=[
        BANK | {"source": "renewal", "outcome": "declined"},
        BANK | {"source": "api_pay", "outcome": "succeeded", "idempotency_key": KEY},
    ],
    outbox=[],
    sent=[],
    stopped=[],
    task_changes=[
        change(1, 1.0, "ingress-1", None, "pending", 0),
        change(2, 2.0, "worker-1", "pending", "running", 1, lease=4.0),
        change(3, 3.0, "worker-1", "running", "succeeded", 1, old_lease=4.0),
    ],
    events=[{"event_id": "evt_1", "event_type": "invoice.payment_failed", "object_id": IN, "outcome": "routed"}],
    tasks=[
        {
            "public_id": TASK,
            "task_type": "dunning_retry",
            "status": "succeeded",
            "recovery_id": R,
            "attempts": 1,
            "last_error": None,
            "due": True,
        }
    ],
    recoveries=[
        {
            "id": R,
            "invoice_id": IN,
            "state": "recovered",
            "end_reason": "paid_by_retry",
            "recovered_by": "retry",
            "amount_recovered": 500,
            "currency": "usd",
            "closed_at": 100.0,
        }
    ],
    attempts=[
        {
            "id": "a",
            "recovery_id": R,
            "invoice_id": IN,
            "origin": "citadel",
            "number": 1,
            "result": "succeeded",
            "idempotency_key": KEY,
        }
    ],
    timeline=[
        story("opened", None, "open", 1),
        story("changed", "open", "attempting", 2),
        story("closed", "attempting", "recovered", 3),
    ],
    book=[
        BOOKED | {"metric_type": "recovery_opened", "amount": 500},
        BOOKED | {"metric_type": "recovery_recovered", "amount": 500},
        BOOKED | {"metric_type": "attempt", "amount": 1},
    ],
    daily=[SUMMED | {"merchant_id": M, "currency": "usd"}],
    totals=[SUMMED | {"merchant_id": M, "currency": "usd"}],
)


def with_first(name: str, **fields: Any) -> Evidence:
    """Valid evidence with other fields in the first row of this part."""
    first, *rest = getattr(IN_ORDER, name)
    return replace(IN_ORDER, **{name: [first | fields, *rest]})


def with_more(name: str, *rows: Any) -> Evidence:
    """Valid evidence with further rows in this part."""
    return replace(IN_ORDER, **{name: [*getattr(IN_ORDER, name), *rows]})


def without(name: str) -> Evidence:
    """Valid evidence without this part."""
    return replace(IN_ORDER, **{name: []})


CLAIMED_AGAIN = change(3, 5.0, "worker-2", "pending", "running", 2, lease=7.0)
RESCUED = {"old_lease": 4.0, "why": "lease expired: the worker died or stalled"}
LATE_PAYMENT = [Sent("worker-1", 9.0, "/v1/invoices/in_1/pay", KEY)]

BROKEN: dict[str, tuple[str, Evidence]] = {
    "an acknowledged event is not recorded": ("events", without("events")),
    "an event is recorded that nobody sent": ("events", without("deliveries")),
    "an event is never accepted": ("events", with_more("deliveries", {"event": "e", "sent": 9, "first_2xx": None})),
    "a failed renewal has no recovery": ("effects", without("recoveries")),
    "a recovery is booked as opened twice": ("effects", with_first("book", times=2)),
    "a recovery has no opening in its timeline": ("effects", without("timeline")),
    "a recovery never had a task": ("effects", without("task_changes")),
    "a task is still running": ("tasks", with_first("tasks", status="running")),
    "a task is due and nobody does it": ("tasks", with_first("tasks", status="pending")),
    "a task is dead": ("tasks", with_first("tasks", status="dead")),
    "a recovery goes on without a task": ("tasks", with_first("recoveries", state="waiting")),
    "an invoice is charged twice": (
        "charges",
        with_more("bank", BANK | {"source": "hosted_page", "outcome": "succeeded"}),
    ),
    "a key moves money twice": (
        "charges",
        with_more("bank", BANK | {"source": "api_pay", "outcome": "declined", "idempotency_key": KEY}),
    ),
    "money moves under an unknown key": ("charges", with_first("attempts", idempotency_key="another")),
    "a row says declined, the bank succeeded": ("charges", with_first("attempts", result="declined")),
    "an attempt has no outcome": ("charges", with_first("attempts", result="started")),
    "a task is claimed while another runs it": (
        "fences",
        with_more("task_changes", change(4, 5.0, "worker-2", "running", "running", 2, old_fence=1)),
    ),
    "two tasks of one recovery run at a time": (
        "fences",
        replace(
            IN_ORDER,
            task_changes=[
                *IN_ORDER.task_changes[:2],
                change(3, 2.5, "worker-2", "pending", "running", 1, task_id=2, lease=4.5),
            ],
        ),
    ),
    "an old fence completes": (
        "fences",
        replace(
            IN_ORDER,
            task_changes=[
                *IN_ORDER.task_changes[:2],
                change(3, 4.5, "worker-2", "running", "pending", 1, **RESCUED),
                change(4, 5.0, "worker-2", "pending", "running", 2, lease=7.0),
                change(5, 6.0, "worker-1", "running", "succeeded", 2, old_lease=7.0),
            ],
        ),
    ),
    "a lease is renewed by another": (
        "fences",
        with_more("task_changes", CLAIMED_AGAIN, change(5, 6.0, "worker-1", "running", "running", 2, lease=8.0)),
    ),
    "a task is rescued too early": (
        "fences",
        replace(
            IN_ORDER,
            task_changes=[
                *IN_ORDER.task_changes[:2],
                change(3, 3.5, "worker-2", "running", "pending", 1, **RESCUED),
            ],
        ),
    ),
    "a worker pays after its lease": (
        "leases",
        replace(IN_ORDER, sent=LATE_PAYMENT, stopped=[Stopped("worker-1", 2.5, 8.9)]),
    ),
    "the days differ from the book": ("ledger", with_first("daily", recovered_cents=499)),
    "the totals differ from the book": ("ledger", with_first("totals", attempt_count=2)),
    "a recovery ends twice in the book": (
        "ledger",
        with_more("book", BOOKED | {"metric_type": "recovery_stopped", "amount": 0}),
    ),
    "the bank moved another sum": ("ledger", replace(IN_ORDER, bank=[{**row, "amount": 400} for row in IN_ORDER.bank])),
    "our charge counts for the customer": ("recoveries", with_first("recoveries", recovered_by="message")),
    "nothing was charged, and it is recovered": ("recoveries", replace(IN_ORDER, bank=IN_ORDER.bank[:1])),
    "another sum is recovered": ("recoveries", with_first("recoveries", amount_recovered=1)),
    "a timeline has a gap": ("recoveries", replace(IN_ORDER, timeline=[IN_ORDER.timeline[0], IN_ORDER.timeline[2]])),
    "an email is sent twice": (
        "messages",
        with_more("outbox", *[{"id": "e", "idempotency_key": "email:1", "at": 9}] * 2),
    ),
    "an email is told and was never sent": (
        "messages",
        with_first("timeline", kind="messaged", detail={"email_id": "x"}),
    ),
}


def told_without_an_id() -> Evidence:
    """Evidence in which an earlier try's answer was lost, so that the email service did not name the email."""
    messaged = story("messaged", "attempting", "attempting", 2) | {"detail": {"email_id": None}}
    queued = change(9, 1.0, "worker-1", None, "pending", 0, task_id=9, public_id="n", recovery_id=R)
    return replace(
        with_more("timeline", messaged),
        task_changes=[*IN_ORDER.task_changes, queued | {"task_type": "notify_action_required"}],
    )


def test_an_email_told_without_an_id_is_one_that_was_sent_under_a_key_of_its_recovery() -> None:
    told = told_without_an_id()
    email = {"id": "e", "idempotency_key": "email:n", "at": 9}
    assert CHECKS["messages"](replace(told, outbox=[email])) == []
    assert CHECKS["messages"](told)
    assert CHECKS["messages"](replace(told, outbox=[email | {"idempotency_key": "email:another"}]))
    twice = replace(told, outbox=[email], timeline=[*told.timeline, told.timeline[-1]])
    assert CHECKS["messages"](twice)


def test_a_world_in_order_has_no_violations() -> None:
    assert violations(IN_ORDER) == {name: [] for name in CHECKS}


@pytest.mark.parametrize("what", BROKEN)
def test_the_check_that_is_there_for_it_finds(what: str) -> None:
    check, evidence = BROKEN[what]
    assert CHECKS[check](evidence)


def test_a_worker_that_renewed_its_lease_may_go_on_after_it_slept() -> None:
    renewed = change(4, 8.8, "worker-1", "running", "running", 1, lease=10.8)
    evidence = replace(with_more("task_changes", renewed), sent=LATE_PAYMENT, stopped=[Stopped("worker-1", 2.5, 8.9)])
    assert CHECKS["leases"](evidence) == []


def test_a_rescue_after_the_lease_is_no_violation() -> None:
    rescued = change(3, 4.1, "worker-2", "running", "pending", 1, **RESCUED)
    assert CHECKS["fences"](replace(IN_ORDER, task_changes=[*IN_ORDER.task_changes[:2], rescued])) == []
