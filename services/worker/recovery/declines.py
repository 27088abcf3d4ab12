"""Why a payment was refused, and whether the same payment method may ever be tried again.

One table of Stripe's codes with their sources, and `classify`, which reads it. A hard decline never becomes soft:
Stripe's advice codes and the networks' codes can only make a soft one hard, or make a vague cause more precise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from services.worker.recovery.model import Decline
from services.worker.recovery.networks import network_code
from shared.policy import DeclineCause

# After these causes the same card may be tried, if the customer has entered it again as a new payment method.
CURED_BY_ENTERING_AGAIN = frozenset(
    {DeclineCause.EXPIRED_CARD, DeclineCause.INCORRECT_DETAILS, DeclineCause.AUTHENTICATION_REQUIRED}
)

# After these codes the card may be tried again when its date is a later one.
CURED_BY_A_LATER_DATE = frozenset(
    {"expired_card", "invalid_expiry_month", "invalid_expiry_year", "new_account_information_available"}
)

# Stripe asks to show these to the customer as a plain decline, so that a thief learns nothing.
HIDDEN_FROM_CUSTOMER = frozenset({DeclineCause.LOST_OR_STOLEN, DeclineCause.FRAUD_SUSPECTED})


class Hardness(StrEnum):
    """SOFT: the same payment method may work later. HARD: it will not, or must not be tried."""

    HARD = "hard"
    SOFT = "soft"


class Source(StrEnum):
    """Where a code is documented. The hardness is Stripe's own where Stripe gives one, else our interpretation."""

    CODES = "https://docs.stripe.com/declines/codes (card decline codes), copy of April 2026"
    LOCAL = "https://docs.stripe.com/declines/codes (local payment method decline codes), copy of April 2026"
    NOT_RETRIED = "https://docs.stripe.com/billing/revenue-recovery/smart-retries (codes that Stripe does not retry)"
    BACS = "https://docs.stripe.com/payments/payment-methods/bacs-debit (failure codes)"
    SEPA = "https://docs.stripe.com/payments/sepa-debit (failure codes)"
    ACH = "https://docs.stripe.com/declines/network-codes (ACH Direct Debit)"
    ERRORS = "https://docs.stripe.com/error-codes"
    RETRIES = "https://support.stripe.com/questions/payment-blocked-due-to-excessive-retries"
    # Stripe blocks an account after any return but missing funds, because Nacha's rules ask for a review first.
    ACH_BLOCKED = (
        "https://docs.stripe.com/payments/ach-direct-debit/blocked-bank-accounts, read November 2026; the reasons are "
        "those of payment_method_us_bank_account_blocked in Stripe's OpenAPI document of 2026-05-27"
    )
    BANK_ERRORS = "https://docs.stripe.com/error-codes (bank accounts), read November 2026"
    FAILURES = "https://docs.stripe.com/api/payouts/failures (the older codes of bank accounts), read November 2026"
    BLOCKED = "https://docs.stripe.com/declines#blocked-payments and charge.outcome.reason, read November 2026"


@dataclass(frozen=True, slots=True)
class DeclineRow:
    """What one of Stripe's codes means. `merchants_matter`: as in `Classified`."""

    code: str
    cause: DeclineCause
    hardness: Hardness
    source: Source
    merchants_matter: bool = False


_HARD, _SOFT = Hardness.HARD, Hardness.SOFT
_C, _S = DeclineCause, Source

# `decline_code`s first, then the `code`s of errors and failed debits that come without one.
ROWS: tuple[DeclineRow, ...] = (
    # Cards. The nine that Stripe itself never retries carry that page as their source.
    DeclineRow("authentication_required", _C.AUTHENTICATION_REQUIRED, _HARD, _S.NOT_RETRIED),
    DeclineRow("highest_risk_level", _C.FRAUD_SUSPECTED, _HARD, _S.NOT_RETRIED, merchants_matter=True),
    DeclineRow("incorrect_number", _C.INCORRECT_DETAILS, _HARD, _S.NOT_RETRIED),
    DeclineRow("lost_card", _C.LOST_OR_STOLEN, _HARD, _S.NOT_RETRIED),
    DeclineRow("pickup_card", _C.LOST_OR_STOLEN, _HARD, _S.NOT_RETRIED),
    DeclineRow("revocation_of_all_authorizations", _C.REVOKED, _HARD, _S.NOT_RETRIED),
    DeclineRow("revocation_of_authorization", _C.REVOKED, _HARD, _S.NOT_RETRIED),
    DeclineRow("stolen_card", _C.LOST_OR_STOLEN, _HARD, _S.NOT_RETRIED),
    DeclineRow("transaction_not_allowed", _C.NOT_ALLOWED, _HARD, _S.NOT_RETRIED),
    DeclineRow("approve_with_id", _C.TRY_LATER, _SOFT, _S.CODES),
    DeclineRow("authentication_not_handled", _C.AUTHENTICATION_REQUIRED, _HARD, _S.CODES),
    DeclineRow("call_issuer", _C.DO_NOT_HONOR, _SOFT, _S.CODES),
    DeclineRow("card_not_supported", _C.NOT_ALLOWED, _SOFT, _S.CODES),
    DeclineRow("card_velocity_exceeded", _C.LIMIT_EXCEEDED, _SOFT, _S.CODES),
    DeclineRow("currency_not_supported", _C.NOT_ALLOWED, _HARD, _S.LOCAL),  # "Retries won't succeed."
    DeclineRow("do_not_honor", _C.DO_NOT_HONOR, _SOFT, _S.CODES),
    DeclineRow("do_not_try_again", _C.DO_NOT_HONOR, _HARD, _S.CODES),
    DeclineRow("duplicate_transaction", _C.TRY_LATER, _SOFT, _S.CODES),
    DeclineRow("expired_card", _C.EXPIRED_CARD, _SOFT, _S.CODES),
    DeclineRow("fraudulent", _C.FRAUD_SUSPECTED, _HARD, _S.CODES),
    DeclineRow("generic_decline", _C.DO_NOT_HONOR, _SOFT, _S.CODES),
    DeclineRow("incorrect_address", _C.INCORRECT_DETAILS, _HARD, _S.CODES),
    DeclineRow("incorrect_cvc", _C.INCORRECT_DETAILS, _HARD, _S.CODES),
    DeclineRow("incorrect_pin", _C.AUTHENTICATION_REQUIRED, _HARD, _S.CODES),
    DeclineRow("incorrect_zip", _C.INCORRECT_DETAILS, _HARD, _S.CODES),
    DeclineRow("insufficient_funds", _C.INSUFFICIENT_FUNDS, _SOFT, _S.CODES),
    DeclineRow("invalid_account", _C.INCORRECT_DETAILS, _HARD, _S.CODES),
    DeclineRow("invalid_amount", _C.NOT_ALLOWED, _HARD, _S.LOCAL),  # "Retries won't succeed."
    DeclineRow("invalid_cvc", _C.INCORRECT_DETAILS, _HARD, _S.CODES),
    DeclineRow("invalid_expiry_month", _C.INCORRECT_DETAILS, _HARD, _S.CODES),
    DeclineRow("invalid_expiry_year", _C.INCORRECT_DETAILS, _HARD, _S.CODES),
    DeclineRow("invalid_number", _C.INCORRECT_DETAILS, _HARD, _S.CODES),
    DeclineRow("invalid_pin", _C.AUTHENTICATION_REQUIRED, _HARD, _S.CODES),
    DeclineRow("issuer_not_available", _C.TRY_LATER, _SOFT, _S.CODES),
    DeclineRow("merchant_blacklist", _C.FRAUD_SUSPECTED, _HARD, _S.CODES),
    DeclineRow("mobile_device_authentication_required", _C.AUTHENTICATION_REQUIRED, _HARD, _S.CODES),
    DeclineRow("new_account_information_available", _C.INCORRECT_DETAILS, _HARD, _S.CODES),
    DeclineRow("no_action_taken", _C.DO_NOT_HONOR, _SOFT, _S.CODES),
    DeclineRow("not_permitted", _C.NOT_ALLOWED, _SOFT, _S.CODES),
    DeclineRow("offline_pin_required", _C.AUTHENTICATION_REQUIRED, _HARD, _S.CODES),
    DeclineRow("online_or_offline_pin_required", _C.AUTHENTICATION_REQUIRED, _HARD, _S.CODES),
    DeclineRow("pin_try_exceeded", _C.LIMIT_EXCEEDED, _SOFT, _S.CODES),
    DeclineRow("processing_error", _C.TRY_LATER, _SOFT, _S.CODES),
    DeclineRow("reenter_transaction", _C.TRY_LATER, _SOFT, _S.CODES),
    DeclineRow("restricted_card", _C.NOT_ALLOWED, _SOFT, _S.CODES),
    DeclineRow("security_violation", _C.DO_NOT_HONOR, _SOFT, _S.CODES),
    DeclineRow("service_not_allowed", _C.NOT_ALLOWED, _SOFT, _S.CODES),
    DeclineRow("stop_payment_order", _C.REVOKED, _HARD, _S.CODES),  # Visa's R0, category 1
    DeclineRow("testmode_decline", _C.NOT_ALLOWED, _HARD, _S.CODES),
    DeclineRow("try_again_later", _C.TRY_LATER, _SOFT, _S.CODES),
    DeclineRow("withdrawal_count_limit_exceeded", _C.LIMIT_EXCEEDED, _SOFT, _S.CODES),
    DeclineRow("previously_declined_do_not_retry", _C.DO_NOT_HONOR, _HARD, _S.RETRIES),
    # Blocked at Stripe; the bank was not asked. A rule of the merchant's own at Radar stops every card that it fits,
    # until the merchant changes it. Stripe's guess that the bank would decline may be another one in some days.
    DeclineRow("rule", _C.NOT_ALLOWED, _SOFT, _S.BLOCKED, merchants_matter=True),
    DeclineRow("elevated_risk_level", _C.NOT_ALLOWED, _SOFT, _S.BLOCKED, merchants_matter=True),
    DeclineRow("low_probability_of_authorization", _C.DO_NOT_HONOR, _SOFT, _S.BLOCKED),
    # Wallets and other local methods.
    DeclineRow("compliance_violation", _C.NOT_ALLOWED, _HARD, _S.LOCAL),
    DeclineRow("expired_payment_information", _C.INCORRECT_DETAILS, _HARD, _S.LOCAL),
    DeclineRow("invalid_authorization", _C.REVOKED, _HARD, _S.LOCAL),
    DeclineRow("invalid_billing_agreement", _C.REVOKED, _HARD, _S.LOCAL),
    DeclineRow("invalid_business_account", _C.NOT_ALLOWED, _SOFT, _S.LOCAL),
    DeclineRow("invalid_customer_account", _C.NOT_ALLOWED, _SOFT, _S.LOCAL),
    DeclineRow("invalid_payment_information", _C.INCORRECT_DETAILS, _HARD, _S.LOCAL),
    DeclineRow("partner_generic_decline", _C.DO_NOT_HONOR, _SOFT, _S.LOCAL),
    DeclineRow("partner_high_risk_customer", _C.FRAUD_SUSPECTED, _HARD, _S.LOCAL),
    DeclineRow("partner_payment_not_found", _C.DO_NOT_HONOR, _SOFT, _S.LOCAL),
    DeclineRow("payment_disputed", _C.NOT_ALLOWED, _HARD, _S.LOCAL),
    DeclineRow("payment_limit_exceeded", _C.LIMIT_EXCEEDED, _SOFT, _S.LOCAL),
    # Direct debits. Nearly all are hard: another debit of a bank account that is closed, frozen, unknown or not
    # authorized comes back again, each time for a fee.
    DeclineRow("account_frozen", _C.NOT_ALLOWED, _HARD, _S.FAILURES),
    DeclineRow("account_number_invalid", _C.INCORRECT_DETAILS, _HARD, _S.BANK_ERRORS),
    DeclineRow("bank_account_bad_routing_numbers", _C.INCORRECT_DETAILS, _HARD, _S.BANK_ERRORS),
    DeclineRow("bank_account_declined", _C.NOT_ALLOWED, _HARD, _S.BANK_ERRORS),
    DeclineRow("bank_account_frozen", _C.NOT_ALLOWED, _HARD, _S.ACH_BLOCKED),
    DeclineRow("bank_account_unusable", _C.NOT_ALLOWED, _HARD, _S.ACH_BLOCKED),
    DeclineRow("bank_account_unverified", _C.NOT_ALLOWED, _HARD, _S.BANK_ERRORS),
    DeclineRow("could_not_process", _C.TRY_LATER, _SOFT, _S.FAILURES),
    DeclineRow("invalid_currency", _C.NOT_ALLOWED, _HARD, _S.FAILURES),
    DeclineRow("no_account", _C.INCORRECT_DETAILS, _HARD, _S.BANK_ERRORS),
    DeclineRow("payment_method_bank_account_blocked", _C.NOT_ALLOWED, _HARD, _S.BANK_ERRORS),
    DeclineRow("routing_number_invalid", _C.INCORRECT_DETAILS, _HARD, _S.BANK_ERRORS),
    DeclineRow("tokenized_account_number_deactivated", _C.INCORRECT_DETAILS, _HARD, _S.ACH_BLOCKED),
    DeclineRow("account_closed", _C.INCORRECT_DETAILS, _HARD, _S.BACS),
    DeclineRow("authorization_revoked", _C.REVOKED, _HARD, _S.SEPA),
    DeclineRow("bank_account_closed", _C.INCORRECT_DETAILS, _HARD, _S.ACH),
    DeclineRow("bank_account_invalid_details", _C.INCORRECT_DETAILS, _HARD, _S.ACH),
    DeclineRow("bank_account_restricted", _C.NOT_ALLOWED, _HARD, _S.SEPA),
    DeclineRow("bank_ownership_changed", _C.INCORRECT_DETAILS, _HARD, _S.BACS),
    DeclineRow("branch_does_not_exist", _C.INCORRECT_DETAILS, _HARD, _S.SEPA),
    DeclineRow("debit_authorization_not_match", _C.REVOKED, _HARD, _S.SEPA),
    DeclineRow("debit_disputed", _C.REVOKED, _HARD, _S.SEPA),
    DeclineRow("debit_not_authorized", _C.REVOKED, _HARD, _S.ACH),
    DeclineRow("generic_could_not_process", _C.TRY_LATER, _SOFT, _S.BACS),
    DeclineRow("incorrect_account_holder_name", _C.INCORRECT_DETAILS, _HARD, _S.SEPA),
    DeclineRow("invalid_account_number", _C.INCORRECT_DETAILS, _HARD, _S.BACS),
    DeclineRow("recipient_deceased", _C.REVOKED, _HARD, _S.SEPA),
    DeclineRow("refer_to_customer", _C.DO_NOT_HONOR, _SOFT, _S.SEPA),
    # Errors without a decline code.
    DeclineRow("card_declined", _C.DO_NOT_HONOR, _SOFT, _S.ERRORS),
    DeclineRow("card_decline_rate_limit_exceeded", _C.LIMIT_EXCEEDED, _SOFT, _S.ERRORS),
    DeclineRow("invoice_payment_intent_requires_action", _C.AUTHENTICATION_REQUIRED, _HARD, _S.ERRORS),
    DeclineRow("payment_intent_authentication_failure", _C.AUTHENTICATION_REQUIRED, _HARD, _S.ERRORS),
    DeclineRow("payment_method_customer_decline", _C.REVOKED, _HARD, _S.ERRORS),
    DeclineRow("payment_method_not_available", _C.TRY_LATER, _SOFT, _S.ERRORS),
    DeclineRow("payment_method_provider_decline", _C.DO_NOT_HONOR, _SOFT, _S.ERRORS),
    DeclineRow("payment_method_provider_timeout", _C.TRY_LATER, _SOFT, _S.ERRORS),
)

BY_CODE: Mapping[str, DeclineRow] = {row.code: row for row in ROWS}

# Network codes that forbid this payment method, whatever Stripe's own code says. The network is not known here, so all
# networks' codes count: Visa's category 1 (the same ISO 8583 meanings at other networks), ACH's returns after which
# Stripe blocks the account (ACH_BLOCKED; R01 and R09, missing funds, are not among them), then Mastercard's advice (03,
# 21: never; 01: new credentials; 40, 41: a prepaid or virtual card that is used up, of no use as a card on file. 43, a
# virtual card for several uses, is soft).
# Sources of 40, 41 and 43: Braintree's reference, "Merchant Advice Codes", and
# https://releases.forte.net/mastercard-introduces-new-merchant-advice-codes/, both read November 2026.
NEVER_BY_NETWORK_CODE: Mapping[str, DeclineCause] = {
    "04": _C.LOST_OR_STOLEN,
    "07": _C.LOST_OR_STOLEN,
    "12": _C.NOT_ALLOWED,
    "14": _C.INCORRECT_DETAILS,
    "15": _C.INCORRECT_DETAILS,
    "41": _C.LOST_OR_STOLEN,
    "43": _C.LOST_OR_STOLEN,
    "46": _C.NOT_ALLOWED,
    "57": _C.NOT_ALLOWED,
    "R0": _C.REVOKED,
    "R1": _C.REVOKED,
    "R3": _C.REVOKED,
    "R02": _C.INCORRECT_DETAILS,
    "R03": _C.INCORRECT_DETAILS,
    "R04": _C.INCORRECT_DETAILS,
    "R05": _C.REVOKED,
    "R07": _C.REVOKED,
    "R08": _C.REVOKED,
    "R10": _C.REVOKED,
    "R11": _C.REVOKED,
    "R16": _C.NOT_ALLOWED,
    "R20": _C.NOT_ALLOWED,
    "R29": _C.REVOKED,
    "R31": _C.REVOKED,
}
NEW_DETAILS = "01"
NEVER_BY_NETWORK_ADVICE: Mapping[str, DeclineCause] = {
    NEW_DETAILS: _C.INCORRECT_DETAILS,
    "03": _C.DO_NOT_HONOR,
    "21": _C.REVOKED,
    "40": _C.NOT_ALLOWED,
    "41": _C.NOT_ALLOWED,
}
# https://docs.stripe.com/declines/card#retrying-issuer-declines
NEVER_BY_STRIPE_ADVICE: Mapping[str, DeclineCause] = {
    "do_not_try_again": _C.DO_NOT_HONOR,
    "confirm_card_data": _C.INCORRECT_DETAILS,
}

_VAGUE = frozenset({_C.DO_NOT_HONOR, _C.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Classified:
    """A decline, classified.

    `hard`: this payment method must not be tried again. `why`: the fields that say so, for people.
    `customer_may_know`: False when the customer is only told "declined". `unknown`: the code is in no table; it counts
    as soft, and the caller logs a warning so that the code can be added. `merchants_matter`: the merchant's own rules
    refused the payment, so only the merchant can help, and the customer is not written to about it.
    """

    cause: DeclineCause
    hard: bool
    why: str
    customer_may_know: bool
    unknown: bool = False
    merchants_matter: bool = False


# Called for every attempt at every evaluation, and there are few different declines.
@lru_cache(maxsize=4096)
def classify(decline: Decline) -> Classified:
    """What `decline` means, from Stripe's code, its advice code and the network's codes."""
    code = decline.decline_code or decline.code
    row = BY_CODE.get(code) if code else None
    causes = [row.cause if row else _C.UNKNOWN]
    why = [code or "no code"]
    hard = row is not None and row.hardness is _HARD
    for field, value, never in (
        ("network_decline_code", network_code(decline.network_decline_code), NEVER_BY_NETWORK_CODE),
        ("network_advice_code", network_code(decline.network_advice_code), NEVER_BY_NETWORK_ADVICE),
        ("advice_code", decline.advice_code, NEVER_BY_STRIPE_ADVICE),
    ):
        if value is not None and value in never:
            hard = True
            causes.append(never[value])
            why.append(f"{field} {value}")
    if decline.advice_code == "try_again_later" and not hard:
        causes.append(_C.TRY_LATER)
        why.append("advice_code try_again_later")
    merchants_matter = row is not None and row.merchants_matter
    telling = [cause for cause in causes if cause not in _VAGUE]
    return Classified(
        cause=(telling or causes)[0],
        hard=hard,
        why=", ".join(why),
        customer_may_know=HIDDEN_FROM_CUSTOMER.isdisjoint(causes) and not merchants_matter,
        unknown=row is None,
        merchants_matter=merchants_matter,
    )


def cured_by_a_later_date(decline: Decline) -> bool:
    """Whether the card's date may have been all that was wrong, so that a later one makes it a new card.

    That is so where Stripe's code says it, or where the code is vague and the advice is to confirm the card's data
    (https://docs.stripe.com/declines/card#retrying-issuer-declines; Mastercard's advice 01 is the same). Whatever else
    the network says against the card stays said.
    """
    code = decline.decline_code or decline.code
    row = BY_CODE.get(code) if code else None
    advised = network_code(decline.network_advice_code)
    if network_code(decline.network_decline_code) in NEVER_BY_NETWORK_CODE:
        return False
    if decline.advice_code == "do_not_try_again" or (advised in NEVER_BY_NETWORK_ADVICE and advised != NEW_DETAILS):
        return False
    confirm = decline.advice_code == "confirm_card_data" or advised == NEW_DETAILS
    return code in CURED_BY_A_LATER_DATE or (confirm and (row is None or row.cause in _VAGUE))
