"""What `POST /v1/invoices/:id/pay` refuses without trying to move money, by code.

Stripe documents the codes (docs.stripe.com/error-codes, read 2026-11) and not which endpoint gives which: these can
follow from what the endpoint does. Messages are examples in Stripe's manner; a client must not rely on them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Status, type and message that come with a code."""

    message: str
    status: int = 400
    type: str = "invalid_request_error"
    param: str | None = None


REFUSALS: dict[str, Refusal] = {
    "amount_too_small": Refusal("Amount must be at least 0.50 usd", param="amount"),
    "amount_too_large": Refusal("Amount must be no more than $999,999.99", param="amount"),
    "billing_invalid_mandate": Refusal("The subscription's default payment method has an invalid mandate."),
    "capability_not_active": Refusal("Your account does not have the required capabilities enabled."),
    "charge_exceeds_transaction_limit": Refusal("The charge exceeds the limit of the account for one transaction."),
    "customer_tax_location_invalid": Refusal("The customer's location isn't recognized for the tax of this invoice."),
    "invoice_no_customer_line_items": Refusal("There are no line items to invoice for the customer."),
    "invoice_no_payment_method_types": Refusal("No valid payment method types for this invoice."),
    "invoice_no_subscription_line_items": Refusal("There are no line items to invoice for the subscription."),
    "invoice_not_editable": Refusal("This invoice can no longer be edited."),
    "missing": Refusal("Cannot charge a customer that has no active card", 402, "card_error", "card"),
    "payment_intent_mandate_invalid": Refusal("The provided mandate is invalid."),
    "payment_intent_unexpected_state": Refusal(
        "You cannot confirm this PaymentIntent because it has a status of processing.", param="payment_intent"
    ),
    "payment_method_currency_mismatch": Refusal("The currency of the payment method does not fit the invoice's."),
    "payment_method_unactivated": Refusal("The payment method type is not activated for this account."),
    "resource_missing": Refusal(
        "This customer has no attached payment source or default payment method. Please consider adding a default "
        "payment method."
    ),
    "rate_limit": Refusal("Too many requests for this object.", 429),
    "testmode_charges_only": Refusal("Your account cannot currently make live charges."),
}
