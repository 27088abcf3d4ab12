"""The replay, by hand: what is known, what is estimated, what is left as it was; and that no rule is ever broken."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.evaluation.backtest.clearing import Model, Seen, fit
from console.evaluation.backtest.compare import compare
from console.evaluation.backtest.expected import expected, happened
from console.evaluation.backtest.past import Past
from console.evaluation.backtest.replay import Replay
from console.evaluation.backtest.trace import Trace
from console.evaluation.history import Attempt, Failure, Header
from services.worker.recovery import Delays, Policy, Schedules
from shared.policy import AnyHour, HourWindow
from tests.unit.console.evaluation.backtest.synthetic import CITADEL, UNTIL, at, declined, failure, paid

DAILY = CITADEL.model_copy(
    update={"schedules": Schedules(do_not_honor=Delays(hours=(24,))), "max_attempts": 4, "message_days": (0, 3)}
)
GUESS = fit(Seen())


def trace(given: Failure, policy: Policy = DAILY, until: int = UNTIL) -> Trace:
    (only,) = Replay(policy)([Past(given, until)])
    return only


def days(found: Trace) -> list[float]:
    """When the estimated attempts are, in days, without the spread that the brain gives them."""
    return [round((step.at - at(0)) / 86_400, 1) for step in found.steps]


def test_attempts_that_history_made_at_the_same_time_are_known() -> None:
    # The brain spreads a delay of a day over up to 10 % more: within the hour of what was made.
    spread = [step.at for step in trace(failure(declined(0))).steps]
    made = [Attempt(at=int(each), result="declined", decline_code="do_not_honor") for each in spread[:2]]
    found = trace(failure(declined(0), *made, Attempt(at=int(spread[2]) + 1800, result="succeeded")))
    assert (found.known, found.steps) == (3, [])
    assert found.paid_at == pytest.approx(spread[2])
    result = expected(found, GUESS)
    assert (result.paid, result.by_retry, result.attempts, result.estimated) == (1, 1, 3, 0)


def test_the_first_attempt_that_nobody_made_ends_what_is_known() -> None:
    found = trace(failure(declined(0), declined(3), paid(4.5)))
    assert (found.known, found.paid_at, len(found.steps)) == (0, None, 4)
    assert 1 <= days(found)[0] <= 1.1
    result = expected(found, GUESS)
    assert 0 < result.by_retry < 1
    assert 1 < result.attempts < 4
    assert result.estimated == result.attempts


def test_messages_wait_for_the_hours_of_the_policy_and_older_policies_for_none() -> None:
    given = failure(declined(0.25), card={"fingerprint": "f", "network": "visa", "country": "DE"})
    opened = given.attempts[0].at
    hours = {
        kind: [
            (each - opened) / 3_600 for each in trace(given, DAILY.model_copy(update={"message_hours": rule})).messages
        ]
        for kind, rule in {"any": AnyHour(), "window": HourWindow(from_hour=20, until_hour=22, zone="UTC")}.items()
    }
    assert hours["any"] == [0, 72]
    begins = 20 - datetime.fromtimestamp(opened, UTC).hour
    assert all(begins <= later < begins + 1 for later in (hours["window"][0], hours["window"][1] - 72))
    assert trace(given, Policy.model_validate({"schema_version": 5, "message_days": [0, 3]})).messages == (
        opened,
        opened + 72 * 3_600,
    )


def test_the_chances_of_a_way_are_those_of_its_steps() -> None:
    found = trace(failure(declined(0)))
    open_ = attempts = 0.0
    open_ = 1.0
    for step in found.steps:
        attempts += open_
        open_ *= 1 - GUESS.chance(found.past.cause, step.exposure)
    result = expected(found, GUESS)
    assert result.attempts == pytest.approx(attempts)
    assert result.paid == result.by_retry == pytest.approx(1 - open_)


def test_a_hard_decline_is_not_tried_again_and_the_customer_is_asked() -> None:
    found = trace(failure(declined(0, "lost_card"), declined(2, "lost_card"), paid(5, by="customer", method="pm_2")))
    assert (found.known, found.steps, found.ends_at) == (0, [], at(5))
    result = expected(found, GUESS)
    assert (result.by_retry, result.otherwise, result.attempts) == (0, 1, 0)
    assert [round((each - at(0)) / 86_400) for each in found.messages] == [0, 3]
    assert result.messages == 2


def test_a_customer_pays_when_they_did_and_that_ends_attempts_and_messages() -> None:
    found = trace(failure(declined(0), paid(2.5, by="customer", method="pm_2")))
    assert len(found.steps) == 2
    assert len(found.messages) == 1
    assert expected(found, GUESS).paid == pytest.approx(1)


@pytest.mark.parametrize("ending", ["void", "uncollectible", "canceled"])
def test_nothing_is_done_after_somebody_gave_the_invoice_up(ending: str) -> None:
    found = trace(failure(declined(0), ending=ending, ended_at=at(2.5)))
    assert len(found.steps) == 2
    result = expected(found, GUESS)
    assert result.otherwise == 0
    assert happened(found.past).paid == 0


def test_nothing_is_done_after_the_history_ends() -> None:
    found = trace(failure(declined(0)), until=at(1.5))
    assert len(found.steps) == 1
    assert happened(Past(failure(declined(0), paid(3)), at(1.5))).paid == 0


def test_after_the_retry_that_paid_the_customer_might_have_paid_too() -> None:
    """Who was paid by a retry on day 1 of the past could have paid on day 2 had there been none."""
    never = CITADEL.model_copy(update={"driver": "citadel", "minimum_amounts": {"usd": 5000}})
    found = trace(failure(declined(0), paid(1)), never)
    assert found.steps == []
    result = expected(found, GUESS)
    hours = (24, 60 * 24)
    assert result.otherwise == pytest.approx(1 - GUESS.nobody_paid(found.past.cause, *hours))


@pytest.mark.parametrize("driver", ["auto", "stripe"])
def test_stripes_retries_stay_as_they_were_unless_we_make_all(driver: str) -> None:
    policy = DAILY.model_copy(update={"driver": driver})
    retried = failure(declined(0), declined(3), declined(5), paid(7))
    found = trace(retried, policy)
    assert (found.known, found.steps, found.paid_at) == (3, [], at(7))
    unpaid = trace(failure(declined(0), declined(3), declined(5)), policy)
    assert unpaid.known == 2
    if driver == "stripe":
        assert unpaid.steps == []
    else:
        assert all(each >= 6 for each in days(unpaid))  # after the quiet day around Stripe's last one
        assert len(unpaid.steps) == 4


def test_an_expired_card_is_tried_when_its_renewal_is_heard_of() -> None:
    renewed = failure(declined(0, "expired_card"), declined(2, "expired_card"), paid(4))
    found = trace(renewed, CITADEL)
    assert (found.known, found.paid_at) == (1, at(4))
    (step,) = trace(failure(declined(0, "expired_card"), declined(2, "expired_card")), CITADEL).steps
    assert step.on_news
    assert expected(trace(failure(declined(0, "expired_card"))), GUESS).attempts < 1


def test_two_failures_on_one_card_share_its_limits() -> None:
    """Mastercard in Brazil: 7 retries in 31 days on a card, whatever they are for."""
    card = {"fingerprint": "one", "network": "mastercard", "country": "BR"}
    hourly = DAILY.model_copy(update={"max_attempts": 6, "schedules": Schedules(do_not_honor=Delays(hours=(6,)))})
    both = [failure(declined(0.1 * n), invoice=f"in_{n}", card=card) for n in range(2)]
    traces = list(Replay(hourly)([Past(each, UNTIL) for each in both]))
    assert [each.breaches for each in traces] == [[], []]
    # Of the 7 repeats one is the second renewal's own first attempt.
    assert sum(len(each.steps) for each in traces if each.past.failure.invoice == "in_0") <= 6
    early = [step.at for each in traces for step in each.steps if step.at < at(31)]
    assert len(early) == 6
    alone = list(Replay(hourly)([Past(both[0], UNTIL)]))
    assert len(alone[0].steps) == 6


def test_other_charges_on_the_card_count() -> None:
    card = {"fingerprint": "one", "network": "mastercard", "country": "BR"}
    others = [{"at": at(-1) + n, "amount": 500, "currency": "usd", "result": "declined"} for n in range(6)]
    found = trace(failure(declined(0), card=card, elsewhere=others))
    assert len([step for step in found.steps if step.at < at(29)]) == 1
    assert found.breaches == []


def test_a_segments_messages_and_a_minimum_are_obeyed() -> None:
    given = DAILY.model_dump() | {
        "segments": [{"name": "small", "when": {"amount_below": {"usd": 2000}}, "then": {"message_days": [1]}}]
    }
    found = trace(failure(declined(0)), Policy.model_validate(given))
    assert [round((each - at(0)) / 86_400) for each in found.messages] == [1]
    below = trace(failure(declined(0)), DAILY.model_copy(update={"minimum_amounts": {"usd": 2000}}))
    assert (below.steps, below.messages) == ([], ())


CODES = [
    "do_not_honor",
    "insufficient_funds",
    "try_again_later",
    "lost_card",
    "expired_card",
    "withdrawal_count_limit_exceeded",
]
NETWORK_CODES = st.sampled_from([None, "05", "51", "46", "14", "R1"])
ADVICE = st.sampled_from([None, "01", "02", "03", "21", "24", "25", "30"])


@st.composite
def pasts(draw: st.DrawFn) -> Failure:
    times = sorted(draw(st.lists(st.floats(0.01, 40), max_size=8)))
    said = st.builds(
        lambda code, network, advice: {
            "decline_code": code,
            "network_decline_code": network,
            "network_advice_code": advice,
        },
        st.sampled_from(CODES),
        NETWORK_CODES,
        ADVICE,
    )
    attempts = [declined(each, **{"code": "card_declined", **draw(said)}) for each in [0.0, *times]]
    if draw(st.booleans()):
        attempts.append(paid(41, by=draw(st.sampled_from(["retry", "customer"]))))
    card = {
        "fingerprint": draw(st.sampled_from([None, "a", "b"])),
        "network": draw(st.sampled_from([None, "visa", "mastercard", "amex", "us_bank_account"])),
        "country": draw(st.sampled_from([None, "US", "BR", "IN", "DE"])),
    }
    return failure(*attempts, invoice=f"in_{draw(st.integers(0, 10**9))}", card=card)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    hours = st.lists(st.integers(1, 48), min_size=1, max_size=4).map(tuple)
    causes = ("do_not_honor", "insufficient_funds", "try_later", "limit_exceeded", "unknown", "expired_card")
    return Policy.model_validate(
        {
            "driver": draw(st.sampled_from(["citadel", "auto", "stripe"])),
            "max_attempts": draw(st.integers(1, 20)),
            "window_days": draw(st.integers(22, 60)),
            "schedules": {each: {"kind": "delays", "hours": draw(hours)} for each in causes},
        }
    )


@settings(max_examples=60)
@given(st.lists(pasts(), min_size=1, max_size=4, unique_by=lambda each: each.invoice), policies())
def test_no_policy_breaks_a_rule_about_any_past(given: list[Failure], policy: Policy) -> None:
    traces = list(Replay(policy)([Past(each, UNTIL) for each in given]))
    assert {each.past.failure.invoice for each in traces} == {each.invoice for each in given}
    seen = Seen()
    for found in traces:
        found.past.teach(seen)
    model: Model = fit(seen)
    for found in traces:
        assert found.breaches == []
        assert len(found.steps) <= policy.max_attempts
        assert all(found.past.opened_at < step.at <= found.ends_at for step in found.steps)
        result = expected(found, model)
        assert 0 <= result.by_retry <= 1
        assert 0 <= result.otherwise <= 1
        assert 0 <= result.paid <= 1 + 1e-9
        assert result.estimated <= result.attempts + 1e-9


def test_the_breaches_of_the_past_are_counted_by_their_rule() -> None:
    header = Header.of(None, at(-30), UNTIL)
    hard = failure(declined(0, "lost_card"), declined(1, "lost_card"), declined(2, "lost_card"), invoice="in_hard")
    waited = {"network": "mastercard", "fingerprint": "two", "country": "US"}
    soon = failure(declined(0, network_advice_code="30"), declined(5), declined(11), invoice="in_soon", card=waited)
    india = failure(declined(0), declined(1), invoice="in_in", card={"network": "visa", "country": "IN"})
    fine = failure(declined(0), declined(1), paid(2), invoice="in_fine")
    really, ours = compare(header, [hard, soon, india, fine], {"policy": CITADEL}, seed=1).outcomes
    assert really.breaches == {"after a hard decline": 2, "mastercard_wait_by_advice_30": 1, "india_no_retries": 1}
    assert really.attempts_checked == 7
    assert ours.breaches == {}


def test_a_time_is_never_asked_about_before_it_came() -> None:
    """The brain is told of nothing that lies ahead: what happens later on the card changes nothing before."""
    card = {"fingerprint": "one", "network": "mastercard", "country": "BR"}
    later = [{"at": at(2) + n, "amount": 500, "currency": "usd", "result": "declined"} for n in range(9)]
    undisturbed, told = trace(failure(declined(0), card=card)), trace(failure(declined(0), card=card, elsewhere=later))
    before = [step.at for step in undisturbed.steps if step.at < at(2)]
    assert before
    assert [step.at for step in told.steps if step.at < at(2)] == before
    assert datetime.fromtimestamp(at(0), UTC) + timedelta(days=2) == datetime.fromtimestamp(at(2), UTC)
