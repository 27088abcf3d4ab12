"""The networks' limits, to the attempt and to the microsecond, and that what is unknown is refused."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.recovery import (
    CURRENT_RULES,
    Allowed,
    AttemptResult,
    Card,
    Never,
    NotBefore,
    Origin,
    PastAttempt,
    check,
    networks,
)
from services.worker.recovery.networks import (
    ACH_NEVER,
    Counted,
    Limit,
    NetworkRule,
    Per,
    answers,
    few_enough,
    unlimited,
)
from shared.money import Money
from tests.unit.worker.recovery.builders import DUE, OPENED, VISA, attempt

LIMITS = [(row, limit) for row in CURRENT_RULES.rows for limit in row.limits]
WINDOWED = [(row, limit, limit.within) for row, limit in LIMITS if limit.within is not None]
A_MOMENT = timedelta(microseconds=1)


def card_of(row: NetworkRule) -> Card:
    return replace(VISA, network="visa" if row.network == "*" else row.network, country=row.region or "DE")


def attempts_at(*times: datetime) -> list[PastAttempt]:
    origins = (Origin.STRIPE, Origin.CITADEL)
    return [
        attempt("do_not_honor", after=at - OPENED, number=n + 1, origin=origins[n % 2]) for n, at in enumerate(times)
    ]


@pytest.mark.parametrize("row", CURRENT_RULES.rows, ids=lambda row: f"{row.network}-{row.region}")
def test_every_row_names_its_source(row: NetworkRule) -> None:
    assert len(row.source) > 20


@pytest.mark.parametrize(("row", "limit"), LIMITS, ids=lambda part: getattr(part, "name", ""))
def test_the_first_attempt_on_a_card_is_always_allowed(row: NetworkRule, limit: Limit) -> None:
    assert check(CURRENT_RULES, card_of(row), [], DUE, OPENED) == Allowed()


@pytest.mark.parametrize(("row", "limit", "within"), WINDOWED, ids=lambda part: getattr(part, "name", ""))
def test_a_limit_allows_exactly_as_many_as_it_says(row: NetworkRule, limit: Limit, within: timedelta) -> None:
    """Attempts one minute apart, each only when allowed by this row alone, until the row stops them."""
    rules = replace(CURRENT_RULES, rows=(replace(row, limits=(limit,)),))
    now, times = OPENED, [OPENED]
    while (verdict := check(rules, card_of(row), attempts_at(*times), DUE, now := now + timedelta(minutes=1))) == (
        Allowed()
    ):
        times.append(now)
    made = len(times) if limit.counted is Counted.ATTEMPTS else len(times) - 1
    assert made == limit.most
    oldest = times[0] if limit.counted is Counted.ATTEMPTS else times[1]
    assert verdict == NotBefore(oldest + within, limit.name)
    assert isinstance(check(rules, card_of(row), attempts_at(*times), DUE, oldest + within - A_MOMENT), NotBefore)
    assert check(rules, card_of(row), attempts_at(*times), DUE, oldest + within) == Allowed()


@pytest.mark.parametrize(("row", "limit", "within"), WINDOWED, ids=lambda part: getattr(part, "name", ""))
def test_other_amounts_count_only_where_the_limit_is_per_card(
    row: NetworkRule, limit: Limit, within: timedelta
) -> None:
    rules = replace(CURRENT_RULES, rows=(replace(row, limits=(limit,)),))
    full = attempts_at(*(OPENED + timedelta(minutes=n) for n in range(limit.most + 1)))
    for other in (Money(1999, "eur"), Money(2000, "usd")):
        verdict = check(rules, card_of(row), full, other, OPENED + timedelta(hours=1))
        assert isinstance(verdict, Allowed if limit.per is Per.CARD_AND_AMOUNT else NotBefore)


PER_PAYMENT = [(row, limit) for row, limit in LIMITS if limit.per is Per.PAYMENT]


@pytest.mark.parametrize(("row", "limit"), PER_PAYMENT, ids=lambda part: getattr(part, "name", ""))
def test_a_limit_per_payment_does_not_count_other_payments(row: NetworkRule, limit: Limit) -> None:
    """The renewals of the months before, paid or not, and what was paid before on the same invoice."""
    rules = replace(CURRENT_RULES, rows=(replace(row, limits=(limit,)),))
    months = attempts_at(*(OPENED - timedelta(days=30 * n) for n in range(1, 5)))
    paid = [replace(each, result=AttemptResult.SUCCEEDED, decline=None) for each in months]
    full = attempts_at(*(OPENED + timedelta(minutes=n) for n in range(limit.most + 1)))
    at = OPENED + timedelta(days=1)
    for others in (months, paid):
        assert check(rules, card_of(row), [], DUE, at, elsewhere=others) == Allowed()
        assert not isinstance(check(rules, card_of(row), full, DUE, at, elsewhere=others), Allowed)
    assert check(rules, card_of(row), paid, DUE, at) == Allowed()
    assert not isinstance(check(rules, card_of(row), [*paid, *full], DUE, at), Allowed)


@pytest.mark.parametrize("counted", ["attempts", "elsewhere"])
def test_a_limit_per_card_counts_other_invoices(counted: str) -> None:
    tried = attempts_at(*[OPENED] * 22)
    here, there = (tried, []) if counted == "attempts" else ([], tried)
    assert isinstance(check(CURRENT_RULES, VISA, here, DUE, OPENED, elsewhere=there), NotBefore)


@pytest.mark.parametrize("days", [7, 30, 41, 45, 60, 120, 179])
def test_a_bank_account_is_debited_three_times_for_one_payment(days: int) -> None:
    bank = Card(fingerprint="fp_1", network="us_bank_account")
    tries = attempts_at(OPENED, OPENED + timedelta(days=4), OPENED + timedelta(days=5))
    for made in (1, 2):
        assert check(CURRENT_RULES, bank, tries[:made], DUE, OPENED + timedelta(days=days)) == Allowed()
    verdict = check(CURRENT_RULES, bank, tries, DUE, OPENED + timedelta(days=days))
    assert verdict == NotBefore(OPENED + timedelta(days=184), "ach_2_retries_in_180_days")


@pytest.mark.parametrize("code", sorted(ACH_NEVER))
def test_after_these_returns_a_bank_account_is_never_debited_again(code: str) -> None:
    bank = Card(fingerprint="fp_1", network="us_bank_account")
    before = [attempt("refer_to_customer", network_decline=code)]
    assert check(CURRENT_RULES, bank, before, DUE, OPENED + timedelta(days=300)) == Never(
        f"us_bank_account_never_after_{code}"
    )
    missing_funds = [attempt("insufficient_funds", network_decline="R01")]
    assert check(CURRENT_RULES, bank, missing_funds, DUE, OPENED + timedelta(days=4)) == Allowed()


def test_attempts_on_another_card_do_not_count() -> None:
    others = [replace(a, card_fingerprint="fp_2") for a in attempts_at(*[OPENED] * 40)]
    assert check(CURRENT_RULES, VISA, others, DUE, OPENED) == Allowed()


@pytest.mark.parametrize("unknown_side", ["attempt", "card"])
def test_an_unknown_card_counts_as_this_one(unknown_side: str) -> None:
    attempts = attempts_at(*[OPENED] * 22)
    card = VISA
    if unknown_side == "attempt":
        attempts = [replace(a, card_fingerprint=None) for a in attempts]
    else:
        card = replace(VISA, fingerprint=None)
    assert isinstance(check(CURRENT_RULES, card, attempts, DUE, OPENED), NotBefore)


def test_attempts_that_never_reached_stripe_do_not_count_and_all_others_do() -> None:
    for result in AttemptResult:
        attempts = [replace(a, result=result, decline=None) for a in attempts_at(*[OPENED] * 22)]
        verdict = check(CURRENT_RULES, VISA, attempts, DUE, OPENED)
        assert isinstance(verdict, Allowed if result is AttemptResult.ABANDONED else NotBefore), result


@pytest.mark.parametrize("code", ["04", "07", "12", "14", "15", "41", "43", "46", "57", "R0", "R1", "R3", "4", "r1"])
def test_visas_category_1_is_never_tried_again(code: str) -> None:
    before = [attempt("do_not_honor", network_decline=code)]
    verdict = check(CURRENT_RULES, VISA, before, Money(1, "usd"), OPENED + timedelta(days=300))
    assert isinstance(verdict, Never)


@pytest.mark.parametrize("code", ["03", "21", "40", "41"])
def test_mastercards_advice_for_never_is_followed(code: str) -> None:
    card = replace(VISA, network="mastercard")
    verdict = check(CURRENT_RULES, card, [attempt(network_advice=code)], DUE, OPENED + timedelta(days=300))
    assert verdict == Never(f"mastercard_never_after_advice_{code}")


@pytest.mark.parametrize(
    ("code", "hours"), [("24", 1), ("25", 24), ("26", 48), ("27", 96), ("28", 144), ("29", 192), ("30", 240)]
)
def test_mastercards_advice_to_wait_is_followed(code: str, hours: int) -> None:
    card = replace(VISA, network="mastercard")
    before = [attempt(network_advice=code)]
    until = OPENED + timedelta(hours=hours)
    assert check(CURRENT_RULES, card, before, DUE, until - A_MOMENT) == NotBefore(
        until, f"mastercard_wait_by_advice_{code}"
    )
    assert check(CURRENT_RULES, card, before, DUE, until) == Allowed()


@pytest.mark.parametrize("network", [None, "", "unknown", "jcb", "unionpay", "cartes_bancaires"])
def test_an_unknown_network_gets_every_rule(network: str | None) -> None:
    card = replace(VISA, network=network)
    at = OPENED + timedelta(days=12)
    three = attempts_at(OPENED, OPENED + timedelta(days=1), OPENED + timedelta(days=2))
    assert check(CURRENT_RULES, card, three, DUE, at) == NotBefore(
        OPENED + timedelta(days=181), "ach_2_retries_in_180_days"
    )
    assert isinstance(check(CURRENT_RULES, card, [attempt(network_decline="14")], DUE, at), Never)
    assert isinstance(check(CURRENT_RULES, card, [attempt(network_advice="21")], DUE, at), Never)


def test_no_card_at_all_gets_every_rule() -> None:
    three = attempts_at(*[OPENED] * 3)
    assert isinstance(check(CURRENT_RULES, None, three, DUE, OPENED), NotBefore)


@pytest.mark.parametrize("network", ["visa", "mastercard", "amex", None])
def test_a_card_issued_in_india_is_never_retried(network: str | None) -> None:
    card = replace(VISA, country="in", network=network)
    verdict = check(CURRENT_RULES, card, attempts_at(OPENED), DUE, OPENED + timedelta(days=400))
    assert verdict == Never("india_no_retries")


def test_rupees_on_a_card_of_unknown_country_are_taken_for_india() -> None:
    rupees = Money(100_000, "inr")
    before = [replace(a, amount=rupees) for a in attempts_at(OPENED)]
    assert isinstance(check(CURRENT_RULES, replace(VISA, country=None), before, rupees, OPENED), Never)
    assert isinstance(check(CURRENT_RULES, VISA, before, rupees, OPENED), Allowed)


def test_the_longest_wait_wins() -> None:
    card = replace(VISA, network="mastercard")
    attempts = [attempt(network_advice="30"), *attempts_at(*[OPENED] * 12)]
    verdict = check(CURRENT_RULES, card, attempts, DUE, OPENED)
    assert verdict == NotBefore(OPENED + timedelta(days=10), "mastercard_wait_by_advice_30")


def test_a_naive_now_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        check(CURRENT_RULES, VISA, [], DUE, datetime(2026, 1, 1))  # noqa: DTZ001 the naive one is the subject


@given(
    minutes=st.lists(st.integers(0, 50 * 24 * 60), max_size=60),
    network=st.sampled_from(["visa", "mastercard", "amex", "us_bank_account", "jcb", None]),
    country=st.sampled_from(["DE", "BR", "US", None]),
)
def test_not_before_is_in_the_future_and_true(minutes: list[int], network: str | None, country: str | None) -> None:
    """Whatever happened: at the given time it is allowed, and a moment before it is not."""
    now = OPENED + timedelta(days=50)
    card = replace(VISA, network=network, country=country)
    attempts = attempts_at(*(OPENED + timedelta(minutes=m) for m in minutes))
    verdict = check(CURRENT_RULES, card, attempts, DUE, now)
    assert not isinstance(verdict, Never)
    if isinstance(verdict, NotBefore):
        assert verdict.at > now
        assert isinstance(check(CURRENT_RULES, card, attempts, DUE, verdict.at - A_MOMENT), NotBefore)
        assert check(CURRENT_RULES, card, attempts, DUE, verdict.at) == Allowed()


CODES = st.sampled_from([None, "05", "51", "14", "R02"])
ADVICE = st.sampled_from([None, "01", "03", "24", "30"])


@given(
    tried=st.lists(st.tuples(st.integers(0, 40 * 24), CODES, ADVICE, st.booleans()), max_size=24),
    network=st.sampled_from(["visa", "mastercard", "amex", "us_bank_account", "jcb", None]),
    country=st.sampled_from(["DE", "BR", "IN", None]),
)
def test_where_few_attempts_say_nothing_the_whole_table_says_nothing(
    tried: list[tuple[int, str | None, str | None, bool]], network: str | None, country: str | None
) -> None:
    """`check` does not go through the table where it cannot forbid anything: the answer is the same."""
    now, card = OPENED + timedelta(days=40), replace(VISA, network=network, country=country)
    made = [
        attempt(after=timedelta(hours=hours), number=number, network_decline=code, network_advice=advice)
        for number, (hours, code, advice, _) in enumerate(tried)
    ]
    here = [each for each, (*_, is_here) in zip(made, tried, strict=True) if is_here]
    there = [each for each in made if each not in here]
    quickly = check(CURRENT_RULES, card, here, DUE, now, elsewhere=there)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "_unlimited", lambda *_: -1)
        assert check(CURRENT_RULES, card, here, DUE, now, elsewhere=there) == quickly
    said = [each.decline for each in made if each.decline is not None]
    if len(made) <= unlimited(CURRENT_RULES, card, DUE) and not any(
        answers(CURRENT_RULES, card, DUE, each) for each in said
    ):
        assert quickly == Allowed()


@given(
    lately=st.integers(0, 40),
    before=st.integers(0, 3),
    within=st.sampled_from([timedelta(hours=24), timedelta(days=30), timedelta(days=31)]),
    network=st.sampled_from(["visa", "mastercard", "amex", "us_bank_account", "jcb", None]),
    country=st.sampled_from(["DE", "BR", "IN", None]),
)
def test_where_attempts_are_few_enough_the_table_forbids_none(
    lately: int, before: int, within: timedelta, network: str | None, country: str | None
) -> None:
    """As many attempts as fit into a limit's window, and some right before it began."""
    now, card = OPENED + timedelta(days=100), replace(VISA, network=network, country=country)
    times = [now - within - timedelta(hours=1)] * before + [now - within + timedelta(minutes=1)] * lately
    verdict = check(CURRENT_RULES, card, attempts_at(*times), DUE, now)
    if few_enough(CURRENT_RULES, card, DUE, [at.timestamp() for at in times], now.timestamp()):
        assert verdict == Allowed()


@pytest.mark.parametrize(("row", "limit", "within"), WINDOWED, ids=lambda each: getattr(each, "name", None))
def test_as_many_as_a_limit_allows_are_not_few_enough(row: NetworkRule, limit: Limit, within: timedelta) -> None:
    rules = replace(CURRENT_RULES, rows=(replace(row, limits=(limit,)),))
    now = OPENED + timedelta(days=400)
    times = [now.timestamp() - within.total_seconds() + 60] * limit.most
    assert not few_enough(rules, card_of(row), DUE, times, now.timestamp())
    assert few_enough(rules, card_of(row), DUE, times[1:], now.timestamp())
