"""What is fetched next for a merchant, by how far it has come."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.catch_up.plan import (
    EVENTS_KEPT,
    OVERLAP,
    RETRIES_END,
    SETTLING,
    ListEvents,
    ListInvoices,
    Progress,
    ReadInvoices,
    next_step,
)
from shared.ids import InvoiceId

NOW = datetime(2026, 9, 8, 12, tzinfo=UTC)
HALF_AN_HOUR = timedelta(minutes=30)
UP_TO_DATE = Progress(events_until=NOW - SETTLING, invoices_at=NOW - timedelta(days=1))


def test_a_merchant_that_is_up_to_date_needs_nothing() -> None:
    assert next_step(UP_TO_DATE, NOW) is None


def test_the_events_since_the_last_list_are_listed_with_a_little_overlap() -> None:
    later = NOW + HALF_AN_HOUR
    assert next_step(UP_TO_DATE, later) == ListEvents(NOW - SETTLING - OVERLAP, later - SETTLING, None)


def test_what_has_just_happened_is_left_to_its_webhook() -> None:
    step = next_step(UP_TO_DATE, NOW + HALF_AN_HOUR)
    assert isinstance(step, ListEvents)
    assert step.until == NOW + HALF_AN_HOUR - SETTLING


def test_a_list_under_way_goes_on_where_it_was_and_ends_where_it_was_to_end() -> None:
    under_way = replace(UP_TO_DATE, window_until=NOW, page_after="evt_100")
    step = next_step(under_way, NOW + timedelta(hours=5))
    assert step == ListEvents(UP_TO_DATE.events_until - OVERLAP, NOW, "evt_100")


def test_stripe_lists_nothing_older_than_thirty_days() -> None:
    long_ago = Progress(events_until=NOW - timedelta(days=90), invoices_at=NOW)
    step = next_step(long_ago, NOW)
    assert isinstance(step, ListEvents)
    assert step.since == NOW - EVENTS_KEPT


@pytest.mark.parametrize("last", [None, NOW - RETRIES_END, NOW - timedelta(days=40)])
def test_open_invoices_come_first_when_they_were_not_listed_for_longer_than_stripe_retries(
    last: datetime | None,
) -> None:
    step = next_step(replace(UP_TO_DATE, invoices_at=last), NOW)
    assert step == ListInvoices(NOW, NOW - EVENTS_KEPT, None)


def test_open_invoices_were_listed_lately() -> None:
    assert next_step(replace(UP_TO_DATE, invoices_at=NOW - RETRIES_END + timedelta(seconds=1)), NOW) is None


def test_a_list_of_invoices_under_way_goes_on() -> None:
    began = NOW - timedelta(hours=1)
    under_way = replace(UP_TO_DATE, invoices_from=began, invoices_after="in_100")
    assert next_step(under_way, NOW) == ListInvoices(began, began - EVENTS_KEPT, "in_100")


def test_what_is_to_be_read_is_read_before_the_next_page() -> None:
    to_read = (InvoiceId("in_1"), InvoiceId("in_2"))
    found = replace(UP_TO_DATE, invoices_from=NOW, invoices_after="in_2", to_read=to_read)
    assert next_step(found, NOW) == ReadInvoices(to_read)


def _after(progress: Progress, step: ListEvents | ListInvoices | ReadInvoices) -> Progress:
    """The step was done, and it was the last page."""
    match step:
        case ReadInvoices():
            return replace(progress, to_read=())
        case ListInvoices(began=began):
            return replace(progress, invoices_at=began, invoices_from=None, invoices_after=None)
        case ListEvents(until=until):
            return replace(progress, events_until=until, window_until=None, page_after=None)


TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
PROGRESS = st.builds(
    Progress,
    events_until=TIMES,
    window_until=st.none() | TIMES,
    page_after=st.none() | st.just("evt_1"),
    invoices_at=st.none() | TIMES,
    invoices_from=st.none() | TIMES,
    invoices_after=st.none() | st.just("in_1"),
    to_read=st.lists(st.just("in_1"), max_size=2).map(tuple),
)


@given(progress=PROGRESS, now=TIMES)
def test_from_wherever_a_merchant_is_it_is_up_to_date_after_a_few_steps(progress: Progress, now: datetime) -> None:
    for _ in range(6):
        step = next_step(progress, now)
        if step is None:
            return
        progress = _after(progress, step)
        now += timedelta(seconds=2)
    raise AssertionError(f"it never ends: {progress}")
