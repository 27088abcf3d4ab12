"""Aware datetimes for property-based tests."""

from datetime import UTC, datetime

from hypothesis import strategies as st

moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - st wants naive bounds
