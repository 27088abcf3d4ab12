"""The edge's types take exactly what the OpenAPI document promises."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from services.ledger.api.fields import Day, Instant, Limit, MetricType, RowId, unstorable

instants: TypeAdapter[datetime] = TypeAdapter(Instant)
days: TypeAdapter[date] = TypeAdapter(Day)
row_ids: TypeAdapter[UUID] = TypeAdapter(RowId)
limits: TypeAdapter[int] = TypeAdapter(Limit)
metrics: TypeAdapter[str] = TypeAdapter(MetricType)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_is_read_back(at: datetime) -> None:
    assert instants.validate_python(at.isoformat()) == at
    assert instants.validate_python(at.isoformat().replace("+00:00", "Z")) == at


@pytest.mark.parametrize(
    "text",
    ["2026-01-01T00:00:00+02:00", "2025-12-31t22:00:00z", "2025-12-31T22:00:00.0Z", "2025-12-31T12:00:00-10:00"],
)
def test_an_instant_is_kept_in_utc(text: str) -> None:
    assert instants.validate_python(text) == datetime(2025, 12, 31, 22, tzinfo=UTC)


GARBAGE: list[Any] = ["", "0", "now", 0, None, True, [], {}, "\0", "٢٠٢٦-01-01", "1" * 10_000]


@pytest.mark.parametrize("adapter", [instants, days, row_ids, limits], ids=["instant", "day", "id", "limit"])
def test_garbage_is_none_of_them(adapter: TypeAdapter[Any]) -> None:
    for value in GARBAGE:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


@pytest.mark.parametrize(
    ("adapter", "value"),
    [
        (instants, "2026-01-01T00:00:00"),
        (instants, "2026-01-01 00:00:00Z"),
        (instants, "2026-01-01T24:00:01Z"),
        (instants, "2026-01-01T00:00:00Z\n"),
        (instants, "9999-12-31T23:59:59-23:59"),
        (days, "2026-02-29"),
        (days, "20260101"),
        (days, "2026-W01-1"),
        (row_ids, "{00000000-0000-4000-8000-000000000000}"),
        (row_ids, "urn:uuid:00000000-0000-4000-8000-000000000000"),
        (row_ids, "00000000000040008000000000000000"),
        (limits, "+5"),
        (limits, "1_0"),
        (limits, "201"),
        (metrics, "recovery_opened"),
        (metrics, "message"),
        (metrics, "a\n"),
    ],
)
def test_what_only_looks_alike_is_refused(adapter: TypeAdapter[Any], value: str) -> None:
    with pytest.raises(ValidationError):
        adapter.validate_python(value)


@pytest.mark.parametrize("name", ["recovery", "attempts", "messages.sent", "a", "z" * 64])
def test_names_beside_the_reserved_ones_are_free(name: str) -> None:
    assert metrics.validate_python(name) == name


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": {"b": ["x", "y\0"]}}, "a.b.1"),
        ({"a": {"b\0": 1}}, "a"),
        ({"\0": 1}, ""),
        ("\0", ""),
    ],
)
def test_a_nul_is_found_wherever_it_is(value: Any, where: str) -> None:
    problem = unstorable(value)
    assert problem is not None
    assert problem[0] == where


def test_32_levels_are_taken_and_33_are_not() -> None:
    deep: Any = 0
    for _ in range(32):
        deep = [deep]
    assert unstorable(deep) is None
    assert unstorable([deep]) is not None


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(st.characters(exclude_characters="\0")), st.lists)
)
def test_everything_else_can_be_stored(value: Any) -> None:
    assert unstorable(value) is None
