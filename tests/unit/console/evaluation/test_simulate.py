"""The simulation is fair: one population for all, the same for a seed, and the live brain decides."""

from dataclasses import replace
from datetime import timedelta
from itertools import islice, pairwise

import pytest

from console.evaluation.play import MESSAGE, NOBODY, RETRY, play
from console.evaluation.population import DAY, NEVER, Failure, Fate, Kind, Population
from console.evaluation.simulate import simulate
from console.evaluation.strategies import Brain, Ladder, Strategy, common_ladders
from console.evaluation.worlds import as_made
from services.worker.recovery import DeclineCause, Policy

DEFAULT = Policy.default()
SILENT = DEFAULT.model_copy(update={"message_days": ()})


def failures(count: int, seed: int = 1) -> list[Failure]:
    return list(islice(Population(as_made(), seed), count))


def some(code: str) -> Failure:
    return next(each for each in Population(as_made(), 3) if each.kind.code == code)


def fated(failure: Failure, fate: Fate) -> Failure:
    """The failure with this fate and customers who never do anything."""
    return replace(failure, fate=fate, answers=(NEVER,) * 8, alone_at=NEVER, draws=(0.0,))


def test_a_seed_has_one_population() -> None:
    assert failures(500, seed=5) == failures(500, seed=5)
    assert failures(500, seed=5) != failures(500, seed=6)


def test_a_simulation_is_repeatable_and_strategies_do_not_disturb_each_other() -> None:
    alone = simulate([Brain("ours", DEFAULT)], failures=2_000, seed=2, world=as_made())
    among = simulate([Brain("ours", DEFAULT), *common_ladders(DEFAULT)], failures=2_000, seed=2, world=as_made())
    assert alone.tallies["ours"] == among.tallies["ours"]
    assert alone.by_cause.keys() == among.by_cause.keys()


@pytest.mark.parametrize("seed", range(3))
def test_the_brain_breaks_no_rule_and_the_blind_ladders_do(seed: int) -> None:
    result = simulate([Brain("ours", DEFAULT), *common_ladders(DEFAULT)], failures=3_000, seed=seed, world=as_made())
    assert result.tallies["ours"].breaches == 0
    assert result.tallies["polar 2-5-7-7"].breaches > 0


def test_the_brains_attempts_keep_the_policy() -> None:
    brain = Brain("ours", DEFAULT)
    for failure in failures(800):
        plan = brain.plan(failure.kind)
        times = [step.at for step in plan.attempts]
        assert len(times) <= DEFAULT.max_attempts
        assert all(failure.kind.opened_at < at < plan.ends for at in times)
        gap = timedelta(hours=DEFAULT.minimum_gap_hours).total_seconds()
        assert all(later - earlier >= gap for earlier, later in pairwise(times))
        assert plan.ends == failure.kind.opened_at + DEFAULT.window_days * DAY


@pytest.mark.parametrize("code", ["lost_card", "fraudulent", "authentication_required"])
def test_after_a_hard_decline_there_is_no_attempt_but_by_ladders_that_do_not_look(code: str) -> None:
    kind = some(code).kind
    ladders = {ladder.name: len(ladder.plan(kind).attempts) for ladder in common_ladders(DEFAULT)}
    assert len(Brain("ours", DEFAULT).plan(kind).attempts) == 0
    assert ladders == {"stripe 8 in 14 days": 0, "polar 2-5-7-7": 4, "kill bill 8-8-8": 3}


def test_attempts_end_with_the_first_that_goes_through() -> None:
    ladder = Ladder("daily", [timedelta(days=1)] * 5, SILENT, obeys_hard=True)
    failure = some("do_not_honor")
    opened = failure.kind.opened_at
    fate = play(ladder, fated(failure, Fate(((opened + 2.5 * DAY, NEVER),), 1.0)))
    assert (fate.by, fate.attempts, fate.paid_at) == (RETRY, 3, opened + 3 * DAY)
    assert play(ladder, fated(failure, Fate((), 0.0))).by == NOBODY


def test_money_that_came_and_went_between_two_attempts_is_missed() -> None:
    ladder = Ladder("weekly", [timedelta(days=7)] * 2, SILENT, obeys_hard=True)
    failure = some("insufficient_funds")
    opened = failure.kind.opened_at
    assert play(ladder, fated(failure, Fate(((opened + 2 * DAY, opened + 5 * DAY),), 1.0))).by == NOBODY


def test_what_a_customer_pays_first_ends_attempts_and_messages() -> None:
    ladder = Ladder("late", [timedelta(days=9)], DEFAULT, obeys_hard=True)
    failure = fated(some("do_not_honor"), Fate(((0.0, NEVER),), 1.0))
    answered = replace(failure, answers=(NEVER, 3600.0, *(NEVER,) * 6))
    fate = play(ladder, answered)
    assert (fate.by, fate.attempts, fate.messages) == (MESSAGE, 0, 2)


def test_a_renewed_card_is_tried_at_once_by_who_hears_of_it() -> None:
    failure = some("expired_card")
    at = failure.kind.opened_at + 3.3 * DAY
    renewed = fated(failure, Fate(((at, NEVER),), 1.0, updated_at=at))
    ours = play(Brain("ours", SILENT), renewed)
    theirs = play(common_ladders(SILENT)[0], renewed)
    assert ours.by == theirs.by == RETRY
    assert ours.paid_at == at < theirs.paid_at
    late = fated(failure, Fate(((at, NEVER),), 1.0, updated_at=failure.kind.opened_at + 30 * DAY))
    assert play(Brain("ours", SILENT), late).by == NOBODY


def test_a_strategy_compared_with_itself_differs_by_nothing() -> None:
    names: list[Strategy] = [Brain("one", DEFAULT), Brain("two", DEFAULT)]
    against = simulate(names, failures=1_000, seed=1, world=as_made()).against["two"]
    assert (against.share, against.plus_minus) == (0, 0)


def test_every_cause_is_there_and_adds_up() -> None:
    result = simulate([Brain("ours", DEFAULT)], failures=3_000, seed=4, world=as_made())
    assert sum(tallies["ours"].failures for tallies in result.by_cause.values()) == 3_000
    assert sum(tallies["ours"].paid for tallies in result.by_cause.values()) == result.tallies["ours"].paid
    assert DeclineCause.INSUFFICIENT_FUNDS in result.by_cause


def test_nothing_to_simulate_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to simulate"):
        simulate([], failures=1, seed=1, world=as_made())
    with pytest.raises(ValueError, match="nothing to simulate"):
        simulate([Brain("ours", DEFAULT)], failures=0, seed=1, world=as_made())


def test_failures_of_one_kind_share_their_plan() -> None:
    brain = Brain("ours", DEFAULT)
    kind = some("do_not_honor").kind
    alike = Kind(kind.code, kind.opened_at, kind.country, kind.network, kind.spread, kind.funding)
    assert brain.plan(kind) is brain.plan(alike)
    on_credit, on_debit = (brain.plan(replace(kind, funding=each)) for each in ("credit", "debit"))
    assert on_credit is not on_debit


def test_what_a_worker_knows_of_amounts_counts_where_a_policy_asks_for_it() -> None:
    small = {
        "name": "small",
        "when": {"amount_below": {"usd": 1_000}},
        "then": {"max_attempts": 1, "message_days": [0]},
    }
    policy = Policy.model_validate({"segments": [small]})
    brain = Brain("by amount", policy)
    of_amount = {
        each.amount.amount: each.kind
        for each in failures(900)
        if each.kind.code == "insufficient_funds" and each.kind.country == "US"
    }
    plans = {amount: brain.plan(kind) for amount, kind in of_amount.items()}
    assert (len(plans[900].attempts), len(plans[900].messages)) == (1, 1)
    assert (len(plans[1_900].attempts), len(plans[1_900].messages)) == (
        len(Brain("b", DEFAULT).plan(of_amount[1_900]).attempts),
        5,
    )
