"""One failure under one policy, decision by decision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from console.evaluation.backtest.clearing import DAY, HOUR, exposure, grid_place, payday_between
from console.evaluation.backtest.lessons import Lessons
from console.evaluation.backtest.messages import MessageDays
from console.evaluation.backtest.past import METHOD, Past, answered, breach, decline_of, understood
from console.evaluation.backtest.shortcut import Shortcut, Shortcuts, codes_of
from console.evaluation.backtest.trace import Made, Step, Trace
from console.evaluation.harmless import harmless
from console.evaluation.history import Attempt, Failure
from services.worker.recovery import (
    AskNewMethod,
    AttemptNow,
    AwaitPayment,
    Close,
    Decision,
    DeclineCause,
    InvoiceTruth,
    MessageKind,
    Origin,
    PastAttempt,
    Policy,
    RecoveryFacts,
    RequireAction,
    Timing,
    Wait,
    decide,
    in_holdout,
    segment_facts,
)
from shared.ids import InvoiceId, PaymentMethodId
from shared.policy.segments import segment_of

SAME_TIME: Final = HOUR
LOOK_BACK: Final = timedelta(days=45)
NEVER: Final = float("inf")
# How another payment method on file is taken to be declined, when nobody knows.
SUPPOSED: Final = Attempt(at=1_767_225_600, result="declined", code="card_declined", decline_code="generic_decline")
SUPPOSED_CAUSE: Final = understood(SUPPOSED).cause


@dataclass(frozen=True, slots=True)
class Rules:
    """What the runs under one policy have in common. `sees_stripe`: Stripe's own retries stay as they were."""

    policy: Policy
    sees_stripe: bool
    lessons: Lessons
    messages: MessageDays
    shortcuts: Shortcuts | None


class Run:
    """One failure under one policy. `others` are the runs of failures on the same cards."""

    __slots__ = (
        "_ahead",
        "_answered",
        "_asks",
        "_attempts",
        "_closed_at",
        "_facts",
        "_harmless",
        "_on_record",
        "_over",
        "_past",
        "_rules",
        "_said",
        "_shortcut",
        "_trace",
        "made",
        "now",
        "others",
        "ours",
        "stripe_last",
    )

    def __init__(self, rules: Rules, past: Past) -> None:
        failure, opened = past.failure, past.opened
        first = failure.attempts[0]
        self._rules, self._past = rules, past
        self.now: datetime = opened
        self.others: Sequence[Run] = ()
        self.made = [Made(opened, past.opened_at, Origin.STRIPE, first, METHOD)]
        self.ours = 0
        self.stripe_last: datetime | None = None
        watched = in_holdout(rules.policy, InvoiceId(failure.invoice))
        self._trace = Trace(past, past.ends_at, watched=watched)
        self._shortcut: Shortcut | None = rules.shortcuts.of(past, watched=watched) if rules.shortcuts else None
        # How the last attempt with the first payment method ended that is on record.
        self._said = first
        # So many attempts break no rule, whenever they are made.
        self._harmless = (
            self._shortcut.harmless if self._shortcut else harmless(past.card, past.amount, decline_of(first))
        )
        # Whether a network's answer to an attempt may forbid others on the card.
        self._answered = answered(past, first)
        self._ahead = list(reversed(past.retries))
        self._on_record = True
        self._over = False
        self._asks: list[tuple[datetime, MessageKind]] = []
        self._closed_at = NEVER
        self._attempts: list[PastAttempt] = []
        self._facts: RecoveryFacts | None = None

    # -- what is known -----------------------------------------------------------------------------------------------

    @property
    def attempts(self) -> list[PastAttempt]:
        """The attempts so far, as the brain is told of them."""
        known = self._attempts
        for number, each in enumerate(self.made[len(known) :], start=len(known) + 1):
            known.append(self._past.attempt(number, each.origin, each.at, each.said, each.method))
        return known

    @property
    def theirs(self) -> datetime | None:
        """When Stripe itself tries next; None: not, or the policy's driver does not let it."""
        following = self._theirs()
        return None if following is None else datetime.fromtimestamp(following.at, UTC)

    @property
    def elsewhere_at(self) -> Sequence[float] | None:
        """When attempts for something else were made on the cards, as far as limits count them; None, if a network's
        answer to one of them may forbid more."""
        failure = self._past.failure
        if not self.others and not failure.elsewhere:
            return ()
        if self._past.elsewhere_answers or any(other.answers_on(failure) for other in self.others):
            return None
        now = self.now.timestamp()
        since = now - LOOK_BACK.total_seconds()
        times: list[float] = [each.at for each in failure.elsewhere]
        times += [each.unix for other in self.others for each in other.made]
        return [at for at in times if since <= at <= now]

    def answers_on(self, other: Failure) -> bool:
        """Whether a network's answer to one of these attempts may forbid more on the card of another failure."""
        mine = self._past.failure
        # A card of unknown origin is an Indian one where rupees are charged.
        whose = [(each.card.network, each.card.country, each.currency == "inr") for each in (mine, other)]
        return self._answered or whose[0] != whose[1]

    def _theirs(self) -> Attempt | None:
        return self._ahead[-1] if self._ahead and self._rules.sees_stripe else None

    def _elsewhere(self) -> list[PastAttempt]:
        """The other attempts on the cards that were known then and still count for a limit."""
        if not self.others and not self._past.failure.elsewhere:
            return []
        since, others = self.now - LOOK_BACK, (each for other in self.others for each in other.attempts)
        return [each for each in (*self._past.elsewhere, *others) if since <= each.at <= self.now]

    # -- what is decided ---------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Decide at `now`, and go on to the next time. False: no further attempt follows."""
        theirs = self._theirs()
        if self.now.timestamp() >= self._trace.ends_at:
            return False
        if self._over:
            return theirs is not None and self._stripe_tries()
        decision = self._decide()
        match decision:
            case AttemptNow():
                return self._try(decision.payment_method_id)
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
                self._closed_at = self.now.timestamp()
            case _:
                assert_never(decision)
        self._over = True  # from here on only the customer or Stripe acts
        return theirs is not None and self._stripe_tries()

    def finished(self) -> Trace:
        """The trace, when no further attempt follows."""
        self._trace.messages = self._messages()
        return self._trace

    def _decide(self) -> Decision:
        quickly = self._shortcut.decide(self) if self._shortcut is not None else None
        if quickly is not None:
            return quickly
        policy, past = self._rules.policy, self._past
        if self._facts is None:
            invoice = past.failure.invoice
            self._facts = RecoveryFacts(past.opened, jitter_key=invoice, invoice_id=InvoiceId(invoice))
        lessons = self._rules.lessons
        hours = lessons.at(self.now)
        hours.moved = False
        return decide(
            policy,
            self._facts,
            self._invoice(),
            self.attempts,
            self.now,
            same_card_elsewhere=self._elsewhere(),
            timing=Timing(hours, lessons.learned(self.now)),
        )

    def _invoice(self) -> InvoiceTruth:
        theirs = self.theirs
        return self._past.invoice if theirs is None else replace(self._past.invoice, stripe_next_attempt_at=theirs)

    # -- what is done ------------------------------------------------------------------------------------------------

    def _stripe_tries(self) -> bool:
        """Make Stripe's own next attempt, as it happened."""
        said, trace = self._ahead.pop(), self._trace
        if said.at >= trace.ends_at:
            return False
        self.now = max(self.now, datetime.fromtimestamp(said.at, UTC))
        trace.known += 1
        if said.result == "succeeded":
            trace.paid_at = said.at
            return False
        method = METHOD if said.method is None else PaymentMethodId(said.method)
        if self.now > self._past.opened:
            self.stripe_last = self.now
        self._append(Origin.STRIPE, said, method)
        return True

    def _try(self, method: PaymentMethodId) -> bool:
        """Make our attempt now: its outcome is known if history has the same attempt, else estimated."""
        trace, at = self._trace, self.now.timestamp()
        self._check(method)
        lessons = self._rules.lessons
        if lessons.retries and lessons.at(self.now).moved:
            trace.moved += 1
        said = self._ahead[-1] if self._ahead else None
        same = said is not None and abs(said.at - at) <= SAME_TIME and (said.method or METHOD) == method
        if self._on_record and said is not None and same:
            self._ahead.pop()
            trace.known += 1
            if said.result == "succeeded":
                trace.paid_at = at
                return False
        else:
            self._on_record = False
            said = self._estimate(method, at)
        self.ours += 1
        self._append(Origin.CITADEL, said, method)
        return True

    def _append(self, origin: Origin, said: Attempt, method: PaymentMethodId) -> None:
        """Add an attempt; unless it ended as all before, there are no shortcuts any more."""
        self.made.append(Made(self.now, self.now.timestamp(), origin, said, method))
        if said is not self._said and (method != METHOD or codes_of(said) != codes_of(self._said)):
            self._shortcut, self._harmless = None, -1
            self._answered = self._answered or answered(self._past, said)
        if method == METHOD:
            self._said = said

    def _check(self, method: PaymentMethodId) -> None:
        """Note the rule that an attempt now would break, if any: by the attempts made, whatever was decided."""
        elsewhere = self.elsewhere_at
        if elsewhere is not None and len(self.made) + len(elsewhere) <= self._harmless:
            return
        broken = breach(self._past, self.attempts, self._elsewhere(), self.now, method)
        if broken is not None:
            self._trace.breaches.append(broken)

    def _estimate(self, method: PaymentMethodId, at: float) -> Attempt:
        """Add a step for an attempt now that nobody made in the past; the answer is how it ends if it fails."""
        past = self._past
        last: Made | None = self.made[-1]
        if self.made[-1].method != method:
            last = next((each for each in reversed(self.made) if each.method == method), None)
        if last is None:
            self._trace.steps.append(Step(at, (), SUPPOSED_CAUSE, backup=True))
            return SUPPOSED
        cause = past.cause if method == METHOD else understood(last.said).cause
        before, payday = int(last.unix), False
        if cause is DeclineCause.INSUFFICIENT_FUNDS:
            payday = payday_between(before, int(at), past.card_of(method).country)
        seen = exposure(grid_place(past.hours(before)), grid_place(past.hours(at)), payday)
        self._trace.steps.append(Step(at, seen, cause))
        return last.said

    def _wait_for_renewal(self) -> None:
        """Try at once when an event says that the card was renewed, up to the end of the window."""
        past, trace = self._past, self._trace
        ends = min(trace.ends_at, past.opened_at + self._rules.policy.window_days * DAY)
        declined = past.opened_at
        while self._ahead and self._ahead[-1].at < ends:
            said = self._ahead.pop()
            if said.method is not None:
                continue
            if said.result == "succeeded":
                trace.known += 1
                trace.paid_at = said.at
                trace.steps = [each for each in trace.steps if each.at < said.at]
                return
            declined = said.at
        seen = exposure(grid_place(past.hours(declined)), grid_place(past.hours(ends)), payday=False)
        trace.steps.append(Step(ends, seen, past.cause, on_news=True))

    # -- what is written to the customer -----------------------------------------------------------------------------

    def _ask(self, kind: MessageKind) -> None:
        """From now on messages ask for this; not in the holdout, and not about what is the merchant's matter."""
        if self._asks and self._asks[-1][1] is kind:
            return
        merchants = kind is MessageKind.PAYMENT_FAILED and understood(self.made[-1].said).merchants_matter
        if not self._trace.watched and not merchants:
            self._asks.append((self.now, kind))

    def _messages(self) -> tuple[float, ...]:
        """When messages go out, as the worker asks for them."""
        if not self._asks:
            return ()
        past, policy = self._past, self._rules.policy
        segment = segment_of(policy, segment_facts(past.invoice, past.cause), past.opened) if policy.segments else None
        asks = tuple(((at - past.opened).total_seconds(), kind) for at, kind in self._asks)
        end, opened = min(self._trace.ends_at, self._closed_at), past.opened_at
        return tuple([at for gap in self._rules.messages.gaps(segment, asks, past) if (at := opened + gap) < end])
