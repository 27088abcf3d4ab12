"""A brain's plans where only its schedules can speak are the ones that it makes when it is asked for every decision."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from random import Random

import pytest

from console.evaluation import strategies
from console.evaluation.courses import Courses
from console.evaluation.harmless import harmless
from console.evaluation.population import DAY, Kind, Population
from console.evaluation.strategies import Brain, Ladder, Step, amount_of, is_breach
from console.evaluation.unfolding import Unfolding
from console.evaluation.worlds import as_made
from services.worker.recovery import BY_THE_RULES, Decision, Likeliest, Origin, Policy, Schedules, Timing, decide
from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.groups import REST, Group, Trait
from services.worker.recovery.belief.prior import prior
from tests.unit.console.evaluation.backtest import random_pasts

BELIEVES = Likeliest()
LIKELIEST = Policy.default().model_copy(
    update={"schedules": Schedules(insufficient_funds=BELIEVES, try_later=BELIEVES, limit_exceeded=BELIEVES)}
)


def kinds(count: int, seed: int) -> list[Kind]:
    """Kinds of a population, on cards of all networks and some countries, as the brain sees them."""
    random = Random(seed)  # noqa: S311 - a test has to be repeatable
    found = [each.kind for each in islice(Population(as_made(), seed), count)]
    return [
        replace(
            each,
            network=random.choice(("visa", "mastercard", "amex", "jcb")),
            country=random.choice((each.country, "IN", "BR", "NP")),
            funding=random.choice(("credit", None)),
            currency=None,
            amount=None,
        )
        for each in found
    ]


@pytest.mark.parametrize("seed", range(24))
def test_courses_are_what_the_brain_decides(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - see above
    policy = LIKELIEST if seed % 4 == 0 else random_pasts.policy(random)
    courses = Courses(policy, BY_THE_RULES)
    for kind in kinds(120, seed):
        quick = list(strategies._decided(policy, kind, BY_THE_RULES, courses))
        assert quick == list(strategies._decided(policy, kind, BY_THE_RULES)), (kind, policy.model_dump_json())


def _in_groups() -> Timing:
    """Who is paid when differs by funding, among debit cards by the amount, and among prepaid cards by the network."""

    def paid(day: int, by: Trait | None = None, **parts: Group) -> Group:
        belief = replace(prior(None), paydays={f"day_{day}": 1.0})
        return Group(belief, by, {**parts, REST: Group(belief)} if by else {})

    debit = paid(5, Trait.AMOUNT, small=paid(9), large=paid(22))
    root = paid(27, Trait.FUNDING, debit=debit, prepaid=paid(14, Trait.NETWORK, visa=paid(2)))
    return Timing(learned=Learned(root, {"usd": 1_900, "eur": 1_900}))


@pytest.mark.parametrize("explores", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_kinds_that_share_a_plan_are_those_of_which_the_same_was_learned(seed: int, *, explores: bool) -> None:
    random = Random(seed)  # noqa: S311 - see above
    policy = LIKELIEST.model_copy(update={"timing": "learned"})
    timing = replace(_in_groups(), explores=explores)
    brain, found = Brain("ours", policy, timing), defaultdict(set)
    for kind in kinds(60, seed):
        opened_at = kind.opened_at - kind.opened_at % (14 * DAY)
        for funding in ("debit", "prepaid", "credit", None):
            amount = random.choice((900, 9_900))
            given = replace(kind, opened_at=opened_at, funding=funding, currency="usd", amount=amount)
            alone = list(strategies._decided(policy, given, timing))
            assert list(brain.plan(given).attempts) == alone, given
            found[given.code, given.country, opened_at].add(tuple(step.at // DAY for step in alone))
    assert max(map(len, found.values())) > 2, "it matters which group a failure belongs to"


def test_the_brain_is_asked_only_where_more_than_a_schedule_can_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def counting(*given: object, **named: object) -> Decision:
        asked.append(given)
        return decide(*given, **named)  # type: ignore[arg-type]  # as it was given

    monkeypatch.setattr(strategies, "decide", counting)
    soft = [each for each in kinds(300, 1) if each.code == "insufficient_funds" and each.network != "jcb"]
    soft = [each for each in soft if each.country == "US"]
    brain = Brain("ours", LIKELIEST)
    assert sum(len(brain.plan(each).attempts) for each in soft) > 3 * len(soft) > 30
    assert not asked


def test_ladders_are_held_against_the_rules() -> None:
    ladder = Ladder("hourly", [timedelta(hours=1)] * 40, Policy.default(), obeys_hard=False)
    broken = 0
    for kind in kinds(60, 2):
        steps = list(ladder.plan(kind).attempts)
        tried = [strategies.declined(kind, 1, Origin.STRIPE, kind.opened)]
        for number, step in enumerate(steps):
            at = kind.opened + timedelta(hours=number + 1)
            assert step == Step(at.timestamp(), is_breach(kind, tried, at))
            assert not (step.breach and len(tried) <= harmless(kind.card, amount_of(kind), kind.decline))
            broken += step.breach
            tried.append(strategies.declined(kind, number + 2, Origin.CITADEL, at))
    assert broken > 0


def test_what_unfolds_is_worked_out_once_and_only_as_far_as_it_is_read() -> None:
    worked_out: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(5):
            worked_out.append(number)
            yield number

    found = Unfolding(numbers())
    assert found[1] == 1
    assert worked_out == [0, 1]
    one, other = iter(found), iter(found)
    assert [next(one), next(one), next(one), next(other)] == [0, 1, 2, 0]
    assert worked_out == [0, 1, 2]
    assert (len(found), list(found), list(one)) == (5, [0, 1, 2, 3, 4], [3, 4])
    assert worked_out == [0, 1, 2, 3, 4]
    with pytest.raises(IndexError):
        found[5]
