"""Each of the checks can fail: every test tells a story in which one cent, one charge or one row is wrong."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from console.demo.checks import check_twice, compare_money

DAY = 86_400
BEGAN = 1_790_000_000


def charge(invoice: str, source: str = "api_pay", amount: int = 900, at: int = BEGAN, **more: Any) -> dict[str, Any]:
    return {
        "invoice": invoice,
        "source": source,
        "amount": amount,
        "currency": "usd",
        "at": at,
        "outcome": "succeeded",
        "charge": f"ch_{invoice}",
        "idempotency_key": f"key-{invoice}" if source == "api_pay" else None,
        **more,
    }


def recovery(
    invoice: str, state: str = "recovered", by: str | None = "retry", reason: str | None = None, at: int = BEGAN
) -> dict[str, Any]:
    return {
        "invoice_id": invoice,
        "currency": "usd",
        "amount_due": 900,
        "state": state,
        "end_reason": reason or f"paid_{by}",
        "recovered_by": by,
        "closed_at": datetime.fromtimestamp(at, UTC),
    }


def problems(
    charges: list[dict[str, Any]],
    recoveries: list[dict[str, Any]],
    ledger: Mapping[str, int],
    api: Mapping[str, int] | None = None,
    failed: list[str] | None = None,
) -> list[str]:
    invoices = [row["invoice_id"] for row in recoveries] if failed is None else failed
    return compare_money(charges, invoices, recoveries, ledger, ledger if api is None else api)[1]


def test_retries_and_customers_payments_add_up_to_the_ledger() -> None:
    charges = [charge("in_1"), charge("in_2", "hosted_page")]
    rows = [recovery("in_1"), recovery("in_2", by="message")]

    lines, wrong = compare_money(charges, ["in_1", "in_2"], rows, {"usd": 1800}, {"usd": 1800})

    assert wrong == []
    assert (lines[0].by_retry, lines[0].by_customer, lines[0].charged) == (900, 900, 1800)


def test_an_invoice_that_never_failed_is_nobodys_recovery() -> None:
    assert problems([charge("in_1", "renewal")], [], {}) == []


def moved(kind: str, invoice: str, amount: int) -> dict[str, Any]:
    """A row of the bank's own book."""
    return {"kind": kind, "charge": f"ch_{invoice}", "amount": amount, "currency": "usd"}


def test_what_was_refunded_and_disputed_is_not_recovered_and_what_came_back_is() -> None:
    charges = [charge("in_1"), charge("in_2", "hosted_page"), charge("in_3", "stripe_retry")]
    rows = [recovery("in_1"), recovery("in_2", by="message"), recovery("in_3", "stopped", None, "paid_elsewhere")]
    book = [
        moved("charge", "in_1", 900),
        moved("refund", "in_1", -900),
        moved("refund_failed", "in_1", 300),
        moved("dispute_withdrawn", "in_2", -500),
        moved("fee", "in_2", -15),
        moved("dispute_reinstated", "in_2", 200),
        moved("refund", "in_3", -900),  # was never ours
    ]
    lines, wrong = compare_money(charges, ["in_1", "in_2", "in_3"], rows, {"usd": 900}, {"usd": 900}, book)
    assert wrong == []
    assert (lines[0].taken_back, lines[0].charged) == (900, 900)
    gross = compare_money(charges, ["in_1", "in_2", "in_3"], rows, {"usd": 1800}, {"usd": 1800}, book)[1]
    assert len(gross) == 2


def test_a_cent_too_much_in_the_totals_is_seen() -> None:
    assert problems([charge("in_1")], [recovery("in_1")], {"usd": 901}) != []


def test_an_api_that_says_something_else_than_the_table_is_seen() -> None:
    assert problems([charge("in_1")], [recovery("in_1")], {"usd": 900}, {"usd": 899}) != []


def test_a_charge_that_the_ledger_missed_is_seen() -> None:
    assert problems([charge("in_1"), charge("in_2")], [recovery("in_1"), recovery("in_2")], {"usd": 900}) != []


def test_a_currency_that_only_the_ledger_knows_is_seen() -> None:
    assert problems([charge("in_1")], [recovery("in_1")], {"usd": 900, "eur": 5}) != []


def test_a_failed_invoice_without_a_recovery_is_seen() -> None:
    assert problems([], [], {}, failed=["in_1"]) != []


def test_a_retry_that_our_row_calls_a_message_is_seen() -> None:
    assert problems([charge("in_1")], [recovery("in_1", by="message")], {"usd": 900}) != []


def test_a_charge_of_ours_on_a_recovery_that_goes_on_is_seen() -> None:
    row = {**recovery("in_1", "waiting", None), "end_reason": None, "closed_at": None}

    assert problems([charge("in_1")], [row], {"usd": 900}) != []


def test_stripes_own_retry_is_paid_elsewhere_and_not_recovered() -> None:
    row = recovery("in_1", "stopped", None, "paid_elsewhere")

    assert problems([charge("in_1", "stripe_retry")], [row], {"usd": 0}) == []
    assert problems([charge("in_1", "stripe_retry")], [row], {"usd": 900}) != []


def test_stripes_own_retry_that_our_row_takes_for_its_own_is_seen() -> None:
    assert problems([charge("in_1", "stripe_retry")], [recovery("in_1")], {"usd": 900}) != []


def test_a_stop_as_paid_elsewhere_without_a_payment_is_seen() -> None:
    assert problems([], [recovery("in_1", "stopped", None, "paid_elsewhere")], {"usd": 0}) != []


def test_a_customer_who_pays_after_we_gave_up_is_late_and_not_recovered() -> None:
    row = recovery("in_1", "exhausted", None, at=BEGAN)
    late = charge("in_1", "hosted_page", at=BEGAN + DAY)

    lines, wrong = compare_money([late], ["in_1"], [row], {"usd": 0}, {"usd": 0})

    assert wrong == []
    assert (lines[0].late, lines[0].charged) == (900, 0)


def test_giving_up_after_the_customer_had_paid_is_seen() -> None:
    row = recovery("in_1", "exhausted", None, at=BEGAN + DAY)

    assert problems([charge("in_1", "hosted_page", at=BEGAN)], [row], {"usd": 0}) != []


# -- twice ---------------------------------------------------------------------------------------


def succeeded(invoice: str, charge_id: str | None = None) -> dict[str, Any]:
    return {"invoice_id": invoice, "charge_id": charge_id or f"ch_{invoice}", "origin": "citadel"}


def test_one_charge_under_one_key_with_one_attempt_holds() -> None:
    assert check_twice([charge("in_1"), charge("in_2", "renewal")], [succeeded("in_1")]).holds


@pytest.mark.parametrize(
    ("attempts", "rows"),
    [
        ([charge("in_1"), charge("in_1", "hosted_page", charge="ch_2")], [succeeded("in_1")]),
        ([charge("in_1"), charge("in_1", charge="ch_2", idempotency_key="key-2")], [succeeded("in_1")]),
        ([charge("in_1"), charge("in_1", outcome="declined", charge="ch_2")], [succeeded("in_1")]),
        ([charge("in_1", idempotency_key=None)], [succeeded("in_1")]),
        ([charge("in_1")], [succeeded("in_1"), succeeded("in_1", "ch_2")]),
        ([charge("in_1")], []),
        ([], [succeeded("in_1")]),
        ([charge("in_1")], [succeeded("in_1", "ch_other")]),
    ],
    ids=[
        "customer and we",
        "we twice",
        "one key, two tries",
        "a try without a key",
        "two successes in our rows",
        "a charge that no attempt of ours knows",
        "a success that is no charge",
        "another charge than the attempt says",
    ],
)
def test_a_double_charge_in_any_guise_is_seen(attempts: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    assert not check_twice(attempts, rows).holds
