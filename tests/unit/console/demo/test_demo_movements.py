"""What is counted beside declined cards: each kind from the side that knows it."""

from typing import Any

from console.demo.movements import AT_ONCE_S, Debits, RenewedCards, WentBack, debits, renewed_cards, went_back

BEGAN = 1_790_000_000
DAY = 86_400


def attempt(invoice: str, source: str, outcome: str, seq: int, **more: Any) -> dict[str, Any]:
    plain = {"at": BEGAN, "concludes": None, "payment_method": "pm_1"}
    return {"invoice": invoice, "source": source, "outcome": outcome, "seq": seq, **plain, **more}


def fate(invoice: str, renewed_at: int | None = BEGAN) -> dict[str, Any]:
    return {"invoice": invoice, "payment_method": "pm_1", "renewed_at": renewed_at}


def test_debits_are_counted_from_the_beginning_that_follows_a_failed_renewal() -> None:
    log = [
        attempt("in_paid", "renewal", "processing", 1),
        attempt("in_1", "renewal", "processing", 2),
        attempt("in_2", "renewal", "processing", 3),
        attempt("in_paid", "renewal", "succeeded", 4, concludes=1),
        attempt("in_1", "renewal", "failed", 5, concludes=2),
        attempt("in_2", "renewal", "failed", 6, concludes=3),
        attempt("in_1", "api_pay", "processing", 7),
        attempt("in_1", "api_pay", "failed", 8, concludes=7),
        attempt("in_1", "hosted_page", "processing", 9),
        attempt("in_1", "hosted_page", "succeeded", 10, concludes=9),
        attempt("in_2", "api_pay", "processing", 11),
        attempt("in_card", "renewal", "declined", 12),
        attempt("in_card", "api_pay", "succeeded", 13),
    ]
    counted = debits(log, {"in_1", "in_card"})
    assert counted == Debits(renewals=2, recovered=1, begun=3, paid=1, failed=1)
    assert counted.under_way == 1


def test_a_renewed_card_is_charged_at_once_when_we_charge_the_same_method_within_a_day() -> None:
    by_us = [
        attempt("in_1", "api_pay", "succeeded", 1, at=BEGAN + AT_ONCE_S),
        attempt("in_2", "api_pay", "succeeded", 2, at=BEGAN + AT_ONCE_S + 1),
        attempt("in_3", "api_pay", "succeeded", 3, payment_method="pm_other"),
        attempt("in_4", "hosted_page", "succeeded", 4),
        attempt("in_5", "api_pay", "declined", 5),
    ]
    fates = [fate(f"in_{number}") for number in range(1, 6)]
    assert renewed_cards(fates, by_us, BEGAN + 9 * DAY) == RenewedCards(renewed=5, charged=1)


def test_a_card_that_is_renewed_after_the_payment_or_after_the_story_is_not_counted() -> None:
    paid = [attempt("in_1", "hosted_page", "succeeded", 1)]
    fates = [fate("in_1", BEGAN + 1), fate("in_2", BEGAN + 2 * DAY), fate("in_3", None)]
    assert renewed_cards(fates, paid, BEGAN + DAY) == RenewedCards()


def movement(charge: str, kind: str, amount: int, dispute: str | None = None) -> dict[str, Any]:
    return {"charge": charge, "kind": kind, "amount": amount, "dispute": dispute}


def test_what_went_back_of_ours_is_told_apart_from_what_is_none_of_ours() -> None:
    book = [
        *(movement(charge, "charge", 900) for charge in ("ch_1", "ch_2", "ch_3", "ch_4", "ch_5", "ch_renewal")),
        movement("ch_1", "refund", -900),
        movement("ch_2", "refund", -400),
        movement("ch_2", "refund_failed", 400),
        movement("ch_3", "dispute_withdrawn", -900, "du_3"),
        movement("ch_3", "fee", -1500, "du_3"),
        movement("ch_3", "dispute_reinstated", 900, "du_3"),
        movement("ch_4", "dispute_withdrawn", -900, "du_4"),
        movement("ch_5", "dispute_withdrawn", -900, "du_5"),
        movement("ch_renewal", "refund", -900),
    ]
    ends = {"du_3": "won", "du_4": "lost", "du_5": "needs_response"}
    counted = went_back(book, ends, {"ch_1", "ch_2", "ch_3", "ch_4", "ch_5"})
    assert counted == WentBack(refunds=2, in_part=1, failed=1, disputes=3, won=1, lost=1, of_others=1)
    assert counted.undecided == 1
