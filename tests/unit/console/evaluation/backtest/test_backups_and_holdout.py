"""Other payment methods on file and the holdout in a replay: what is tried, what is known, what is guessed and said."""

import pytest

from console.evaluation.backtest.clearing import Seen, fit
from console.evaluation.backtest.compare import HAPPENED, compare
from console.evaluation.backtest.expected import expected, happened
from console.evaluation.backtest.past import METHOD, Past, breach
from console.evaluation.backtest.replay import Replay
from console.evaluation.backtest.trace import Trace
from console.evaluation.history import Attempt, Failure, Header
from services.worker.recovery import DeclineCause, Delays, Origin, Policy, Schedules, in_holdout
from shared.ids import InvoiceId, PaymentMethodId
from tests.unit.console.evaluation.backtest.synthetic import CITADEL, UNTIL, at, declined, failure, ladder, paid, past

DAILY = CITADEL.model_copy(
    update={"schedules": Schedules(do_not_honor=Delays(hours=(24,))), "max_attempts": 4, "message_days": (0, 3)}
)
BACKUPS = DAILY.model_copy(update={"backup_methods": True})
VISA: dict[str, object] = {"method": "pm_2", "fingerprint": "second", "network": "visa", "country": "US"}
GUESS = fit(Seen())


def trace(given: Failure, policy: Policy = BACKUPS, until: int = UNTIL) -> Trace:
    (only,) = Replay(policy)([Past(given, until)])
    return only


def lost(*later: Attempt, invoice: str = "in_1", backups: list[dict[str, object]] | None = None) -> Failure:
    return failure(declined(0, "lost_card"), *later, invoice=invoice, backups=[VISA] if backups is None else backups)


# -- other payment methods on file -------------------------------------------------------------------------------------


def test_after_a_hard_decline_the_other_card_is_tried_at_once_and_then_by_its_schedule() -> None:
    found = trace(lost())
    first, *later = found.steps
    assert (first.at, first.backup) == (at(0), True)
    assert [(each.backup, each.cause) for each in later] == [(False, DeclineCause.DO_NOT_HONOR)] * 3
    assert [round((each.at - at(0)) / 86_400) for each in later] == [1, 2, 3]
    assert found.breaches == []
    result = expected(found, GUESS)
    assert (result.first_tries, result.by_first_try) == (1, GUESS.backup)
    assert GUESS.backup < result.by_retry < 1


def test_without_the_policys_leave_or_on_a_card_that_may_be_tried_again_no_other_is_touched() -> None:
    assert trace(lost(), DAILY).steps == []
    soft = trace(failure(declined(0), backups=[VISA]))
    assert [each.backup for each in soft.steps] == [False] * 4
    assert trace(failure(declined(0, "lost_card"))).steps == []


def test_a_segment_may_allow_it() -> None:
    document = DAILY.model_dump(mode="json") | {
        "segments": [{"name": "all", "when": {"currencies": ["usd"]}, "then": {"backup_methods": True}}]
    }
    assert [each.backup for each in trace(lost(), Policy.model_validate(document)).steps] == [True, False, False, False]


def test_each_other_card_has_its_first_try() -> None:
    hard = [VISA | {"method": f"pm_{n}", "fingerprint": f"f{n}", "country": "IN"} for n in range(3)]
    found = trace(lost(backups=hard))
    # Cards issued in India allow no retry, so each is tried once.
    assert [each.backup for each in found.steps] == [True] * 3
    result = expected(found, GUESS)
    assert result.first_tries == pytest.approx(1 + 0.5 + 0.25)
    assert result.by_first_try == result.by_retry == pytest.approx(1 - 0.5**3)


def test_an_expired_card_on_file_is_not_tried() -> None:
    assert trace(lost(backups=[VISA | {"exp_month": 12, "exp_year": 2025}])).steps == []


def test_a_try_that_the_past_has_too_is_known() -> None:
    worked = paid(0.02, method="pm_2")
    found = trace(lost(worked))
    assert (found.known, found.paid_at, found.steps) == (1, at(0), [])
    failed = declined(0.02, "insufficient_funds", method="pm_2")
    found = trace(lost(failed))
    assert found.known == 1
    assert {each.cause for each in found.steps} == {DeclineCause.INSUFFICIENT_FUNDS}
    another = trace(lost(paid(0.02, method="pm_3")))
    assert (another.known, another.steps[0].backup) == (0, True)


def test_the_merchants_own_first_tries_correct_the_guess() -> None:
    seen = Seen()
    for number in range(20):
        tries = [paid(1, method="pm_2")] if number < 15 else [declined(1, method="pm_2"), declined(2, method="pm_2")]
        Past(lost(*tries, invoice=f"in_{number}"), UNTIL).teach(seen)
    assert seen.backups == [5, 15]
    assert (seen.yes, seen.no) == ({}, {})
    assert fit(seen).backup == pytest.approx(16 / 22)
    assert fit(Seen()).backup == 0.5


def test_what_customers_paid_with_themselves_teaches_nothing_about_it() -> None:
    seen = Seen()
    Past(lost(paid(1, by="customer", method="pm_2")), UNTIL).teach(seen)
    assert seen.backups == [0, 0]


def test_a_renewed_card_ends_what_was_tried_meanwhile() -> None:
    """The card had expired; another was tried at once; on day 4 the first had a new date, and paid."""
    renewed = failure(declined(0, "expired_card"), paid(4), backups=[VISA | {"country": "IN"}])
    found = trace(renewed)
    assert (found.paid_at, found.known, [each.backup for each in found.steps]) == (at(4), 1, [True])
    result = expected(found, GUESS)
    assert (result.paid, result.attempts, result.by_first_try) == (1, 1.5, 0.5)


def test_cards_in_common_are_counted_together_whether_first_or_other() -> None:
    """Mastercard in Brazil: 7 retries in 31 days on a card, for two invoices, of which one has it as a backup."""
    shared: dict[str, object] = {"fingerprint": "one", "network": "mastercard", "country": "BR"}
    policy = BACKUPS.model_copy(update={"max_attempts": 6})
    first = failure(declined(0), invoice="in_1", card=shared)
    second = lost(invoice="in_2", backups=[shared | {"method": "pm_2"}])
    traces = list(Replay(policy)([Past(each, UNTIL) for each in (first, second)]))
    assert [each.breaches for each in traces] == [[], []]
    assert sum(step.at < at(21) for each in traces for step in each.steps) == 7
    apart = [step for each in (first, second) for step in trace(each, policy).steps]
    assert len(apart) == 12


def test_a_breach_is_about_the_card_that_is_charged() -> None:
    given = Past(lost(), UNTIL)
    before = [given.attempt(1, Origin.STRIPE, given.opened, given.failure.attempts[0])]
    assert breach(given, before, [], given.opened) == "after a hard decline"
    assert breach(given, before, [], given.opened, PaymentMethodId("pm_2")) is None
    assert before[0].payment_method_id == METHOD


def test_the_interval_knows_that_the_chance_is_a_guess() -> None:
    header = Header.of(None, at(-30), UNTIL)
    failures = [lost(invoice=f"in_{n}", backups=[VISA | {"fingerprint": f"second_{n}"}]) for n in range(200)]
    without, ours = (compare(header, failures, {"p": each}, seed=1).outcomes[1] for each in (DAILY, BACKUPS))
    assert without.share.value < 0.05
    assert ours.share.low < 0.25
    assert 0.5 < ours.share.value < 0.75 < ours.share.high
    assert ours.totals.first_tries == 200
    assert ours.totals.by_first_try == 100


def test_what_happened_with_another_card_was_a_retry_too() -> None:
    result = happened(Past(lost(declined(1, method="pm_2"), paid(2, method="pm_2")), UNTIL))
    assert (result.by_retry, result.attempts) == (1, 2)


# -- the holdout -------------------------------------------------------------------------------------------------------


def test_the_holdout_is_only_watched() -> None:
    held = BACKUPS.model_copy(update={"holdout_share": 1.0})
    for given in (failure(declined(0)), lost(), failure(declined(0, "expired_card"))):
        found = trace(given, held)
        assert (found.watched, found.steps, found.messages, found.known) == (True, [], (), 0)


def test_in_the_holdout_stripes_retries_go_on() -> None:
    held = DAILY.model_copy(update={"holdout_share": 1.0, "driver": "auto"})
    found = trace(failure(declined(0), declined(3), paid(5)), held)
    assert (found.known, found.paid_at, found.messages) == (2, at(5), ())
    assert trace(failure(declined(0), declined(3)), held).steps == []


def test_the_holdout_is_drawn_as_in_the_worker_and_shown_apart() -> None:
    header, failures, _ = past(300, 5, ladder("stripe"))
    policy = CITADEL.model_copy(update={"holdout_share": 0.3})
    really, ours = compare(header, failures, {"p": policy}, seed=1).outcomes
    assert really.name == HAPPENED
    assert really.held is None
    assert ours.held is not None
    drawn = sum(in_holdout(policy, InvoiceId(each.invoice)) for each in failures)
    assert (ours.held.watched.failures, ours.held.acted_on.failures) == (drawn, 300 - drawn)
    assert (ours.held.watched.attempts, ours.held.watched.messages) == (0, 0)
    assert ours.held.watched.paid + ours.held.acted_on.paid == pytest.approx(ours.totals.paid)
    before = ours.held.watched_before.paid + ours.held.acted_on_before.paid
    assert before == pytest.approx(really.totals.paid)
    assert ours.held.watched.paid / drawn < ours.held.acted_on.paid / (300 - drawn)


def test_nobody_is_written_to_about_what_is_the_merchants_matter() -> None:
    assert trace(failure(declined(0, "rule")), DAILY).messages == ()
    assert len(trace(failure(declined(0, "generic_decline")), DAILY).messages) == 2
