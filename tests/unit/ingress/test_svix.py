"""Svix's signature: its own published example, and what is not it."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.mail.svix import BadSignature, key_of, verify

# The example of https://docs.svix.com/receiving/verifying-payloads/how-manual
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
AT = 1614265330
HEADERS = {
    "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "svix-timestamp": str(AT),
    "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
OTHER = "whsec_" + base64.b64encode(b"another secret altogether").decode()


def _verify(
    headers: Mapping[str, str | None] | None = None,
    *,
    body: bytes = BODY,
    secrets: tuple[str, ...] = (SECRET,),
    now: float = AT,
) -> str:
    given_ = {name: value for name, value in {**HEADERS, **(headers or {})}.items() if value is not None}
    return verify(body, given_, [key_of(secret) for secret in secrets], now=now, tolerance_seconds=300)


def test_the_published_example_is_genuine() -> None:
    assert _verify() == HEADERS["svix-id"]


@pytest.mark.parametrize("now", [AT - 300, AT + 300])
def test_a_message_is_taken_within_the_tolerance(now: float) -> None:
    assert _verify(now=now)


@pytest.mark.parametrize("now", [AT - 301, AT + 301, AT + 10**9])
def test_a_message_outside_the_tolerance_is_refused(now: float) -> None:
    with pytest.raises(BadSignature, match="too old"):
        _verify(now=now)


@pytest.mark.parametrize("secrets", [(OTHER, SECRET), (SECRET, OTHER)])
def test_any_of_the_secrets_may_have_signed(secrets: tuple[str, ...]) -> None:
    assert _verify(secrets=secrets)


def test_one_of_several_signatures_is_enough() -> None:
    assert _verify({"svix-signature": f"v1,AAAA v2,BBBB {HEADERS['svix-signature']}"})


@pytest.mark.parametrize(
    "headers",
    [
        {"svix-id": None},
        {"svix-id": "msg_other"},
        {"svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330"},
        {"svix-timestamp": None},
        {"svix-timestamp": "1614265331"},
        {"svix-timestamp": "-1"},
        {"svix-timestamp": "\uff11614265330"},
        {"svix-timestamp": "9" * 5000},
        {"svix-signature": None},
        {"svix-signature": ""},
        {"svix-signature": "v1,"},
        {"svix-signature": "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"svix-signature": "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"svix-signature": "v1,é"},
    ],
)
def test_a_message_with_another_header_is_refused(headers: dict[str, str | None]) -> None:
    with pytest.raises(BadSignature):
        _verify(headers)


def test_a_message_with_another_body_or_secret_is_refused() -> None:
    with pytest.raises(BadSignature):
        _verify(body=BODY + b" ")
    with pytest.raises(BadSignature):
        _verify(secrets=(OTHER,))
    with pytest.raises(BadSignature):
        _verify(secrets=())


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        key_of(secret)


@given(body=st.binary(max_size=200), at=st.integers(0, 4 * 10**9), key=st.binary(min_size=16, max_size=64))
def test_whatever_is_signed_is_genuine_and_nothing_else_is(body: bytes, at: int, key: bytes) -> None:
    signature = base64.b64encode(hmac.digest(key, f"msg_1.{at}.".encode() + body, hashlib.sha256)).decode()
    headers = {"svix-id": "msg_1", "svix-timestamp": str(at), "svix-signature": f"v1,{signature}"}
    assert verify(body, headers, [key], now=at, tolerance_seconds=1) == "msg_1"
    with pytest.raises(BadSignature):
        verify(body + b"x", headers, [key], now=at, tolerance_seconds=1)
