"""Bank accounts that are debited (SEPA, ACH, Bacs): why a debit fails, what a script says, Stripe's shapes.

Sources: https://docs.stripe.com/payments/ach-direct-debit, https://docs.stripe.com/payments/sepa-debit,
https://docs.stripe.com/payments/payment-methods/bacs-debit, https://docs.stripe.com/declines/network-codes (ACH's
return codes), as stored in October 2026.
"""

from dataclasses import dataclass

from simulator.shapes import DAY, Json


@dataclass(frozen=True, slots=True)
class DebitFailure:
    """Why a bank does not pay a debit: the charge's code and message, ACH's return code, and the reason of the dispute
    that a failure after the success becomes."""

    code: str
    message: str
    return_code: str | None = None
    dispute: str = "bank_cannot_process"


def _table(*rows: DebitFailure) -> dict[str, DebitFailure]:
    return {row.code: row for row in rows}


_CLOSED = "The customer's bank account has been closed."
_DETAILS = "incorrect_account_details"

# Stripe uses two vocabularies for the same causes: the older codes of charges (`account_closed`, `no_account`) and
# those of its table of network codes (`bank_account_closed`, …).
FAILURES = _table(
    DebitFailure("insufficient_funds", "The customer's account has insufficient funds.", "R01", "insufficient_funds"),
    DebitFailure("account_closed", _CLOSED, "R02", _DETAILS),
    DebitFailure("bank_account_closed", _CLOSED, "R02", _DETAILS),
    DebitFailure("no_account", "The customer's bank account could not be located.", "R03", _DETAILS),
    DebitFailure("bank_account_invalid_details", "The bank account's details are invalid.", "R04", _DETAILS),
    DebitFailure("invalid_account_number", "The bank account's number is invalid.", "R04", _DETAILS),
    DebitFailure(
        "debit_not_authorized",
        "The customer has notified their bank that this payment was unauthorized.",
        "R10",
        "debit_not_authorized",
    ),
    DebitFailure("account_frozen", "The customer's bank account is frozen.", "R16"),
    DebitFailure("bank_account_frozen", "The customer's bank account is frozen.", "R16"),
    DebitFailure("bank_account_restricted", "The customer's bank account does not allow debits.", "R20"),
    DebitFailure("bank_account_unusable", "The bank account cannot be used for payments."),
    DebitFailure("bank_ownership_changed", "The customer's bank account has moved to another branch."),
    DebitFailure("could_not_process", "The customer's bank could not process this payment."),
    DebitFailure("invalid_currency", "The bank account does not accept this currency."),
    DebitFailure("refer_to_customer", "The customer has stopped the payment with their bank."),
)

# Days until a debit's end is known: Stripe says 4 business days for ACH, 5 for SEPA, 3 for Bacs.
TAKES_DAYS = {"us_bank_account": 4, "sepa_debit": 5, "bacs_debit": 3}
CURRENCIES = {"us_bank_account": "usd", "sepa_debit": "eur", "bacs_debit": "gbp"}
DEBIT_OF = {currency: kind for kind, currency in CURRENCIES.items()}

# What a debit's description may hold: of the account, and of its script.
ACCOUNT_FIELDS = {"type", "last4", "fingerprint", "bank_name", "country"}
SCRIPT_FIELDS = {
    "takes_days",
    "fails",
    "clears_at",
    "clears_in",
    "clears_after",
    "returns",
    "returns_days",
    "mandate_revoked",
}


@dataclass(slots=True)
class DebitScript:
    """What a bank account's debits come to; without anything set, all are paid.

    `takes`            seconds until the end is known; None: never, until a test ends it
    `fails`            a name in FAILURES, or None
    `clears_at`        debits that end from this simulated second on are paid
    `clears_after`     this many failures, then debits are paid
    `returns`          a name in FAILURES: paid debits come back, `returns_in` seconds later
    `mandate_revoked`  nothing can be debited any more, as after a dispute
    """

    takes: int | None
    fails: str | None = None
    clears_at: int | None = None
    clears_after: int | None = None
    returns: str | None = None
    returns_in: int = 3 * DAY
    mandate_revoked: bool = False
    failed: int = 0

    def end(self, now: int) -> DebitFailure | None:
        """How a debit ends now: None when it is paid; counts it when it fails."""
        if self.fails is None or (self.clears_at is not None and now >= self.clears_at):
            return None
        if self.clears_after is not None and self.failed >= self.clears_after:
            return None
        self.failed += 1
        return FAILURES[self.fails]


def shown(kind: str, given: Json, token: str) -> Json:
    """The account as its payment method shows it; what is not given comes from `token`, random letters."""
    number = f"{int.from_bytes(token.encode()) % 10_000:04d}"
    plain = {"fingerprint": given.get("fingerprint", token), "last4": given.get("last4", number)}
    match kind:
        case "us_bank_account":
            return {
                **plain,
                "account_holder_type": "individual",
                "account_type": "checking",
                "bank_name": given.get("bank_name", "STRIPE TEST BANK"),
                "financial_connections_account": None,
                "networks": {"preferred": "ach", "supported": ["ach"]},
                "routing_number": "110000000",
                "status_details": {},
            }
        case "sepa_debit":
            return {
                **plain,
                "bank_code": "37040044",
                "branch_code": "",
                "country": given.get("country", "DE"),
                "generated_from": {"charge": None, "setup_attempt": None},
            }
        case _:
            return {**plain, "sort_code": "108800"}


def charged(method: Json) -> Json:
    """A charge's `payment_method_details` for a debit of this payment method."""
    kind = method["type"]
    kept = {
        "us_bank_account": ("account_holder_type", "account_type", "bank_name", "routing_number"),
        "sepa_debit": ("bank_code", "branch_code", "country"),
        "bacs_debit": ("sort_code",),
    }[kind]
    account = method[kind]
    details = {name: account[name] for name in (*kept, "fingerprint", "last4")}
    mandate = f"mandate_{method['id'].removeprefix('pm_')}"
    if kind == "us_bank_account":
        return {"type": kind, kind: {**details, "mandate": mandate, "payment_reference": None}}
    return {"type": kind, kind: {**details, "mandate": mandate}}
