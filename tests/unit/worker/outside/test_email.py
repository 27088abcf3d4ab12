"""How an email is handed over: who it is from, how it is unsubscribed from, and what a name cannot do."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from services.worker.outside.email import Email, is_address, message_of
from services.worker.settings import WorkerSettings
from shared.crypto import BadSignature
from shared.ids import CustomerId, MerchantId
from shared.unsubscribe import Recipient, UnsubscribePages
from simulator.resend_limits import check_address

PLATFORM = "Billing <billing@platform.example>"


def email(**changes: Any) -> Email:
    given_: dict[str, Any] = {
        "kind": "payment_failed",
        "to": "someone@customer.example",
        "subject": "S",
        "text": "T",
        "html": "<p>H</p>",
        "key": "k",
        "entity_ref": "ref",
        **changes,
    }
    return Email(**given_)


def test_a_plain_email_has_what_it_needs_and_nothing_else() -> None:
    assert message_of(email(), PLATFORM) == {
        "from": PLATFORM,
        "to": ["someone@customer.example"],
        "subject": "S",
        "text": "T",
        "html": "<p>H</p>",
        "headers": {"X-Entity-Ref-ID": "ref"},
        "tags": [{"name": "kind", "value": "payment_failed"}],
    }


def test_one_click_has_both_of_its_headers() -> None:
    headers = message_of(email(unsubscribe="https://us/unsubscribe/x"), PLATFORM)["headers"]
    assert headers["List-Unsubscribe"] == "<https://us/unsubscribe/x>"
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize(
    ("name", "sender"),
    [
        ("Fjord", '"Fjord" <billing@platform.example>'),
        ("Müller, Söhne & Co.", '"Müller, Söhne & Co." <billing@platform.example>'),
        ('"x" <evil@evil.example>', '"x  <evil@evil.example>" <billing@platform.example>'),
        ("a\r\nBcc: all@world.example", '"a  Bcc: all@world.example" <billing@platform.example>'),
        ("\\", PLATFORM),
        (" \n", PLATFORM),
        ("=?utf-8?q?x?=", '"= ?utf-8?q?x?=" <billing@platform.example>'),
        ("مرحبا", '"مرحبا" <billing@platform.example>'),
        ("株式会社", '"株式会社" <billing@platform.example>'),
        ("a\ud800b\u202ec", '"a b c" <billing@platform.example>'),
        (None, PLATFORM),
    ],
)
def test_an_email_is_from_the_platform_s_address_under_the_merchant_s_name(name: str | None, sender: str) -> None:
    assert message_of(email(sender_name=name), PLATFORM)["from"] == sender


@given(st.text(max_size=60))
def test_no_name_is_ever_part_of_the_address(name: str) -> None:
    sender = message_of(email(sender_name=name), PLATFORM)["from"]
    message = EmailMessage(policy=default)
    message["From"] = sender
    addresses: tuple[Address, ...] = message["From"].addresses
    assert [each.addr_spec for each in addresses] == ["billing@platform.example"]


@given(st.text(max_size=2_000))
def test_no_sender_is_longer_than_resend_takes_or_of_another_form(name: str) -> None:
    sender = message_of(email(sender_name=name), PLATFORM)["from"]
    check_address("from", sender)


@pytest.mark.parametrize(
    "text", ["", "nobody", "a b@c.example", "a@b@c.example", "Ann <a@b.example>", "a@b.example\r\nBcc: x@y"]
)
def test_what_is_no_address_is_not_one_to_answer_to(text: str) -> None:
    assert not is_address(text)
    assert "reply_to" not in message_of(email(reply_to=text), PLATFORM)


def test_an_address_of_another_alphabet_is_one() -> None:
    assert is_address("пример@пример.рф")


def test_an_email_s_own_words_are_not_shown() -> None:
    shown = repr(email(reply_to="help@merchant.example", sender_name="Fjord"))
    assert [part for part in ("someone@", "'S'", "'T'", "<p>", "help@", "Fjord") if part in shown] == []


# --- Unsubscribe pages ------------------------------------------------------------------------------------------------

OLD, NEW = b"an old secret of thirty-two bytes", b"a new secret of thirty-two bytes!"
READER = Recipient(MerchantId("0b2b2d5e-6a53-4d8f-8f3f-8a9d3f1f0c11"), CustomerId("cus_1"))


def _token(pages: UnsubscribePages) -> str:
    return pages.address(READER).rpartition("/")[2]


def test_the_page_of_a_reader_is_always_the_same_and_tells_who_it_is() -> None:
    pages = UnsubscribePages((NEW,), "https://us.example/")
    assert pages.address(READER) == pages.address(READER)
    assert pages.address(READER).startswith("https://us.example/unsubscribe/")
    assert pages.recipient(_token(pages)) == READER


def test_an_old_link_works_while_its_secret_is_kept_and_no_longer() -> None:
    token = _token(UnsubscribePages((OLD,), ""))
    assert UnsubscribePages((NEW, OLD), "").recipient(token) == READER
    with pytest.raises(BadSignature):
        UnsubscribePages((NEW,), "").recipient(token)


@given(st.text(max_size=200))
def test_no_text_is_a_link_that_we_did_not_make(text: str) -> None:
    with pytest.raises(BadSignature):
        UnsubscribePages((NEW,), "").recipient(text)


def _settings(**changes: Any) -> WorkerSettings:
    url, key = SecretStr("postgresql://unused"), SecretStr("sk_test_unused")
    return WorkerSettings(_env_file=None, database_url=url, stripe_secret_key=key, **changes)


def test_links_need_their_secret_and_a_secret_is_long() -> None:
    assert _settings(unsubscribe_secrets=SecretStr("x" * 32)).unsubscribe_url is None
    with pytest.raises(ValueError, match="CITADEL_UNSUBSCRIBE_SECRETS"):
        _settings(unsubscribe_url="https://us.example")
    with pytest.raises(ValueError, match="secret 2"):
        _settings(unsubscribe_secrets=SecretStr("x" * 32 + ",short"))
