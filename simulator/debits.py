"""Bank debits: they begin, and their end is known days later.

begin ──> charge pending, PaymentIntent processing, invoice open
            ├── paid ────> charge succeeded, money in ──(returns)──> a lost dispute, money out
            └── failed ──> charge failed, a fee; the invoice's attempt has failed

What Stripe's pages say (https://docs.stripe.com/payments/ach-direct-debit, October 2026): a debit's charge is pending
while its PaymentIntent is processing; a failure that the bank tells after the success becomes a dispute, for which
there is no appeal; after a dispute the mandate is revoked and another debit is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from simulator.bank_accounts import FAILURES, TAKES_DAYS, DebitFailure
from simulator.book import Book
from simulator.currencies import decimals
from simulator.errors import ApiError, bad_request
from simulator.events import EventLog
from simulator.money_back import MoneyBack
from simulator.payment import Approved, Verdict
from simulator.shapes import Json
from simulator.world import Account, Attempt, World

# In major units of the charge's currency. Stripe's prices differ by country and contract; 4 is ACH's in the US.
FAILURE_FEE = 4
NO_MANDATE = (
    "This PaymentIntent requires a mandate, but no existing mandate was found. Collect mandate acceptance from the "
    "customer and try again, providing acceptance data in the mandate_data parameter."
)


class Log(Protocol):
    """Writes one entry of the attempt log; `concludes` is the entry of the try whose end this tells."""

    def __call__(
        self,
        account: Account,
        invoice: Json,
        intent: Json,
        method: Json,
        source: str,
        outcome: str,
        charge: Json | None,
        decline_code: str | None,
        concludes: Attempt | None = None,
    ) -> Attempt: ...


@dataclass(frozen=True, slots=True)
class Steps:
    """What every way of collecting does alike; `Collecting` has them.

    `charge`   a new charge of a PaymentIntent with a payment method
    `log`      an entry of the attempt log
    `count`    notes on the invoice that it was attempted
    `capture`  (account, invoice, payment, PaymentIntent, charge, source): the money has moved
    `failed`   (account, invoice, source, counted=…): what a failed attempt does to the invoice and its subscription
    """

    charge: Callable[[Account, Json, Json, Verdict], Json]
    log: Log
    count: Callable[[Json, str], None]
    capture: Callable[[Account, Json, Json, Json, Json, str], None]
    failed: Callable[..., None]


@dataclass(frozen=True, slots=True)
class Begun:
    """A debit that is under way."""

    invoice: Json
    payment: Json
    intent: Json
    method: Json
    source: str
    attempt: Attempt


class Debits:
    """The debits of all accounts."""

    def __init__(self, world: World, events: EventLog, book: Book, money_back: MoneyBack, steps: Steps) -> None:
        self._world = world
        self._events = events
        self._book = book
        self._money_back = money_back
        self._steps = steps
        self._begun: dict[str, Begun] = {}

    def begin(
        self, account: Account, invoice: Json, payment: Json, intent: Json, method: Json, source: str
    ) -> ApiError | None:
        """Starts a debit: None, and the invoice stays open until it ends; an error when there is no mandate."""
        script = account.debits[method["id"]]
        if script.mandate_revoked:
            return self._no_mandate(account, invoice, payment, intent, method, source)
        charge = self._steps.charge(account, intent, method, Approved())
        charge.update(status="pending", paid=False, outcome={**charge["outcome"], "risk_level": "not_assessed"})
        intent.update(status="processing", last_payment_error=None)
        attempt = self._steps.log(account, invoice, intent, method, source, "processing", charge, None)
        self._begun[charge["id"]] = Begun(invoice, payment, intent, method, source, attempt)
        self._events.emit(account, "payment_intent.processing", intent)
        self._events.emit(account, "charge.pending", charge)
        if payment["is_default"]:
            self._count(account, invoice, source)
        if script.takes is not None:
            self._world.clock.after(script.takes, lambda: self._due(account, charge))
        return None

    def end(self, account: Account, charge: Json, fails: str | None) -> Json:
        """Ends a debit that is under way now, as a test says: paid, or failed for a reason in FAILURES."""
        if fails is not None and fails not in FAILURES:
            raise bad_request(f"Unknown failure {fails!r}; known: {sorted(FAILURES)}.")
        if charge["id"] not in self._begun:
            raise bad_request(f"No debit is under way: the charge is {charge['status']}.")
        self._end(account, charge, FAILURES[fails] if fails else None)
        return charge

    def give_back(self, account: Account, charge: Json, reason: str) -> Json:
        """The bank takes a paid debit back for a reason in FAILURES: a dispute that is lost at once."""
        if reason not in FAILURES:
            raise bad_request(f"Unknown failure {reason!r}; known: {sorted(FAILURES)}.")
        if charge["payment_method_details"]["type"] not in TAKES_DAYS:
            raise bad_request("Only a debit is taken back by the bank; another charge is disputed.")
        return self._money_back.dispute(account, charge, FAILURES[reason].dispute)

    def _due(self, account: Account, charge: Json) -> None:
        if charge["id"] in self._begun:  # A test may have ended it, or changed its script meanwhile.
            current = account.debits[self._begun[charge["id"]].method["id"]]
            if current.takes is not None:
                self._end(account, charge, current.end(self._world.clock.now))

    def _end(self, account: Account, charge: Json, why: DebitFailure | None) -> None:
        begun = self._begun.pop(charge["id"])
        if why is None:
            self._paid(account, charge, begun)
        else:
            self._failed(account, charge, begun, why)

    def _paid(self, account: Account, charge: Json, begun: Begun) -> None:
        details = charge["payment_method_details"]
        if details["type"] == "us_bank_account":
            # The bank's own number, which appears when the payment succeeds.
            number = f"{int(begun.attempt.seq):015d}"
            bank = {**details["us_bank_account"], "payment_reference": number}
            charge["payment_method_details"] = {**details, "us_bank_account": bank}
        charge.update(status="succeeded", paid=True)
        self._log(account, charge, begun, "succeeded")
        self._steps.capture(account, begun.invoice, begun.payment, begun.intent, charge, begun.source)
        self._events.emit(account, "payment_intent.succeeded", begun.intent)
        script = account.debits[begun.method["id"]]
        reason = script.returns
        if reason is not None:
            self._world.clock.after(script.returns_in, lambda: self._returned(account, charge, reason))

    def _returned(self, account: Account, charge: Json, reason: str) -> None:
        if not charge["disputed"] and not charge["refunded"]:
            self.give_back(account, charge, reason)

    def _failed(self, account: Account, charge: Json, begun: Begun, why: DebitFailure) -> None:
        intent, of_us = begun.intent, charge["payment_method_details"]["type"] == "us_bank_account"
        charge.update(
            status="failed",
            captured=False,
            amount_captured=0,
            failure_code=why.code,
            failure_message=why.message,
            outcome={
                **charge["outcome"],
                "network_decline_code": why.return_code if of_us else None,
                "network_status": "declined_by_network",
                "reason": why.code,
                "seller_message": why.message,
                "type": "issuer_declined",
            },
        )
        error: dict[str, Any] = {
            "charge": charge["id"],
            "code": why.code,
            "doc_url": f"https://stripe.com/docs/error-codes/{why.code.replace('_', '-')}",
            "message": why.message,
            "payment_method": dict(begun.method),
            "type": "invalid_request_error",
        }
        if of_us and why.return_code:
            error["network_decline_code"] = why.return_code
        intent.update(status="requires_payment_method", last_payment_error=error)
        self._log(account, charge, begun, "failed", why.code)
        self._book.write(account, "fee", charge, -FAILURE_FEE * 10 ** decimals(charge["currency"]), "stripe")
        self._events.emit(account, "charge.failed", charge)
        self._events.emit(account, "payment_intent.payment_failed", intent)
        if begun.payment["is_default"]:
            self._steps.failed(account, begun.invoice, begun.source, counted=True)

    def _log(self, account: Account, charge: Json, begun: Begun, outcome: str, code: str | None = None) -> None:
        invoice, intent, method = begun.invoice, begun.intent, begun.method
        self._steps.log(account, invoice, intent, method, begun.source, outcome, charge, code, begun.attempt)

    def _count(self, account: Account, invoice: Json, source: str) -> None:
        before = {name: invoice[name] for name in ("attempt_count", "attempted", "next_payment_attempt")}
        self._steps.count(invoice, source)
        invoice["next_payment_attempt"] = None
        changed = {name: value for name, value in before.items() if invoice[name] != value}
        if changed:
            self._events.emit(account, "invoice.updated", invoice, changed)

    def _no_mandate(
        self, account: Account, invoice: Json, payment: Json, intent: Json, method: Json, source: str
    ) -> ApiError:
        self._steps.log(account, invoice, intent, method, source, "refused", None, None)
        intent.update(status="requires_confirmation", last_payment_error=None)
        if payment["is_default"]:
            self._steps.failed(account, invoice, source)
        return bad_request(NO_MANDATE, payment_intent=dict(intent))
