"""Each of the checks can fail: every test tells a story in which one cent, one charge or one row is wrong."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from console.demo.checks import Booked, MoneyLine, check_twice, compare_money

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
        "kind": "charge",
        "seq": 1,
        "concludes": None,
        **more,
    }


def back(invoice: str, kind: str, amount: int, **more: Any) -> dict[str, Any]:
    """A movement after the charge; negative when the merchant loses it."""
    return {**charge(invoice, "bank", amount), "kind": kind, **more}


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


def compared(
    movements: list[dict[str, Any]],
    recoveries: list[dict[str, Any]],
    ledger: Mapping[str, int | Booked],
    api: Mapping[str, int | Booked] | None = None,
    failed: list[str] | None = None,
    booked: list[dict[str, Any]] | None = None,
    begun: Mapping[str, int] | None = None,
) -> tuple[list[MoneyLine], list[str]]:
    """Unless told otherwise, booked is each charge of a recovery that we call recovered."""
    invoices = [row["invoice_id"] for row in recoveries] if failed is None else failed
    recovered = {row["invoice_id"] for row in recoveries if row["state"] == "recovered"}
    if booked is None:
        booked = [row(each) for each in movements if each["kind"] == "charge" and each["invoice"] in recovered]
    totals = [
        {currency: each if isinstance(each, Booked) else Booked(each) for currency, each in said.items()}
        for said in (ledger, ledger if api is None else api)
    ]
    return compare_money(movements, begun or {}, invoices, recoveries, booked, *totals)


def row(charge: dict[str, Any]) -> dict[str, Any]:
    """The row of a booked charge."""
    return {"charge_id": charge["charge"], "amount": charge["amount"], "currency": charge["currency"]}


def problems(*told: Any, **more: Any) -> list[str]:
    return compared(*told, **more)[1]


def test_retries_and_customers_payments_add_up_to_the_ledger() -> None:
    charges = [charge("in_1"), charge("in_2", "hosted_page")]
    rows = [recovery("in_1"), recovery("in_2", by="message")]

    lines, wrong = compared(charges, rows, {"usd": 1800})

    assert wrong == []
    assert (lines[0].by_retry, lines[0].by_customer, lines[0].charged) == (900, 900, 1800)


def test_an_invoice_that_never_failed_is_nobodys_recovery() -> None:
    assert problems([charge("in_1", "renewal")], [], {}) == []


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

    lines, wrong = compared([late], [row], {"usd": 0})

    assert wrong == []
    assert (lines[0].late, lines[0].charged) == (900, 0)


def test_giving_up_after_the_customer_had_paid_is_seen() -> None:
    row = recovery("in_1", "exhausted", None, at=BEGAN + DAY)

    assert problems([charge("in_1", "hosted_page", at=BEGAN)], [row], {"usd": 0}) != []


def test_a_debit_of_the_customers_that_was_begun_before_we_gave_up_is_no_late_payment() -> None:
    row = recovery("in_1", "exhausted", None, at=BEGAN + DAY)
    paid = charge("in_1", "hosted_page", at=BEGAN + 4 * DAY)

    assert problems([paid], [row], {"usd": 0}) == []
    assert problems([paid], [row], {"usd": 0}, begun={"ch_in_1": BEGAN}) != []


def test_what_is_refunded_disputed_and_won_back_of_our_charges_is_netted_on_both_sides() -> None:
    movements = [
        charge("in_1"),
        charge("in_2", "hosted_page"),
        charge("in_3"),
        back("in_1", "refund", -400),
        back("in_2", "dispute_withdrawn", -900),
        back("in_2", "fee", -1500),
        back("in_3", "dispute_withdrawn", -900),
        back("in_3", "dispute_reinstated", 900),
    ]
    rows = [recovery("in_1"), recovery("in_2", by="message"), recovery("in_3")]

    lines, wrong = compared(movements, rows, {"usd": Booked(1400, 400, 1800, 900)})

    assert wrong == []
    assert (lines[0].charged, lines[0].bank) == (2700, Booked(1400, 400, 1800, 900))


def test_a_refund_that_failed_is_no_refund() -> None:
    movements = [charge("in_1"), back("in_1", "refund", -900), back("in_1", "refund_failed", 900)]

    assert problems(movements, [recovery("in_1")], {"usd": 900}) == []
    assert problems(movements, [recovery("in_1")], {"usd": Booked(0, 900)}) != []


def test_what_goes_back_of_a_charge_that_is_not_ours_lowers_nothing() -> None:
    elsewhere = recovery("in_2", "stopped", None, "paid_elsewhere")
    movements = [
        charge("in_1", "renewal"),
        back("in_1", "refund", -900),
        charge("in_2", "stripe_retry"),
        back("in_2", "dispute_withdrawn", -900),
    ]

    assert problems(movements, [elsewhere], {}) == []
    assert problems(movements, [elsewhere], {"usd": Booked(-900, 900)}) != []


@pytest.mark.parametrize(
    ("movement", "booked"),
    [
        (back("in_1", "refund", -400), Booked(900)),
        (back("in_1", "refund", -400), Booked(500, 0, 400)),
        (back("in_1", "dispute_withdrawn", -900), Booked(0, 900)),
        (back("in_1", "dispute_reinstated", 900), Booked(900, 0, 900, 900)),
    ],
    ids=["a refund that was missed", "a refund called a dispute", "a dispute called a refund", "won back, never lost"],
)
def test_money_that_goes_back_and_is_booked_otherwise_is_seen(movement: dict[str, Any], booked: Booked) -> None:
    assert problems([charge("in_1"), movement], [recovery("in_1")], {"usd": booked}) != []


@pytest.mark.parametrize(
    "booked",
    [
        [],
        [{"charge_id": "ch_in_1", "amount": 899, "currency": "usd"}],
        [{"charge_id": "ch_other", "amount": 900, "currency": "usd"}],
        [{"charge_id": "ch_in_1", "amount": 900, "currency": "usd"}] * 2,
    ],
    ids=["not at all", "another amount", "another charge", "twice"],
)
def test_a_charge_of_ours_that_is_not_booked_once_with_its_amount_is_seen(booked: list[dict[str, Any]]) -> None:
    assert problems([charge("in_1")], [recovery("in_1")], {"usd": 900}, booked=booked) != []


# -- twice ---------------------------------------------------------------------------------------


def succeeded(invoice: str, charge_id: str | None = None) -> dict[str, Any]:
    return {"invoice_id": invoice, "charge_id": charge_id or f"ch_{invoice}", "origin": "citadel"}


def test_one_charge_under_one_key_with_one_attempt_holds() -> None:
    assert check_twice([charge("in_1"), charge("in_2", "renewal")], [succeeded("in_1")]).holds


def debit(invoice: str, seq: int, **more: Any) -> dict[str, Any]:
    """The beginning of a debit of ours."""
    return charge(invoice, outcome="processing", seq=seq, **more)


def end(begun: dict[str, Any], outcome: str, seq: int) -> dict[str, Any]:
    """The entry that tells the end of a debit."""
    return {**begun, "outcome": outcome, "seq": seq, "concludes": begun["seq"]}


def test_a_debit_that_failed_or_is_under_way_is_no_charge_and_its_two_entries_are_one_try() -> None:
    first, second, other = debit("in_1", 1), debit("in_1", 3, charge="py_2", idempotency_key="key-2"), debit("in_2", 5)
    attempts = [first, end(first, "failed", 2), second, end(second, "succeeded", 4), other]

    verdict = check_twice(attempts, [succeeded("in_1", "py_2")])

    assert verdict.holds
    assert verdict.figures == (
        "1 charges for 1 invoices",
        "3 retries of ours under 3 idempotency keys",
        "3 bank debits: 1 paid; 1 failed and 1 under way, which are no charges",
    )


def test_whatever_is_begun_while_a_debit_is_under_way_is_seen() -> None:
    first = debit("in_1", 1)
    another = debit("in_1", 2, charge="py_2", idempotency_key="key-2")
    by_card = charge("in_1", "hosted_page", seq=2, charge="ch_2")

    assert not check_twice([first, another, end(first, "failed", 3)], []).holds
    assert not check_twice([first, by_card, end(first, "failed", 3)], []).holds
    assert check_twice([first, end(first, "failed", 2), by_card], []).holds


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
