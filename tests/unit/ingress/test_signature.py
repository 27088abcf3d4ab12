"""Our check of Stripe's signatures against the SDK's own."""

import time

import pytest
import stripe
from hypothesis import example, given
from hypothesis import strategies as st

from services.ingress.signature import verified

SECRET = "whsec_test"
NOW = int(time.time())


def by_the_sdk(body: bytes, header: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body.decode(), header, SECRET, 300)
    except stripe.SignatureVerificationError:
        return False
    return True


def signed(body: bytes, at: int = NOW) -> str:
    header: str = stripe.WebhookSignature.generate_signature_header(body.decode(), SECRET, at)
    return header


@given(st.text().map(str.encode), st.integers(-250, 250))
def test_what_the_sdk_has_signed_is_verified(body: bytes, age: int) -> None:
    header = signed(body, NOW - age)
    assert verified(body, header, [b"whsec_other", SECRET.encode()], NOW, 300)
    assert not verified(body + b" ", header, [SECRET.encode()], NOW, 300)
    assert not verified(body, header, [b"whsec_other"], NOW, 300)


@given(st.text(alphabet="tv01=,9a", max_size=30))
@example("t=1,v1=")
@example("t=,v1=a")
@example(f"t={NOW}")
@example("t=" + "9" * 5000 + ",v1=a")
def test_what_the_sdk_refuses_is_refused(header: str) -> None:
    if not by_the_sdk(b"{}", header):
        assert not verified(b"{}", header, [SECRET.encode()], NOW, 300)


@pytest.mark.parametrize(("age", "good"), [(299, True), (301, False), (-1000, True)])
def test_a_signature_ages_and_one_from_the_future_is_taken_as_by_the_sdk(age: int, good: bool) -> None:
    body = b"{}"
    assert verified(body, signed(body, NOW - age), [SECRET.encode()], NOW, 300) is good


def test_of_several_signatures_one_that_is_good_is_enough() -> None:
    good = signed(b"{}").partition("v1=")[2]
    assert verified(b"{}", f"t={NOW},v1=0,v0=1,v1={good}", [SECRET.encode()], NOW, 300)
