"""Stripe's codes: the whole table, and what advice and networks add to it."""

import pytest

from services.worker.recovery import Decline, DeclineCause, Hardness, Policy, classify, decide
from services.worker.recovery.declines import (
    BY_CODE,
    HIDDEN_FROM_CUSTOMER,
    NEVER_BY_NETWORK_ADVICE,
    NEVER_BY_NETWORK_CODE,
    NEVER_BY_STRIPE_ADVICE,
    ROWS,
    DeclineRow,
)
from services.worker.recovery.networks import CURRENT_RULES
from shared.policy import Schedules
from simulator.bank_accounts import FAILURES, DebitFailure
from tests.unit.worker.recovery.builders import DEFAULT, OPENED, attempt, invoice, recovery

# https://docs.stripe.com/declines/codes, both tables, as of April 2026.
CARD_CODES = [
    "authentication_required",
    "authentication_not_handled",
    "approve_with_id",
    "call_issuer",
    "card_not_supported",
    "card_velocity_exceeded",
    "currency_not_supported",
    "do_not_honor",
    "do_not_try_again",
    "duplicate_transaction",
    "expired_card",
    "fraudulent",
    "generic_decline",
    "incorrect_address",
    "incorrect_cvc",
    "incorrect_number",
    "incorrect_pin",
    "incorrect_zip",
    "insufficient_funds",
    "invalid_account",
    "invalid_amount",
    "invalid_cvc",
    "invalid_expiry_month",
    "invalid_expiry_year",
    "invalid_number",
    "invalid_pin",
    "issuer_not_available",
    "lost_card",
    "merchant_blacklist",
    "new_account_information_available",
    "no_action_taken",
    "not_permitted",
    "offline_pin_required",
    "online_or_offline_pin_required",
    "pickup_card",
    "pin_try_exceeded",
    "processing_error",
    "reenter_transaction",
    "restricted_card",
    "revocation_of_all_authorizations",
    "revocation_of_authorization",
    "security_violation",
    "service_not_allowed",
    "stolen_card",
    "stop_payment_order",
    "testmode_decline",
    "transaction_not_allowed",
    "try_again_later",
    "withdrawal_count_limit_exceeded",
    "mobile_device_authentication_required",
]
LOCAL_CODES = [
    "partner_generic_decline",
    "invalid_customer_account",
    "payment_limit_exceeded",
    "invalid_billing_agreement",
    "expired_card",
    "processing_error",
    "insufficient_funds",
    "currency_not_supported",
    "invalid_amount",
    "invalid_business_account",
    "partner_high_risk_customer",
    "compliance_violation",
    "payment_disputed",
    "invalid_authorization",
    "invalid_payment_information",
    "partner_payment_not_found",
    "expired_payment_information",
    "duplicate_transaction",
]
NEVER_RETRIED_BY_STRIPE = [
    "incorrect_number",
    "lost_card",
    "pickup_card",
    "stolen_card",
    "revocation_of_authorization",
    "revocation_of_all_authorizations",
    "authentication_required",
    "highest_risk_level",
    "transaction_not_allowed",
]
# Why a bank account cannot be debited: `payment_method_us_bank_account_blocked.reason` of Stripe's OpenAPI document,
# and the older codes of failed charges of the same meaning.
DEAD_BANK_ACCOUNTS = [
    "bank_account_closed",
    "bank_account_frozen",
    "bank_account_invalid_details",
    "bank_account_restricted",
    "bank_account_unusable",
    "debit_not_authorized",
    "tokenized_account_number_deactivated",
    "account_closed",
    "account_frozen",
    "account_number_invalid",
    "authorization_revoked",
    "bank_account_unverified",
    "invalid_account_number",
    "invalid_currency",
    "no_account",
    "payment_method_bank_account_blocked",
    "recipient_deceased",
    "routing_number_invalid",
]
ALWAYS_HARD = frozenset(
    {
        DeclineCause.LOST_OR_STOLEN,
        DeclineCause.INCORRECT_DETAILS,
        DeclineCause.AUTHENTICATION_REQUIRED,
        DeclineCause.FRAUD_SUSPECTED,
        DeclineCause.REVOKED,
    }
)
# A hard row needs a cause that says so; these causes are soft unless a row, an advice or a network says otherwise.
HARD_BY_ROW = {
    "transaction_not_allowed",
    "currency_not_supported",
    "do_not_try_again",
    "invalid_amount",
    "testmode_decline",
    "previously_declined_do_not_retry",
    "compliance_violation",
    "payment_disputed",
    "bank_account_restricted",
    "account_frozen",
    "bank_account_declined",
    "bank_account_frozen",
    "bank_account_unusable",
    "bank_account_unverified",
    "invalid_currency",
    "payment_method_bank_account_blocked",
}


def test_no_code_is_in_the_table_twice() -> None:
    assert len(BY_CODE) == len(ROWS)


@pytest.mark.parametrize("code", sorted({*CARD_CODES, *LOCAL_CODES}))
def test_every_code_that_stripe_documents_is_known(code: str) -> None:
    assert not classify(Decline("card_declined", code)).unknown


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_every_row_has_a_source_and_classifies_as_it_says(row: DeclineRow) -> None:
    assert row.source.startswith("https://")
    for decline in (Decline("card_declined", row.code), Decline(row.code)):
        found = classify(decline)
        assert (found.cause, found.hard, found.unknown) == (row.cause, row.hardness is Hardness.HARD, False)
        assert row.code in found.why


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_a_row_is_hard_by_its_cause_or_for_a_reason_of_its_own(row: DeclineRow) -> None:
    assert (row.hardness is Hardness.HARD) == (row.cause in ALWAYS_HARD or row.code in HARD_BY_ROW)


@pytest.mark.parametrize("row", [r for r in ROWS if r.hardness is Hardness.SOFT], ids=lambda row: row.code)
def test_every_soft_cause_has_a_schedule_of_its_own(row: DeclineRow) -> None:
    assert row.cause.value in Schedules.model_fields
    assert Policy.default().schedules.for_cause(row.cause) == getattr(Policy.default().schedules, row.cause)


@pytest.mark.parametrize("code", NEVER_RETRIED_BY_STRIPE)
def test_what_stripe_never_retries_is_hard(code: str) -> None:
    assert classify(Decline("card_declined", code)).hard


@pytest.mark.parametrize("code", DEAD_BANK_ACCOUNTS)
def test_a_bank_account_that_cannot_be_debited_is_not_debited_again(code: str) -> None:
    assert classify(Decline(code)).hard
    assert decide(DEFAULT, recovery(), invoice(), [attempt(code)], OPENED).reason.rule == "hard_decline"


@pytest.mark.parametrize("failure", [each for each in FAILURES.values() if each.return_code])
def test_every_debit_that_the_simulated_bank_returns_is_known(failure: DebitFailure) -> None:
    by_code = classify(Decline(failure.code))
    by_return = classify(Decline("charge_failed", network_decline_code=failure.return_code))
    assert not by_code.unknown
    assert by_code.hard == by_return.hard == (failure.return_code != "R01")


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_every_debit_that_fails_has_a_row(code: str) -> None:
    assert not classify(Decline(code)).unknown


@pytest.mark.parametrize("code", ["rule", "elevated_risk_level"])
def test_what_a_rule_of_the_merchants_own_blocks_is_the_merchants_matter(code: str) -> None:
    found = classify(Decline("card_declined", code))
    assert (found.merchants_matter, found.unknown, found.hard, found.customer_may_know) == (True, False, False, False)


def test_only_blocked_payments_are_the_merchants_matter() -> None:
    assert {row.code for row in ROWS if row.merchants_matter} == {
        "rule",
        "elevated_risk_level",
        "highest_risk_level",
    }
    assert not classify(Decline("card_declined", "insufficient_funds")).merchants_matter


@pytest.mark.parametrize(("code", "hard"), [("40", True), ("41", True), ("42", False), ("43", False), ("22", False)])
def test_a_card_for_one_use_is_never_charged_again_as_a_stored_card(code: str, hard: bool) -> None:
    for said in ("generic_decline", "insufficient_funds", "do_not_honor"):
        assert classify(Decline("card_declined", said, network_advice_code=code)).hard is hard


@pytest.mark.parametrize("code", ["fraudulent", "lost_card", "stolen_card", "merchant_blacklist"])
def test_of_theft_and_fraud_the_customer_is_told_nothing(code: str) -> None:
    assert not classify(Decline("card_declined", code)).customer_may_know


@pytest.mark.parametrize("advice", sorted(NEVER_BY_STRIPE_ADVICE))
def test_advice_against_it_makes_every_code_hard(advice: str) -> None:
    assert all(classify(Decline("card_declined", row.code, advice)).hard for row in ROWS)


@pytest.mark.parametrize("code", sorted(NEVER_BY_NETWORK_CODE))
def test_a_network_code_for_never_makes_every_code_hard(code: str) -> None:
    for row in ROWS:
        found = classify(Decline("card_declined", row.code, "try_again_later", network_decline_code=code))
        assert found.hard
        assert not (found.customer_may_know and NEVER_BY_NETWORK_CODE[code] in HIDDEN_FROM_CUSTOMER)


@pytest.mark.parametrize("code", sorted(NEVER_BY_NETWORK_ADVICE))
def test_a_network_advice_for_never_makes_every_code_hard(code: str) -> None:
    assert all(classify(Decline("card_declined", row.code, network_advice_code=code)).hard for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_advice_to_try_later_never_softens_a_hard_decline(row: DeclineRow) -> None:
    assert classify(Decline("card_declined", row.code, "try_again_later")).hard == (row.hardness is Hardness.HARD)


def test_advice_to_try_later_gives_a_vague_decline_its_cause() -> None:
    assert classify(Decline("card_declined", "generic_decline", "try_again_later")).cause is DeclineCause.TRY_LATER
    funds = classify(Decline("card_declined", "insufficient_funds", "try_again_later"))
    assert funds.cause is DeclineCause.INSUFFICIENT_FUNDS
    never = classify(Decline("card_declined", "do_not_try_again", "try_again_later"))
    assert never.cause is DeclineCause.DO_NOT_HONOR


def test_a_network_code_gives_a_vague_decline_its_cause() -> None:
    found = classify(Decline("card_declined", "generic_decline", network_decline_code="43"))
    assert (found.cause, found.customer_may_know) == (DeclineCause.LOST_OR_STOLEN, False)


@pytest.mark.parametrize("written", ["4", "04", " 04 "])
def test_network_codes_are_read_however_they_are_written(written: str) -> None:
    assert classify(Decline("card_declined", "do_not_honor", network_decline_code=written)).hard


def test_an_ach_return_code_is_not_taken_for_a_visa_code() -> None:
    assert not classify(Decline("card_declined", "insufficient_funds", network_decline_code="R01")).hard


@pytest.mark.parametrize(
    "decline", [Decline(), Decline("card_declined", "brand_new_code"), Decline("brand_new_code"), Decline("", "")]
)
def test_an_unknown_code_is_soft_and_flagged(decline: Decline) -> None:
    found = classify(decline)
    assert (found.cause, found.hard, found.unknown) == (DeclineCause.UNKNOWN, False, True)


def test_the_tables_of_never_here_and_of_the_networks_agree() -> None:
    declined = frozenset[str]().union(*(row.never_decline_codes for row in CURRENT_RULES.rows))
    advised = frozenset[str]().union(*(row.never_advice_codes for row in CURRENT_RULES.rows))
    assert declined == set(NEVER_BY_NETWORK_CODE)
    assert advised == set(NEVER_BY_NETWORK_ADVICE) - {"01"}
