"""The pages show what they are given, and nothing that is given becomes markup."""

import base64
import hashlib
import re

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from services.auth.pages import CONTENT_SECURITY_POLICY, connected_page, problem_page
from shared.ids import AccountId


def text_of(page: web.Response) -> str:
    assert page.text is not None
    return page.text


@given(st.text())
def test_nothing_that_is_shown_becomes_markup(text: str) -> None:
    empty = text_of(problem_page(400, "", "")).count("<")
    assert text_of(problem_page(400, text, text)).count("<") == empty
    assert text_of(connected_page(AccountId(text))).count("<") == text_of(connected_page(AccountId(""))).count("<")


def test_an_attribute_cannot_be_left() -> None:
    assert 'href="&quot; onclick=&quot;x"' in text_of(problem_page(400, "", '" onclick="x'))


@pytest.mark.parametrize(
    "page", [connected_page(AccountId("acct_1")), problem_page(400, "No.", "https://pay.example/auth/stripe")]
)
def test_the_one_style_is_the_one_that_the_policy_lets_through(page: web.Response) -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", text_of(page), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert "<script" not in text_of(page)


def test_a_problem_offers_the_way_to_begin_again() -> None:
    page = problem_page(400, "Too old.", "https://pay.example/auth/stripe")
    assert page.status == 400
    assert "Too old." in text_of(page)
    assert '<a href="https://pay.example/auth/stripe">' in text_of(page)
