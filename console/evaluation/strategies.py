"""Strategies as plans: the brain under a policy, and the fixed ladders that others use.

A plan is what a strategy does about one kind of failure while it is unpaid. It is computed step by step, only as far as
needed, and kept, because failures of one kind share it.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol, assert_never

from console.evaluation.courses import Courses
from console.evaluation.harmless import harmless
from console.evaluation.ladders import LADDERS
from console.evaluation.population import DAY, Failure, Kind
from console.evaluation.unfolding import Unfolding
from console.evaluation.writing import Writer
from services.worker.recovery import (
    BY_THE_RULES,
    CURRENT_RULES,
    Allowed,
    AskNewMethod,
    AttemptNow,
    AttemptResult,
    AwaitPayment,
    Close,
    Decline,
    DeclineCause,
    InvoiceStatus,
    InvoiceTruth,
    MessageKind,
    Origin,
    PastAttempt,
    Policy,
    RecoveryFacts,
    RequireAction,
    Timing,
    Wait,
    check,
    classify,
    decide,
)
from services.worker.recovery.belief.beliefs import traits_of
from services.worker.recovery.belief.customers import Earlier
from services.worker.recovery.belief.learning import Outcome
from services.worker.recovery.belief.parts import CREDIT
from services.worker.recovery.segments import segment_facts
from shared.ids import PaymentMethodId
from shared.money import Money
from shared.policy.segments import segment_of

# Limits count attempts for the same amount; without segments no plan depends on which amount that is.
SOME_AMOUNT: Final = Money(1000, "usd")
RUPEES: Final = Money(1000, "inr")
METHOD: Final = PaymentMethodId("pm_synthetic")


@dataclass(slots=True)
class Plan:
    """Attempts (their times, and whether a rule forbids each) and messages, in seconds since the epoch.

    `ends`: no attempt from then on.
    """

    attempts: Sequence["Step"]
    messages: tuple[float, ...]
    ends: float


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt. `breach`: a hard decline's or a network's rule forbids it. `chance`: how likely it was said to be to
    succeed, if all before it have failed; None where nobody said."""

    at: float
    breach: bool
    chance: float | None = None


class Strategy(Protocol):
    """A way to retry."""

    @property
    def name(self) -> str:
        """What it is called in reports."""

    @property
    def hears_of_new_cards(self) -> bool:
        """Whether it tries at once when an event says that a card was renewed."""

    @property
    def predicts(self) -> bool:
        """Whether it says how likely its attempts are to succeed."""

    def plan(self, kind: Kind) -> Plan:
        """What it does about failures of a kind, of customers of whom nothing is known."""

    def plan_of(self, failure: Failure) -> Plan:
        """What it does about this failure."""


class Planned:
    """Keeps a strategy's plans by kind. `in_detail`: whether its plans depend on funding, currency and amount, too;
    `by_credit`: on whether it is a credit card; `by_group`: on the group that it gives a kind.

    Plans in detail are many more, and each takes about a millisecond: a simulation is slower with them.
    """

    hears_of_new_cards = False
    predicts = False

    def __init__(
        self,
        name: str,
        messages: Policy,
        steps: Callable[[Kind], Iterator[Step]],
        *,
        in_detail: bool = False,
        by_credit: bool = False,
        by_group: Callable[[Kind], Hashable] | None = None,
        writer: Writer | None = None,
    ) -> None:
        self._name = name
        self._messages = messages
        self._steps = steps
        self._in_detail, self._by_credit, self._by_group = in_detail, by_credit, by_group
        self._plans: dict[Hashable, Plan] = {}
        self._writer = writer or Writer()

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self._name

    def plan(self, kind: Kind) -> Plan:
        """What it does about failures of a kind."""
        credit = self._by_credit and kind.funding == CREDIT
        group = self._by_group(kind) if self._by_group else None
        key = (kind.code, kind.opened_at, kind.country, kind.network, kind.spread, credit, group)
        plan = self._plans.get(kind if self._in_detail else key)
        if plan is None and self._in_detail:
            plan = self._plans[kind] = self._planned(kind)
        elif plan is None:
            plan = self._plans[key] = self._planned(self._known(kind))
        return plan

    def plan_of(self, failure: Failure) -> Plan:
        """What it does about this failure: as about all of its kind."""
        return self.plan(failure.kind)

    def _known(self, kind: Kind) -> Kind:
        """What of a kind its plan depends on."""
        # Whoever plans by groups looks at all of it, and the first kind of a group stands for the others.
        if self._in_detail or self._by_group is not None:
            return kind
        credit = self._by_credit and kind.funding == CREDIT
        return replace(kind, funding=CREDIT if credit else None, currency=None, amount=None)

    def _planned(self, kind: Kind, steps: Callable[[Kind], Iterator[Step]] | None = None) -> Plan:
        segment = segment_for(self._messages, kind)
        policy = self._messages if segment is None else self._messages.segment(segment)
        messages = self._writer.messages(policy, segment, kind, asks_for(kind.decline))
        return Plan(Unfolding((steps or self._steps)(kind)), messages, kind.opened_at + policy.window_days * DAY)


class Brain(Planned):
    """The brain under a policy: calls `decide` as the worker does. `timing` is used if the policy's is `learned`.

    It plans in detail where the policy has segments, which may ask for amounts.
    """

    hears_of_new_cards = True

    def __init__(self, name: str, policy: Policy, timing: Timing = BY_THE_RULES) -> None:
        group = _group_by(timing) if policy.timing == "learned" else None
        courses = Courses(policy, timing, group)
        self._policy, self._timing = policy, timing
        super().__init__(
            name,
            policy,
            lambda kind: _decided(policy, kind, timing, courses),
            in_detail=bool(policy.segments),
            by_credit=policy.believes,
            by_group=group,
            writer=Writer(timing.answers) if policy.timing == "learned" else None,
        )
        self.predicts = policy.believes

    def plan_after(self, kind: Kind, outcomes: tuple[Outcome, ...]) -> Plan:
        """What it does about a failure of a customer whose earlier ones ended so. It is not kept."""
        timing = replace(self._timing, earlier=Earlier(outcomes, kind.opened))
        courses = Courses(self._policy, timing)
        return self._planned(self._known(kind), lambda known: _decided(self._policy, known, timing, courses))


def _group_by(timing: Timing) -> Callable[[Kind], Hashable] | None:
    """The group of a kind, among those that something was learned about; None if there are none."""
    learned = timing.learned
    if learned is None or learned.root.by is None:
        return None
    return lambda kind: learned.path(traits_of(kind.card, amount_of(kind)))


class Ladder(Planned):
    """Attempts at fixed gaps, whatever the decline; `obeys_hard`: none after a hard decline.

    It sends the messages of the policy `messages`, so that only the attempts differ from that policy.
    """

    def __init__(self, name: str, gaps: Sequence[timedelta], messages: Policy, *, obeys_hard: bool) -> None:
        super().__init__(name, messages, lambda kind: _climbed(gaps, kind, obeys_hard=obeys_hard))


def common_ladders(messages: Policy) -> list[Strategy]:
    """The ladders that others use, with the messages of the policy `messages`."""
    return [Ladder(each.name, each.gaps, messages, obeys_hard=each.obeys_hard) for each in LADDERS]


def segment_for(policy: Policy, kind: Kind) -> str | None:
    """The segment of the policy that a failure of this kind is in."""
    if not policy.segments:
        return None
    return segment_of(policy, segment_facts(invoice_of(kind), classify(kind.decline).cause), kind.opened)


def invoice_of(kind: Kind) -> InvoiceTruth:
    """The invoice as the worker would read it."""
    return InvoiceTruth(InvoiceStatus.OPEN, amount_of(kind), payment_method_id=METHOD, card=kind.card)


def amount_of(kind: Kind) -> Money:
    """What is due."""
    if kind.amount is not None and kind.currency is not None:
        return Money(kind.amount, kind.currency)
    return RUPEES if kind.country == "IN" else SOME_AMOUNT


def declined(kind: Kind, number: int, origin: Origin, at: datetime) -> PastAttempt:
    """An attempt that was declined like the first one."""
    said, card = AttemptResult.DECLINED, kind.card
    return PastAttempt(number, origin, said, at, METHOD, card.fingerprint, amount_of(kind), kind.decline)


def _decided(policy: Policy, kind: Kind, timing: Timing, courses: Courses | None = None) -> Iterator[Step]:
    """The brain's attempts, if each is declined like the first one. Without `courses` it is asked for each decision."""
    now, invoice = kind.opened, invoice_of(kind)
    facts = RecoveryFacts(now, jitter_key=f"simulated/{kind.spread}")
    tried = _Tried(kind)
    course = courses.of(kind, facts, invoice) if courses else None
    for due in () if course is None else course:
        if tried.breach(due.at):
            break  # and the brain has to say what then
        now = due.at
        yield Step(now.timestamp(), breach=False, chance=due.planned[0].chance if due.planned else None)
        tried.add(now)
    else:
        if course is not None:
            return
    while True:
        decision = decide(policy, facts, invoice, tried.attempts, now, timing=timing)
        match decision:
            case AttemptNow():
                chance = decision.prediction.chance if decision.prediction else None
                yield Step(now.timestamp(), tried.breach(now), chance)
                tried.add(now)
            case Wait() | AwaitPayment():
                now = decision.until
            case AskNewMethod() | RequireAction() | Close():
                return  # from here on only the customer can act
            case _:
                assert_never(decision)


def _climbed(gaps: Sequence[timedelta], kind: Kind, *, obeys_hard: bool) -> Iterator[Step]:
    if obeys_hard and classify(kind.decline).hard:
        return
    now, tried = kind.opened, _Tried(kind)
    for gap in gaps:
        now += gap
        yield Step(now.timestamp(), tried.breach(now))
        tried.add(now)


class _Tried:
    """The attempts on a kind's card so far, each declined like the first."""

    __slots__ = ("_harmless", "_kind", "_made", "_times")

    def __init__(self, kind: Kind) -> None:
        self._kind, self._times = kind, [kind.opened]
        self._made: list[PastAttempt] = []
        self._harmless = harmless(kind.card, amount_of(kind), kind.decline)

    @property
    def attempts(self) -> list[PastAttempt]:
        """As the brain is told of them."""
        for number in range(len(self._made), len(self._times)):
            origin = Origin.CITADEL if number else Origin.STRIPE
            self._made.append(declined(self._kind, number + 1, origin, self._times[number]))
        return self._made

    def add(self, at: datetime) -> None:
        """One of ours."""
        self._times.append(at)

    def breach(self, at: datetime) -> bool:
        """Whether one more then breaks a rule."""
        return len(self._times) > self._harmless and is_breach(self._kind, self.attempts, at)


def is_breach(kind: Kind, attempts: Sequence[PastAttempt], now: datetime) -> bool:
    """Whether an attempt now breaks a rule: after a hard decline, or against the card's network."""
    if classify(kind.decline).hard:
        return True
    verdict = check(CURRENT_RULES, kind.card, attempts, amount_of(kind), now)
    return not isinstance(verdict, Allowed)


def asks_for(decline: Decline) -> MessageKind:
    """What messages ask of the customer after this decline."""
    understood = classify(decline)
    if understood.cause is DeclineCause.AUTHENTICATION_REQUIRED:
        return MessageKind.ACTION_REQUIRED
    return MessageKind.NEW_METHOD_NEEDED if understood.hard else MessageKind.PAYMENT_FAILED
