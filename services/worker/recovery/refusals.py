"""Why Stripe refused to try, and what helps: the errors of `POST /v1/invoices/:id/pay` that are no decline of a bank.

Nothing was charged. A code that is not in the table waits, is logged, and is not the customer's fault: it is no reason
to write to the customer, nor for an end action.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.worker.recovery.declines import classify
from services.worker.recovery.model import AttemptResult, PastAttempt

ACCOUNT_RESTRICTED = "account_restricted"
"""Ours, not Stripe's: the refusal had no code that says more, and the account says `charges_enabled: false`."""


class Remedy(StrEnum):
    """What helps after a refusal."""

    END = "end"  # nothing: the invoice cannot be collected
    ASK = "ask"  # another payment method, or a new authorization: only the customer can bring it
    WAIT = "wait"  # time, and another reading of the invoice
    MERCHANT = "merchant"  # the merchant has to change something; the customer is not written to about it
    OURS = "ours"  # nothing that anybody there can do: our request was wrong


class Source(StrEnum):
    """Where a code is documented. Stripe does not say which codes `/pay` gives: the table has all that it may give."""

    CODES = "https://docs.stripe.com/error-codes, read November 2026"
    MINIMUM = "https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts, read November 2026"
    MANDATES = "https://docs.stripe.com/payments/mandates and error-codes, read November 2026"
    ACCOUNT = "https://docs.stripe.com/api/accounts/object#account_object-charges_enabled, read November 2026"
    KEYS = "https://docs.stripe.com/keys#test-live-modes and error-codes, read November 2026"


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """What one of Stripe's codes means."""

    code: str
    remedy: Remedy
    source: Source


_R, _S = Remedy, Source

ROWS: tuple[RefusalRow, ...] = (
    # The amount.
    RefusalRow("amount_too_small", _R.END, _S.MINIMUM),
    RefusalRow("amount_too_large", _R.MERCHANT, _S.MINIMUM),
    RefusalRow("invalid_charge_amount", _R.END, _S.CODES),
    RefusalRow("charge_exceeds_source_limit", _R.WAIT, _S.CODES),
    RefusalRow("charge_exceeds_transaction_limit", _R.MERCHANT, _S.CODES),
    # The invoice, or a payment of it that is under way: the next reading says what follows.
    RefusalRow("intent_invalid_state", _R.WAIT, _S.CODES),
    RefusalRow("invoice_no_customer_line_items", _R.WAIT, _S.CODES),
    RefusalRow("invoice_no_subscription_line_items", _R.WAIT, _S.CODES),
    RefusalRow("invoice_not_editable", _R.WAIT, _S.CODES),
    RefusalRow("payment_intent_unexpected_state", _R.WAIT, _S.CODES),
    RefusalRow("status_transition_invalid", _R.WAIT, _S.CODES),
    # Others at work, or something at Stripe that is away for now.
    RefusalRow("idempotency_key_in_use", _R.WAIT, _S.CODES),
    RefusalRow("lock_timeout", _R.WAIT, _S.CODES),
    RefusalRow("payment_intent_rate_limit_exceeded", _R.WAIT, _S.CODES),
    RefusalRow("payment_method_not_available", _R.WAIT, _S.CODES),
    RefusalRow("payment_method_provider_timeout", _R.WAIT, _S.CODES),
    RefusalRow("processing_error", _R.WAIT, _S.CODES),
    RefusalRow("rate_limit", _R.WAIT, _S.CODES),
    # The payment method: there is none, or this one cannot be charged.
    RefusalRow("expired_payment_method", _R.ASK, _S.CODES),
    RefusalRow("invalid_card_type", _R.ASK, _S.CODES),
    RefusalRow("missing", _R.ASK, _S.CODES),
    RefusalRow("payment_intent_incompatible_payment_method", _R.ASK, _S.CODES),
    RefusalRow("payment_method_billing_details_address_missing", _R.ASK, _S.CODES),
    RefusalRow("payment_method_currency_mismatch", _R.ASK, _S.CODES),
    RefusalRow("payment_method_unexpected_state", _R.ASK, _S.CODES),
    RefusalRow("payment_method_unsupported_type", _R.ASK, _S.CODES),
    RefusalRow("resource_missing", _R.ASK, _S.CODES),
    RefusalRow("sepa_unsupported_account", _R.ASK, _S.CODES),
    # The customer's authorization.
    RefusalRow("billing_invalid_mandate", _R.ASK, _S.MANDATES),
    RefusalRow("india_recurring_payment_mandate_canceled", _R.ASK, _S.MANDATES),
    RefusalRow("payment_intent_mandate_invalid", _R.ASK, _S.MANDATES),
    RefusalRow("setup_intent_mandate_invalid", _R.ASK, _S.MANDATES),
    # The merchant's account and settings.
    RefusalRow(ACCOUNT_RESTRICTED, _R.MERCHANT, _S.ACCOUNT),
    RefusalRow("account_closed", _R.MERCHANT, _S.CODES),
    RefusalRow("account_country_invalid_address", _R.MERCHANT, _S.CODES),
    RefusalRow("action_blocked", _R.MERCHANT, _S.CODES),
    RefusalRow("capability_not_active", _R.MERCHANT, _S.CODES),
    RefusalRow("charges_not_enabled", _R.MERCHANT, _S.ACCOUNT),
    RefusalRow("country_unsupported", _R.MERCHANT, _S.CODES),
    RefusalRow("customer_max_payment_methods", _R.MERCHANT, _S.CODES),
    RefusalRow("customer_tax_location_invalid", _R.MERCHANT, _S.CODES),
    RefusalRow("invoice_no_payment_method_types", _R.MERCHANT, _S.CODES),
    RefusalRow("not_allowed_on_standard_account", _R.MERCHANT, _S.CODES),
    RefusalRow("payment_method_configuration_failures", _R.MERCHANT, _S.CODES),
    RefusalRow("payment_method_restricted", _R.MERCHANT, _S.CODES),
    RefusalRow("payment_method_unactivated", _R.MERCHANT, _S.CODES),
    RefusalRow("request_blocked", _R.MERCHANT, _S.CODES),
    RefusalRow("stripe_tax_inactive", _R.MERCHANT, _S.CODES),
    RefusalRow("taxes_calculation_failed", _R.MERCHANT, _S.CODES),
    RefusalRow("testmode_charges_only", _R.MERCHANT, _S.KEYS),
    RefusalRow("transfers_not_allowed", _R.MERCHANT, _S.CODES),
    # Our request.
    RefusalRow("application_fees_not_allowed", _R.OURS, _S.CODES),
    RefusalRow("parameter_invalid_empty", _R.OURS, _S.CODES),
    RefusalRow("parameter_invalid_integer", _R.OURS, _S.CODES),
    RefusalRow("parameter_invalid_string_blank", _R.OURS, _S.CODES),
    RefusalRow("parameter_invalid_string_empty", _R.OURS, _S.CODES),
    RefusalRow("parameter_missing", _R.OURS, _S.CODES),
    RefusalRow("parameter_unknown", _R.OURS, _S.CODES),
    RefusalRow("parameters_exclusive", _R.OURS, _S.CODES),
    RefusalRow("payment_intent_invalid_parameter", _R.OURS, _S.CODES),
    RefusalRow("payment_method_invalid_parameter", _R.OURS, _S.CODES),
)

BY_CODE: Mapping[str, RefusalRow] = {row.code: row for row in ROWS}

_SPEAKS_FOR_THE_CUSTOMER = frozenset({Remedy.ASK, Remedy.WAIT})


def known_remedy(code: str | None) -> Remedy | None:
    """What helps after a refusal with this code; None for one that is not in the table."""
    row = BY_CODE.get(code) if code is not None else None
    return row.remedy if row is not None else None


def remedy(attempt: PastAttempt) -> Remedy | None:
    """What helps after this attempt, if Stripe refused to make it.

    A code that is not in the table counts as ours. Without any code there was no answer: the attempt left no charge.
    """
    if attempt.result is not AttemptResult.FAILED:
        return None
    if attempt.error_code is None:
        return Remedy.WAIT
    return known_remedy(attempt.error_code) or Remedy.OURS


def merchants_matter(attempts: Sequence[PastAttempt]) -> bool:
    """Whether the last of these attempts failed for something that its customer can do nothing about.

    A refusal that passes by itself says nothing about that: the attempt before it does.
    """
    telling = (each for each in reversed(attempts) if each.counts and remedy(each) is not Remedy.WAIT)
    last = next(telling, None)
    if last is None:
        return False
    if last.decline is not None:
        return classify(last.decline).merchants_matter
    helps = remedy(last)
    return helps is not None and helps not in _SPEAKS_FOR_THE_CUSTOMER
