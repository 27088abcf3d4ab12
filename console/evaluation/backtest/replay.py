"""Replays a policy over the past: calls the live brain with what was known at each time.

The way of a failure has all attempts that the policy could make, as if each attempt without a known success failed with
the last decline. `clearing` estimates how far along this way a failure gets. So the rules are checked against more
attempts than would really have been made.

Known outcomes are taken from history. As long as the policy's attempts fall within an hour of those made, with
none added and none left out, each outcome is known. With the drivers `auto` and `stripe`, Stripe's retries stay as they
were. The way ends when the customer paid or the invoice was given up.

An expired card is not tried until an event of Stripe's says that the network has renewed it, and then at once. History
shows the latest time of that event: the retry that succeeded.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Final, assert_never

from console.evaluation.backtest.clearing import HOUR, Exposure, exposure, grid_place
from console.evaluation.backtest.past import Past, breach
from services.worker.recovery import (
    AskNewMethod,
    AttemptNow,
    AwaitPayment,
    Close,
    DeclineCause,
    MessageKind,
    Origin,
    PastAttempt,
    Policy,
    RecoveryFacts,
    RequireAction,
    SentMessage,
    Wait,
    decide,
    next_message,
    segment_facts,
)
from shared.ids import InvoiceId
from shared.policy.segments import segment_of

SAME_TIME: Final = HOUR
LOOK_BACK: Final = timedelta(days=45)


@dataclass(slots=True)
class Step:
    """An attempt whose outcome must be estimated; unix seconds.

    `on_news`: it is made only when an event says that the card was renewed, at some time before `at`.
    """

    at: float
    exposure: Exposure
    on_news: bool = False


@dataclass(slots=True)
class Way:
    """What a policy does about a failure while it is unpaid; unix seconds.

    `known` attempts came out as history shows; with `paid_at` the last of them paid. Then come `steps`, up to
    `ends_at`.
    """

    past: Past
    ends_at: float
    known: int = 0
    paid_at: float | None = None
    steps: list[Step] = field(default_factory=list)
    messages: tuple[float, ...] = ()
    breaches: list[str] = field(default_factory=list)


class Replay:
    """One policy, without its holdout: a back-test is about the invoices that the policy acts on."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy.model_copy(update={"holdout_share": 0.0})
        self.sees_stripe = policy.driver != "citadel"
        self._gaps: dict[tuple[str | None, MessageKind], tuple[float, ...]] = {}

    def __call__(self, failures: Iterable[Past]) -> Iterator[Way]:
        """The way of each failure. Those on one card are replayed together, because the networks count by card."""
        on_card: defaultdict[str, list[Past]] = defaultdict(list)
        for past in failures:
            fingerprint = past.card.fingerprint
            if fingerprint is None:
                yield from self._group([past])
            else:
                on_card[fingerprint].append(past)
        for group in on_card.values():
            yield from self._group(group)

    def message_gaps(self, segment: str | None, asks: Sequence[tuple[float, MessageKind]]) -> tuple[float, ...]:
        """Seconds from the failure to each message; `asks` says what the customer is asked for from when on."""
        policy = self.policy.segment(segment)
        if len(asks) > 1 or asks[0][0] > 0:
            return _message_gaps(policy, asks)
        key = (segment, asks[0][1])
        if key not in self._gaps:
            self._gaps[key] = _message_gaps(policy, asks)
        return self._gaps[key]

    def _group(self, group: Sequence[Past]) -> list[Way]:
        runs = [_Run(self, past) for past in group]
        if len(runs) == 1:
            (run,) = runs
            while run.step(()):
                pass
        else:
            waiting = [(run.now, number) for number, run in enumerate(runs)]
            heapify(waiting)
            while waiting:
                _, number = heappop(waiting)
                run = runs[number]
                others = [each for other in runs if other is not run for each in other.attempts]
                if run.step(others):
                    heappush(waiting, (run.now, number))
        return [run.finished() for run in runs]


class _Run:
    """One failure under one policy, decision by decision."""

    def __init__(self, replay: Replay, past: Past) -> None:
        self._replay = replay
        self._policy = replay.policy
        self._past = past
        self.now = past.opened
        self._facts = RecoveryFacts(
            past.opened, jitter_key=past.failure.invoice, invoice_id=InvoiceId(past.failure.invoice)
        )
        self._said = past.failure.attempts[0]
        self.attempts = [past.attempt(1, Origin.STRIPE, past.opened, self._said)]
        self._way = Way(past, past.ends_at)
        self._ahead = list(reversed(past.retries))
        self._stripe_goes_on = replay.sees_stripe
        self._on_record = True
        self._over = False
        self._asks: list[tuple[datetime, MessageKind]] = []
        self._messages_end: float = min(past.ends_at, past.opened_at + self._policy.window_days * 86_400)

    def step(self, others: Sequence[PastAttempt]) -> bool:
        """Decide at `now`, and go on to the next time. False: no further attempt follows."""
        next_known = self._ahead[-1] if self._ahead else None
        theirs = next_known if self._stripe_goes_on else None
        if self.now.timestamp() >= self._way.ends_at:
            return False
        if self._over:
            return theirs is not None and self._stripe_tries()
        invoice, now = self._past.invoice, self.now
        if theirs is not None:
            invoice = replace(invoice, stripe_next_attempt_at=datetime.fromtimestamp(theirs.at, UTC))
        elsewhere = self._elsewhere(others)
        decision = decide(self._policy, self._facts, invoice, self.attempts, now, same_card_elsewhere=elsewhere)
        match decision:
            case AttemptNow():
                return self._try(elsewhere)
            case Wait() | AwaitPayment():
                self._ask(MessageKind.PAYMENT_FAILED)
                if theirs is not None and theirs.at <= decision.until.timestamp():
                    return self._stripe_tries()
                self.now = decision.until
                return True
            case RequireAction() | AskNewMethod():
                needs_action = isinstance(decision, RequireAction)
                self._ask(MessageKind.ACTION_REQUIRED if needs_action else MessageKind.NEW_METHOD_NEEDED)
                if self._past.cause is DeclineCause.EXPIRED_CARD and theirs is None:
                    self._wait_for_renewal()
            case Close():
                self._messages_end = min(self._messages_end, now.timestamp())
            case _:
                assert_never(decision)
        self._over = True  # from here on only the customer or Stripe acts
        return theirs is not None and self._stripe_tries()

    def finished(self) -> Way:
        """The way, when no further attempt follows."""
        self._way.messages = self._messages()
        return self._way

    def _elsewhere(self, others: Sequence[PastAttempt]) -> list[PastAttempt]:
        """The card's other charges that were known then and still count for a limit."""
        if not others and not self._past.failure.elsewhere:
            return []
        since = self.now - LOOK_BACK
        return [each for each in (*self._past.elsewhere, *others) if since <= each.at <= self.now]

    def _stripe_tries(self) -> bool:
        """Make Stripe's own next attempt, as it happened."""
        said = self._ahead.pop()
        if said.at >= self._way.ends_at:
            return False
        self.now = max(self.now, datetime.fromtimestamp(said.at, UTC))
        self._way.known += 1
        if said.result == "succeeded":
            self._way.paid_at = said.at
            return False
        self._said = said
        self.attempts.append(self._past.attempt(len(self.attempts) + 1, Origin.STRIPE, self.now, said))
        return True

    def _try(self, elsewhere: list[PastAttempt]) -> bool:
        """Make our attempt now: its outcome is known if history has the same attempt, else estimated."""
        past, way, at = self._past, self._way, self.now.timestamp()
        broken = breach(past, self.attempts, elsewhere, self.now)
        if broken is not None:
            way.breaches.append(broken)
        said = self._ahead[-1] if self._ahead else None
        if self._on_record and said is not None and abs(said.at - at) <= SAME_TIME:
            self._ahead.pop()
            way.known += 1
            if said.result == "succeeded":
                way.paid_at = at
                return False
            self._said = said
        else:
            self._on_record = False
            before = int(self.attempts[-1].at.timestamp())
            payday = past.payday_between(before, int(at))
            seen = exposure(grid_place(past.hours(before)), grid_place(past.hours(at)), payday)
            way.steps.append(Step(at, seen))
        self.attempts.append(past.attempt(len(self.attempts) + 1, Origin.CITADEL, self.now, self._said))
        return True

    def _wait_for_renewal(self) -> None:
        """Try at once when an event says that the card was renewed, up to the end of the window."""
        past, way = self._past, self._way
        ends = min(way.ends_at, past.opened_at + self._policy.window_days * 86_400)
        declined = past.opened_at
        while self._ahead and self._ahead[-1].at < ends:
            said = self._ahead.pop()
            if said.result == "succeeded":
                way.known += 1
                way.paid_at = said.at
                return
            declined = said.at
        seen = exposure(grid_place(past.hours(declined)), grid_place(past.hours(ends)), payday=False)
        way.steps.append(Step(ends, seen, on_news=True))

    def _ask(self, kind: MessageKind) -> None:
        if not self._asks or self._asks[-1][1] is not kind:
            self._asks.append((self.now, kind))

    def _messages(self) -> tuple[float, ...]:
        """When messages go out, as the worker asks for them."""
        if not self._asks:
            return ()
        past, policy = self._past, self._policy
        segment = segment_of(policy, segment_facts(past.invoice, past.cause), past.opened) if policy.segments else None
        asks = [((at - past.opened).total_seconds(), kind) for at, kind in self._asks]
        times = (past.opened_at + gap for gap in self._replay.message_gaps(segment, asks))
        return tuple(at for at in times if at < self._messages_end)


def _message_gaps(policy: Policy, asks: Sequence[tuple[float, MessageKind]]) -> tuple[float, ...]:
    opened = datetime(2026, 1, 1, tzinfo=UTC)  # any time: messages depend on the days since the opening only
    sent: list[SentMessage] = []
    for number, (after, kind) in enumerate(asks):
        now = opened + timedelta(seconds=after)
        until = opened + timedelta(seconds=asks[number + 1][0]) if number + 1 < len(asks) else None
        while (due := next_message(policy, opened, sent, kind, now)) is not None:
            now = max(now, due)
            if until is not None and now >= until:
                break
            sent.append(SentMessage(kind, now))
    return tuple((message.at - opened).total_seconds() for message in sent)
