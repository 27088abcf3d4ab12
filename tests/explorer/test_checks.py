"""Each check finds nothing in a world that is right, and what is wrong in one that is doctored."""

from dataclasses import replace
from typing import Any

import pytest

from tests.explorer.builders import (
    CUSTOMER,
    INVOICE,
    PAID_ON,
    RECOVERY,
    START,
    SUBSCRIPTION,
    attempt,
    booking,
    evidence,
    first_failure,
    letter,
    movement,
    paid,
    recovery,
    row_of_attempt,
    task,
    truth,
)
from tests.explorer.check_letters import amounts_in, as_people_count
from tests.explorer.checks import CHECKS, findings
from tests.explorer.evidence import Evidence
from tests.explorer.seen import Charging, Closed, Ended, Seen, Word
from tests.explorer.story import DAY
from tests.explorer.truth import Method

GOOD = Method("pm_new", "card", "other", good=True, expired=False, needs_3ds=False)
BANK = Method("pm_bank", "us_bank_account", "bank", good=True, expired=False, needs_3ds=False)
LATER = START + 30 * DAY


def seen(**changes: Any) -> Seen:
    """What was seen of the world that is right, but for this."""
    return replace(evidence().seen, **changes)


def book(*left_out: str, **more: int) -> list[dict[str, Any]]:
    """The book without these entries, and with others."""
    kept = [row for row in evidence().book if row["metric_type"] not in {*left_out, *more}]
    return [*kept, *(booking(metric, amount) for metric, amount in more.items())]


def charging(**changes: Any) -> Evidence:
    """Our try was made while this was so, and we had read it."""
    read = truth(at=PAID_ON, **changes)
    return evidence(seen=seen(charging=[Charging(attempt(), read, read, 0)]))


def written(changes: dict[str, Any], **more: Any) -> Evidence:
    """The message went out while this was so; `more` is of the message."""
    return evidence(seen=seen(written=[letter(truths={INVOICE: truth(**changes)}, **more)]))


def said(*words: Word, **changes: Any) -> Evidence:
    """Somebody with a say had told us this."""
    one, moment = letter(words=len(words)), truth(at=PAID_ON)
    return evidence(
        seen=seen(words=list(words), written=[one], charging=[Charging(attempt(), moment, moment, len(words))]),
        **changes,
    )


def closed(rule: str, state: str, **changes: Any) -> Evidence:
    """The recovery ended so, while this was so."""
    end = Closed(PAID_ON, RECOVERY, INVOICE, state, rule, truth(at=PAID_ON, **changes))
    return evidence(seen=seen(closed=[end]))


def acted(action: str = "cancel", policy: str = "cancel", **changes: Any) -> Evidence:
    """Our end action, while this was so, three weeks after an end; announced, unless `text` says otherwise."""
    text = changes.pop("text", "If it is not paid, your subscription will be canceled.")
    more = changes.pop("more", {})
    done = Ended(LATER, action, SUBSCRIPTION, (truth(at=LATER, **changes),))
    end = Closed(LATER, RECOVERY, INVOICE, "exhausted", "window_over", truth(at=LATER))
    row = recovery(
        state="exhausted",
        recovered_by=None,
        closed_at=float(LATER),
        policy={"window_days": 21, "end_action": policy},
    )
    one = letter(text=f"{letter().text} {text}")
    return evidence(recoveries=[row], seen=seen(ended=[done], closed=[end], written=[one], **more))


def unsaid(**changes: Any) -> Evidence:
    """Our end action, and no email after it."""
    entry = {**evidence().timeline[0], "kind": "end_action", "rule": "end_action_done", "at": float(LATER)}
    world = replace(acted(), truths={INVOICE: truth()}, timeline=[entry], now=LATER + 9 * DAY)
    return replace(world, **changes)


def words(text: str) -> dict[str, Any]:
    """A message with this beside what every message says."""
    return {"text": f"{letter().text} {text}"}


STRIPES = {"source": "stripe_retry"}
LONG_AGO = {"opened_at": float(START - 40 * DAY), "state": "waiting", "closed_at": None}
FAILED_DEBIT = (
    first_failure(payment_method="pm_bank", fingerprint="bank", outcome="processing", decline_code=None),
    first_failure(
        seq=2,
        payment_method="pm_bank",
        fingerprint="bank",
        outcome="failed",
        decline_code="insufficient_funds",
        concludes=1,
    ),
)

ON_ACCOUNT = {"payment_method": "pm_bank", "fingerprint": "bank", "outcome": "processing"}

DOCTORED: dict[str, Evidence] = {
    "booked: money of ours is not booked": evidence(book=book("recovery_recovered"), charges=[]),
    "booked: more is booked than came in": evidence(book=book(recovery_recovered=9_900), charges=[]),
    "booked: what is booked did not move": evidence(
        movements=(movement(amount=1_000), movement(seq=2, charge="ch_3", source="hosted_page", amount=3_000)),
        bank=(first_failure(), attempt(amount=1_000), attempt(seq=3, charge="ch_3", source="hosted_page", at=LATER)),
        book=book(recovery_recovered=2_000),
        charges=[],
    ),
    "booked: a charge is booked that did not move so": evidence(
        charges=[{"charge_id": "ch_9", "recovery_id": RECOVERY, "amount": 4_200, "currency": "usd"}]
    ),
    "booked: the charges and the book differ": evidence(
        charges=[*evidence().charges, {**evidence().charges[0], "charge_id": "ch_9"}]
    ),
    "returned: refunded is not booked as it moved": evidence(book=book("refunded")),
    "returned: disputed is not booked as it moved": evidence(
        movements=(*evidence().movements, movement(seq=3, kind="dispute_withdrawn", amount=-4_200))
    ),
    "returned: won_back is not booked as it moved": evidence(book=book(won_back=4_200)),
    "totals: merchant_totals differs from the book": evidence(totals=[{**evidence().totals[0], "recovered_cents": 1}]),
    "totals: daily_metrics differs from the book": evidence(daily=[]),
    "attempts: one key moved money twice": evidence(bank=(first_failure(), attempt(), attempt(seq=3))),
    "attempts: a try is no attempt of ours": evidence(attempts=[]),
    "attempts: our row says otherwise than the bank": evidence(attempts=[row_of_attempt(result="declined")]),
    "attempts: another method is named than was charged": evidence(
        attempts=[row_of_attempt(payment_method_id="pm_other")]
    ),
    "attempts: another card is named than was charged": evidence(attempts=[row_of_attempt(card_fingerprint="other")]),
    "attempts: another charge is named than was made": evidence(attempts=[row_of_attempt(charge_id="ch_1")]),
    "attempts: another amount than was charged": evidence(attempts=[row_of_attempt(amount=1)]),
    "attempts: an attempt is settled that the bank knows nothing of": evidence(
        attempts=[row_of_attempt(), row_of_attempt(idempotency_key="rec_1:2", result="declined", charge_id=None)]
    ),
    "attempts: a charge has two rows": evidence(
        attempts=[row_of_attempt(), row_of_attempt(origin="stripe", idempotency_key=None)]
    ),
    "attempts: another's charge counts as ours": evidence(bank=(first_failure(), attempt(**STRIPES))),
    "charged: more than is left": charging(remaining=100),
    "charged: more was charged than was due": evidence(truths={INVOICE: paid(due=1_000)}),
    "charged: its subscription is canceled": charging(subscription_status="canceled"),
    "charged: its subscription's collection is paused": charging(paused=True),
    "charged: the merchant has turned its collection off": replace(
        charging(automatic=False), seen=replace(charging(automatic=False).seen, done=["collection"])
    ),
    "charged: it is collected by hand": charging(collection="send_invoice"),
    "charged: an operator had stopped it": said(Word("stop", START + 60, invoice=INVOICE)),
    "charged: its customer is left alone": said(Word("left_alone", START + 60, customer=CUSTOMER)),
    "charged: the merchant's tasks are paused": said(Word("pause", START + 60)),
    "charged: the card was declined for good": evidence(bank=(first_failure(decline_code="lost_card"), attempt())),
    "charged: more retries of a debit than its network allows": evidence(
        bank=(
            *(first_failure(**ON_ACCOUNT, seq=n) for n in range(1, 4)),
            attempt(**ON_ACCOUNT, seq=9),
        )
    ),
    "charged: too small an amount is tried again": evidence(
        attempts=[
            row_of_attempt(number=n, result="failed", error_code="amount_too_small", idempotency_key=f"{n}")
            for n in (1, 2)
        ]
    ),
    "ends: ended while money is on its way": closed("window_over", "exhausted", processing=True),
    "ends: merchant_gone, and the merchant is there": closed("merchant_gone", "stopped"),
    "ends: invoice_missing, and it is there": closed("invoice_missing", "stopped"),
    "ends: paid_elsewhere, and it is not paid": closed("paid_elsewhere", "stopped"),
    "ends: voided, and it is not": closed("voided", "stopped"),
    "ends: subscription_canceled, and it is not": closed("subscription_canceled", "stopped"),
    "ends: given up, and it is paid": closed("attempts_used_up", "exhausted", status="paid"),
    "ends: window_over, and it is not": closed("window_over", "exhausted"),
    "ends: recovered, and not all is paid": closed("paid_by_our_attempt", "recovered"),
    "ends: an end action without an exhausted recovery": evidence(
        seen=seen(ended=[Ended(LATER, "cancel", SUBSCRIPTION, (truth(),))])
    ),
    "ends: an end action while money is on its way": acted(processing=True),
    "ends: an end action that no policy asks for": acted(policy="leave"),
    "ends: an end action for an invoice that is not open": acted(status="void"),
    "ends: an end action though a later invoice is paid": acted(later_paid=True),
    "ends: an end action that was not announced": acted(text="Please pay."),
    "ends: an end action by a worker that wakes up": acted(more={"away": [(START + DAY, LATER)]}),
    "ends: an end action though the merchant has stopped the collection": acted(
        more={"done": ["collection"]}, automatic=False
    ),
    "ends: an end action for a customer who is left alone": acted(
        more={"words": [Word("left_alone", START, customer=CUSTOMER)]}
    ),
    "ends: an end action before the day that was told": acted(
        text="If the payment is not made by December 1, your subscription will be canceled on December 3."
    ),
    "charged: its subscription ends, and the policy leaves such invoices": replace(
        charging(ends_at=LATER), recoveries=[recovery(policy={"collect_ending": False})]
    ),
    "alive: the world does not come to rest": evidence(seen=seen(unfinished=["on day 1"])),
    "alive: the simulation itself breaks": evidence(seen=seen(broken=["GET /v1/invoices: KeyError()"])),
    "alive: a dunning_retry is dead: stripe": evidence(tasks=[task(status="dead", last_error="stripe: 403")]),
    "alive: a dunning_retry is left running": evidence(tasks=[task(status="running")]),
    "alive: a recovery goes on and no task looks after it": evidence(
        recoveries=[recovery(state="waiting", closed_at=None)]
    ),
    "alive: a recovery goes on and an operator had stopped it": said(
        Word("stop", LATER, invoice=INVOICE), recoveries=[recovery(state="waiting", closed_at=None)]
    ),
    "alive: a recovery whose task is dead is not shown": evidence(seen=seen(hidden=[INVOICE])),
    "opened: a merchant is back, and what its leaving stopped is not opened": evidence(
        recoveries=[recovery(state="stopped", end_reason="merchant_gone", recovered_by=None)],
        seen=seen(words=[Word("left", START + DAY), Word("came_back", START + 2 * DAY)]),
    ),
    "alive: a recovery does not end": evidence(recoveries=[recovery(**LONG_AGO)], tasks=[task(status="pending")]),
    "opened: a failed renewal has no recovery": evidence(recoveries=[], truths={INVOICE: truth()}),
    "opened: a recovery is not booked as opened once": evidence(book=book("recovery_opened")),
    "cards: what Stripe charges is good and was never tried": evidence(
        seen=seen(
            closed=[Closed(LATER, RECOVERY, INVOICE, "exhausted", "window_over", truth(method=GOOD))],
            cards={CUSTOMER: START + DAY},
        )
    ),
    "cards: the customer's default is good and was never tried": evidence(
        seen=seen(
            closed=[Closed(LATER, RECOVERY, INVOICE, "exhausted", "window_over", truth(default=GOOD))],
            cards={CUSTOMER: START + DAY},
        )
    ),
    "told: to a customer who is silenced": said(Word("silence", START, customer=CUSTOMER)),
    "told: to a customer who is left alone": said(Word("left_alone", START, customer=CUSTOMER)),
    "told: about a recovery that an operator had stopped": said(Word("stop", START, invoice=INVOICE)),
    "told: asks for what is paid": written({"status": "paid", "remaining": 0}),
    "told: asks for what is being paid": written({"processing": True}),
    "told: asks for what is void": written({"status": "void"}),
    "told: names another amount than is due": written({"remaining": 1_200}),
    "told: to a customer who is deleted": written({"deleted": True}),
    "told: about a subscription whose collection is paused": written({"paused": True}),
    "told: about an invoice whose collection the merchant has turned off": evidence(
        seen=seen(written=[letter(truths={INVOICE: truth(automatic=False)})], done=["collection"])
    ),
    "told: about an invoice that is collected by hand": written({"collection": "send_invoice"}),
    "told: about a subscription that is canceled": written({"subscription_status": "canceled"}),
    "told: promises an attempt that nobody has planned": written({}, **words("We will try again on March 3.")),
    "told: names a consequence that no policy asks for": written({}, **words("your subscription will be canceled")),
    "told: names a consequence for a subscription that is not there": replace(
        written({"subscription": None}, **words("your subscription will be canceled")),
        recoveries=[recovery(policy={"end_action": "cancel"})],
    ),
    "told: asks to confirm what needs no confirmation": written({}, kind="action_required"),
    "told: asks for another card, though one is there that was never tried": written(
        {"method": GOOD}, kind="new_method_needed"
    ),
    "told: asks for another card after a debit that may be tried again": replace(
        written({"method": BANK}, kind="new_method_needed"), bank=(*FAILED_DEBIT, attempt(seq=3, at=PAID_ON))
    ),
    "told: asks for several invoices that are not open so": written(
        {}, kind="several", subject="2 payments to Shop are still open"
    ),
    "told: says that a subscription was canceled that was not": written(
        {}, kind="ended", subject="Your subscription with Shop was canceled"
    ),
    "told: says that a subscription is paused that is not": written(
        {}, kind="ended", subject="Your subscription with Shop is paused"
    ),
    "told: says that what is paid could not be collected": written(
        {"status": "paid"}, kind="ended", subject="Your subscription with Shop was canceled"
    ),
    "told: two requests in a few minutes": evidence(seen=seen(written=[letter(), letter(id="email_2", at=START + 90)])),
    "told: nobody was written to though an address has come": evidence(
        timeline=[{**evidence().timeline[0], "kind": "not_messaged", "rule": "no_address"}],
        recoveries=[recovery(state="waiting", closed_at=None)],
        seen=seen(written=[], addresses={CUSTOMER: START + DAY}),
    ),
    "told: nobody was told of an end action": unsaid(),
    "told: about what only the merchant can change": replace(
        written({}), bank=(first_failure(),), blocked=frozenset({first_failure().charge or ""})
    ),
    "told: thanks for what is not paid": written({}, kind="recovered"),
    "told: thanks for another amount than was paid": evidence(
        seen=seen(written=[letter(kind="recovered", truths={INVOICE: paid()}, text="Your payment of $1.00")])
    ),
    "told: says that a subscription goes on that does not": evidence(
        seen=seen(
            written=[
                letter(
                    kind="recovered",
                    truths={INVOICE: paid(ends_at=LATER)},
                    text="Your payment of $42.00 went through. Your subscription goes on.",
                )
            ]
        )
    ),
}


def test_a_world_that_is_right_has_no_finding() -> None:
    assert findings(evidence()) == []


@pytest.mark.parametrize("name", DOCTORED)
def test_a_doctored_world_has_the_finding(name: str) -> None:
    assert name in {finding.name for finding in findings(DOCTORED[name])}


def test_every_check_has_a_doctored_world() -> None:
    assert {name.split(":")[0] for name in DOCTORED} == set(CHECKS)


def test_who_was_told_of_an_end_action_is_not_missed() -> None:
    one = letter(id="email_2", kind="ended", at=LATER + DAY, subject="Your subscription with Shop was canceled")
    told = unsaid(seen=replace(unsaid().seen, written=[*unsaid().seen.written, one]))
    assert "told: nobody was told of an end action" not in {finding.name for finding in findings(told)}


def test_a_refusal_of_the_old_number_is_none_of_the_new_one() -> None:
    old = row_of_attempt(payment_method_id=GOOD.id, result="declined", charge_id=None)
    world = replace(DOCTORED["cards: what Stripe charges is good and was never tried"], attempts=[old])
    for fingerprint, missed in (("old", True), (GOOD.fingerprint, False)):
        tried = replace(world, attempts=[{**old, "card_fingerprint": fingerprint}])
        found = {finding.name for finding in findings(tried)}
        assert ("cards: what Stripe charges is good and was never tried" in found) is missed


def test_a_banks_request_to_authenticate_lasts_until_the_customer_was_there() -> None:
    asked = first_failure(decline_code="authentication_required")
    for source, wrong in (("stripe_retry", False), ("hosted_page", True)):
        later = first_failure(seq=2, charge="ch_9", source=source, decline_code="lost_card")
        method = Method(asked.payment_method, "card", asked.fingerprint, good=False, expired=False, needs_3ds=False)
        world = replace(written({"method": method}, kind="action_required"), bank=(asked, later))
        found = {finding.name for finding in findings(world)}
        assert ("told: asks to confirm what needs no confirmation" in found) is wrong


def test_who_is_left_alone_after_an_end_action_was_not_before_it() -> None:
    for at, wrong in ((START, True), (LATER + DAY, False)):
        found = {each.name for each in findings(acted(more={"words": [Word("left_alone", at, customer=CUSTOMER)]}))}
        assert ("ends: an end action for a customer who is left alone" in found) is wrong


def test_what_an_outage_has_killed_is_replaced_in_time() -> None:
    dead = {
        "recoveries": [recovery(**{**LONG_AGO, "opened_at": float(START)})],
        "tasks": [task(status="dead", last_error="stripe: 500 api_error")],
    }
    soon, late = LATER + 1 * DAY, START + 3 * DAY
    for until, missed in ((soon, False), (late, True)):
        found = {finding.name for finding in findings(evidence(**dead, seen=seen(outages=[(START, until)])))}
        assert ("alive: a recovery goes on and no task looks after it" in found) is missed
        assert not any(name.startswith("alive: a dunning_retry is dead") for name in found)


def test_a_payment_under_way_may_keep_a_recovery_open() -> None:
    waits = evidence(
        recoveries=[recovery(**{**LONG_AGO, "state": "processing"})],
        tasks=[task(status="pending")],
        truths={INVOICE: truth(processing=True)},
        book=book("recovery_recovered", "refunded"),
        movements=(),
        charges=[],
    )
    assert "alive: a recovery does not end" not in {finding.name for finding in findings(waits)}


def test_what_moved_just_before_the_end_of_the_world_may_be_unknown() -> None:
    late = LATER + 2 * DAY
    unknown = evidence(
        movements=(movement(at=late),),
        bank=(first_failure(), attempt(at=late)),
        book=book("recovery_recovered", "refunded"),
        charges=[],
    )
    assert not {finding.check for finding in findings(unknown)} & {"booked", "returned"}


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (150_050, "usd", "$1,500.50"),
        (150_050, "jpy", "¥150,050"),
        (150_050, "kwd", "KWD 150.050"),
        (150_000, "isk", "1,500"),
    ],
)
def test_an_amount_is_read_as_people_write_it(amount: int, currency: str, shown: str) -> None:
    assert as_people_count(amount, currency) in amounts_in(f"Please pay {shown} by September 3.")


def test_a_debit_that_has_no_retry_left_may_be_asked_for_another_card() -> None:
    again = [replace(each, seq=each.seq + 10 * n) for n in range(3) for each in FAILED_DEBIT]
    again = [replace(each, concludes=each.seq - 1) if each.concludes else each for each in again]
    asked = replace(written({"method": BANK}, kind="new_method_needed"), bank=tuple(again))
    told = {finding.name for finding in findings(asked)}
    assert "told: asks for another card after a debit that may be tried again" not in told
