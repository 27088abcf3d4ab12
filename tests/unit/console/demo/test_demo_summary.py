"""The demo's table by cause and the short story: aligned, short, and with nothing left out that matters."""

import io
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from console.demo.figures import Figures, Webhooks
from console.demo.ladder import LadderOutcome, Way, as_it_went
from console.demo.movements import Debits, RenewedCards, WentBack
from console.demo.summary import _beside, _by_cause, _by_currency
from console.recovery import in_brief
from services.ledger.recoveries.schemas import RecoveryStory, TimelineEntry

NOON = datetime(2026, 11, 5, 12, tzinfo=UTC)
WHOSE = UUID("00000000-0000-4000-8000-000000000001")
FATE = {
    "invoice": "in_1",
    "payment_method": "pm_dead",
    "failed_at": 1_000,
    "needs_3ds": False,
    "code": "card_declined",
    "decline_code": "lost_card",
    "advice_code": "do_not_try_again",
    "network_decline_code": "41",
    "network_advice_code": None,
    "renewed_at": None,
}


def _figures(recoveries: list[dict[str, Any]], ways: list[Way]) -> Figures:
    return Figures(
        invoices=len(recoveries),
        totals=[],
        recoveries=recoveries,
        money=[],
        attempts={},
        attempts_per_recovery=Counter(),
        stripe_attempts=0,
        emails=Counter(),
        tasks={},
        webhooks=Webhooks(0, 0, 0),
        ways=ways,
        compared=frozenset(row["invoice_id"] for row in recoveries),
        debits=Debits(),
        renewed=RenewedCards(),
        went_back=WentBack(),
        story=None,
        verdicts=(),
    )


def _printed(figures: Figures) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=96).print(_by_cause(figures))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_every_way_has_its_column_and_the_figures_stand_in_line() -> None:
    causes = ["insufficient_funds"] * 3 + [None]
    recoveries = [{"cause": cause, "invoice_id": f"in_{number}"} for number, cause in enumerate(causes)]
    names = ("The Citadel", "stripe 8 in 14 days", "polar 2-5-7-7", "kill bill 8-8-8")
    ways = [
        Way(name, Counter({"insufficient_funds": number}), 4 * number, number, None if number == 0 else 1.5)
        for number, name in enumerate(names)
    ]
    lines = _printed(_figures(recoveries, ways))
    shown = [line.split() for line in lines]
    assert all(name in lines[0] for name in names)
    assert shown[1] == ["insufficient", "funds", "3", "0", "0%", "1", "33%", "2", "67%", "3", "100%"]
    assert shown[2][:4] == ["not", "known", "yet", "1"]
    assert shown[3] == ["all", "cards", "4", "0", "0%", "1", "25%", "2", "50%", "3", "75%"]
    assert shown[4] == ["attempts", "each", "0.0", "1.0", "2.0", "3.0"]
    assert shown[5] == ["tries", "on", "dead", "cards", "0", "1", "2", "3"]
    assert shown[6] == ["days", "to", "payment", "-", "1.5", "1.5", "1.5"]
    assert len({len(line) for line in lines}) == 1  # one right edge
    assert len(lines[0]) <= 96


def test_bank_debits_are_in_a_line_of_their_own_that_no_ladder_has() -> None:
    by_card = {"cause": "insufficient_funds", "invoice_id": "in_1"}
    by_debit = {"cause": "insufficient_funds", "invoice_id": "in_2"}
    ways = [Way(name, Counter({"insufficient_funds": 1}), 2, 0, 1.5) for name in ("The Citadel", "polar 2-5-7-7")]
    figures = replace(
        _figures([by_card, by_debit], ways), compared=frozenset({"in_1"}), debits=Debits(renewals=1, recovered=1)
    )
    shown = [line.split() for line in _printed(figures)]
    assert shown[1] == ["insufficient", "funds", "1", "1", "100%", "1", "100%"]
    assert shown[2] == ["all", "cards", "1", "1", "100%", "1", "100%"]
    assert shown[-1] == ["bank", "debits", "1", "1", "100%", "-"]


def test_the_money_is_shown_net_of_what_went_back_and_at_risk_is_what_goes_on() -> None:
    cents = {"failed": 10_000, "recovered": 4_000, "refunded": 900, "disputed": 1_500, "won_back": 400}
    cents |= {"stopped": 0, "exhausted": 1_000}
    figures = replace(
        _figures([], []), totals=[{"currency": "usd", **{f"{name}_cents": each for name, each in cents.items()}}]
    )
    out = io.StringIO()
    Console(file=out, width=96).print(_by_currency(figures))
    assert out.getvalue().splitlines()[1].split() == ["USD", "$100", "$40", "40%", "$20", "-", "$10", "$30"]


def test_debits_renewed_cards_and_money_that_went_back_are_told_in_a_line_each() -> None:
    figures = replace(
        _figures([], []),
        debits=Debits(renewals=9, recovered=4, begun=12, paid=5, failed=6),
        renewed=RenewedCards(renewed=3, charged=2),
        went_back=WentBack(refunds=4, in_part=1, failed=2, disputes=3, won=1, lost=1, of_others=7),
    )
    assert dict(_beside(figures)) == {
        "debits": "9 renewals by bank debit failed days later, 4 recovered; begun since: 12, of which 5 paid, "
        "6 failed, 1 under way",
        "cards": "3 failing cards renewed in place by the networks, 2 of them charged at once by us",
        "went back": "4 refunds (1 in part, 2 failed) and 3 disputes (1 won, 1 lost, 1 open) of what was recovered; 7 "
        "of charges that are not ours",
    }
    only_others = replace(_figures([], []), went_back=WentBack(of_others=7))
    assert dict(_beside(only_others)) == {
        "went back": "no refund and no dispute of what was recovered; 7 of charges that are not ours"
    }
    assert list(_beside(_figures([], []))) == []


def test_what_really_happened_is_read_from_the_attempt_log() -> None:
    tries = [
        {"invoice": "in_1", "source": "renewal", "outcome": "declined", "payment_method": "pm_dead", "at": 1_000},
        {"invoice": "in_1", "source": "api_pay", "outcome": "declined", "payment_method": "pm_dead", "at": 2_000},
        {"invoice": "in_1", "source": "api_pay", "outcome": "succeeded", "payment_method": "pm_new", "at": 87_400},
    ]
    assert as_it_went([FATE], tries, {"in_1"}) == {"in_1": LadderOutcome(87_400, attempts=2, after_hard=1)}
    assert as_it_went([FATE], tries, set())["in_1"].paid_at is None  # paid, yet not by our doing
    renewed = {**FATE, "renewed_at": 1_500}  # no attempt on a dead card: it was another one by then
    assert as_it_went([renewed], tries, {"in_1"})["in_1"].after_hard == 0
    way = Way.of("ours", as_it_went([FATE], tries, {"in_1"}), [FATE], {"in_1": "lost_or_stolen"})
    assert way == Way("ours", Counter({"lost_or_stolen": 1}), 2, 1, 1.0)


def _entry(minutes: int, kind: str, explanation: str, rule: str = "schedule", **more: Any) -> TimelineEntry:
    fields = {"from_state": "waiting", "to_state": "waiting", "detail": {}, "next_step": None, "next_at": None, **more}
    at = NOON + timedelta(minutes=minutes)
    return TimelineEntry(at=at, kind=kind, rule=rule, explanation=explanation, **fields)


def _story(*timeline: TimelineEntry) -> RecoveryStory:
    return RecoveryStory(
        id=WHOSE,
        merchant_id="acct_1",
        invoice_id="in_[1]",
        subscription_id=None,
        customer_id=None,
        state="recovered",
        end_reason="paid_by_retry",
        stop_requested=None,
        amount_due=1_900,
        currency="jpy",
        amount_recovered=1_900,
        amount_refunded=0,
        amount_disputed=0,
        amount_won_back=0,
        recovered_by="retry",
        decline_cause="insufficient_funds",
        attention=None,
        policy_id=WHOSE,
        opened_at=NOON,
        next_attempt_at=None,
        closed_at=NOON,
        updated_at=NOON,
        attempts=[],
        card_warnings=[],
        timeline=list(timeline),
    )


def _reason(*roads: tuple[str, str], **inputs: str) -> dict[str, Any]:
    refused = [{"action": action, "rejected_because": because} for action, because in roads]
    return {"reason": {"inputs": inputs, "considered": refused}}


def _plain(story: RecoveryStory) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=200)
    for line in in_brief(story):
        console.print(line, highlight=False)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("currency", "shown"),
    [
        ("jpy", "¥1,900"),
        ("isk", "ISK\xa019"),
        ("ugx", "UGX\xa019"),
        ("huf", "HUF\xa019.00"),
        ("twd", "NT$19.00"),
        ("rsd", "RSD\xa019"),
        ("kwd", "KWD\xa01.900"),
    ],
)
def test_a_short_story_tells_its_amount_by_stripes_digits(currency: str, shown: str) -> None:
    assert _plain(_story().model_copy(update={"currency": currency}))[0].split("  ")[1].startswith(f"{shown}, ")


def test_a_short_story_has_a_line_for_each_step_and_one_for_what_was_refused() -> None:
    limited = "The card network allows no attempt yet."
    wait = _reason(("attempt_now", limited), limit="mastercard_wait_by_advice_27")
    due = "The attempt was due at 2026-11-05T14:00:00.123456+00:00."
    told = _plain(
        _story(
            _entry(0, "opened", "The renewal's payment failed."),
            _entry(1, "decided", limited, detail=wait, next_at=NOON + timedelta(hours=2)),
            _entry(120, "changed", "Attempt 1 begins.", rule="attempt_due"),
            _entry(120, "stop_requested", "The invoice was paid."),
            _entry(120, "stop_requested", "The invoice was paid."),
            _entry(120, "attempted", "Attempt 1: the invoice was paid.", detail=_reason(("wait", due))),
            _entry(121, "closed", "Our attempt collected it.", to_state="recovered"),
        )
    )
    assert told == [
        "in_[1]  ¥1,900, recovered (paid by retry)",
        "05 Nov 12:00  opened     The renewal's payment failed.",
        "05 Nov 12:01  decided    The card network allows no attempt yet.",
        "                         not attempt_now; mastercard_wait_by_advice_27; next 05 Nov 14:00",
        "05 Nov 14:00  heard      The invoice was paid.",
        "05 Nov 14:00  attempted  Attempt 1: the invoice was paid.",
        "                         not wait: The attempt was due at 05 Nov 14:00.",
        "05 Nov 14:01  closed     Our attempt collected it.",
    ]
