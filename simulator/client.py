"""A small client of the control API, for tests and the demo."""

from typing import Any

from simulator.client_conditions import Conditions
from simulator.shapes import Json
from simulator.wire import SimulatorError

__all__ = ["SimulatorClient", "SimulatorError"]


class SimulatorClient(Conditions):
    """`async with SimulatorClient(url) as control: …`; every method is one request to `/_sim`.

    Keys, cards, settings and shapes are in `Conditions`.
    """

    # -- making a world --------------------------------------------------------------------------

    async def populate(self, **plan: Any) -> list[str]:
        """The ids of new accounts with everybody in them; the fields of `population.Plan`."""
        made = await self._post("/populate", plan)
        accounts: list[str] = made["accounts"]
        return accounts

    async def add_account(self, **fields: Any) -> Json:
        """`currency`, `country`, `connected`, `id`, `name`, `color`, `support_email`, `stripe_retries` (days)."""
        return await self._post("/accounts", fields)

    async def accounts(self) -> list[Json]:
        return await self._list("/accounts")

    async def change_account(self, account: str, **fields: Any) -> Json:
        """`stripe_retries`, `upcoming_days`, `portal` (switched on), `connected` (without OAuth, without an event),
        `after_retries` (past_due, unpaid, cancel), `write_off_after_retries`."""
        return await self._request("PATCH", f"/accounts/{account}", fields)

    async def deauthorize(self, account: str) -> Json:
        """The merchant disconnects the platform in Stripe's dashboard."""
        return await self._post(f"/accounts/{account}/deauthorize")

    async def add_customer(self, account: str, **fields: Any) -> Json:
        """`person`, `card` or `debit`, `balance`, `reaction`; gives `customer` and `payment_method`."""
        return await self._post("/customers", {"account": account, **fields})

    async def add_subscription(self, account: str, customer: str, **fields: Any) -> Json:
        """`amount`, `currency`, `interval`, `renews_at` or `renews_in`, `default_payment_method`."""
        return await self._post("/subscriptions", {"account": account, "customer": customer, **fields})

    async def renew(self, subscription: str, **fields: Any) -> Json | None:
        """Renews now; the invoice, finalised and tried, or None when the subscription ended. `paid_before`: a part."""
        made = await self._post(f"/subscriptions/{subscription}/renew", fields)
        invoice: Json | None = made["invoice"]
        return invoice

    async def add_renewal(self, account: str, **fields: Any) -> Json:
        """A new customer whose subscription has just renewed with `card`; `customer`,
        `payment_method`, `subscription`, `invoice`, `payment_intent`."""
        return await self._post("/renewals", {"account": account, "card": {}, **fields})

    async def set_script(self, payment_method: str, **script: Any) -> Json:
        """`decline`, `clears_at`, `clears_in`, `clears_after`, `needs_3ds`, `without_charge`; nothing: a good card."""
        return await self._post(f"/payment_methods/{payment_method}/script", script)

    async def set_reaction(self, customer: str, **reaction: Any) -> Json:
        """`kind` (pay, pay_by_debit, authenticate, new_card, ignore), `delay` seconds, `on_email`."""
        return await self._post(f"/customers/{customer}/reaction", reaction)

    # -- time, webhooks, faults ------------------------------------------------------------------

    async def now(self) -> int:
        """Simulated unix seconds."""
        return int((await self.clock())["now"])

    async def clock(self) -> Json:
        """`now`, `start` and `next_due`, the next time at which something happens by itself."""
        return await self._request("GET", "/clock")

    async def advance(self, seconds: int = 0, *, to: int | None = None) -> Json:
        """Moves the clock, running everything due: `now`, `ran`, `next_due`."""
        return await self._post("/clock/advance", {"seconds": seconds} if to is None else {"to": to})

    async def configure_webhooks(self, **plan: Any) -> Json:
        """The fields of `webhooks.WebhookPlan`; what is not given stays."""
        return await self._post("/webhooks", plan)

    async def drain(self, within: float = 60) -> bool:
        """Waits until all due webhooks are delivered or given up; False when that took longer than
        `within` real seconds."""
        return bool((await self._post("/webhooks/drain", {"within": within}))["drained"])

    async def send_again(self, event: str) -> None:
        """Sends an event once more, under its own id."""
        await self._post(f"/events/{event}/send")

    async def twin(self, event: str) -> str:
        """Emits the same fact under a new event id."""
        return str((await self._post(f"/events/{event}/twin"))["event"])

    async def add_fault(self, kind: str, **fields: Any) -> Json:
        """The fields of `faults.Fault`."""
        return await self._post("/faults", {"kind": kind, **fields})

    async def faults(self) -> list[Json]:
        return await self._list("/faults")

    async def clear_faults(self) -> None:
        await self._request("DELETE", "/faults")

    # -- acting as a customer or merchant --------------------------------------------------------

    async def pay_hosted(self, invoice: str, debit: Json | None = None, **card: Any) -> Json:
        """The customer pays on the hosted page: `invoice`, and `error` when the card was declined.

        `debit`: with a bank account instead of a card.
        """
        given: Json = {"card": card} if debit is None else {"debit": debit}
        return await self._post(f"/invoices/{invoice}/pay_hosted", given)

    async def authenticate(self, invoice: str) -> Json:
        """The customer passes 3-D Secure on the hosted page."""
        return await self._post(f"/invoices/{invoice}/authenticate")

    async def add_card(self, customer: str, *, default: bool = True, **card: Any) -> Json:
        """The customer adds a card in the billing portal; the payment method."""
        return await self._post(f"/customers/{customer}/cards", {"card": card, "default": default})

    async def cancel_subscription(self, subscription: str) -> Json:
        return await self._post(f"/subscriptions/{subscription}/cancel")

    # -- money ------------------------------------------------------------------------------------

    async def add_debit(self, customer: str, type: str, *, default: bool = True, **debit: Any) -> Json:  # noqa: A002 - Stripe's own name
        """The customer adds a bank account (`sepa_debit`, `us_bank_account`, `bacs_debit`); the payment method.

        `takes_days` until a debit's end is known (None: never), `fails` (a name in `bank_accounts.FAILURES`) until
        `clears_at`, for `clears_in` seconds or for `clears_after` failures; `returns` (such a name): paid debits
        come back `returns_days` later; `mandate_revoked`.
        """
        return await self._post(f"/customers/{customer}/debits", {"debit": {"type": type, **debit}, "default": default})

    async def set_debit_script(self, payment_method: str, **script: Any) -> Json:
        """Another script for a bank account; nothing: debits are paid."""
        return await self._post(f"/payment_methods/{payment_method}/debit_script", script)

    async def end_debit(self, charge: str, fails: str | None = None) -> Json:
        """Ends a debit that is under way, now; the charge."""
        return await self._post(f"/charges/{charge}/end", {"fails": fails})

    async def return_debit(self, charge: str, reason: str = "insufficient_funds") -> Json:
        """The bank takes a paid debit back; the dispute, which is lost."""
        return await self._post(f"/charges/{charge}/return", {"reason": reason})

    async def attach_payment(self, invoice: str, amount: int, **fields: Any) -> Json:
        """The merchant charges a part of the invoice; the invoice payment. `payment_method`, `card` or `debit`."""
        return await self._post(f"/invoices/{invoice}/payments", {"amount": amount, **fields})

    async def credit_note(self, invoice: str, amount: int, **amounts: int) -> Json:
        """`refund_amount`, `credit_amount`, `out_of_band_amount` share out what exceeds the remaining amount."""
        return await self._post(f"/invoices/{invoice}/credit_notes", {"amount": amount, **amounts})

    async def change_balance(self, customer: str, amount: int) -> Json:
        """Adds to what the customer owes; a negative amount is credit."""
        return await self._post(f"/customers/{customer}/balance", {"amount": amount})

    async def require_attempt(self, invoice: str) -> str:
        """Sends `invoice.payment_attempt_required`; the event's id."""
        return str((await self._post(f"/invoices/{invoice}/payment_attempt_required"))["event"])

    async def refund(self, charge: str, amount: int | None = None, **fields: Any) -> Json:
        """The merchant refunds a charge, in full by default; the refund: `takes_days`, `fails` (a reason)."""
        return await self._post(f"/charges/{charge}/refund", {"amount": amount, **fields})

    async def end_refund(self, refund: str, fails: str | None = None) -> Json:
        """A refund succeeds, or fails for a reason."""
        return await self._post(f"/refunds/{refund}/end", {"fails": fails})

    async def dispute(self, charge: str, **fields: Any) -> Json:
        """The customer's bank disputes a charge: `reason`, `amount`, `ends` (won, lost) after `ends_days`."""
        return await self._post(f"/charges/{charge}/dispute", fields)

    async def end_dispute(self, dispute: str, status: str) -> Json:
        """A dispute is `won` or `lost`."""
        return await self._post(f"/disputes/{dispute}/end", {"status": status})

    async def book(self, **narrowed: str) -> list[Json]:
        """The bank's book: every movement of money, the fields of `book.Movement`; `account`, `invoice`, `charge`."""
        return await self._list("/book", narrowed)

    # -- reading ---------------------------------------------------------------------------------

    async def charges(self) -> list[Json]:
        """The charge log: every time money moved (`source`, `invoice`, `amount`, `currency`, `at`)."""
        return await self._list("/charges")

    async def attempts(self, invoice: str | None = None) -> list[Json]:
        """Every try to move money, with its outcome."""
        return await self._list("/attempts", {"invoice": invoice} if invoice else {})

    async def requests(self, *, since: int = 0, method: str = "", path: str = "") -> list[Json]:
        """The request log."""
        query = {"since": str(since), "path": path, **({"method": method} if method else {})}
        return await self._list("/requests", query)

    async def deliveries(self) -> list[Json]:
        """Of each event on its way: how often it was sent, the statuses, when the first 2xx came."""
        return await self._list("/deliveries")

    async def events(self, *, type: str = "", account: str = "") -> list[Json]:  # noqa: A002 - Stripe's own name
        """Every event: id, type, account, created."""
        query = {"type": type, "account": account}
        return await self._list("/events", {name: value for name, value in query.items() if value})

    async def outbox(self) -> list[Json]:
        """Every accepted email: `id`, `at`, `idempotency_key`, `message`."""
        return await self._list("/outbox")

    async def configure_resend_webhooks(self, **plan: Any) -> Json:
        """The fields of `resend_webhooks.ResendWebhookPlan`; what is not given stays."""
        return await self._post("/resend_webhooks", plan)

    async def email_event(self, email: str, kind: str, **fields: Any) -> Json:
        """Tells the receiver of Resend's webhooks what became of an email (`email.bounced`, …): `status`, `id`.

        `id` repeats an event that was sent; `type` is a bounce's (Permanent by default).
        """
        return await self._post(f"/outbox/{email}/events", {"kind": kind, **fields})

    async def meter_events(self) -> list[Json]:
        return await self._list("/meter_events")

    async def pii(self) -> list[str]:
        """Every personal string that the simulator ever gave out."""
        found: list[str] = await self._any("GET", "/pii")
        return found

    async def summary(self) -> Json:
        """How failed invoices ended and how they were treated; the fields of `summary.Summary`."""
        return await self._request("GET", "/summary")

    async def fates(self) -> list[Json]:
        """What the card and the customer of each failed renewal would do; the fields of `fates.Fate`."""
        return await self._list("/fates")

    async def usage(self) -> Json:
        """`cpu_seconds` and `max_rss_mb` of the simulator's process."""
        return await self._request("GET", "/usage")

    async def object(self, ident: str) -> Json:
        """Any resource of any account."""
        return await self._request("GET", f"/objects/{ident}")
