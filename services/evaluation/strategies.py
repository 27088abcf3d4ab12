"""Ways to retry, as plans: the brain under a policy, and the fixed ladders that others use.

A plan is what a strategy does about one kind of failure as long as nothing is paid. It is worked out step by step as
far as somebody asks, and kept: failures of one kind share it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final, Protocol, assert_never

from services.evaluation.population import DAY, Kind
from services.worker.recovery import (
    CURRENT_RULES,
    Allowed,
    AskNewMethod,
    AttemptNow,
    AttemptResult,
    Close,
    DeclineCause,
    InvoiceStatus,
    InvoiceTruth,
    MessageKind,
    Origin,
    PastAttempt,
    Policy,
    RecoveryFacts,
    RequireAction,
    SentMessage,
    Wait,
    check,
    classify,
    decide,
    next_message,
)
from shared.money import Money

# Limits count attempts for the same amount: which amount it is makes no difference to a plan.
SOME_AMOUNT: Final = Money(1000, "usd")
RUPEES: Final = Money(1000, "inr")
METHOD: Final = "pm_synthetic"


@dataclass(slots=True)
class Plan:
    """Attempts (their times, and whether a rule forbids each) and messages, in seconds since the epoch.

    `ends`: from then on nothing is tried.
    """

    attempts: Sequence["Step"]
    messages: tuple[float, ...]
    ends: float


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt. `breach`: a hard decline's or a network's rule forbids it."""

    at: float
    breach: bool


class Strategy(Protocol):
    """A way to retry."""

    @property
    def name(self) -> str:
        """What it is called in reports."""

    @property
    def hears_of_new_cards(self) -> bool:
        """Whether it tries at once when Stripe says that a card was renewed."""

    def plan(self, kind: Kind) -> Plan:
        """What it does about failures of a kind."""


@dataclass(slots=True)
class _Unfolding(Sequence[Step]):
    """Steps that are worked out when they are first asked for."""

    source: Iterator[Step]
    known: list[Step] = field(default_factory=list)

    def __getitem__(self, index: int) -> Step:  # type: ignore[override]  # nobody slices a plan
        while len(self.known) <= index:
            step = next(self.source, None)
            if step is None:
                raise IndexError(index)
            self.known.append(step)
        return self.known[index]

    def __len__(self) -> int:
        self.known.extend(self.source)
        return len(self.known)


class _Planned:
    """Keeps a strategy's plans by kind."""

    hears_of_new_cards = False

    def __init__(self, name: str, messages: Policy, steps: Callable[[Kind], Iterator[Step]]) -> None:
        self._name = name
        self._messages = messages
        self._steps = steps
        self._plans: dict[Kind, Plan] = {}

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self._name

    def plan(self, kind: Kind) -> Plan:
        """What it does about failures of a kind."""
        plan = self._plans.get(kind)
        if plan is None:
            steps, messages = _Unfolding(self._steps(kind)), _messages(self._messages, kind)
            ends = kind.opened_at + self._messages.window_days * DAY
            plan = self._plans[kind] = Plan(steps, messages, ends)
        return plan


class Brain(_Planned):
    """The brain under a policy: `decide`, asked as the worker asks it."""

    hears_of_new_cards = True

    def __init__(self, name: str, policy: Policy) -> None:
        super().__init__(name, policy, lambda kind: _decided(policy, kind))


class Ladder(_Planned):
    """Attempts at fixed gaps, whatever the bank said; `obeys_hard`: but none after a hard decline.

    Its messages are those of `messages`, so that a comparison with a policy shows the attempts alone.
    """

    def __init__(self, name: str, gaps: Sequence[timedelta], messages: Policy, *, obeys_hard: bool) -> None:
        super().__init__(name, messages, lambda kind: _climbed(gaps, kind, obeys_hard=obeys_hard))


def common_ladders(messages: Policy) -> list[Strategy]:
    """What others do when a renewal fails.

    Stripe: "8 tries within 2 weeks", its recommended default; its times are learned and not published, so they are
    spread evenly here: https://docs.stripe.com/billing/revenue-recovery/smart-retries
    Polar: after 2, 5, 7 and 7 days, as its source code has it.
    Kill Bill: three retries, 8 days apart, the default of its `org.killbill.payment.retry.days`.
    """
    day = timedelta(days=1)
    return [
        Ladder("stripe 8 in 14 days", [day * 14 / 8] * 8, messages, obeys_hard=True),
        Ladder("polar 2-5-7-7", [2 * day, 5 * day, 7 * day, 7 * day], messages, obeys_hard=False),
        Ladder("kill bill 8-8-8", [8 * day] * 3, messages, obeys_hard=False),
    ]


def _invoice(kind: Kind) -> InvoiceTruth:
    amount = RUPEES if kind.country == "IN" else SOME_AMOUNT
    return InvoiceTruth(InvoiceStatus.OPEN, amount, payment_method_id=METHOD, card=kind.card)


def _declined(kind: Kind, number: int, origin: Origin, at: datetime) -> PastAttempt:
    amount = _invoice(kind).amount_remaining
    return PastAttempt(number, origin, AttemptResult.DECLINED, at, METHOD, kind.card.fingerprint, amount, kind.decline)


def _decided(policy: Policy, kind: Kind) -> Iterator[Step]:
    """The brain's attempts, each of them declined as the first one was."""
    now, invoice = kind.opened, _invoice(kind)
    facts = RecoveryFacts(now, jitter_key=f"simulated/{kind.spread}")
    attempts = [_declined(kind, 1, Origin.STRIPE, now)]
    while True:
        decision = decide(policy, facts, invoice, attempts, now)
        match decision:
            case AttemptNow():
                yield Step(now.timestamp(), _is_breach(kind, attempts, now))
                attempts.append(_declined(kind, len(attempts) + 1, Origin.CITADEL, now))
            case Wait():
                now = decision.until
            case AskNewMethod() | RequireAction() | Close():
                return  # what follows is the customer's part
            case _:
                assert_never(decision)


def _climbed(gaps: Sequence[timedelta], kind: Kind, *, obeys_hard: bool) -> Iterator[Step]:
    if obeys_hard and classify(kind.decline).hard:
        return
    now = kind.opened
    attempts = [_declined(kind, 1, Origin.STRIPE, now)]
    for gap in gaps:
        now += gap
        yield Step(now.timestamp(), _is_breach(kind, attempts, now))
        attempts.append(_declined(kind, len(attempts) + 1, Origin.CITADEL, now))


def _is_breach(kind: Kind, attempts: Sequence[PastAttempt], now: datetime) -> bool:
    """Whether an attempt now breaks a rule: after a hard decline, or against the card's network."""
    if classify(kind.decline).hard:
        return True
    verdict = check(CURRENT_RULES, kind.card, attempts, _invoice(kind).amount_remaining, now)
    return not isinstance(verdict, Allowed)


def _messages(policy: Policy, kind: Kind) -> tuple[float, ...]:
    """When messages go out, as the worker asks for them."""
    return tuple(kind.opened_at + after for after in _message_gaps(policy, _kind_of_message(kind)))


@cache
def _message_gaps(policy: Policy, asks_for: MessageKind) -> tuple[float, ...]:
    opened = datetime(2026, 1, 1, tzinfo=UTC)  # messages go by days since the opening: any opening will do
    sent: list[SentMessage] = []
    now = opened
    while (due := next_message(policy, opened, sent, asks_for, now)) is not None:
        now = max(now, due)
        sent.append(SentMessage(asks_for, now))
    return tuple((message.at - opened).total_seconds() for message in sent)


def _kind_of_message(kind: Kind) -> MessageKind:
    understood = classify(kind.decline)
    if understood.cause is DeclineCause.AUTHENTICATION_REQUIRED:
        return MessageKind.ACTION_REQUIRED
    return MessageKind.NEW_METHOD_NEEDED if understood.hard else MessageKind.PAYMENT_FAILED
