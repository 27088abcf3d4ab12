"""Stories in which the explorer found a fault, shortened by it: it has been mended, and nothing is found any more."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.explorer.play import play
from tests.explorer.stage import Stage, staged
from tests.explorer.story import DAY, HOUR, Act, Story

RENEWAL: tuple[int, str, str, dict[str, Any]] = (0, "renewal", "a", {})
CANCEL = {"end_action": "cancel"}
ACH: dict[str, Any] = {"type": "us_bank_account"}
BACS: dict[str, Any] = {"type": "bacs_debit"}


def _story(*acts: tuple[int, str, str, dict[str, Any]], **fields: Any) -> Story:
    given = {"seed": 1, "start": 1_790_000_000, "days": 30, "shop": {}, "policy": {}, **fields}
    return Story(**given, acts=tuple(Act(at, what, who, how) for at, what, who, how in acts))


STORIES: dict[str, Story] = {
    "an end action is announced although the newer invoice is a draft": _story(
        RENEWAL,
        (20 * DAY, "another_invoice", "a", {"reason": "subscription_cycle", "as": "b"}),
        start=1_789_988_709,
        days=53,
        shop={"after_retries": "unpaid"},
        policy=CANCEL,
    ),
    "nobody is asked to confirm what the event of a moment ago says is paid": _story(
        (0, "renewal", "a", {"card": {"needs_3ds": True}}),
        (0, "card_renewed", "a", {}),
        (
            DAY,
            "meanwhile",
            "a",
            {"method": "GET", "path": "/v1/invoices/*", "does": "stripe_tries", "before": False},
        ),
        seed=20038,
        start=1_790_513_903,
        days=43,
    ),
    "collection that was turned off before the recovery opened is obeyed": _story(
        (0, "renewal", "a", {"debit": {"type": "sepa_debit", "fails": "could_not_process"}}),
        (0, "collection", "a", {"on": False}),
        start=1_788_499_713,
        days=38,
        shop={"currency": "eur"},
    ),
    "messages that were due while a debit was under way come before the end action": _story(
        (0, "renewal", "a", {"debit": {**ACH, "fails": "refer_to_customer"}}),
        start=1_791_308_861,
        days=19,
        policy={"window_days": 5, "message_days": [0, 3], **CANCEL},
    ),
    "a card that was brought while a debit was under way is tried after the window": _story(
        (0, "renewal", "a", {"debit": {"type": "sepa_debit", "fails": "refer_to_customer"}, "own_method": True}),
        (450_000, "new_card_by_form", "a", {}),
        seed=10,
        start=1_789_842_391,
        days=23,
        shop={"currency": "eur", "stripe_retries": [1, 2]},
        policy={"window_days": 5, "message_days": [0]},
    ),
    "so is a payment method that took the pinned one's place meanwhile": _story(
        (0, "renewal", "a", {"card": {"decline": "try_again_later"}}),
        (0, "pins", "a", {}),
        (0, "new_debit", "a", {"debit": {**BACS, "fails": "insufficient_funds", "takes_days": 9}}),
        (DAY, "new_debit", "a", {"debit": BACS}),
        (3 * DAY, "new_card_by_form", "a", {}),
        seed=5124,
        start=1_790_297_595,
        days=23,
        shop={"currency": "gbp"},
        policy={"window_days": 5, "message_days": [0]},
    ),
    "a new number after a request to authenticate is tried": _story(
        (0, "renewal", "a", {"card": {"needs_3ds": True}}),
        (5 * DAY, "card_renewed", "a", {"number": True}),
        start=1_789_009_718,
        days=31,
    ),
    "nothing is ended that could not be announced because the merchant's account was restricted": _story(
        RENEWAL,
        (22 * HOUR, "restricted", "", {"charges": False}),
        start=1_790_364_558,
        days=33,
        policy={**CANCEL, "driver": "stripe"},
    ),
    "a message that is held lets no other invoice's message run every minute": _story(
        RENEWAL,
        (60, "another_subscription", "a", {"as": "b"}),
        (3 * HOUR, "barrier", "", {"kind": "account_invalid", "hours": 100}),
        seed=2016,
        start=1_789_435_823,
        days=42,
        shop={"stripe_retries": [4]},
    ),
    "a message and an evaluation that read the invoice in two ways do not send each other round": _story(
        RENEWAL,
        (0, "another_subscription", "a", {"as": "b"}),
        (3 * DAY, "new_card", "b", {"card": {"decline": "authentication_required"}}),
        (8 * DAY, "pays", "b", {"card": {"decline": "insufficient_funds"}}),
        seed=60403,
        start=1_788_648_516,
        days=46,
    ),
    "a decline without a charge is read beside the charge of a part that was paid before": _story(
        (
            2 * DAY,
            "renewal",
            "b",
            {"card": {"decline": "lost_card", "without_charge": True}, "paid_before": 666},
        ),
        seed=74303,
        start=1_788_918_673,
        days=40,
    ),
    "nobody is asked for another card after a block of the merchant's own, whatever the network says": _story(
        (0, "renewal", "a", {"source": {"decline": "rule", "country": "IN"}}),
        seed=60723,
        start=1_790_465_853,
        days=36,
    ),
    "a refusal that passes by itself makes a block of the merchant's no matter of the customer's": _story(
        (2 * DAY, "renewal", "b", {"card": {"decline": "rule"}}),
        (6 * DAY, "refuses_pay", "", {"code": "payment_intent_unexpected_state", "hours": 600}),
        seed=64920,
        start=1_789_975_390,
        days=48,
    ),
    "an email about several invoices names the day of each": _story(
        RENEWAL,
        (HOUR, "another_subscription", "a", {"as": "c"}),
        (6 * HOUR, "restricted", "", {"charges": False}),
        (8 * DAY, "restricted", "", {"charges": True}),
        seed=63244,
        start=1_789_504_226,
        days=41,
        policy=CANCEL,
    ),
    "a method that Stripe refuses within the second is no method that was never tried": _story(
        (0, "renewal", "a", {"card": {"decline": "payment_intent_authentication_failure"}}),
        (DAY, "refuses_pay", "", {"code": "billing_invalid_mandate", "hours": 600}),
        (6 * DAY, "card_renewed", "a", {"number": True}),
        seed=61651,
        start=1_789_513_179,
        days=34,
    ),
    "a message whose answer was lost is sent again and not replaced": _story(
        RENEWAL,
        (60, "another_subscription", "a", {"as": "c"}),
        (20 * HOUR, "fault", "", {"kind": "drop", "after_effect": True, "path": "/emails", "times": 3}),
        seed=62377,
        start=1_788_376_249,
        days=50,
        shop={"stripe_retries": [1, 2]},
    ),
    "a debit of Stripe's own retry is not ours, on a clock that is behind": _story(
        (0, "renewal", "a", {"debit": ACH}),
        (0, "test_clock", "a", {"days": -40}),
        (60, "debit_ends", "a", {"fails": "insufficient_funds"}),
        start=1_791_552_102,
        days=53,
        shop={"stripe_retries": [3, 5, 7]},
    ),
}


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    """The services on a database of the test's own."""
    async with staged(database_url) as made:
        yield made


@pytest.mark.parametrize("rule", STORIES)
async def test_found_once_and_mended(stage: Stage, rule: str) -> None:
    assert await play(stage, STORIES[rule]) == []
