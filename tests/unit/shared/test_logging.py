"""Nothing that looks like a person or a secret passes into a log line."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.logging import drop_personal_data

ROOT = Path(__file__).parents[3]


def cleaned(**fields: Any) -> dict[str, Any]:
    return dict(drop_personal_data(None, "info", fields))


DROPPED = [
    "email", "customer_email", "receipt_email", "emails", "name", "first_name", "customer_name", "phone", "phones",
    "address", "ip_address", "email_address", "line1", "city", "postal_code", "zip", "ip", "iban", "cvc", "card_number",
    "password", "secret", "client_secret", "state_secret", "secret_key", "token", "tokens", "access_token",
    "refresh_tokens", "authorization", "cookie", "cookies", "api_key", "body", "payload", "headers", "query", "EMAIL",
]  # fmt: skip


@pytest.mark.parametrize("field", DROPPED)
def test_a_field_that_is_named_like_personal_data_or_a_secret_is_dropped(field: str) -> None:
    assert cleaned(**{field: "x"}) == {}
    assert cleaned(outer={"inner": [{field: "x", "kept": 1}]}) == {"outer": {"inner": [{"kept": 1}]}}


@pytest.mark.parametrize(
    "field",
    [
        "event",
        "logger_name",
        "worker_name",
        "merchant_id",
        "task_type",
        "status",
        "reason",
        "account",
        "amount",
        "code",
    ],
)
def test_a_field_that_explains_is_kept(field: str) -> None:
    assert cleaned(**{field: "x"}) == {field: "x"}


MASKED = [
    "jane@example.com",
    "jane.roe+tag@mail.example.co.uk",
    "jane%40example.com",
    "sk_live_51Habc", "sk_test_51Habc", "rk_live_51Habc", "pk_test_51Habc",
    "whsec_abc123",
    "re_AbCdEf12_XyZ",
    "ctdl_abc-DEF_123",
    "ac_Hx72jFkLmNoP", "rt_Hx72jFkLmNoP",
    "pi_3Pabc_secret_XyZ123",
    "Bearer abc.def",
    "4242424242424242", "4242 4242 4242 4242", "4242-4242-4242-4242",
]  # fmt: skip


@pytest.mark.parametrize("secret", MASKED)
@pytest.mark.parametrize("around", ["{}", "before {} after", "({})", "x={},", "'{}'"])
def test_what_looks_like_personal_data_or_a_secret_is_masked_inside_any_text(secret: str, around: str) -> None:
    text = cleaned(event=around.format(secret))["event"]
    assert "[masked]" in text
    assert secret not in text
    assert secret[-4:] not in text


def test_the_password_of_a_databases_url_is_masked() -> None:
    text = cleaned(reason="postgresql://citadel:hunter2@localhost:5432/citadel")["reason"]
    assert text == "postgresql://[masked]localhost:5432/citadel"


@pytest.mark.parametrize(
    "text",
    [
        "in_1PabcDEF",
        "evt_1PabcDEF",
        "acct_1Habc",
        "cus_Nabc",
        "2026-11-21T10:00:00.123456Z",
        "task 123456789012",
        "10.5 %",
    ],
)
def test_ids_times_and_amounts_stay_readable(text: str) -> None:
    assert cleaned(event=text)["event"] == text


@given(st.uuids())
@example(UUID("12345678-1234-4123-8123-123456789012"))  # all digits: it looks like a card number
def test_a_merchants_id_is_never_masked(merchant_id: UUID) -> None:
    assert cleaned(merchant_id=str(merchant_id)) == {"merchant_id": str(merchant_id)}


class Colour(StrEnum):
    RED = "red"


class Customer:
    def __str__(self) -> str:
        return "Jane Roe, jane@example.com"

    __repr__ = __str__


PLAIN = [
    (None, None),
    (True, True),
    (7, 7),
    (7.5, 7.5),
    (Decimal("1.10"), "1.10"),
    (timedelta(seconds=90), "0:01:30"),
    (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
    (UUID(int=5), UUID(int=5)),
    (Colour.RED, "red"),
    (("a@b.example", 1), ["[masked]", 1]),
    ({"a@b.example"}, ["[masked]"]),
    ({"a@b.example": 1}, {"[masked]": 1}),
    (MappingProxyType({"email": "x", "n": 1}), {"n": 1}),
    (ValueError("no such customer jane@example.com"), "ValueError: no such customer [masked]"),
    (Customer(), "<Customer>"),
    (b"jane@example.com", "<bytes>"),
]


@pytest.mark.parametrize(("value", "logged"), PLAIN, ids=lambda value: type(value).__name__)
def test_values_of_every_kind_are_cleaned_and_unknown_ones_are_only_named(value: object, logged: object) -> None:
    assert cleaned(value=value, nested=[value]) == {"value": logged, "nested": [logged]}


@given(st.emails())
def test_no_email_address_gets_through_wherever_it_stands(email: str) -> None:
    event = cleaned(event=f"sent to {email} at last", deep=[{"x": email}, email, {email: 1}, ValueError(email)])
    assert email not in str(event)
    assert str(event).count("[masked]") == 5


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(max_size=5), json_like, max_size=3))
def test_whatever_is_logged_becomes_a_line_and_cleaning_twice_changes_nothing(event: dict[str, Any]) -> None:
    once = cleaned(**event)
    assert orjson.dumps(once) == orjson.dumps(cleaned(**once))


def test_a_long_text_is_cleaned_in_time() -> None:
    """Linear, not quadratic: an attacker may have chosen it."""
    for piece in ("a", "1 ", "a.", "-", "a@", "_secret"):
        cleaned(event=piece * 50_000)


SCRIPT = """
import logging
from shared.logging import bound, configure, get_logger
configure("test", "json", "INFO")
log = get_logger("a.module")
with bound(merchant_id="m-1"):
    log.info("told", error=ValueError("jane@example.com"), email="jane@example.com")
    log.debug("not told")
    try:
        raise RuntimeError("jane@example.com has sk_live_abc")
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("library").exception("library of %s", "jane@example.com")
log.info("strange", text="\\udcff")
logging.getLogger("library").info("quiet %s", {"a": 1})
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """What a process that logs in every way writes."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}
    )
    assert run.stderr == b""
    return [orjson.loads(line) for line in run.stdout.splitlines()]


def test_every_line_is_one_json_object_with_its_service_and_bound_ids(lines: list[dict[str, Any]]) -> None:
    assert [line["event"] for line in lines] == ["told", "failed", "library of [masked]", "strange", "quiet {'a': 1}"]
    assert {line["service"] for line in lines} == {"test"}
    assert [line.get("merchant_id") for line in lines] == ["m-1", "m-1", "m-1", None, None]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_exceptions_are_cleaned_too_ours_and_a_librarys(lines: list[dict[str, Any]]) -> None:
    text = str(lines)
    assert "jane" not in text
    assert "sk_live" not in text
    assert "RuntimeError: [masked] has [masked]" in lines[1]["exception"]
    assert "RuntimeError: [masked] has [masked]" in lines[2]["exception"]
    assert lines[0]["error"] == "ValueError: [masked]"
