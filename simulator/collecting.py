"""Collecting an invoice: one attempt at a time, by Stripe itself, by the API or by the customer.

Money comes in in one place, `_capture`, which writes it into the bank's book, and nothing reaches it without an entry
in the attempt log. A card answers at once; other payment methods have a way of their own in `ways`.
"""

from collections.abc import Callable

from simulator import resources
from simulator.book import Book
from simulator.currencies import minimum, written
from simulator.debits import Steps
from simulator.errors import ApiError, bad_request
from simulator.events import EventLog
from simulator.invoicing import Invoices, payment_of, processing, refuse_under_way, subscription_of, under_way
from simulator.payment import Approved, Decline, Declined, NeedsAction, Verdict
from simulator.shapes import DAY, Json
from simulator.world import Account, Attempt, World

AUTOMATIC = {"renewal", "stripe_retry"}
ALREADY_PAID = "Invoice is already paid"
VOIDED = "Voided invoices cannot be paid."
NO_METHOD = (
    "This customer has no attached payment source or default payment method. Please consider "
    "adding a default payment method."
)
# An account that Stripe has restricted: the code and status are not documented, this is assumed.
RESTRICTED = "Your account cannot currently make charges."
ACTION = (
    "This payment requires additional user action before it can be completed successfully. Payment "
    "can be completed using the PaymentIntent associated with the invoice."
)


_ASK: Json = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
# (account, invoice, payment, PaymentIntent, payment method, source) → the error to answer with, or None.
Way = Callable[[Account, Json, Json, Json, Json, str], ApiError | None]


class Collecting:
    """The attempts of all accounts; `ways` holds how a type of payment method is charged that is no card."""

    def __init__(self, world: World, events: EventLog, invoices: Invoices, book: Book) -> None:
        self._world = world
        self._events = events
        self._invoices = invoices
        # Told of an invoice whose last attempt by Stripe has failed.
        self.out_of_retries: Callable[[Account, Json], None] = lambda _account, _invoice: None
        # Told of every charge whose money has come in.
        self.charged: Callable[[Account, Json, Json], None] = lambda _account, _invoice, _charge: None
        self._book = book
        self.ways: dict[str, Way] = {}

    def steps(self) -> Steps:
        """What the other ways of collecting do as this one does."""
        return Steps(self._charge, self._log, _count, self._capture, self._count_failure)

    def pay(self, account: Account, invoice: Json, method_id: str | None) -> None:
        """`POST /v1/invoices/:id/pay`: one attempt now; a decline is raised as Stripe's 402."""
        self._payable(account, invoice)
        method = self._method(account, invoice, method_id)
        problem = self.collect(account, invoice, method, "api_pay")
        if problem:
            raise problem

    def paid_elsewhere(self, account: Account, invoice: Json) -> None:
        """`paid_out_of_band`: settled without Stripe moving any money."""
        self._payable(account, invoice)
        self._invoices.paid_off_stripe(account, invoice)

    def attempt(self, account: Account, invoice: Json, source: str) -> None:
        """An attempt that Stripe makes by itself, at a renewal or by its retry schedule, if it still may."""
        if invoice["status"] != "open" or not invoice["auto_advance"] or under_way(account, invoice):
            return
        if invoice["collection_method"] == "send_invoice":
            return
        try:
            method = self._method(account, invoice, None)
        except ApiError:
            self._count_failure(account, invoice, source)
            return
        self.collect(account, invoice, method, source)

    def collect(self, account: Account, invoice: Json, method: Json, source: str) -> ApiError | None:
        """One attempt with one payment method; None when it was paid or begun, else the error to answer with."""
        if not account.resource["charges_enabled"]:
            if source in AUTOMATIC:
                self._count_failure(account, invoice, source)
            return bad_request(RESTRICTED)
        payment, intent = payment_of(account, invoice)
        problem = _refusal(intent)
        if problem:
            return problem
        intent["payment_method"] = method["id"]
        intent["next_action"] = None
        if method["type"] in self.ways:
            return self.ways[method["type"]](account, invoice, payment, intent, method, source)
        script = account.scripts[method["id"]]
        network = method["card"]["brand"]
        verdict = script.answer(self._world.clock.now, network)
        match verdict:
            case NeedsAction():
                self._log(account, invoice, intent, method, source, "requires_action", None, None)
                return self._require_action(account, invoice, intent, source)
            case Declined(why):
                charge = self._failed_charge(account, intent, method, verdict, why)
                self._log(account, invoice, intent, method, source, "declined", charge, why.decline_code)
                return self._decline(account, invoice, intent, method, charge, why, source)
            case Approved():
                charge = self._charge(account, intent, method, verdict)
                self._log(account, invoice, intent, method, source, "succeeded", charge, None)
                _count(invoice, source)
                self._capture(account, invoice, payment, intent, charge, source)
                return None

    def charge_part(self, account: Account, invoice: Json, payment: Json, intent: Json, method: Json) -> None:
        """One attempt at a payment that was attached to the invoice; what fails changes nothing of the invoice."""
        intent["payment_method"] = method["id"]
        if method["type"] in self.ways:
            self.ways[method["type"]](account, invoice, payment, intent, method, "merchant")
            return
        verdict = account.scripts[method["id"]].answer(self._world.clock.now, method["card"]["brand"])
        match verdict:
            case NeedsAction():
                self._log(account, invoice, intent, method, "merchant", "requires_action", None, None)
                intent.update(status="requires_action", next_action=_ASK)
                self._events.emit(account, "payment_intent.requires_action", intent)
            case Declined(why):
                charge = self._failed_charge(account, intent, method, verdict, why)
                self._log(account, invoice, intent, method, "merchant", "declined", charge, why.decline_code)
                _tell_intent(intent, method, charge, why)
                if charge is not None:
                    self._events.emit(account, "charge.failed", charge)
                self._events.emit(account, "payment_intent.payment_failed", intent)
            case Approved():
                charge = self._charge(account, intent, method, verdict)
                self._log(account, invoice, intent, method, "merchant", "succeeded", charge, None)
                self._capture(account, invoice, payment, intent, charge, "merchant")
                self._events.emit(account, "payment_intent.succeeded", intent)

    def _failed_charge(
        self, account: Account, intent: Json, method: Json, verdict: Verdict, why: Decline
    ) -> Json | None:
        """The charge of a decline; None where none was made."""
        if not why.charged:
            return None
        charge = self._charge(account, intent, method, verdict)
        charge.update(failure_code=why.code, failure_message=why.message)
        return charge

    def _charge(self, account: Account, intent: Json, method: Json, verdict: Verdict) -> Json:
        card = method["type"] == "card"
        # A charge of anything but a card is a "payment" to Stripe, and says so in its id.
        ident = self._world.ids.new("ch" if card else "py", account.id)
        passed = card and account.scripts[method["id"]].authenticated
        now = self._world.clock.now
        charge = resources.charge(ident, intent, method, verdict, now=now, authenticated=passed)
        intent["latest_charge"] = ident
        return self._world.add(account, charge)

    def _log(
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
    ) -> Attempt:
        made = Attempt(
            seq=len(self._world.attempts) + 1,
            at=self._world.clock.now,
            account=account.id,
            invoice=invoice["id"],
            payment_intent=intent["id"],
            charge=charge["id"] if charge else None,
            payment_method=method["id"],
            fingerprint=method[method["type"]].get("fingerprint", ""),
            amount=intent["amount"],
            currency=intent["currency"],
            source=source,
            outcome=outcome,
            decline_code=decline_code,
            idempotency_key=concludes.idempotency_key if concludes else self._world.origin.idempotency_key,
            concludes=concludes.seq if concludes else None,
        )
        self._world.attempts.append(made)
        return made

    def _capture(
        self,
        account: Account,
        invoice: Json,
        payment: Json,
        intent: Json,
        charge: Json,
        source: str,
    ) -> None:
        """The charge's money has come in: booked, and credited to the invoice."""
        moved = self._book.write(account, "charge", charge, charge["amount"], source)
        charge["balance_transaction"] = moved["id"]
        intent["status"] = "succeeded"
        intent["amount_received"] = charge["amount"]
        intent["last_payment_error"] = None
        self._events.emit(account, "charge.succeeded", charge)
        self._invoices.credit(account, invoice, payment, charge["amount"])
        self.charged(account, invoice, charge)

    def _decline(
        self,
        account: Account,
        invoice: Json,
        intent: Json,
        method: Json,
        charge: Json | None,
        why: Decline,
        source: str,
    ) -> ApiError:
        details = _tell_intent(intent, method, charge, why)
        if charge is not None:
            self._events.emit(account, "charge.failed", charge)
        self._count_failure(account, invoice, source)
        return ApiError(
            402,
            why.message,
            type="card_error",
            **details,
            payment_intent=dict(intent),
            payment_method=dict(method),
        )

    def _require_action(self, account: Account, invoice: Json, intent: Json, source: str) -> ApiError:
        intent["status"] = "requires_action"
        intent["last_payment_error"] = None
        intent["next_action"] = _ASK
        self._events.emit(account, "invoice.payment_action_required", invoice)
        self._count_failure(account, invoice, source)
        return ApiError(
            402,
            ACTION,
            type="card_error",
            code="invoice_payment_intent_requires_action",
            payment_intent=dict(intent),
        )

    def _count_failure(self, account: Account, invoice: Json, source: str, *, counted: bool = False) -> None:
        """What a failed attempt does to the invoice and its subscription; `counted`: when it began, days ago."""
        self._world.failed.setdefault(invoice["id"], self._world.clock.now)
        names = ("attempt_count", "attempted", "next_payment_attempt")
        before = {name: invoice[name] for name in names}
        if not counted:
            _count(invoice, source)
        if source in AUTOMATIC:
            self._schedule_retry(account, invoice)
        self._events.emit(account, "invoice.payment_failed", invoice)
        changed = {name: value for name, value in before.items() if invoice[name] != value}
        if changed:
            self._events.emit(account, "invoice.updated", invoice, changed)
        subscription = subscription_of(account, invoice)
        if subscription and subscription["status"] == "active":
            subscription["status"] = "past_due"
            self._events.emit(account, "customer.subscription.updated", subscription, {"status": "active"})
        if source in AUTOMATIC and invoice["auto_advance"] and invoice["next_payment_attempt"] is None:
            self.out_of_retries(account, invoice)

    def _schedule_retry(self, account: Account, invoice: Json) -> None:
        done = invoice["attempt_count"] - 1
        if not 0 <= done < len(account.retries) or not invoice["auto_advance"]:
            invoice["next_payment_attempt"] = None
            return
        when = self._world.clock.now + account.retries[done] * DAY
        invoice["next_payment_attempt"] = when
        self.retry_at(account, invoice, when)

    def retry_at(self, account: Account, invoice: Json, when: int) -> None:
        """Sets the timer of Stripe's next attempt; one that was planned anew since does nothing."""

        def due() -> None:
            if invoice["next_payment_attempt"] != when:
                return
            if under_way(account, invoice):  # left out, and no other is planned
                invoice["next_payment_attempt"] = None
                self._events.emit(account, "invoice.updated", invoice, {"next_payment_attempt": when})
                return
            self.attempt(account, invoice, "stripe_retry")

        self._world.clock.at(when, due)

    def _payable(self, account: Account, invoice: Json) -> None:
        refuse_under_way(account, invoice)
        match invoice["status"]:
            case "paid":
                raise bad_request(ALREADY_PAID)
            case "void":
                raise bad_request(VOIDED)
            case "draft":
                self._invoices.finalize(account, invoice)
            case _:
                pass

    def _method(self, account: Account, invoice: Json, asked: str | None) -> Json:
        """The payment method to charge, in Stripe's order (docs.stripe.com/billing/subscriptions)."""
        if asked is not None:
            return self._asked_method(account, invoice, asked)
        customer = account.get("customer", invoice["customer"])
        subscription = subscription_of(account, invoice)
        candidates = (
            invoice["default_payment_method"],
            invoice["default_source"],
            subscription["default_payment_method"] if subscription else None,
            subscription["default_source"] if subscription else None,
            customer["invoice_settings"]["default_payment_method"],
            customer["default_source"],
        )
        for ident in candidates:
            if ident is not None:
                return account.get("payment_method", ident)
        raise bad_request(NO_METHOD, code="resource_missing")

    def _asked_method(self, account: Account, invoice: Json, asked: str) -> Json:
        method = account.objects["payment_method"].get(asked)
        if method is None:
            text = f"No such PaymentMethod: '{asked}'"
            raise bad_request(text, code="resource_missing", param="payment_method")
        if method["customer"] != invoice["customer"]:
            raise bad_request(
                "The provided PaymentMethod is not attached to the invoice's customer.",
                param="payment_method",
            )
        return method


def _tell_intent(intent: Json, method: Json, charge: Json | None, why: Decline) -> Json:
    """What a decline leaves in its PaymentIntent; the codes of the error that says the same."""
    codes = {
        "charge": charge["id"] if charge else None,
        "decline_code": why.decline_code,
        "advice_code": why.advice_code,
        "network_advice_code": why.network_advice_code,
        "network_decline_code": why.network_decline_code,
    }
    details: Json = {
        "code": why.code,
        "doc_url": f"https://stripe.com/docs/error-codes/{why.code.replace('_', '-')}",
        **{name: value for name, value in codes.items() if value is not None},
    }
    intent["status"] = "requires_payment_method"
    intent["last_payment_error"] = {
        **details,
        "message": why.message,
        "payment_method": dict(method),
        "type": "card_error",
    }
    return details


def _refusal(intent: Json) -> ApiError | None:
    """Why an attempt is not even made: another is under way, or Stripe charges no so little amount."""
    if intent["status"] == "processing":
        return processing()
    return too_small(intent["amount"], intent["currency"])


def too_small(amount: int, currency: str) -> ApiError | None:
    """The refusal of less (minor units) than Stripe charges; None when it is enough."""
    if amount >= minimum(currency):
        return None
    text = f"Amount must be at least {written(minimum(currency), currency)}"
    return bad_request(text, code="amount_too_small", param="amount")


def _count(invoice: Json, source: str) -> None:
    """Manual attempts after the first do not count (docs.stripe.com/api/invoices, attempt_count)."""
    if source in AUTOMATIC or not invoice["attempted"]:
        invoice["attempt_count"] += 1
    invoice["attempted"] = True
