"""Auth does not start with a setting that would fail its first merchant."""

from base64 import b64encode
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from services.auth.settings import AuthSettings
from shared.crypto import KeyRing

KEY = b64encode(bytes(range(32))).decode()  # the same in every test process: it is in the names of tests
GOOD: dict[str, Any] = {
    "database_url": "postgresql://u:p@h/d",
    "stripe_secret_key": "sk_test_1",
    "stripe_client_id": "ca_Hx72",
    "encryption_keys": f"k1:{KEY}",
    "state_secret": "s" * 32,
    "public_url": "https://pay.example",
}


def settings(**changes: Any) -> AuthSettings:
    return AuthSettings(_env_file=None, **{**GOOD, **changes})


WRONG = [
    ("stripe_client_id", "acct_1", "ca_"),
    ("stripe_client_id", "ca_1&scope=x", "ca_"),
    ("encryption_keys", "", "at least one key"),
    ("encryption_keys", KEY, "<id>:<base64 of 32 bytes>"),
    ("encryption_keys", "k1:c2hvcnQ=", "5 bytes, expected 32"),
    ("state_secret", "s" * 31, "at least 32 bytes, not 31"),
    ("public_url", "pay.example", "https://"),
    ("public_url", "https://", "https://host"),
    ("public_url", "https://u:p@pay.example", "without a login"),
    ("public_url", "https://pay.example?a=b", "query"),
    ("public_url", "https://pay.example#a", "fragment"),
    ("public_url", "https://pay.example/a b", "https://host"),
    ("public_url", "https://pay.example/\r\nX: y", "https://host"),
    ("state_ttl_seconds", 59, "60"),
    ("auth_port", 65536, "65535"),
    ("after_connect_url", "javascript:alert(1)", "http"),
    ("after_connect_url", "/welcome", "URL"),
]


@pytest.mark.parametrize(("name", "value", "why"), WRONG)
def test_a_wrong_setting_is_refused_with_what_was_expected(name: str, value: object, why: str) -> None:
    with pytest.raises(ValidationError) as error:
        settings(**{name: value})
    (problem,) = error.value.errors(include_input=False)
    assert problem["loc"] == (name,)
    assert why in problem["msg"]


def test_the_addresses_are_made_from_the_public_one() -> None:
    plain, behind = settings(), settings(public_url="https://example.com/pay/")
    assert plain.redirect_uri == "https://pay.example/auth/stripe/callback"
    assert behind.redirect_uri == "https://example.com/pay/auth/stripe/callback"
    assert (plain.cookie_path, behind.cookie_path) == ("/auth/stripe", "/pay/auth/stripe")


def test_no_secret_is_shown_with_the_settings() -> None:
    shown = repr(settings())
    for secret in (KEY, "s" * 32, "sk_test_1", "u:p@"):
        assert secret not in shown


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    ring = settings(encryption_keys=SecretStr(f"new:{KeyRing.generate()},k1:{KEY}")).key_ring
    assert ring.decrypt(settings().key_ring.encrypt("text", "row"), "row") == "text"
    assert ring.encrypt("text", "row").startswith("v1.new.")
