"""Cursors: what a list gave out comes back exactly; everything else is refused."""

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.api.fields import INT64_MAX
from services.ledger.api.pagination import (
    BadCursor,
    ById,
    ByTime,
    cut,
    read_by_id,
    read_by_time,
    write_by_id,
    write_by_time,
)

times = st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))  # noqa: DTZ001 -- hypothesis wants naive bounds


@given(st.integers(1, INT64_MAX))
def test_an_id_comes_back_as_it_was(number: int) -> None:
    assert read_by_id("tasks", write_by_id("tasks", ById(number))) == ById(number)


@given(times, st.uuids())
def test_a_time_comes_back_to_the_microsecond(at: datetime, row_id: UUID) -> None:
    assert read_by_time("recoveries", write_by_time("recoveries", ByTime(at, row_id))) == ByTime(at, row_id)


@given(times, st.uuids(), st.integers(-999, 999))
def test_the_order_of_cursors_is_the_order_of_rows(at: datetime, row_id: UUID, micros: int) -> None:
    later = at + timedelta(microseconds=micros)
    one = read_by_time("recoveries", write_by_time("recoveries", ByTime(at, row_id)))
    other = read_by_time("recoveries", write_by_time("recoveries", ByTime(later, row_id)))
    assert one is not None
    assert other is not None
    assert (one < other) == (at < later)


@given(st.text())
def test_any_text_is_a_cursor_or_refused_and_never_an_error_of_ours(text: str) -> None:
    for read in (read_by_id, read_by_time):
        with pytest.raises(BadCursor):
            read("tasks", text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_json_in_a_cursor_is_refused(value: object) -> None:
    for length in (0, 1, 2, 3):
        forged = write_by_id("other", ById(1)) if length == 0 else _forge(["tasks", *[value] * length])
        for read in (read_by_id, read_by_time):
            try:
                found = read("tasks", forged)
            except BadCursor:
                continue
            assert isinstance(found, ById)
            assert 0 < found.id <= INT64_MAX


def _forge(parts: list[object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()


def test_no_cursor_is_the_beginning() -> None:
    assert read_by_id("tasks", None) is None
    assert read_by_time("recoveries", None) is None


@pytest.mark.parametrize(("rows", "page", "more"), [(0, 0, False), (2, 2, False), (3, 3, False), (4, 3, True)])
def test_a_page_has_a_cursor_exactly_when_more_follows(rows: int, page: int, more: bool) -> None:
    shown, cursor = cut(list(range(rows)), 3, str)
    assert len(shown) == page
    assert cursor == ("2" if more else None)
