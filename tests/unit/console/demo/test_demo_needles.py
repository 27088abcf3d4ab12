"""The search that the privacy check stands on: it finds what is there, wherever and however it is written."""

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.demo.needles import SHORTEST, Needles

NAME = "Grażyna O'Sullivan"
EMAIL = "grayna.osullivan.4711@customer.example"
STREET = "4712 Nightingale Lane"


@pytest.mark.parametrize("place", range(12))
def test_a_value_is_found_at_every_offset(place: int) -> None:
    assert Needles([EMAIL]).found_in("x" * place + EMAIL + "y" * place) == {EMAIL}


@pytest.mark.parametrize(
    "spelled",
    [
        NAME,
        NAME.upper(),
        json.dumps({"name": NAME}),
        json.dumps({"name": NAME}, ensure_ascii=False),
        repr({"name": NAME}),
        ascii([NAME]),
        f"/search?q={quote(NAME)}",
        f"q={quote_plus(NAME)}",
        "Dear Grażyna O&#x27;Sullivan,",
        "Graz\u0307yna O'Sullivan",
    ],
)
def test_a_value_is_found_in_every_spelling_of_logs_and_columns(spelled: str) -> None:
    assert Needles([NAME, EMAIL]).found_in(f"event: {spelled} !") == {NAME}


def test_a_part_of_a_value_is_not_the_value() -> None:
    needles = Needles([EMAIL, STREET])

    assert needles.found_in(EMAIL[:-1]) == set()
    assert needles.found_in(STREET[1:]) == set()
    assert needles.found_in("") == set()


def test_values_that_begin_alike_are_told_apart() -> None:
    longer = STREET + " West"

    assert Needles([STREET, longer]).found_in(f"at {STREET} East") == {STREET}
    assert Needles([STREET, longer]).found_in(f"at {longer}") == {STREET, longer}


def test_a_short_value_is_named_as_not_looked_for() -> None:
    needles = Needles(["Bo Li", NAME])

    assert needles.too_short == {"Bo Li"}
    assert len(needles) == 1


@given(
    values=st.lists(st.text(alphabet="abc", min_size=SHORTEST, max_size=14), min_size=1, max_size=20),
    text=st.text(alphabet="abc", max_size=300),
)
def test_it_finds_exactly_what_a_plain_search_finds(values: list[str], text: str) -> None:
    assert Needles(values).found_in(text) == {value for value in values if value in text}
