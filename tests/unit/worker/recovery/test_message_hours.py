"""In which hour a message goes out: never before it is due, less than a day later, the same whenever it is asked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.recovery import (
    HourOfMessages,
    MessageKind,
    Moment,
    Policy,
    SentMessage,
    missed_message,
    next_moment,
)
from services.worker.recovery.message_answers import ASSUMED, NIGHT, NOTHING_LEARNED, Answers
from services.worker.recovery.message_hours import LEFT_TO_ANSWER, TRIED, UNTIMED
from services.worker.recovery.timezones import zone_of
from shared.policy import AnyHour, HourWindow, LikeliestHour, MessageHours

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FAR = datetime(2030, 1, 1, tzinfo=UTC)
COUNTRIES = ("DE", "US", "JP", "IN", "AU", "NP", "BR", None)
TRIES = "one message in ten"


def likeliest(country: str | None = "DE", key: str = "k", answers: Answers = NOTHING_LEARNED) -> HourOfMessages:
    return HourOfMessages(LikeliestHour(), country, key, answers)


def answers(best: range, factor: float = 1.5) -> Answers:
    """What is believed where customers surely answer so much more in these hours."""
    factors = tuple(factor if hour in best else assumed for hour, assumed in enumerate(ASSUMED))
    return Answers(factors, (0.01,) * 24, 5_000)


def local(at: datetime, country: str | None = "DE") -> datetime:
    return at.astimezone(zone_of(country))


def untried(due: datetime, answers: Answers = NOTHING_LEARNED, country: str | None = "DE") -> HourOfMessages:
    """The hours of a recovery whose message at this time tries nothing."""
    keys = (f"k{number}" for number in range(100))
    return next(
        hours for key in keys if TRIES not in ((hours := likeliest(country, key, answers)).moment(due, FAR).why or "")
    )


moments = st.integers(0, 2 * 365 * 24 * 3600).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
factors = st.lists(st.floats(0.05, 3), min_size=24, max_size=24).map(tuple)
learned = st.builds(lambda one, unsure: Answers(one, (unsure,) * 24, 100), factors, st.floats(0, 0.5))
windows = st.tuples(st.integers(0, 23), st.integers(1, 23)).map(
    lambda hours: HourWindow(from_hour=hours[0], until_hour=(hours[0] + hours[1]) % 24)
)
rules: st.SearchStrategy[MessageHours] = st.one_of(st.just(AnyHour()), st.just(LikeliestHour()), windows)


@given(rule=rules, due=moments, country=st.sampled_from(COUNTRIES), key=st.text(max_size=9), known=learned)
def test_never_before_it_is_due_and_less_than_a_day_later(
    rule: MessageHours, due: datetime, country: str | None, key: str, known: Answers
) -> None:
    hours = HourOfMessages(rule, country, key, known)
    found = hours.moment(due, FAR)
    assert timedelta(0) <= found.at - due < DAY
    assert found == hours.moment(due, FAR), "the same arguments give the same moment"
    assert found.at.tzinfo is UTC
    assert (found.why is None) == (found.at == due), "who waits is told why, and nobody else"


@given(due=moments, left=st.floats(0.01, 60), country=st.sampled_from(COUNTRIES), known=learned, rule=rules)
def test_who_waits_has_half_a_day_to_answer_before_the_window_ends(
    due: datetime, left: float, country: str | None, known: Answers, rule: MessageHours
) -> None:
    ends = due + left * HOUR
    found = HourOfMessages(rule, country, "k", known).moment(due, ends)
    assert found.at == due or found.at <= ends - LEFT_TO_ANSWER


@given(due=moments, country=st.sampled_from(COUNTRIES), known=learned, later=st.floats(0, 0.99))
def test_nobody_waits_twice(due: datetime, country: str | None, known: Answers, later: float) -> None:
    hours = untried(due, known, country)
    at = hours.moment(due, FAR).at
    asked = replace(hours, now=at + later * HOUR).moment(due, FAR).at
    assert asked == at, "it is due when its hour has come, for an hour"
    late = at + HOUR
    if local(late, country).hour == local(at, country).hour:  # an hour that the clocks repeat
        return
    again = replace(hours, now=late).moment(due, FAR).at
    assert late <= again < late + DAY
    assert replace(hours, now=again).moment(due, FAR).at == again


@given(due=moments, country=st.sampled_from(COUNTRIES), rule=windows)
def test_a_fixed_window_is_kept_on_every_day_also_when_clocks_change(
    due: datetime, country: str | None, rule: HourWindow
) -> None:
    found = HourOfMessages(rule, country, "k").moment(due, FAR)
    first_hour_is_skipped = rule.from_hour in (2, 3) and rule.until_hour == rule.from_hour + 1
    if not first_hour_is_skipped:
        assert rule.holds(local(found.at, country).hour)
    if rule.holds(local(due, country).hour):
        assert found.at == due


def test_before_anything_was_learned_nobody_is_written_to_at_night_and_by_day_nothing_waits() -> None:
    for minutes in range(0, 24 * 60, 17):
        due = datetime(2026, 9, 7, tzinfo=UTC) + timedelta(minutes=minutes)
        found = untried(due).moment(due, FAR)
        if local(due).hour in NIGHT:
            assert local(found.at).hour == 7
            assert found.why == "at night customers are taken to answer less; nothing was learned so far"
        else:
            assert found.at == due


def test_where_it_was_learned_that_only_nights_differ_the_reason_says_so() -> None:
    due = datetime(2026, 9, 7, 1, tzinfo=UTC)
    found = untried(due, Answers(ASSUMED, (0.01,) * 24, 5_000)).moment(due, FAR)
    assert (local(found.at).hour, found.why) == (7, "at night customers answer less, and by day no hour stands out")


def test_at_three_in_the_morning_somebody_is_written_to_only_where_that_was_learned() -> None:
    due = datetime(2026, 9, 7, 1, tzinfo=UTC)
    owls = answers(range(2, 5))
    assert untried(due, owls).moment(due, FAR).at == due
    assert local(untried(due).moment(due, FAR).at).hour == 7


def test_a_message_waits_for_the_evening_in_which_customers_answer_and_says_so() -> None:
    due = datetime(2026, 9, 7, 9, tzinfo=UTC)  # 11 in Berlin
    evening = answers(range(17, 20))
    found = untried(due, evening).moment(due, FAR)
    assert local(found.at).hour == 17
    assert found.why == "customers answer most between 17 and 20"
    barely = answers(range(17, 20), 1.02)
    assert untried(due, barely).moment(due, FAR).at == due, "it is not worth six hours"


def test_on_the_day_on_which_clocks_change_the_hour_is_the_customers() -> None:
    evening = answers(range(17, 18))
    for due in (datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC)):  # the night before
        found = untried(due, evening).moment(due, FAR)
        assert local(found.at).hour == 17


def test_a_late_message_still_says_why_it_waited() -> None:
    due = datetime(2026, 9, 7, 1, tzinfo=UTC)
    hours = untried(due)
    late = replace(hours, now=due + 8 * HOUR).moment(due, FAR)
    assert (late.at, late.why) == (due + 8 * HOUR, hours.moment(due, FAR).why)


def test_what_waits_together_does_not_go_out_together() -> None:
    due = datetime(2026, 9, 7, 1, tzinfo=UTC)
    at = sorted(likeliest(key=f"r{number}").moment(due, FAR).at for number in range(400))
    by_minute = {each.replace(second=0, microsecond=0) for each in at if local(each).hour == 7}
    assert len(by_minute) > 50


def test_one_message_in_ten_tries_another_hour_of_the_day_and_says_so() -> None:
    due = datetime(2026, 9, 7, 9, tzinfo=UTC)
    found = [likeliest(key=f"r{number}").moment(due, FAR) for number in range(2_000)]
    tried = [each for each in found if each.why is not None]
    assert all(TRIES in (each.why or "") for each in tried)
    assert TRIED / 2 < len(tried) / len(found) < TRIED * 1.3
    hours = {local(each.at).hour for each in tried}
    assert not hours & NIGHT
    assert len(hours) >= 8, "no hour of the day is unlearnable"


def test_where_nothing_is_learned_nothing_is_tried() -> None:
    due = datetime(2026, 9, 7, 9, tzinfo=UTC)
    assert all(replace(likeliest(key=f"r{n}"), tries=False).moment(due, FAR).at == due for n in range(200))


def test_what_is_known_surely_is_not_tried_against() -> None:
    due = datetime(2026, 9, 7, 9, tzinfo=UTC)
    sure = answers(range(17, 20))
    assert {local(likeliest(key=f"r{n}", answers=sure).moment(due, FAR).at).hour for n in range(500)} <= {17, 18, 19}


# --- With the policy's days -------------------------------------------------------------------------------------------

OPENED = datetime(2026, 9, 7, 1, tzinfo=UTC)  # 3 in the morning in Berlin
POLICY = Policy()
EVENING = likeliest(answers=answers(range(17, 20)))


@given(
    days=st.sets(st.integers(0, 20), min_size=1, max_size=20).map(lambda each: tuple(sorted(each))),
    kinds=st.lists(st.sampled_from(list(MessageKind)), min_size=60, max_size=60),
    opened=moments,
    known=learned,
    rule=rules,
)
def test_two_messages_are_a_day_apart_and_none_is_after_the_window(
    days: tuple[int, ...], kinds: list[MessageKind], opened: datetime, known: Answers, rule: MessageHours
) -> None:
    policy = Policy(message_days=days)
    now, sent, ends = opened, list[SentMessage](), opened + policy.window_days * DAY
    for kind in kinds:
        hours = HourOfMessages(rule, "DE", "k", known, now)
        found = next_moment(policy, opened, sent, kind, now, hours=hours)
        if found is None:
            continue
        now = max(now, found.at)
        assert now < ends
        first_request = kind is MessageKind.ACTION_REQUIRED and all(each.kind is not kind for each in sent)
        if sent and not first_request:
            assert now - sent[-1].at >= DAY
        sent.append(SentMessage(kind, now))
    assert all(after.at >= before.at for before, after in pairwise(sent))


def test_the_first_request_to_authenticate_goes_out_at_once_at_three_in_the_morning_too() -> None:
    asked = next_moment(POLICY, OPENED, [], MessageKind.ACTION_REQUIRED, OPENED, hours=EVENING)
    told = next_moment(POLICY, OPENED, [], MessageKind.PAYMENT_FAILED, OPENED, hours=EVENING)
    assert asked is not None
    assert told is not None
    assert (asked.at, asked.why) == (OPENED, None)
    assert local(told.at).hour == 17
    late = replace(EVENING, now=OPENED + 5 * HOUR)
    again = next_moment(POLICY, OPENED, [], MessageKind.ACTION_REQUIRED, OPENED + 5 * HOUR, hours=late)
    assert again is not None
    assert again.at <= OPENED + 5 * HOUR, "however late it is"


@given(
    days=st.sets(st.integers(0, 20), min_size=1, max_size=20).map(lambda each: tuple(sorted(each))),
    lateness=st.lists(st.floats(0, 30), min_size=1, max_size=8),
    opened=moments,
    country=st.sampled_from(COUNTRIES),
    known=learned,
    rule=rules,
)
def test_however_late_workers_are_each_time_a_message_waits_for_less_than_a_day(
    days: tuple[int, ...],
    lateness: list[float],
    opened: datetime,
    country: str | None,
    known: Answers,
    rule: MessageHours,
) -> None:
    policy = Policy(message_days=days)
    due = min(opened + days[0] * DAY, opened + (policy.window_days - 1) * DAY)
    now = opened
    for looked in range(60):
        hours = HourOfMessages(rule, country, "k", known, now)
        found = next_moment(policy, opened, [], MessageKind.PAYMENT_FAILED, now, hours=hours)
        if found is None or found.at <= now:
            return
        assert now < found.at < due + DAY
        now = found.at + lateness[looked % len(lateness)] * HOUR
    raise AssertionError("it is put off for ever")


@pytest.mark.parametrize("minutes", [30, 65, 200, 600])
@pytest.mark.parametrize("rule", [LikeliestHour(), HourWindow(from_hour=9, until_hour=11)], ids=["likeliest", "window"])
def test_a_worker_that_is_late_every_day_sends_on_the_first(minutes: int, rule: MessageHours) -> None:
    now = OPENED
    for _ in range(3):
        hours = HourOfMessages(rule, "DE", "k", EVENING.answers, now, tries=False)
        found = next_moment(POLICY, OPENED, [], MessageKind.PAYMENT_FAILED, now, hours=hours)
        assert found is not None
        if found.at <= now:
            break
        now = found.at + timedelta(minutes=minutes)
    assert now < OPENED + DAY + timedelta(minutes=minutes)
    assert found is not None
    assert found.at <= now


def test_a_late_message_goes_out_by_day_and_at_night_where_customers_answer_then() -> None:
    due = datetime(2026, 9, 7, 19, tzinfo=UTC)  # 21 in Berlin
    midnight, noon = due + 4 * HOUR, due + 15 * HOUR
    waits = replace(untried(due), now=midnight).moment(due, FAR)
    assert (local(waits.at).hour, waits.why) == (7, "a late message does not go out at night")
    assert replace(untried(due), now=noon).moment(due, FAR) == Moment(noon)
    owls = answers(range(2))
    assert replace(untried(due, owls), now=midnight).moment(due, FAR).at == midnight
    assert replace(untried(due), now=due + 30 * HOUR).moment(due, FAR) == Moment(due + 30 * HOUR), "a day is enough"


def test_a_request_that_begins_at_noon_says_nothing_of_the_night() -> None:
    policy, noon = Policy(message_days=(3, 7, 14)), OPENED + DAY + 9 * HOUR
    asked = replace(untried(noon), now=noon)
    found = next_moment(policy, OPENED, [], MessageKind.NEW_METHOD_NEEDED, noon, hours=asked, since=noon)
    assert found == Moment(noon)
    at_night = OPENED + 5 * DAY
    waits = replace(untried(at_night), now=at_night)
    found = next_moment(policy, OPENED, [], MessageKind.NEW_METHOD_NEEDED, at_night, hours=waits, since=at_night)
    assert found is not None
    assert local(found.at).hour == 7, "it has just begun: it is not late"


@given(opened=moments, country=st.sampled_from(COUNTRIES), rule=windows, known=learned)
def test_the_last_message_keeps_to_the_policys_window_too(
    opened: datetime, country: str | None, rule: HourWindow, known: Answers
) -> None:
    policy, ends = Policy(message_days=(0, 21)), opened + 21 * DAY
    sent, now = list[SentMessage](), opened
    for _ in range(9):
        hours = HourOfMessages(rule, country, "k", known, now)
        found = next_moment(policy, opened, sent, MessageKind.PAYMENT_FAILED, now, hours=hours)
        if found is None:
            break
        now = max(now, found.at)
        sent.append(SentMessage(MessageKind.PAYMENT_FAILED, now))
    assert len(sent) == 2, "one that is due sooner than usual does not go out twice"
    assert ends - 2 * DAY <= sent[1].at <= max(ends - DAY, ends - LEFT_TO_ANSWER)
    skipped = rule.from_hour in (2, 3) and rule.until_hour == rule.from_hour + 1
    assert skipped or rule.holds(local(sent[1].at, country).hour)
    assert not missed_message(policy, opened, sent, MessageKind.PAYMENT_FAILED, ends, hours=replace(hours, now=None))


def test_the_last_message_is_a_day_after_the_one_before_it_whatever_the_window() -> None:
    opened = datetime(2026, 9, 7, 19, tzinfo=UTC)  # 21 in Berlin: the last message cannot wait for the morning
    policy, last = Policy(message_days=(0, 21)), opened + 20 * DAY
    hours = HourOfMessages(HourWindow(from_hour=9, until_hour=20), "DE", "k")
    before = SentMessage(MessageKind.PAYMENT_FAILED, last - 20 * HOUR)
    found = next_moment(policy, opened, [before], MessageKind.PAYMENT_FAILED, before.at, hours=hours)
    assert found == Moment(before.at + DAY)


def test_a_message_that_waits_for_its_hour_is_missed_from_when_it_was_due() -> None:
    opened = OPENED - 9 * HOUR  # 18 in Berlin: the first hour of the next evening is most of a day away
    policy, once = Policy(message_days=(0, 3)), [SentMessage(MessageKind.PAYMENT_FAILED, opened)]
    due = opened + 3 * DAY
    late_evening = likeliest(key=untried(due).key, answers=answers(range(17, 18), 3))
    waits = late_evening.moment(due, FAR).at

    def missed(until: datetime, sent: list[SentMessage]) -> bool:
        return missed_message(policy, opened, sent, MessageKind.PAYMENT_FAILED, until, hours=late_evening)

    assert waits > due + 20 * HOUR
    assert not missed(due - HOUR, once)
    assert missed(due + HOUR, once), "no grace hides that it waits"
    assert missed(due + 20 * HOUR, once)
    assert missed(opened + HOUR, []), "nobody was written to"
    assert not missed(due + 20 * HOUR, [*once, SentMessage(MessageKind.PAYMENT_FAILED, due)])
    at_once = UNTIMED
    assert not missed_message(policy, opened, once, MessageKind.PAYMENT_FAILED, due + HOUR, hours=at_once)


@pytest.mark.parametrize("schema", [1, 2, 3, 4, 5])
def test_older_policies_write_at_the_hour_of_the_failure(schema: int) -> None:
    older = Policy.model_validate({"schema_version": schema})
    assert older.message_hours == AnyHour()
    assert not older.writes_when_likeliest
    hours = HourOfMessages(older.message_hours, "DE", "k", EVENING.answers, OPENED + 30 * HOUR)
    found = next_moment(older, OPENED, [], MessageKind.PAYMENT_FAILED, OPENED + 30 * HOUR, hours=hours)
    assert found is not None
    assert (found.at, found.why) == (OPENED, None)


def test_a_document_of_schema_5_keeps_all_else_that_it_says() -> None:
    written = {"schema_version": 5, "max_attempts": 4, "schedules": {"unknown": {"kind": "delays", "hours": [9]}}}
    now = Policy.model_validate(written)
    assert now.believes, "schedules that it does not name are those of schema 5, not of schema 4"
    assert Policy.model_validate(now.model_dump(mode="json")) == now
    assert Policy.model_validate({"schema_version": 5, "message_hours": {"kind": "likeliest"}}).writes_when_likeliest


def test_a_segment_may_have_hours_of_its_own() -> None:
    document = {
        "message_hours": {"kind": "any"},
        "segments": [
            {"name": "de", "when": {"countries": ["DE"]}, "then": {"message_hours": {"kind": "window", "from_hour": 9}}}
        ],
    }
    policy = Policy.model_validate(document)
    assert policy.segment("de").message_hours == HourWindow(from_hour=9)
    assert policy.message_hours == AnyHour()
