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
    TYPES_IN_A_LIST,
    ListEvents,
    ListInvoices,
    Progress,
    ReadInvoices,
    after_page,
    from_the_start,
    next_step,
)
from shared.ids import InvoiceId

NOW = datetime(2026, 9, 8, 12, tzinfo=UTC)
HALF_AN_HOUR = timedelta(minutes=30)
TYPES = ("charge.refunded", "invoice.paid")
MANY = tuple(f"type.{n:02d}" for n in range(2 * TYPES_IN_A_LIST + 1))
UP_TO_DATE = Progress(events_until=NOW - SETTLING, invoices_at=NOW - timedelta(days=1))


def test_a_merchant_that_is_up_to_date_needs_nothing() -> None:
    assert next_step(UP_TO_DATE, NOW, TYPES) is None


def test_the_events_since_the_last_list_are_listed_with_a_little_overlap() -> None:
    later = NOW + HALF_AN_HOUR
    assert next_step(UP_TO_DATE, later, TYPES) == ListEvents(NOW - SETTLING - OVERLAP, later - SETTLING, TYPES, None)


def test_what_has_just_happened_is_left_to_its_webhook() -> None:
    step = next_step(UP_TO_DATE, NOW + HALF_AN_HOUR, TYPES)
    assert isinstance(step, ListEvents)
    assert step.until == NOW + HALF_AN_HOUR - SETTLING


def test_a_list_under_way_goes_on_where_it_was_and_ends_where_it_was_to_end() -> None:
    under_way = replace(UP_TO_DATE, window_until=NOW, page_after="evt_100", types_listed=TYPES)
    step = next_step(under_way, NOW + timedelta(hours=5), TYPES)
    assert step == ListEvents(UP_TO_DATE.events_until - OVERLAP, NOW, TYPES, "evt_100")


def test_stripe_lists_nothing_older_than_thirty_days() -> None:
    long_ago = Progress(events_until=NOW - timedelta(days=90), invoices_at=NOW)
    step = next_step(long_ago, NOW, TYPES)
    assert isinstance(step, ListEvents)
    assert step.since == NOW - EVENTS_KEPT


@pytest.mark.parametrize("last", [None, NOW - RETRIES_END, NOW - timedelta(days=40)])
def test_open_invoices_come_first_when_they_were_not_listed_for_longer_than_stripe_retries(
    last: datetime | None,
) -> None:
    step = next_step(replace(UP_TO_DATE, invoices_at=last), NOW, TYPES)
    assert step == ListInvoices(NOW, NOW - EVENTS_KEPT, None)


def test_open_invoices_were_listed_lately() -> None:
    assert next_step(replace(UP_TO_DATE, invoices_at=NOW - RETRIES_END + timedelta(seconds=1)), NOW, TYPES) is None


def test_a_list_of_invoices_under_way_goes_on() -> None:
    began = NOW - timedelta(hours=1)
    under_way = replace(UP_TO_DATE, invoices_from=began, invoices_after="in_100")
    assert next_step(under_way, NOW, TYPES) == ListInvoices(began, began - EVENTS_KEPT, "in_100")


def test_what_is_to_be_read_is_read_before_the_next_page() -> None:
    to_read = (InvoiceId("in_1"), InvoiceId("in_2"))
    found = replace(UP_TO_DATE, invoices_from=NOW, invoices_after="in_2", to_read=to_read)
    assert next_step(found, NOW, TYPES) == ReadInvoices(to_read)


def _after(progress: Progress, step: ListEvents | ListInvoices | ReadInvoices) -> Progress:
    """The step was done, and it was the last page."""
    match step:
        case ReadInvoices():
            return replace(progress, to_read=())
        case ListInvoices(began=began):
            return replace(progress, invoices_at=began, invoices_from=None, invoices_after=None)
        case ListEvents():
            return after_page(progress, step, None, TYPES)


def _span(progress: Progress, types: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The lists of one span, each of one page."""
    lists: list[tuple[str, ...]] = []
    while isinstance(step := next_step(progress, NOW + HALF_AN_HOUR, types), ListEvents):
        assert len(step.types) <= TYPES_IN_A_LIST
        lists.append(step.types)
        progress = after_page(progress, step, None, types)
    assert progress.events_until == NOW + HALF_AN_HOUR - SETTLING
    return lists


def test_more_types_than_a_list_may_name_are_listed_one_list_after_the_other() -> None:
    lists = _span(UP_TO_DATE, MANY)
    assert [len(each) for each in lists] == [TYPES_IN_A_LIST, TYPES_IN_A_LIST, 1]
    assert tuple(kind for each in lists for kind in each) == MANY


def test_a_page_in_the_middle_of_a_list_keeps_the_types_of_that_list_and_what_was_done_before_it() -> None:
    later = NOW + HALF_AN_HOUR
    first = next_step(UP_TO_DATE, later, MANY)
    assert isinstance(first, ListEvents)
    second = next_step(after_page(UP_TO_DATE, first, None, MANY), later, MANY)
    assert isinstance(second, ListEvents)
    under_way = after_page(after_page(UP_TO_DATE, first, None, MANY), second, "evt_7", MANY)
    assert next_step(under_way, later, MANY) == replace(second, after="evt_7")
    begins_again = next_step(from_the_start(under_way, second), later, MANY)
    assert begins_again == second


def test_types_that_newer_code_adds_in_the_middle_of_a_span_are_listed_after_the_list_under_way() -> None:
    step = next_step(UP_TO_DATE, NOW + HALF_AN_HOUR, TYPES)
    assert isinstance(step, ListEvents)
    under_way = after_page(UP_TO_DATE, step, "evt_7", TYPES)
    assert _span(under_way, ("a.new.type", *TYPES)) == [TYPES, ("a.new.type",)]


def test_a_place_that_older_code_left_without_its_types_is_no_place() -> None:
    left = replace(UP_TO_DATE, window_until=NOW, page_after="evt_100")
    assert next_step(left, NOW, TYPES) == ListEvents(UP_TO_DATE.events_until - OVERLAP, NOW, TYPES, None)


def test_types_that_were_done_in_a_span_that_older_code_closed_are_listed_in_the_next() -> None:
    assert _span(replace(UP_TO_DATE, types_done=TYPES[:1]), TYPES) == [TYPES]


TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
PROGRESS = st.builds(
    Progress,
    events_until=TIMES,
    window_until=st.none() | TIMES,
    page_after=st.none() | st.just("evt_1"),
    types_listed=st.sampled_from([(), TYPES[:1], ("an.older.type",), TYPES]),
    types_done=st.sampled_from([(), TYPES[1:], ("an.older.type",), TYPES]),
    invoices_at=st.none() | TIMES,
    invoices_from=st.none() | TIMES,
    invoices_after=st.none() | st.just("in_1"),
    to_read=st.lists(st.just("in_1"), max_size=2).map(tuple),
)


@given(progress=PROGRESS, now=TIMES)
def test_from_wherever_a_merchant_is_it_is_up_to_date_after_a_few_steps(progress: Progress, now: datetime) -> None:
    for _ in range(7):
        step = next_step(progress, now, TYPES)
        if step is None:
            return
        progress = _after(progress, step)
        now += timedelta(seconds=2)
    raise AssertionError(f"it never ends: {progress}")
