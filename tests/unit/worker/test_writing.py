"""Amounts as people read them, and templates that escape what they are given."""

from typing import Any

import pytest

from services.worker.amounts import readable
from services.worker.handlers.notify_action_required import BECAUSE, DECLINED, because
from services.worker.recovery import Decline, MessageKind
from services.worker.writing import write
from shared.money import Money

FACTS: dict[str, Any] = {"amount": "$1.00", "business": "<script>", "because": DECLINED, "link": "https://x/?a=1&b=2"}


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Money(4_200, "usd"), "$42.00"),
        (Money(4_200, "jpy"), "¥4,200"),
        (Money(4_200, "kwd"), "KWD\xa04.200"),
        (Money(4_200, "isk"), "ISK\xa042"),
        (Money(0, "eur"), "€0.00"),
        (Money(-150, "gbp"), "-£1.50"),
    ],
)
def test_an_amount_has_its_currency_s_digits(amount: Money, text: str) -> None:
    assert readable(amount) == text


@pytest.mark.parametrize("kind", list(MessageKind))
def test_a_message_carries_its_link_and_escapes_names(kind: MessageKind) -> None:
    text, html = write(kind, FACTS)
    assert FACTS["link"] in text
    assert "https://x/?a=1&amp;b=2" in html
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("code", ["lost_card", "stolen_card", "fraudulent", "merchant_blacklist", "pickup_card"])
def test_a_suspected_card_s_reason_is_not_told(code: str) -> None:
    assert because(Decline(decline_code=code)) == DECLINED


def test_a_known_harmless_reason_is_told() -> None:
    assert because(Decline(decline_code="insufficient_funds")) in BECAUSE.values()
    assert because(None) == ""
