"""A world that is right, as evidence without a database: what the tests of the checks doctor.

One renewal of 42.00 failed on day 0 (`do_not_honor`), a message went out, our retry on day 2 brought the money in. A
tenth of it was refunded later.
"""

from dataclasses import replace
from typing import Any

from simulator.book import Movement
from simulator.world import Attempt
from tests.chaos.store import SUMS
from tests.explorer.evidence import Evidence
from tests.explorer.seen import Charging, Closed, Seen, Written
from tests.explorer.story import DAY, Act, Story
from tests.explorer.truth import Method, Truth

START = 1_790_000_000
ACCOUNT, INVOICE, CUSTOMER, SUBSCRIPTION, CARD, CHARGE = "acct_1", "in_1", "cus_1", "sub_1", "pm_1", "ch_2"
RECOVERY, MERCHANT, KEY = "rec_1", "m_1", "rec_1:1"
PAID_ON = START + 2 * DAY
CARD_NOW = Method(CARD, "card", "finger", good=False, expired=False, needs_3ds=False)


def truth(**changes: Any) -> Truth:
    """The invoice while it is open."""
    plain = Truth(
        at=START,
        invoice=INVOICE,
        status="open",
        currency="usd",
        remaining=4_200,
        paid=0,
        due=4_200,
        processing=False,
        asks_3ds=False,
        automatic=True,
        collection="charge_automatically",
        next_attempt=None,
        customer=CUSTOMER,
        email="one@example.com",
        deleted=False,
        subscription=SUBSCRIPTION,
        subscription_status="past_due",
        paused=False,
        ends_at=None,
        latest=True,
        later_paid=False,
        method=CARD_NOW,
        default=CARD_NOW,
        connected=True,
        restricted=False,
        automatic_reason=True,
        charges={},
    )
    return replace(plain, **changes)


def paid(**changes: Any) -> Truth:
    """The invoice when our retry has paid it."""
    moved: dict[str, Any] = {"status": "paid", "remaining": 0, "paid": 4_200, "charges": {CHARGE: 4_200}}
    return truth(**{**moved, "subscription_status": "active", **changes})


def attempt(**changes: Any) -> Attempt:
    """Our try that succeeded."""
    plain: dict[str, Any] = {
        "seq": 2,
        "at": PAID_ON,
        "account": ACCOUNT,
        "invoice": INVOICE,
        "payment_intent": "pi_1",
        "charge": CHARGE,
        "payment_method": CARD,
        "fingerprint": "finger",
        "amount": 4_200,
        "currency": "usd",
        "source": "api_pay",
        "outcome": "succeeded",
        "decline_code": None,
        "idempotency_key": KEY,
    }
    return Attempt(**{**plain, **changes})


def first_failure(**changes: Any) -> Attempt:
    """The renewal's own try."""
    plain: dict[str, Any] = {"seq": 1, "at": START, "charge": "ch_1", "source": "renewal", "outcome": "declined"}
    return attempt(**{**plain, "decline_code": "do_not_honor", "idempotency_key": None, **changes})


def movement(**changes: Any) -> Movement:
    """The money that our try moved."""
    plain: dict[str, Any] = {
        "seq": 1,
        "transaction": "txn_1",
        "at": PAID_ON,
        "account": ACCOUNT,
        "kind": "charge",
        "source": "api_pay",
        "amount": 4_200,
        "currency": "usd",
        "invoice": INVOICE,
        "charge": CHARGE,
    }
    return Movement(**{**plain, **changes})


def letter(**changes: Any) -> Written:
    """The first message."""
    plain: dict[str, Any] = {
        "id": "email_1",
        "at": START + 60,
        "kind": "payment_failed",
        "customer": CUSTOMER,
        "recovery": RECOVERY,
        "subject": "Your payment to Shop did not go through",
        "text": "Your payment of $42.00 to Shop did not go through. You can pay now, with this card or another one.",
        "to": "one@example.com",
        "truths": {INVOICE: truth()},
        "plans": (),
        "words": 0,
    }
    return Written(**{**plain, **changes})


def recovery(**changes: Any) -> dict[str, Any]:
    """The recovery's row when the world is over."""
    return {
        "id": RECOVERY,
        "merchant_id": MERCHANT,
        "invoice_id": INVOICE,
        "customer_id": CUSTOMER,
        "subscription_id": SUBSCRIPTION,
        "state": "recovered",
        "end_reason": "paid_by_retry",
        "stop_requested": None,
        "recovered_by": "retry",
        "amount_due": 4_200,
        "amount_recovered": 4_200,
        "currency": "usd",
        "opened_at": float(START),
        "closed_at": float(PAID_ON),
        "policy": {"window_days": 21, "end_action": "leave", "driver": "auto"},
        **changes,
    }


def row_of_attempt(**changes: Any) -> dict[str, Any]:
    """The row of our try."""
    return {
        "id": "att_1",
        "recovery_id": RECOVERY,
        "invoice_id": INVOICE,
        "origin": "citadel",
        "number": 1,
        "result": "succeeded",
        "amount": 4_200,
        "currency": "usd",
        "idempotency_key": KEY,
        "charge_id": CHARGE,
        "error_code": None,
        "payment_method_id": CARD,
        "card_fingerprint": "finger",
        "at": float(PAID_ON),
        **changes,
    }


def booking(metric: str, amount: int) -> dict[str, Any]:
    """A row of the book."""
    return {
        "recovery_id": RECOVERY,
        "merchant_id": MERCHANT,
        "metric_type": metric,
        "currency": "usd",
        "amount": amount,
    }


def task(**changes: Any) -> dict[str, Any]:
    """A task that is done."""
    return {
        "public_id": "task_1",
        "task_type": "dunning_retry",
        "status": "succeeded",
        "recovery_id": RECOVERY,
        "attempts": 1,
        "last_error": None,
        "parked": False,
        "due": True,
        **changes,
    }


def evidence(**changes: Any) -> Evidence:
    """The evidence of the whole world."""
    read = truth(at=PAID_ON)
    sums = {
        **dict.fromkeys(SUMS, 0),
        "failed_cents": 4_200,
        "failed_count": 1,
        "recovered_cents": 3_780,
        "recovered_count": 1,
        "attempt_count": 1,
        "message_count": 1,
    }
    total = {"merchant_id": MERCHANT, "currency": "usd", **sums}
    plain: dict[str, Any] = {
        "story": Story(1, START, 33, {}, {}, (Act(0, "renewal", "a"),)),
        "now": START + 33 * DAY,
        "connected": True,
        "seen": Seen(
            charging=[Charging(attempt(), read, read, 0)],
            written=[letter()],
            closed=[Closed(PAID_ON, RECOVERY, INVOICE, "recovered", "paid_by_our_attempt", paid())],
            done=["renewal", "refunds"],
        ),
        "movements": (movement(), movement(seq=2, at=PAID_ON + 5 * DAY, kind="refund", source="merchant", amount=-420)),
        "bank": (first_failure(), attempt()),
        "truths": {INVOICE: paid()},
        "told_failed": frozenset({INVOICE}),
        "kinds": {CARD: "card", "pm_bank": "us_bank_account"},
        "recoveries": [recovery()],
        "attempts": [row_of_attempt()],
        "timeline": [
            {
                "id": 1,
                "recovery_id": RECOVERY,
                "kind": "messaged",
                "rule": "message_due",
                "from_state": "waiting",
                "to_state": "waiting",
                "detail": {},
                "at": float(START + 60),
            }
        ],
        "book": [
            booking("recovery_opened", 4_200),
            booking("message", 1),
            booking("attempt", 1),
            booking("recovery_recovered", 4_200),
            booking("refunded", 420),
        ],
        "tasks": [task()],
        "charges": [{"charge_id": CHARGE, "recovery_id": RECOVERY, "amount": 4_200, "currency": "usd"}],
        "blocked": frozenset(),
        "paused": frozenset(),
        "daily": [total],
        "totals": [total],
    }
    return Evidence(**{**plain, **changes})
