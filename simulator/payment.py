"""Cards and what they answer: a table of declines, and a script per payment method.

Network codes are ISO 8583 response codes (Visa's meaning of them); advice codes are Stripe's
(docs.stripe.com/declines), network advice codes are Mastercard's merchant advice codes.
"""

from dataclasses import dataclass, replace
from typing import assert_never

from simulator.shapes import Json


@dataclass(frozen=True, slots=True)
class Decline:
    """Why a payment fails, in the five codes that Stripe reports.

    `blocked` is by Stripe's Radar and not by the bank, for `reason`; `charged` false: it fails before a charge is made.
    """

    code: str
    decline_code: str | None
    advice_code: str | None = None
    network_decline_code: str | None = None
    network_advice_code: str | None = None
    message: str = "Your card was declined."
    blocked: bool = False
    reason: str = "highest_risk_level"
    charged: bool = True

    def on(self, network: str) -> "Decline":
        """As this network reports it: only Mastercard has merchant advice codes."""
        return self if network == "mastercard" else replace(self, network_advice_code=None)


def _card(
    decline_code: str,
    network: str | None,
    advice: str | None = None,
    mastercard: str | None = None,
    message: str = "Your card was declined.",
) -> Decline:
    return Decline("card_declined", decline_code, advice, network, mastercard, message)


_LATER, _NEVER, _CONFIRM = "try_again_later", "do_not_try_again", "confirm_card_data"
_FUNDS = "Your card has insufficient funds."

# name: (decline code, network code, advice, Mastercard's advice); the name is what scripts ask for.
DECLINES: dict[str, Decline] = {
    "insufficient_funds": _card("insufficient_funds", "51", _LATER, "27", _FUNDS),
    "do_not_honor": _card("do_not_honor", "05", _LATER, "02"),
    "generic_decline": _card("generic_decline", None),
    "lost_card": _card("lost_card", "41", _NEVER, "03"),
    "stolen_card": _card("stolen_card", "43", _NEVER, "03"),
    "pickup_card": _card("pickup_card", "04", _NEVER, "03"),
    "fraudulent": _card("fraudulent", "59", _NEVER, "03"),
    "merchant_blacklist": _card("merchant_blacklist", None, _NEVER),
    "try_again_later": _card("try_again_later", "91", _LATER, "24"),
    "issuer_not_available": _card("issuer_not_available", "91", _LATER, "24"),
    "card_velocity_exceeded": _card("card_velocity_exceeded", "61", _LATER, "25"),
    "withdrawal_count_limit_exceeded": _card("withdrawal_count_limit_exceeded", "65", _LATER, "25"),
    "transaction_not_allowed": _card("transaction_not_allowed", "57", _NEVER, "03"),
    "revocation_of_authorization": _card("revocation_of_authorization", "R1", _NEVER, "21"),
    "revocation_of_all_authorizations": _card("revocation_of_all_authorizations", "R3", _NEVER, "21"),
    "do_not_try_again": _card("do_not_try_again", "46", _NEVER, "03"),
    "expired_card": Decline("expired_card", "expired_card", _CONFIRM, "54", "01", "Your card has expired."),
    "invalid_expiry_month": Decline(
        "invalid_expiry_month", "invalid_expiry_month", _CONFIRM, "54", "01", "Your card's expiration month is invalid."
    ),
    "invalid_expiry_year": Decline(
        "invalid_expiry_year", "invalid_expiry_year", _CONFIRM, "54", "01", "Your card's expiration year is invalid."
    ),
    "new_account_information_available": _card("new_account_information_available", None, _CONFIRM, "01"),
    "incorrect_number": Decline(
        "incorrect_number", "incorrect_number", _CONFIRM, "14", "01", "Your card number is incorrect."
    ),
    "incorrect_cvc": Decline(
        "incorrect_cvc", "incorrect_cvc", _CONFIRM, "82", "01", "Your card's security code is incorrect."
    ),
    "processing_error": Decline(
        "processing_error",
        "processing_error",
        _LATER,
        "96",
        "24",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
    "authentication_required": Decline(
        "authentication_required",
        "authentication_required",
        None,
        "1A",
        None,
        "Your card was declined. This transaction requires authentication.",
    ),
    "highest_risk_level": Decline(
        "card_declined", "fraudulent", None, None, None, "Your card was declined.", blocked=True
    ),
    # A merchant's own Radar rule, and Stripe's guess that the bank would decline: the charge's outcome says so
    # (docs.stripe.com/declines#blocked-payments; the reasons: https://github.com/woocommerce/woocommerce-gateway-stripe/
    # pull/5361, 2026-05). That the error's codes are those of Radar's own rule, and may lack a charge, is assumed.
    "rule": Decline("card_declined", "fraudulent", blocked=True, reason="rule"),
    "low_probability_of_authorization": Decline(
        "card_declined", "generic_decline", blocked=True, reason="low_probability_of_authorization"
    ),
    "blocked": Decline("card_declined", "fraudulent", blocked=True, reason="rule", charged=False),
    # Codes of Stripe's list that come before a charge is made (docs.stripe.com/error-codes, read 2026-11).
    "card_decline_rate_limit_exceeded": Decline(
        "card_decline_rate_limit_exceeded", None, message="This card has been declined too many times.", charged=False
    ),
    "payment_intent_authentication_failure": Decline(
        "payment_intent_authentication_failure", None, message="The payment failed authentication.", charged=False
    ),
    "india_recurring_payment_mandate_canceled": Decline(
        "india_recurring_payment_mandate_canceled", None, message="The mandate of this card is canceled.", charged=False
    ),
}


@dataclass(frozen=True, slots=True)
class Approved:
    """The charge goes through."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The charge fails with these codes."""

    why: Decline


@dataclass(frozen=True, slots=True)
class NeedsAction:
    """The customer has to authenticate (3-D Secure) first."""


Verdict = Approved | Declined | NeedsAction


@dataclass(slots=True)
class Script:
    """What a payment method answers; without anything set, yes to all.

    `decline`         a name in DECLINES, or None
    `clears_at`       from this simulated second on the decline is over
    `clears_after`    this many declines, then it is over
    `needs_3ds`       payments need the customer (3-D Secure), until `authenticated`
    `without_charge`  a decline comes before there is a charge: the PaymentIntent's latest one stays
    """

    decline: str | None = None
    clears_at: int | None = None
    clears_after: int | None = None
    needs_3ds: bool = False
    authenticated: bool = False
    without_charge: bool = False
    declined: int = 0

    def answer(self, now: int, network: str) -> Verdict:
        """The verdict of one attempt; counts it when it is a decline."""
        if self.decline is not None and not self._cleared(now):
            self.declined += 1
            why = DECLINES[self.decline].on(network)
            return Declined(replace(why, charged=False) if self.without_charge else why)
        if self.needs_3ds and not self.authenticated:
            return NeedsAction()
        return Approved()

    def _cleared(self, now: int) -> bool:
        if self.clears_at is not None and now >= self.clears_at:
            return True
        return self.clears_after is not None and self.declined >= self.clears_after


def outcome(verdict: Verdict) -> Json:
    """The Charge's `outcome` for a verdict."""
    match verdict:
        case Declined(why):
            return {
                "advice_code": why.advice_code,
                "network_advice_code": why.network_advice_code,
                "network_decline_code": why.network_decline_code,
                "network_status": "not_sent_to_network" if why.blocked else "declined_by_network",
                "reason": why.reason if why.blocked else why.decline_code,
                "risk_level": "highest" if why.blocked and why.reason == "highest_risk_level" else "normal",
                "seller_message": _seller_message(why),
                "type": "blocked" if why.blocked else "issuer_declined",
            }
        case Approved() | NeedsAction():
            return {
                "advice_code": None,
                "network_advice_code": None,
                "network_decline_code": None,
                "network_status": "approved_by_network",
                "reason": None,
                "risk_level": "normal",
                "seller_message": "Payment complete.",
                "type": "authorized",
            }
        case _:
            assert_never(verdict)


_BLOCKED = {
    "highest_risk_level": "Stripe blocked this payment as too risky.",
    "low_probability_of_authorization": "Stripe blocked this payment as one that the bank would decline.",
    "rule": "Stripe blocked this payment by a rule of the account.",
}


def _seller_message(why: Decline) -> str:
    if why.blocked:
        return _BLOCKED[why.reason]
    return f"The bank returned the decline code `{why.decline_code}`."
