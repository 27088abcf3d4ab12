"""One failed invoice as the rules see it: the facts, and what follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from services.worker.recovery.attempt_times import next_open
from services.worker.recovery.belief.planning import Limits, Planned, at_another_time, plan
from services.worker.recovery.belief.stories import Stories
from services.worker.recovery.consent import brought
from services.worker.recovery.declines import (
    CURED_BY_ENTERING_AGAIN,
    Classified,
    classify,
    cured_by_a_later_date,
)
from services.worker.recovery.model import (
    DEBITS_TAKE,
    AttemptResult,
    Card,
    InvoiceTruth,
    OnFile,
    Origin,
    PastAttempt,
    RecoveryFacts,
    end_of_card,
)
from services.worker.recovery.networks import NetworkRules, retries_within
from services.worker.recovery.refusals import Remedy, remedy
from services.worker.recovery.schedule import next_retry, span, spread
from services.worker.recovery.timezones import zone_of
from services.worker.recovery.timing import BY_THE_RULES, Timing
from shared.ids import PaymentMethodId
from shared.policy import DeclineCause, Likeliest, Policy
from shared.policy.segments import Budget, budget_of

LONGEST_BACKOFF = timedelta(days=1)
ONE_HOUR = timedelta(hours=1)
EXPLORED = 1 / 20
"""So many recoveries are planned with all doubt of what was learned, so that it is learned what other times are worth.
"""
# Why the request names another payment method than the first in Stripe's order.
Named = Literal["brought", "default", "backup"]


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a rule may look at; `attempts` in the order of time.

    `policy` is the merchant's policy for `segment`. The case is about the payment method that `invoice` has as the one
    to charge: by Stripe's order, or (`named`) another one of the customer's.
    """

    policy: Policy
    recovery: RecoveryFacts
    invoice: InvoiceTruth
    attempts: tuple[PastAttempt, ...]
    now: datetime
    same_card_elsewhere: tuple[PastAttempt, ...]
    rules: NetworkRules
    timing: Timing = BY_THE_RULES
    segment: str | None = None
    named: Named | None = None
    # What the customer has brought since the failure.
    brought: tuple[OnFile, ...] = field(init=False)
    # The attempts that count, made with the payment method that is charged next. Nearly every rule needs them.
    on_method: list[PastAttempt] = field(init=False)
    # Why the payment method must not be charged off-session again; empty when it may be charged.
    hard_declines: list[Classified] = field(init=False)
    # The last refusal of Stripe's after which only another payment method helps; None when there is none.
    refused: PastAttempt | None = field(init=False)
    # What is left of the policy's window and attempts.
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        used = sum(attempt.counts and attempt.origin is Origin.CITADEL for attempt in self.attempts)
        object.__setattr__(self, "budget", budget_of(self.policy, self.recovery.counted_from, used))
        object.__setattr__(self, "brought", brought(self.recovery, self.invoice))
        on_method = [a for a in self.attempts if a.counts and _same_method(a, self.invoice)]
        hard = [verdict for attempt in on_method if (verdict := _understood(attempt)) and verdict.hard]
        object.__setattr__(self, "on_method", on_method)
        object.__setattr__(self, "hard_declines", hard)
        refused = (attempt for attempt in reversed(on_method) if remedy(attempt) is Remedy.ASK)
        object.__setattr__(self, "refused", next(refused, None))

    @property
    def deadline(self) -> datetime:
        """The end of the window: from here on nothing is tried."""
        return window_end(self.budget.ends_at, self.recovery.window_until)

    @property
    def method_is_new(self) -> bool:
        """Whether this payment method was not tried, and others were or the customer has brought it."""
        return not self.on_method and (self.is_brought or any(attempt.counts for attempt in self.attempts))

    @property
    def is_brought(self) -> bool:
        """Whether the customer has brought the payment method to charge."""
        return any(each.payment_method_id == self.invoice.payment_method_id for each in self.brought)

    @property
    def customer_acted(self) -> bool:
        """Whether the payment method to charge is new because the customer made it the one to charge."""
        return self.method_is_new and self.named in (None, "brought")

    @property
    def last_by_stripe(self) -> datetime | None:
        """When Stripe last retried by itself; the failure that opened the recovery is not a retry."""
        theirs = [a.at for a in self.attempts if a.counts and a.origin is Origin.STRIPE]
        return theirs[-1] if theirs and theirs[-1] > self.recovery.opened_at else None

    def naming(self, method: OnFile, named: Named) -> "Case":
        """The same case with this payment method as the one to charge, named in the request."""
        invoice = replace(self.invoice, payment_method_id=method.payment_method_id, card=method.card)
        return replace(self, invoice=invoice, named=named)


def window_end(by_policy: datetime, later: datetime | None) -> datetime:
    """The end of a window that may have been made longer."""
    return by_policy if later is None else max(by_policy, later)


def last_cause(attempts: Sequence[PastAttempt]) -> DeclineCause:
    """The cause of the last decline, whatever the payment method; UNKNOWN when there is none."""
    return next((_cause(each) for each in reversed(attempts) if each.counts), DeclineCause.UNKNOWN)


def next_cause(case: Case) -> DeclineCause:
    """The cause by which the next attempt with the payment method to charge is scheduled."""
    return _cause(case.on_method[-1] if case.on_method else None)


def used_for(case: Case, cause: DeclineCause) -> int:
    """How many of our attempts with the payment method to charge ended with this cause."""
    return sum(each.origin is Origin.CITADEL and _cause(each) is cause for each in case.on_method)


@dataclass(frozen=True, slots=True)
class Due:
    """When the next attempt is due, and the cause that it is scheduled by; `planned` if it follows from a belief: the
    attempt first, in the hour in which it is made.

    `worthless`: it is believed that no attempt in the window would gain enough.
    """

    at: datetime
    cause: DeclineCause
    planned: tuple[Planned, ...] = ()
    worthless: bool = False


def when_due(case: Case) -> Due:
    """When the schedule and the gaps between attempts allow the next one.

    Never at a time that the policy closes, except for a customer who has just brought another payment method.
    """
    gap = timedelta(hours=case.policy.minimum_gap_hours)
    last_counted = case.on_method[-1] if case.on_method else None
    since = last_counted.over_at if last_counted else case.recovery.opened_at
    cause = _cause(last_counted)
    due = Due(case.recovery.opened_at, cause)
    if not case.method_is_new:
        due = _scheduled(case, cause, since)
        due = replace(due, at=max([due.at, *(each.over_at + gap for each in case.attempts if each.counts)]))
    due = replace(due, at=max(due.at, _backed_off(case, gap)))
    if not (case.customer_acted or due.worthless):
        due = replace(due, at=_opened(case, due.at))
    return _in_its_hour(case, due)


def _scheduled(case: Case, cause: DeclineCause, since: datetime) -> Due:
    """The schedule's time, or the one that learned timing picks, if the policy asks for that."""
    country = _country(case)
    schedule = case.policy.schedules.for_cause(cause)
    tries = max(1, len(case.on_method))
    if isinstance(schedule, Likeliest):
        return by_belief(case, schedule, cause)
    due = next_retry(schedule, since, tries, country, case.recovery.jitter_key)
    if case.policy.timing == "rules":
        return Due(due, cause)
    earliest, latest = span(schedule, since, tries, country, due)
    picked = case.timing.pick(cause, due, (earliest, min(latest, case.deadline - ONE_HOUR)), zone_of(country))
    return Due(picked, cause)


def by_belief(case: Case, schedule: Likeliest, cause: DeclineCause) -> Due:
    """The first of the attempts that are likeliest to collect in all; within its hour, spread by the recovery's key."""
    stories, told, declined = _belief(case, schedule, cause)
    most = case.budget.attempts_left + len(declined) - 1
    if schedule.max_attempts is not None:
        most = min(most, schedule.max_attempts - used_for(case, cause) + len(declined) - 1)
    # Where a network allows few, the best few are made: none is spent on a chance of 1 %.
    most = min(most, network_allows(case))
    limits = Limits(
        timedelta(hours=schedule.after_hours),
        case.deadline,
        most,
        schedule.least_chance,
        case.policy.attempt_times,
        _country(case),
        _takes(case),
    )
    planned = plan(stories, declined, limits, told)
    if not planned:
        return Due(case.deadline, cause, worthless=True)
    share = spread(case.recovery.jitter_key, max(1, len(case.on_method)))
    return Due(planned[0].at + ONE_HOUR * share, cause, planned)


def _takes(case: Case) -> timedelta:
    """How long the bank's answer takes: for a debit what is usual, or as long as one took."""
    card = case.invoice.card or Card()
    took = (each.over_at - each.at for each in case.on_method)
    return max(DEBITS_TAKE.get(card.network or "", timedelta(0)), *took, timedelta(0))


def network_allows(case: Case) -> int:
    """So many retries the network allows in the window, after the failure."""
    span = case.deadline - case.recovery.opened_at
    return retries_within(case.rules, case.invoice.card, case.invoice.amount_remaining, span)


def _belief(case: Case, schedule: Likeliest, cause: DeclineCause) -> tuple[Stories, Stories, list[datetime]]:
    """What plans believe after this cause, by what their chances are told, and the declines that count for it, the
    failure first."""
    declined = [each.over_at for each in case.on_method] or [case.recovery.opened_at]
    timing = BY_THE_RULES
    if case.policy.timing == "learned":
        timing = replace(case.timing, explores=True) if explores(case) else case.timing
    about = cause, case.invoice.card, case.invoice.amount_remaining, schedule.wages
    return timing.believed(*about), timing.told(*about), declined


def explores(case: Case) -> bool:
    """Whether its attempts are planned with all doubt of what was learned. It is the same for a recovery as long as
    something is learned."""
    return case.timing.learned is not None and is_explored(case.recovery.jitter_key)


def is_explored(key: str) -> bool:
    """Whether a recovery with this key is one of the EXPLORED."""
    return spread(f"explored/{key}", 0) < EXPLORED


def _in_its_hour(case: Case, due: Due) -> Due:
    """With the chance that the attempt has when it is made, where something has put it off: a network's rule, a gap, an
    attempt of Stripe's. What follows is planned after it."""
    schedule = case.policy.schedules.for_cause(due.cause)
    at = max(due.at, case.now)
    if not due.planned or not isinstance(schedule, Likeliest) or at < due.planned[0].at + ONE_HOUR:
        return due
    _, told, declined = _belief(case, schedule, due.cause)
    return replace(due, planned=(at_another_time(told, declined, at),))


def _country(case: Case) -> str | None:
    return case.invoice.card.country if case.invoice.card else None


def _opened(case: Case, due: datetime) -> datetime:
    """The first time from `due` on at which the policy allows attempts; if that has passed, the first from now on."""
    if case.policy.attempt_times.always:
        return due
    return next_open(case.policy.attempt_times, max(due, case.now), _country(case))


def _backed_off(case: Case, gap: timedelta) -> datetime:
    """Attempts that never reached Stripe use up no budget, but are not repeated at once: the gap doubles each time.

    One that was planned for another card was not made because that card is not the one to charge any more: the next
    attempt, for the card that is, is no repeat of it.
    """
    repeated: list[PastAttempt] = []
    for attempt in reversed(case.attempts):
        if attempt.counts:
            break
        if _planned_for(attempt) == (case.invoice.payment_method_id, _fingerprint(case.invoice)):
            repeated.append(attempt)
    if not repeated:
        return case.recovery.opened_at
    doublings = min(len(repeated) - 1, 10)  # capped, because a large power of 2 does not fit into a timedelta
    return repeated[0].at + min(gap * (1 << doublings), LONGEST_BACKOFF)


def _planned_for(attempt: PastAttempt) -> tuple[PaymentMethodId | None, str | None]:
    return attempt.payment_method_id, attempt.card_fingerprint


def _fingerprint(invoice: InvoiceTruth) -> str | None:
    return invoice.card.fingerprint if invoice.card else None


def _cause(attempt: PastAttempt | None) -> DeclineCause:
    helps = remedy(attempt) if attempt is not None else None
    if helps is not None:
        # What the merchant has to change takes days, not hours.
        return DeclineCause.NOT_ALLOWED if helps is Remedy.MERCHANT else DeclineCause.TRY_LATER
    understood = _understood(attempt) if attempt else None
    return understood.cause if understood else DeclineCause.UNKNOWN


def _understood(attempt: PastAttempt) -> Classified | None:
    """The bank's decline of an attempt, classified; None when there was none."""
    if attempt.result is AttemptResult.REQUIRES_ACTION:
        return Classified(DeclineCause.AUTHENTICATION_REQUIRED, True, "requires_action", customer_may_know=True)
    return classify(attempt.decline) if attempt.decline is not None else None


def _same_method(attempt: PastAttempt, invoice: InvoiceTruth) -> bool:
    """Whether an attempt was made with the card that is charged next. Unknown counts as yes.

    A payment method keeps its id when the networks or the customer renew its card
    (https://docs.stripe.com/payments/cards/overview#automatic-card-updates, read November 2026): another number is
    another card, and a later date one after a decline that a date can cure.
    """
    fingerprint = _fingerprint(invoice)
    known = attempt.card_fingerprint is not None and fingerprint is not None
    if known and attempt.card_fingerprint != fingerprint:
        return False
    if attempt.payment_method_id == invoice.payment_method_id:
        return not _date_cured(attempt, invoice.card or Card())
    if not known:
        return attempt.payment_method_id is None
    understood = _understood(attempt)
    return understood is None or understood.cause not in CURED_BY_ENTERING_AGAIN


def _date_cured(attempt: PastAttempt, card: Card) -> bool:
    """Whether the card has a later date since the attempt, and that may have been all that was wrong with it."""
    if attempt.exp_month is None or attempt.exp_year is None or card.exp_month is None or card.exp_year is None:
        return False
    later = (card.exp_year, card.exp_month) > (attempt.exp_year, attempt.exp_month)
    return later and attempt.decline is not None and cured_by_a_later_date(attempt.decline)


def expired(case: Case) -> bool:
    """Whether the card has expired, by its date; where Stripe gives none, by the bank's decline."""
    card = case.invoice.card or Card()
    if card.exp_month is None or card.exp_year is None:
        return any(_cause(attempt) is DeclineCause.EXPIRED_CARD for attempt in case.on_method)
    return case.now >= end_of_card(card.exp_year, card.exp_month)
