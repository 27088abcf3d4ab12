"""Compares policies with what happened: totals, by cause and currency, with intervals.

Intervals are from a bootstrap over the failures: these are put into at most `GROUPS` random groups, groups are drawn
with replacement, the model is fitted again to each draw, with other guesses of what is not on record, and what happened
is counted in the same draw. So an interval includes the chance of other customers failing, and the error of the model's
estimate. It does not include that the model itself may be wrong.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Final

from console.evaluation.backtest.clearing import BACKUP_PRIOR, RATES, Model, Seen, fit
from console.evaluation.backtest.expected import Expected, expected, happened
from console.evaluation.backtest.learned import told
from console.evaluation.backtest.lessons import Lessons
from console.evaluation.backtest.past import METHOD, Past, breach
from console.evaluation.backtest.replay import Replay, learns_hours, learns_plans
from console.evaluation.backtest.trace import Trace
from console.evaluation.history import Failure, Header
from console.evaluation.resting import collector_rests
from services.worker.recovery import DeclineCause, Origin, PastAttempt, Policy
from shared.ids import PaymentMethodId

HAPPENED: Final = "what happened"
GROUPS: Final = 100
DRAWS: Final = 200
# The size of the sample that shows how much the totals change with the model; each draw evaluates the whole sample.
SAMPLE: Final = 400
# How uncertain a guess is: a factor with mean 1 whose logarithm has this standard deviation.
GUESS_SPREAD: Final = 1.0
LOW, HIGH = 0.025, 0.975


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(slots=True)
class Totals:
    """Sums over failures. `money`: minor units paid, by currency."""

    failures: int = 0
    by_retry: float = 0.0
    otherwise: float = 0.0
    attempts: float = 0.0
    estimated: float = 0.0
    messages: float = 0.0
    first_tries: float = 0.0
    by_first_try: float = 0.0
    money: dict[str, float] = field(default_factory=dict)

    def add(self, past: Past, each: Expected) -> None:
        """Count one."""
        self.failures += 1
        self.by_retry += each.by_retry
        self.otherwise += each.otherwise
        self.attempts += each.attempts
        self.estimated += each.estimated
        self.messages += each.messages
        self.first_tries += each.first_tries
        self.by_first_try += each.by_first_try
        currency = past.failure.currency
        self.money[currency] = self.money.get(currency, 0.0) + each.paid * past.failure.amount

    @property
    def paid(self) -> float:
        """The number of paid failures."""
        return self.by_retry + self.otherwise


@dataclass(frozen=True, slots=True)
class Held:
    """A policy's holdout: those that are only watched and those that it acts on, as expected and as they went."""

    watched: Totals
    watched_before: Totals
    acted_on: Totals
    acted_on_before: Totals


@dataclass(slots=True)
class PolicyOutcome:
    """One policy, or what happened: totals and intervals.

    `share` is of failures, `money` in minor units. `gain` and `money_gain` are the differences from what happened,
    failure by failure. `saved`: attempts that were made and would not have been; `added`: the other way round.
    `moved`: of those checked, the attempts that learned timing put at another time than the schedules'. `held`: None
    without a holdout.
    """

    name: str
    totals: Totals
    by_cause: dict[DeclineCause, Totals]
    share: Interval
    money: dict[str, Interval]
    gain: Interval | None
    money_gain: dict[str, Interval]
    saved: float
    added: float
    breaches: dict[str, int]
    attempts_checked: int
    moved: int = 0
    held: Held | None = None


@dataclass(slots=True)
class Comparison:
    """Everything that a report shows; the first of `outcomes` is what happened.

    `few`: failures that were ever retried. `retries`: how many there are to learn hours from; `recoveries`: to learn
    beliefs from, and `learned`: what these taught in the end, in sentences. `with_backups`: failures of
    which the history names other payment methods; `backups_tried`: how many of these were tried in the past, and how
    often that worked. `replayed_a_second`: failures, by policy, per second of this process's processor time.
    """

    header: Header
    failures: int
    still_open: int
    few: int
    retries: int
    recoveries: int
    learned: Sequence[str]
    with_backups: int
    backups_tried: int
    backups_worked: int
    seed: int
    outcomes: list[PolicyOutcome]
    due: dict[str, int]
    replayed_a_second: dict[str, float]
    seconds: float


def compare(header: Header, failures: Sequence[Failure], policies: Mapping[str, Policy], *, seed: int) -> Comparison:
    """Compare each policy with what happened. Raises ValueError without failures."""
    if not failures:
        raise ValueError("there is no failed renewal in the history")
    began = time.perf_counter()
    pasts = [Past(failure, header.until) for failure in failures]
    groups = _groups(pasts, seed)
    seen = [Seen() for _ in range(max(groups) + 1)]
    for past, group in zip(pasts, groups, strict=True):
        past.teach(seen[group])
    model = fit(_sum(seen))
    lessons = Lessons(pasts if any(learns_hours(each) or learns_plans(each) for each in policies.values()) else ())
    really = [happened(past) for past in pasts]
    traces: dict[str, list[Trace]] = {}
    replayed: dict[str, float] = {}
    with collector_rests():
        for name, policy in policies.items():
            replaying = time.process_time()
            traces[name] = _in_order(pasts, Replay(policy, lessons))
            replayed[name] = len(pasts) / max(time.process_time() - replaying, 1e-6)
    hoped = {name: [expected(trace, model) for trace in of_policy] for name, of_policy in traces.items()}
    draws = _Draws(pasts, groups, really, traces, hoped, _models(seen, model, seed), seed)
    outcomes = [_of_history(pasts, really, draws)]
    outcomes += [_of_policy(name, pasts, really, traces[name], hoped[name], draws) for name in policies]
    due: Counter[str] = Counter()
    for failure in failures:
        due[failure.currency] += failure.amount
    return Comparison(
        header=header,
        failures=len(pasts),
        still_open=sum(past.paid_at is None and past.ends_at == past.until for past in pasts),
        few=sum(bool(past.retries) for past in pasts),
        retries=lessons.retries,
        recoveries=lessons.beliefs.recoveries,
        learned=told(lessons.beliefs.last),
        with_backups=sum(bool(past.failure.backups) for past in pasts),
        backups_tried=sum(sum(each.backups) for each in seen),
        backups_worked=sum(each.backups[True] for each in seen),
        seed=seed,
        outcomes=outcomes,
        due=dict(due.most_common()),
        replayed_a_second=replayed,
        seconds=time.perf_counter() - began,
    )


def _in_order(pasts: Sequence[Past], replay: Replay) -> list[Trace]:
    by_past = {id(trace.past): trace for trace in replay(pasts)}
    return [by_past[id(past)] for past in pasts]


def _groups(pasts: Sequence[Past], seed: int) -> list[int]:
    """A random group for each failure: the same for an invoice and a seed, in groups of nearly equal size."""
    keys = [sha256(f"{seed}/{past.failure.invoice}".encode()).digest() for past in pasts]
    groups = [0] * len(pasts)
    for place, index in enumerate(sorted(range(len(pasts)), key=keys.__getitem__)):
        groups[index] = place % GROUPS
    return groups


def _sum(seen: Sequence[Seen], times: Sequence[int] | None = None) -> Seen:
    total = Seen()
    for number, each in enumerate(seen):
        much = 1 if times is None else times[number]
        if much:
            total.add(each, much)
    return total


@dataclass(frozen=True, slots=True)
class _Draw:
    """How often each group was drawn, and the model that was fitted to the draw."""

    times: tuple[int, ...]
    model: Model


def _models(seen: Sequence[Seen], start: Model, seed: int) -> list[_Draw]:
    random = Random(seed)  # noqa: S311 - a report has to be repeatable
    of_backups = Random(f"{seed}/backups")  # noqa: S311 - a report has to be repeatable
    draws = []
    for _ in range(DRAWS):
        drawn = Counter(random.choices(range(len(seen)), k=len(seen)))
        times = tuple(drawn.get(group, 0) for group in range(len(seen)))
        guess = {index: random.lognormvariate(-(GUESS_SPREAD**2) / 2, GUESS_SPREAD) for index in range(RATES)}
        drawn_seen = _sum(seen, times)
        failed, worked = (count + prior for count, prior in zip(drawn_seen.backups, BACKUP_PRIOR, strict=True))
        backup = of_backups.betavariate(worked, failed)
        draws.append(_Draw(times, fit(drawn_seen, start, guess, backup)))
    return draws


class _Draws:
    """The bootstrap: for each draw the share and the money, of what happened and of each policy."""

    def __init__(
        self,
        pasts: Sequence[Past],
        groups: Sequence[int],
        really: Sequence[Expected],
        traces: Mapping[str, Sequence[Trace]],
        hoped: Mapping[str, Sequence[Expected]],
        draws: Sequence[_Draw],
        seed: int,
    ) -> None:
        self._draws = draws
        self._count = max(groups) + 1
        self._sizes = self._by_group(groups, [1.0] * len(pasts))
        self.shares: dict[str, list[float]] = {}
        self.money: dict[str, dict[str, list[float]]] = {}
        currencies = sorted({past.failure.currency for past in pasts})
        weights = {c: [p.failure.amount * (p.failure.currency == c) for p in pasts] for c in currencies}
        random = Random(seed)  # noqa: S311 - a report has to be repeatable
        sample = sorted(random.sample(range(len(pasts)), min(SAMPLE, len(pasts))))
        for name, values in ((HAPPENED, really), *hoped.items()):
            moved = (
                self._moved([traces[name][i] for i in sample], [values[i] for i in sample]) if name in traces else None
            )
            paid = [each.paid for each in values]
            shares = self._drawn(groups, paid)
            means = [total / count for total, count in zip(shares, self._drawn_sizes(), strict=True)]
            self.shares[name] = _shifted(means, moved, [1.0] * len(sample), 1.0)
            self.money[name] = {
                c: _shifted(
                    self._drawn(groups, [w * p for w, p in zip(weights[c], paid, strict=True)]),
                    moved,
                    [weights[c][i] for i in sample],
                    sum(weights[c]),
                )
                for c in currencies
            }

    def _by_group(self, groups: Sequence[int], values: Sequence[float]) -> list[float]:
        totals = [0.0] * self._count
        for group, value in zip(groups, values, strict=True):
            totals[group] += value
        return totals

    def _drawn(self, groups: Sequence[int], values: Sequence[float]) -> list[float]:
        totals = self._by_group(groups, values)
        return [sum(n * total for n, total in zip(d.times, totals, strict=True)) for d in self._draws]

    def _drawn_sizes(self) -> list[float]:
        return [sum(n * size for n, size in zip(d.times, self._sizes, strict=True)) for d in self._draws]

    def _moved(self, traces: Sequence[Trace], values: Sequence[Expected]) -> list[list[float]]:
        """For each draw, how much each failure's chance to be paid changes with the model."""
        uncertain = [trace.paid_at is None and (bool(trace.steps) or trace.past.paid_by_retry) for trace in traces]
        return [
            [
                expected(trace, draw.model).paid - value.paid if moves else 0.0
                for trace, value, moves in zip(traces, values, uncertain, strict=True)
            ]
            for draw in self._draws
        ]


def _shifted(
    totals: Sequence[float], moved: Sequence[Sequence[float]] | None, weights: Sequence[float], whole: float
) -> list[float]:
    """The draws' totals, changed by what the sample shows about all failures (`whole`)."""
    of_sample = sum(weights)
    if moved is None or not of_sample:
        return list(totals)
    return [
        total + whole / of_sample * sum(w * m for w, m in zip(weights, each, strict=True))
        for total, each in zip(totals, moved, strict=True)
    ]


def _interval(value: float, draws: Sequence[float], least: float, most: float) -> Interval:
    """The middle 95 % of the draws, limited to possible values, and including the estimate."""
    in_order = sorted(draws)
    low = in_order[int(LOW * (len(in_order) - 1))]
    high = in_order[-1 - int((1 - HIGH) * (len(in_order) - 1))]
    return Interval(value, max(least, min(low, value)), min(most, max(high, value)))


def _totals(pasts: Sequence[Past], values: Sequence[Expected]) -> tuple[Totals, dict[DeclineCause, Totals]]:
    whole = Totals()
    causes: defaultdict[DeclineCause, Totals] = defaultdict(Totals)
    for past, each in zip(pasts, values, strict=True):
        whole.add(past, each)
        causes[past.cause].add(past, each)
    return whole, dict(causes)


def _due(pasts: Sequence[Past]) -> dict[str, int]:
    due: Counter[str] = Counter()
    for past in pasts:
        due[past.failure.currency] += past.failure.amount
    return due


def _of_history(pasts: Sequence[Past], really: Sequence[Expected], draws: _Draws) -> PolicyOutcome:
    totals, by_cause = _totals(pasts, really)
    due = _due(pasts)
    checked, broken = _breaches_of_history(pasts)
    return PolicyOutcome(
        name=HAPPENED,
        totals=totals,
        by_cause=by_cause,
        share=_interval(totals.paid / len(pasts), draws.shares[HAPPENED], 0.0, 1.0),
        money={c: _interval(totals.money[c], draws.money[HAPPENED][c], 0.0, due[c]) for c in totals.money},
        gain=None,
        money_gain={},
        saved=0.0,
        added=0.0,
        breaches=broken,
        attempts_checked=checked,
    )


def _of_policy(
    name: str,
    pasts: Sequence[Past],
    really: Sequence[Expected],
    traces: Sequence[Trace],
    hoped: Sequence[Expected],
    draws: _Draws,
) -> PolicyOutcome:
    totals, by_cause = _totals(pasts, hoped)
    before, _ = _totals(pasts, really)
    due = _due(pasts)
    broken = Counter(rule for trace in traces for rule in trace.breaches)
    gains = [one - other for one, other in zip(draws.shares[name], draws.shares[HAPPENED], strict=True)]
    money_gain = {}
    for c in totals.money:
        differences = [a - b for a, b in zip(draws.money[name][c], draws.money[HAPPENED][c], strict=True)]
        money_gain[c] = _interval(totals.money[c] - before.money[c], differences, -due[c], due[c])
    changes = [after.attempts - was.attempts for after, was in zip(hoped, really, strict=True)]
    return PolicyOutcome(
        name=name,
        totals=totals,
        by_cause=by_cause,
        share=_interval(totals.paid / len(pasts), draws.shares[name], 0.0, 1.0),
        money={c: _interval(totals.money[c], draws.money[name][c], 0.0, due[c]) for c in totals.money},
        gain=_interval((totals.paid - before.paid) / len(pasts), gains, -1.0, 1.0),
        money_gain=money_gain,
        saved=-sum(each for each in changes if each < 0),
        added=sum(each for each in changes if each > 0),
        breaches=dict(broken),
        attempts_checked=sum(trace.known + len(trace.steps) for trace in traces),
        moved=sum(trace.moved for trace in traces),
        held=_held(pasts, really, traces, hoped),
    )


def _held(
    pasts: Sequence[Past], really: Sequence[Expected], traces: Sequence[Trace], hoped: Sequence[Expected]
) -> Held | None:
    watched = [number for number, trace in enumerate(traces) if trace.watched]
    if not watched:
        return None
    acted_on = [number for number, trace in enumerate(traces) if not trace.watched]
    return Held(
        *(
            _totals([pasts[n] for n in group], [values[n] for n in group])[0]
            for group in (watched, acted_on)
            for values in (hoped, really)
        )
    )


def _breaches_of_history(pasts: Sequence[Past]) -> tuple[int, dict[str, int]]:
    """The number of retries that were made, and how many of them broke which rule."""
    on_card: defaultdict[str, list[tuple[Past, list[PastAttempt]]]] = defaultdict(list)
    made: list[tuple[Past, list[PastAttempt]]] = []
    for past in pasts:
        all_of_it = [past.failure.attempts[0], *past.retries]
        attempts = [
            past.attempt(
                number,
                Origin.STRIPE,
                past.opened.fromtimestamp(each.at, past.opened.tzinfo),
                each,
                METHOD if each.method is None else PaymentMethodId(each.method),
            )
            for number, each in enumerate(all_of_it, start=1)
        ]
        made.append((past, attempts))
        if past.card.fingerprint is not None:
            on_card[past.card.fingerprint].append(made[-1])
    broken: Counter[str] = Counter()
    checked = 0
    for past, attempts in made:
        others = on_card[past.card.fingerprint] if past.card.fingerprint is not None else ()
        elsewhere = [*past.elsewhere, *(each for other, theirs in others if other is not past for each in theirs)]
        for number, attempt in enumerate(attempts[1:], start=1):
            checked += 1
            method = attempt.payment_method_id or METHOD
            rule = breach(past, attempts[:number], elsewhere, attempt.at, method)
            if rule is not None:
                broken[rule] += 1
    return checked, dict(broken)
