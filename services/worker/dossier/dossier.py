"""Everything that is known about one recovery at one moment, and what follows from it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.worker.dossier.story import Story
from services.worker.outside.invoices import Reading, SeenCharge
from services.worker.recovery import (
    BY_THE_RULES,
    AttemptResult,
    Card,
    Decision,
    Decline,
    FirstDefault,
    HourOfMessages,
    InvoiceStatus,
    InvoiceTruth,
    MessageKind,
    Moment,
    Origin,
    PastAttempt,
    Policy,
    Prediction,
    RecoveryFacts,
    SentMessage,
    Timing,
    decide,
    in_holdout,
    missed_message,
    next_moment,
)
from services.worker.recovery.case import window_end
from services.worker.recovery.message_hours import UNTIMED
from services.worker.recovery.refusals import merchants_matter
from shared.ids import (
    AccountId,
    ChargeId,
    CustomerId,
    InvoiceId,
    MerchantId,
    PaymentIntentId,
    PaymentMethodId,
    RecoveryId,
    SubscriptionId,
)
from shared.money import Money
from shared.recovery_model import (
    COLLECTION_OFF,
    EndReason,
    RecoveredBy,
    RecoveryState,
)

# Stripe keeps an idempotency key for at least 24 hours; one hour is a margin for clocks and for the call itself.
KEYS_ARE_KEPT = timedelta(hours=23)
# Ends by which the invoice's money is accounted for.
_SETTLED = frozenset({EndReason.PAID_ELSEWHERE, EndReason.CREDITED, EndReason.REFUNDED, EndReason.DISPUTED})

# Stripe makes its own attempt soon after the time that it announced.
STRIPE_IS_LATE = timedelta(hours=2)
STRIPE_IS_EARLY = timedelta(minutes=5)
# How our end action `pause` pauses: `stripe_calls.pause_subscription`.
OUR_PAUSE = "keep_as_draft"

STATE_OF_KIND = {
    MessageKind.PAYMENT_FAILED: RecoveryState.WAITING,
    MessageKind.ACTION_REQUIRED: RecoveryState.ACTION_REQUIRED,
    MessageKind.NEW_METHOD_NEEDED: RecoveryState.NEEDS_NEW_METHOD,
}
"""In which state messages of a kind are sent."""


@dataclass(frozen=True, slots=True)
class KnownAttempt:
    """An attempt's row. `key` is the idempotency key; Stripe's own attempts have none."""

    id: UUID
    key: str | None
    past: PastAttempt
    charge_id: ChargeId | None
    payment_intent_id: PaymentIntentId | None

    @property
    def unresolved(self) -> bool:
        """Whether the call may have been made and nobody knows how it ended."""
        return self.past.unresolved and self.past.origin is Origin.CITADEL


@dataclass(frozen=True, slots=True)
class Dossier:
    """One recovery. `now` is the business time of the transaction that read it.

    `pinned` is the policy version that the recovery was opened under (or moved to). `cards` are the fingerprints of
    the cards whose attempts for other invoices were read (`elsewhere`). `next_method` and `next_fingerprint` are the
    payment method that the planned attempt is for, and its card's fingerprint if Stripe gives one; `next_prediction`
    is the plan's, None if it has none. `brought` and `first_default` are those of `RecoveryFacts`. `window_until` is
    the window's end where it is later than the policy's days say. `paid_before` is what of the invoice had been paid
    when it opened; `stripe_attempts` is how often Stripe had tried by itself when the invoice was last read.
    `left_alone` has until when the customer or the subscription is left alone, None for good. `paused_by_us`: an end
    action of ours paused the subscription's collection while this recovery was open. `country` is the card's, as read
    last; None: not known yet.
    """

    recovery_id: RecoveryId
    merchant_id: MerchantId
    account: AccountId | None
    merchant_active: bool
    invoice_id: InvoiceId
    customer_id: CustomerId | None
    subscription_id: SubscriptionId | None
    state: RecoveryState
    stop_requested: EndReason | None
    due: Money
    opened_at: datetime
    next_attempt_at: datetime | None
    pinned: Policy
    cards: tuple[str, ...]
    next_method: PaymentMethodId | None
    next_fingerprint: str | None
    brought: frozenset[PaymentMethodId]
    first_default: FirstDefault | None
    attempts: tuple[KnownAttempt, ...]
    elsewhere: tuple[PastAttempt, ...]
    story: Story
    now: datetime
    window_until: datetime | None = None
    timing: Timing = BY_THE_RULES
    end_reason: EndReason | None = None
    recovered_by: RecoveredBy | None = None
    paid_before: int = 0
    stripe_attempts: int | None = None
    left_alone: tuple[datetime | None, ...] = ()
    paused_by_us: bool = False
    next_prediction: Prediction | None = None
    country: str | None = None

    @property
    def counted_from(self) -> datetime:
        """The opening, moved by the time in which the recovery was held: the window and its days count from here."""
        return self.opened_at + self.story.held(self.now)

    @property
    def sent(self) -> tuple[SentMessage, ...]:
        """The messages that were sent, on the days that count: each moved by the time of holds after it."""
        return tuple(replace(each, at=each.at + self.story.held(self.now, each.at)) for each in self.story.sent)

    @property
    def held_until(self) -> datetime | None:
        """Until when the customer or the subscription is left alone; None when neither is, or for good."""
        return max((until for until in self.left_alone if until is not None), default=None)

    @property
    def policy(self) -> Policy:
        """The policy as it is for the segment of the last decision."""
        return self.pinned.segment(self.story.segment)

    @property
    def window_ends(self) -> datetime:
        """The end of the window: from here on nothing is tried, and nobody is written to."""
        return window_end(self.counted_from + timedelta(days=self.policy.window_days), self.window_until)

    def message_due(
        self,
        kind: MessageKind,
        *,
        besides: tuple[SentMessage, ...] = (),
        policy: Policy | None = None,
        begun: bool = False,
    ) -> datetime | None:
        """When the next message of this kind goes out, after those that were sent or canceled, and `besides`; None:
        none follows. `begun`: its email may be out already, so it waits for no hour."""
        found = self.message_moment(kind, besides=besides, policy=policy, begun=begun)
        return None if found is None else found.at

    def message_moment(
        self,
        kind: MessageKind,
        *,
        besides: tuple[SentMessage, ...] = (),
        policy: Policy | None = None,
        begun: bool = False,
    ) -> Moment | None:
        """As `message_due`, with the reason for the hour."""
        sent, canceled = (*self.sent, *besides), self.story.canceled_messages
        rules = policy or self.policy
        hours = UNTIMED if begun else self._hours(rules, self.now)
        since = self.story.since(STATE_OF_KIND[kind]) or self.now
        return next_moment(rules, self.counted_from, sent, kind, self.now, self.window_until, canceled, hours, since)

    def message_missed(self, kind: MessageKind, until: datetime) -> bool:
        """Whether a message of this kind was due before `until`, and did not go out although there was time, or because
        it waits for its hour, or as the first of all."""
        hours = self._hours(self.policy)
        return missed_message(self.policy, self.counted_from, self.sent, kind, until, self.window_until, hours)

    def _hours(self, policy: Policy, now: datetime | None = None) -> HourOfMessages:
        """For which hour of the customer's day messages wait, under this policy."""
        answers, learns = self.timing.answers, policy.timing == "learned"
        return HourOfMessages(policy.message_hours, self.country, str(self.recovery_id), answers, now, learns)

    @property
    def in_holdout(self) -> bool:
        """Whether the invoice is in the holdout: only watched."""
        return in_holdout(self.pinned, self.invoice_id)

    @property
    def tries_backups(self) -> bool:
        """Whether the policy tries the customer's other payment methods, for all invoices or for some segment."""
        return self.pinned.backup_methods or any(each.then.backup_methods for each in self.pinned.segments)

    def is_planned(self, attempt: KnownAttempt, reading: Reading, method: PaymentMethodId) -> bool:
        """Whether charging `method`, as it is in this reading, is what the attempt's row says, to all who counted it.

        Where a fingerprint is unknown, the id decides; but one that is known now must have been known then, or the
        attempts on that card for other invoices were not read.
        """
        card = method_in(reading, method)
        fingerprint, planned = card.fingerprint if card else None, attempt.past.card_fingerprint
        if attempt.past.payment_method_id != method or (fingerprint is not None and fingerprint not in self.cards):
            return False
        return None in (fingerprint, planned) or fingerprint == planned

    @property
    def in_flight(self) -> KnownAttempt | None:
        """Our attempt whose outcome is unknown."""
        return next((attempt for attempt in self.attempts if attempt.unresolved), None)

    @property
    def processing(self) -> tuple[KnownAttempt, ...]:
        """Our attempts whose payment is under way."""
        return tuple(each for each in self.attempts if each.past.result is AttemptResult.PROCESSING)

    @property
    def money_may_come(self) -> bool:
        """Whether money of an ended recovery may still be ours: it did not end because the invoice was settled."""
        return self.state.ended and self.end_reason not in _SETTLED

    @property
    def next_number(self) -> int:
        """The number of our next attempt."""
        ours = (each.past.number for each in self.attempts if each.past.origin is Origin.CITADEL)
        return max(ours, default=0) + 1

    @property
    def attempt_is_due(self) -> bool:
        """Whether the planned attempt is due."""
        at = self.next_attempt_at
        return self.state is RecoveryState.WAITING and at is not None and at <= self.now

    @property
    def known_charges(self) -> frozenset[ChargeId]:
        """The charges that have a row."""
        return frozenset(each.charge_id for each in self.attempts if each.charge_id)

    @property
    def merchants_matter(self) -> bool:
        """Whether the last attempt failed for something that only the merchant, or we, can set right."""
        return merchants_matter([each.past for each in self.attempts])

    @property
    def last_decline(self) -> Decline | None:
        """The bank's last decline."""
        return next((each.past.decline for each in reversed(self.attempts) if each.past.decline), None)

    def decide(self, reading: Reading, seen: tuple[SeenCharge, ...] = (), *, without: UUID | None = None) -> Decision:
        """The decision about this reading; `seen` are charges without a row, `without` is an attempt to ignore."""
        return self.decide_at(self.now, reading, seen, without=without)

    def decide_at(
        self,
        now: datetime,
        reading: Reading,
        seen: tuple[SeenCharge, ...] = (),
        *,
        without: UUID | None = None,
        supposed: tuple[PastAttempt, ...] = (),
    ) -> Decision:
        """The decision if it were `now`, and if the `supposed` attempts had been made."""
        attempts = [each.past for each in self.attempts if each.id != without]
        attempts += [
            _as_past(each, self.counted_at(each), self.answered_at(each))
            for each in seen
            if each.charge_id not in self.known_charges
        ]
        return decide(
            self.pinned,
            self._facts(reading, now),
            self._truth(reading),
            (*attempts, *supposed),
            now,
            same_card_elsewhere=self.elsewhere,
            timing=self.timing,
        )

    def answered_at(self, seen: SeenCharge) -> datetime:
        """When the answer to an attempt of others was known: a debit's at the latest now, as it is seen first."""
        return max(self.now, self.counted_at(seen)) if seen.took_time else self.counted_at(seen)

    def counted_at(self, seen: SeenCharge) -> datetime:
        """When an attempt of others counts as made: now, if Stripe dates it ahead, as for a customer on a test clock
        (https://docs.stripe.com/billing/testing/test-clocks). The first is then the failure that opened the recovery.
        """
        if seen.at <= self.now:
            return seen.at
        return self.now if any(each.past.origin is Origin.STRIPE for each in self.attempts) else self.opened_at

    def turned_off_unheard(self, reading: Reading) -> bool:
        """Whether the reading shows that the merchant turned automatic collection off, and no event told.

        Stripe turns it off, too, with an invoice that is no longer open, and when it has tried for the last time; but
        then it has tried since the last reading.
        """
        truth, known = reading.truth, self.story.collected_by_stripe
        off = truth.status is InvoiceStatus.OPEN and truth.auto_advance is False
        return off and known is not None and known == (True, truth.attempt_count)

    def collection_off(self, reading: Reading) -> bool:
        """Whether the merchant has turned automatic collection of the invoice off."""
        if self.turned_off_unheard(reading):
            return True
        turned = self.story.turned
        return turned is not None and turned.rule == COLLECTION_OFF and reading.truth.auto_advance is not True

    def _truth(self, reading: Reading) -> InvoiceTruth:
        paused = reading.truth.paused
        if not self.paused_by_us or paused is None or (paused.behavior, paused.resumes_at) != (OUR_PAUSE, None):
            return reading.truth
        return replace(reading.truth, paused=replace(paused, ours=True))

    def _facts(self, reading: Reading, now: datetime) -> RecoveryFacts:
        # The stop was noted while an attempt was in flight, so it does not say who paid; the reading does.
        paid = self.stop_requested is EndReason.PAID_ELSEWHERE and reading.truth.paid
        return RecoveryFacts(
            opened_at=self.opened_at,
            merchant_active=self.merchant_active,
            stop_requested=None if paid else self.stop_requested,
            messages_sent=self.story.messages_sent,
            jitter_key=str(self.recovery_id),
            invoice_id=self.invoice_id,
            window_until=self.window_until,
            paid_before=self.paid_before,
            under_way_since=self.story.under_way_since,
            brought=self.brought,
            first_default=self.first_default,
            left_alone=self.left_alone,
            collection_off=self.collection_off(reading),
            held=self.story.held(now),
        )

    def stripe_collected(self, reading: Reading, charge: SeenCharge, failures: int) -> bool:
        """Whether Stripe's own attempt made this charge, which paid the invoice.

        It was made at a time for which Stripe had announced an attempt; or Stripe has tried more often, since the
        invoice was last read, than others have failed since then (`failures`). Such a payment is not counted as ours,
        whether a message of ours was sent or not.
        """
        if reading.paid_at is None:
            return False
        if self.stripe_attempts is not None and reading.stripe_attempts is not None:
            unannounced = reading.stripe_attempts - self.stripe_attempts > failures
        else:
            unannounced = False
        if unannounced:
            return True
        # A debit was made days before the invoice was paid.
        return any(
            announced - STRIPE_IS_EARLY <= at <= announced + STRIPE_IS_LATE
            for announced in self.story.announced_by_stripe
            for at in (reading.paid_at, charge.at)
        )


def cards_of(reading: Reading) -> tuple[str, ...]:
    """The fingerprints of the cards that may be charged next."""
    found = (card.fingerprint for _, card in _methods(reading) if card is not None and card.fingerprint is not None)
    return tuple(dict.fromkeys(found))


def method_in(reading: Reading, method: PaymentMethodId | None) -> Card | None:
    """The card of a payment method, as it was read."""
    return next((card for known, card in _methods(reading) if known == method), None)


def _methods(reading: Reading) -> list[tuple[PaymentMethodId | None, Card | None]]:
    truth = reading.truth
    others = [truth.customers_default, *truth.backups]
    return [
        (truth.payment_method_id, truth.card),
        *((each.payment_method_id, each.card) for each in others if each is not None),
    ]


def _as_past(seen: SeenCharge, at: datetime, answered_at: datetime) -> PastAttempt:
    return PastAttempt(
        number=1,
        origin=Origin.STRIPE,
        result=seen.result,
        at=at,
        payment_method_id=seen.payment_method_id,
        card_fingerprint=seen.card.fingerprint if seen.card else None,
        amount=seen.amount,
        decline=seen.decline if seen.result is AttemptResult.DECLINED else None,
        exp_month=seen.card.exp_month if seen.card else None,
        exp_year=seen.card.exp_year if seen.card else None,
        answered_at=answered_at,
    )
