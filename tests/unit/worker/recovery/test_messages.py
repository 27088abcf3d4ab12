"""When customers hear from us: on the policy's days, at once when they have to act, never twice a day, never after."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.recovery import MessageKind, Moment, Policy, SentMessage, next_moment
from tests.unit.worker.recovery.builders import DEADLINE, DEFAULT, OPENED

FAILED, ACTION, METHOD = MessageKind.PAYMENT_FAILED, MessageKind.ACTION_REQUIRED, MessageKind.NEW_METHOD_NEEDED
DAY = timedelta(days=1)


def sent(*days: float, kind: MessageKind = FAILED) -> list[SentMessage]:
    return [SentMessage(kind, OPENED + day * DAY) for day in days]


def due(messages: list[SentMessage], now: float, kind: MessageKind = FAILED, policy: Policy = DEFAULT) -> float | None:
    """The next message's day, counted from the opening."""
    found = next_moment(policy, OPENED, messages, kind, OPENED + now * DAY)
    return None if found is None else (found.at - OPENED) / DAY


@pytest.mark.parametrize(
    ("messages", "now", "day"),
    [
        ([], 0, 0),  # the first one at once
        (sent(0), 0, 3),
        (sent(0, 3), 3, 7),
        (sent(0, 3, 7, 14), 14.5, 20),  # the last day's at its beginning
        (sent(0, 3, 7, 14, 20), 20.1, None),
        (sent(0), 8, 3),  # days 3 and 7 were missed: one message, now
        (sent(0, 2.9), 2.95, 3.9),  # never two within a day
        (sent(0, 19.5), 19.6, 20.5),
        (sent(0, 20.5), 20.6, None),
        ([], 21, None),  # over
        (sent(0), 300, None),
    ],
)
def test_messages_follow_the_policys_days(messages: list[SentMessage], now: float, day: float | None) -> None:
    assert due(messages, now) == (None if day is None else pytest.approx(day))


@pytest.mark.parametrize("kind", [ACTION, METHOD])
def test_a_first_request_to_act_does_not_wait_for_its_day(kind: MessageKind) -> None:
    assert due([], 2, kind, Policy(message_days=(7,))) == 0
    assert due(sent(0), 21, kind) is None  # over


def test_a_first_request_for_another_card_waits_for_the_day_s_pause() -> None:
    assert due(sent(0), 2, METHOD) == 1  # overdue since the day's pause ended: now
    assert due(sent(0), 0.2, METHOD) == 1
    assert due(sent(0, 20.5), 20.6, METHOD) is None  # it would come after the end


def test_a_first_request_to_authenticate_goes_out_at_once_for_the_bank_waits() -> None:
    assert due(sent(0), 0.2, ACTION) == 0
    assert due(sent(0, 20.5), 20.6, ACTION) == 0
    assert due([*sent(0), *sent(0.2, kind=ACTION)], 0.3, ACTION) == 3  # the second one as all others
    assert due([*sent(0), *sent(2.5, kind=ACTION)], 2.6, ACTION) == 3.5


@pytest.mark.parametrize("kind", [ACTION, METHOD])
def test_reminders_to_act_follow_the_policys_days(kind: MessageKind) -> None:
    assert due(sent(4, kind=kind), 5, kind) == 7


def test_a_policy_without_message_days_sends_none() -> None:
    assert all(due([], 0, kind, Policy(message_days=())) is None for kind in MessageKind)


@given(
    days=st.sets(st.integers(0, 21), max_size=20).map(lambda d: tuple(sorted(d))),
    kinds=st.lists(st.sampled_from(list(MessageKind)), min_size=60, max_size=60),
    steps=st.lists(st.floats(0.01, 4), min_size=60, max_size=60),
)
def test_a_worker_that_asks_now_and_then_never_sends_two_a_day_nor_one_too_many(
    days: tuple[int, ...], kinds: list[MessageKind], steps: list[float]
) -> None:
    policy = Policy(message_days=days)
    now, out = OPENED, list[SentMessage]()
    for kind, step in zip(kinds, steps, strict=True):
        found = next_moment(policy, OPENED, out, kind, now)
        assert found is None or OPENED <= found.at < DEADLINE
        if found is not None and found.at <= now:
            out.append(SentMessage(kind, now))
        now += step * DAY
    assert all(m.at < DEADLINE for m in out)
    hurried = next((m for m in out if m.kind is ACTION), None)
    assert all(b.at - a.at >= DAY for a, b in pairwise(out) if b is not hurried)
    assert len(out) <= len(days) + len(MessageKind)


@pytest.mark.parametrize("naive", ["opened_at", "now", "sent"])
def test_a_naive_time_is_refused(naive: str) -> None:
    bad = datetime(2026, 9, 7)  # noqa: DTZ001 the naive one is the subject
    with pytest.raises(ValueError, match="aware"):
        next_moment(
            DEFAULT,
            bad if naive == "opened_at" else OPENED,
            [SentMessage(FAILED, bad)] if naive == "sent" else [],
            FAILED,
            bad if naive == "now" else OPENED,
        )


@pytest.mark.parametrize(
    ("messages", "canceled", "now", "day"),
    [
        ([], [0], 0, 3),  # the first one is left out
        (sent(0), [3], 1, 7),  # the next one is, before its day
        (sent(0), [3], 5, 7),
        (sent(0), [3, 7], 5, 14),
        (sent(0, 3, 7, 14), [20], 14.5, None),
    ],
)
def test_a_canceled_message_uses_up_its_day_and_no_other(
    messages: list[SentMessage], canceled: list[float], now: float, day: float | None
) -> None:
    found = next_moment(DEFAULT, OPENED, messages, FAILED, OPENED + now * DAY, canceled=sent(*canceled))
    assert (None if found is None else (found.at - OPENED) / DAY) == day


def test_a_canceled_reminder_does_not_hold_up_a_request_to_act() -> None:
    asked = next_moment(DEFAULT, OPENED, sent(0), METHOD, OPENED + 4 * DAY, canceled=sent(7))
    assert asked == Moment(OPENED + DAY)
    once = next_moment(DEFAULT, OPENED, sent(0), METHOD, OPENED + 4 * DAY, canceled=sent(4, kind=METHOD))
    assert once == Moment(OPENED + 7 * DAY)
