"""The card networks' rules about repeated attempts, as data with sources, and the check that applies them.

The check fails closed: to an unknown network every row of the table applies, an attempt whose card is unknown counts
against this card, and Stripe's attempts and ours count together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from math import inf
from typing import assert_never

from services.worker.recovery.model import AttemptResult, Card, Decline, PastAttempt, as_utc
from shared.ids import PaymentMethodId
from shared.money import Money

ANY_NETWORK = "*"


class Counted(StrEnum):
    """What a limit counts: every attempt, or only the repeats after the first one."""

    ATTEMPTS = "attempts"
    RETRIES = "retries"


class Per(StrEnum):
    """Which attempts a limit looks at: all on the card, those for the same amount, or those for the same invoice.

    With PAYMENT, attempts for other invoices are other payments, whatever their amount; and so is what was tried before
    a payment succeeded.
    """

    CARD = "card"
    CARD_AND_AMOUNT = "card_and_amount"
    PAYMENT = "payment"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` (1 or more, or 0 for ever) of what is `counted` in any span of `within` (None: for ever)."""

    name: str
    most: int
    within: timedelta | None
    counted: Counted
    per: Per


@dataclass(frozen=True, slots=True)
class NetworkRule:
    """The rules of one network or, with a region, of one country's issuers. Codes as the network writes them.

    `source` says where the figures are from, and whether that is the network's own text or somebody's account of it.
    """

    network: str
    source: str
    region: str | None = None
    limits: tuple[Limit, ...] = ()
    never_decline_codes: frozenset[str] = frozenset()
    never_advice_codes: frozenset[str] = frozenset()
    wait_by_advice: Mapping[str, timedelta] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class NetworkRules:
    """The whole table. `version` changes with any row, and is recorded in each decision that a row made.

    A table is equal to itself only, so that what follows from it for a card can be kept.
    """

    version: str
    rows: tuple[NetworkRule, ...]


@dataclass(frozen=True, slots=True)
class Allowed:
    """No network rule forbids an attempt now."""


@dataclass(frozen=True, slots=True)
class NotBefore:
    """An attempt is allowed again at `at`; `rule` is the name of the rule that forbids it longest."""

    at: datetime
    rule: str


@dataclass(frozen=True, slots=True)
class Never:
    """This card must not be tried again; `rule` is the name of the rule."""

    rule: str


Verdict = Allowed | NotBefore | Never
_ALLOWED = Allowed()

VISA_CATEGORY_1 = frozenset({"04", "07", "12", "14", "15", "41", "43", "46", "57", "R0", "R1", "R3"})
# Nacha lets an entry be sent again after R01 and R09; after these Stripe blocks the bank account.
ACH_NEVER = frozenset({"R02", "R03", "R04", "R05", "R07", "R08", "R10", "R11", "R16", "R20", "R29", "R31"})

_30_DAYS = timedelta(days=30)

CURRENT_RULES = NetworkRules(
    version="2",
    rows=(
        NetworkRule(
            network="visa",
            source="Visa Core Rules, 18 April 2026, table 7-2; 20 since 25 May 2025 (Cielo's changelog), it was 15",
            limits=(Limit("visa_20_retries_in_30_days", 20, _30_DAYS, Counted.RETRIES, Per.CARD_AND_AMOUNT),),
            never_decline_codes=VISA_CATEGORY_1,
        ),
        NetworkRule(
            network="mastercard",
            source="Mastercard Transaction Processing Excellence, by acquirers' accounts: TabaPay (excessive retries), "
            "Braintree and Antom (merchant advice codes; 40 and 41 since November 2023, by Forte's account)",
            limits=(
                Limit("mastercard_10_in_24_hours", 10, timedelta(hours=24), Counted.ATTEMPTS, Per.CARD),
                Limit("mastercard_35_in_30_days", 35, _30_DAYS, Counted.ATTEMPTS, Per.CARD_AND_AMOUNT),
            ),
            never_advice_codes=frozenset({"03", "21", "40", "41"}),
            wait_by_advice={
                "24": timedelta(hours=1),
                "25": timedelta(hours=24),
                "26": timedelta(days=2),
                "27": timedelta(days=4),
                "28": timedelta(days=6),
                "29": timedelta(days=8),
                "30": timedelta(days=10),
            },
        ),
        # The fee is counted by calendar month; 31 days from the first attempt on is at least as strict.
        NetworkRule(
            network="mastercard",
            region="BR",
            source="Mastercard Brazil, by PayZu's account: since 1 February 2023 a fee from the 8th repeat",
            limits=(Limit("mastercard_brazil_7_retries_in_31_days", 7, timedelta(days=31), Counted.RETRIES, Per.CARD),),
        ),
        *(
            NetworkRule(
                network=network,
                source=source,
                limits=(Limit(f"{network}_20_retries_in_30_days", 20, _30_DAYS, Counted.RETRIES, Per.CARD_AND_AMOUNT),),
            )
            for network, source in (
                ("amex", "American Express: 20 in 30 days; not compared with the network's own text"),
                ("discover", "Discover: 20 in 30 days; not compared with the network's own text"),
                ("diners", "Runs on Discover's network, by Discover's rules"),
            )
        ),
        NetworkRule(
            network="us_bank_account",
            source="Nacha Operating Rules, 2.12.4 (reinitiation): a returned entry is sent at most twice more, in 180 "
            "days from the first; by banks' accounts (bankfivenine.com, stockmanbank.com), November 2026. The return "
            "codes: Stripe's OpenAPI document of 2026-05-27, payment_method_us_bank_account_blocked",
            limits=(Limit("ach_2_retries_in_180_days", 2, timedelta(days=180), Counted.RETRIES, Per.PAYMENT),),
            never_decline_codes=ACH_NEVER,
        ),
        NetworkRule(
            network=ANY_NETWORK,
            region="IN",
            source="Cards issued in India (e-mandates): no retries; not compared with the regulator's own text",
            limits=(Limit("india_no_retries", 0, None, Counted.RETRIES, Per.PAYMENT),),
        ),
    ),
)


def check(
    rules: NetworkRules,
    card: Card | None,
    attempts: Sequence[PastAttempt],
    amount: Money,
    now: datetime,
    *,
    elsewhere: Sequence[PastAttempt] = (),
    method: PaymentMethodId | None = None,
) -> Verdict:
    """Whether `card`, of the payment method `method`, may be charged `amount` at `now`, after `attempts` (of Stripe and
    ours, in any order).

    `attempts` are those for the invoice, `elsewhere` every known attempt of the merchant on this card for others: most
    networks count by card, not by invoice. The strictest rule wins: Never before NotBefore, and the latest NotBefore.

    Without a fingerprint every attempt may have been on this card. All count for what a network allows a card; but
    what a bank said about another payment method, and how often that was tried for this payment, says nothing about
    this one: else a payment method without a fingerprint could never be tried after a card.
    """
    now = as_utc("now", now)
    whose = _whose(card, amount)
    if len(attempts) + len(elsewhere) <= _unlimited(rules, *whose) and not any(
        each.decline is not None and _answers(rules, *whose, each.decline) for each in (*attempts, *elsewhere)
    ):
        return _ALLOWED
    here = _on_card(attempts, card)
    on_card = sorted((*here, *_on_card(elsewhere, card)), key=lambda a: a.at)
    if method is not None and (card is None or card.fingerprint is None):
        here, answered = _of_method(here, method), _of_method(on_card, method)
    else:
        answered = on_card
    earliest: NotBefore | None = None
    tried = _Tried(on_card, answered, _since_success(here))
    for verdict in _verdicts(_rows_for(rules, *whose), tried, amount, now):
        if isinstance(verdict, Never):
            return verdict
        if earliest is None or verdict.at > earliest.at:
            earliest = verdict
    return earliest or _ALLOWED


def unlimited(rules: NetworkRules, card: Card | None, amount: Money) -> int:
    """So many attempts on the card break no limit, at whatever times they are made."""
    return _unlimited(rules, *_whose(card, amount))


def retries_within(rules: NetworkRules, card: Card | None, amount: Money, span: timedelta) -> int:
    """So many retries after a failure the limits allow within a span, as far as they count over one as long."""
    return _retries_within(rules, *_whose(card, amount), span)


def few_enough(rules: NetworkRules, card: Card | None, amount: Money, times: Sequence[float], now: float) -> bool:
    """Whether no limit of the card can forbid another attempt after those made at `times` (unix seconds): in no limit's
    window are as many as it allows. False: `check` knows."""
    limits = _windows(rules, *_whose(card, amount))
    return all(sum(at >= now - seconds for at in times) < most for seconds, most in limits)


def answers(rules: NetworkRules, card: Card | None, amount: Money, decline: Decline) -> bool:
    """Whether a row of the table forbids another attempt on the card, for a time or for good, after such a decline."""
    return _answers(rules, *_whose(card, amount), decline)


def network_code(code: str | None) -> str | None:
    """A network's code in the table's form: upper case, two digits (`4` → `04`)."""
    if not code or not code.strip():
        return None
    return code.strip().upper().zfill(2)


@dataclass(frozen=True, slots=True)
class _Tried:
    """The attempts on the card in the order of time; `answered`: those whose answers are about this payment method;
    `payment`: those of the payment that is to be made."""

    on_card: Sequence[PastAttempt]
    answered: Sequence[PastAttempt]
    payment: Sequence[PastAttempt]

    def series(self, per: Per, amount: Money) -> Sequence[PastAttempt]:
        match per:
            case Per.CARD:
                return self.on_card
            case Per.CARD_AND_AMOUNT:
                return [attempt for attempt in self.on_card if attempt.amount == amount]
            case Per.PAYMENT:
                return self.payment
        assert_never(per)


def _on_card(attempts: Sequence[PastAttempt], card: Card | None) -> list[PastAttempt]:
    return sorted((a for a in attempts if a.counts and _may_be_same_card(a, card)), key=lambda a: a.at)


def _of_method(attempts: Sequence[PastAttempt], method: PaymentMethodId) -> list[PastAttempt]:
    return [attempt for attempt in attempts if attempt.payment_method_id in (None, method)]


def _since_success(in_order: Sequence[PastAttempt]) -> Sequence[PastAttempt]:
    """The attempts after the last one that succeeded: whatever is charged after it is another payment."""
    ends = [place for place, attempt in enumerate(in_order, start=1) if attempt.result is AttemptResult.SUCCEEDED]
    return in_order[ends[-1] :] if ends else in_order


def _verdicts(rows: Sequence[NetworkRule], tried: _Tried, amount: Money, now: datetime) -> Iterator[NotBefore | Never]:
    for row in rows:
        for attempt in tried.answered:
            yield from _of_codes(row, attempt, now)
        for limit in row.limits:
            yield from _of_limit(limit, tried.series(limit.per, amount), now)


def _of_codes(row: NetworkRule, attempt: PastAttempt, now: datetime) -> Iterator[NotBefore | Never]:
    if attempt.decline is None:
        return
    declined = network_code(attempt.decline.network_decline_code)
    advised = network_code(attempt.decline.network_advice_code)
    if declined in row.never_decline_codes:
        yield Never(f"{row.network}_never_after_{declined}")
    if advised in row.never_advice_codes:
        yield Never(f"{row.network}_never_after_advice_{advised}")
    wait = row.wait_by_advice.get(advised or "")
    if wait is not None and now < attempt.at + wait:
        yield NotBefore(attempt.at + wait, f"{row.network}_wait_by_advice_{advised}")


def _of_limit(limit: Limit, series: Sequence[PastAttempt], now: datetime) -> Iterator[NotBefore | Never]:
    if not series:
        return  # the next attempt is the first of its kind, not a repeat
    used = series if limit.counted is Counted.ATTEMPTS else series[1:]
    if limit.within is None:
        if len(used) >= limit.most:
            yield Never(limit.name)
        return
    in_window = [attempt.at for attempt in used if attempt.at > now - limit.within]
    if len(in_window) >= limit.most:
        # Allowed again when fewer than `most` are left in the window.
        yield NotBefore(in_window[len(in_window) - limit.most] + limit.within, limit.name)


def _whose(card: Card | None, amount: Money) -> tuple[str, str | None]:
    """The network and the country by which a card's rows are found."""
    return (card.network or "").lower() if card else "", _country(card, amount)


# There are few networks and countries, and each decision asks.
@lru_cache(maxsize=1024)
def _rows_for(rules: NetworkRules, network: str, country: str | None) -> tuple[NetworkRule, ...]:
    known = any(row.network == network for row in rules.rows)
    return tuple(
        row
        for row in rules.rows
        if (not known or row.network in (network, ANY_NETWORK)) and (row.region is None or row.region == country)
    )


@lru_cache(maxsize=1024)
def _unlimited(rules: NetworkRules, network: str, country: str | None) -> int:
    limits = (limit for row in _rows_for(rules, network, country) for limit in row.limits)
    return min((each.most - (each.counted is Counted.ATTEMPTS) for each in limits), default=1_000_000)


@lru_cache(maxsize=4096)
def _retries_within(rules: NetworkRules, network: str, country: str | None, span: timedelta) -> int:
    limits = (limit for row in _rows_for(rules, network, country) for limit in row.limits)
    long = (each for each in limits if each.within is None or each.within >= span)
    return min((each.most - (each.counted is Counted.ATTEMPTS) for each in long), default=1_000_000)


@lru_cache(maxsize=1024)
def _windows(rules: NetworkRules, network: str, country: str | None) -> tuple[tuple[float, int], ...]:
    limits = (limit for row in _rows_for(rules, network, country) for limit in row.limits)
    return tuple((each.within.total_seconds() if each.within else inf, each.most) for each in limits)


@lru_cache(maxsize=4096)
def _answers(rules: NetworkRules, network: str, country: str | None, decline: Decline) -> bool:
    declined, advised = network_code(decline.network_decline_code), network_code(decline.network_advice_code)
    return any(
        declined in row.never_decline_codes or advised in row.never_advice_codes or advised in row.wait_by_advice
        for row in _rows_for(rules, network, country)
    )


def _country(card: Card | None, amount: Money) -> str | None:
    if card and card.country:
        return card.country.upper()
    # Fail closed: a card of unknown origin that is charged in rupees counts as Indian.
    return "IN" if amount.currency == "inr" else None


def _may_be_same_card(attempt: PastAttempt, card: Card | None) -> bool:
    fingerprint = card.fingerprint if card else None
    if attempt.card_fingerprint is None or fingerprint is None:
        return True
    return attempt.card_fingerprint == fingerprint
