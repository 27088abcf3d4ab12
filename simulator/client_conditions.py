"""The client's part about what is not as usual: access, cards, collection settings, shapes."""

from typing import Any

from simulator.shapes import Json
from simulator.wire import Wire


class Conditions(Wire):
    """Methods of `SimulatorClient`; each is one request to `/_sim`."""

    # -- access ----------------------------------------------------------------------------------

    async def add_barrier(self, kind: str, **fields: Any) -> Json:
        """The fields of `access.Barrier` (`method`, `path`, `account`, `until`, `times`, …), or `seconds` from now."""
        return await self._post("/access", {"kind": kind, **fields})

    async def refuse_pay(self, code: str | None, **fields: Any) -> Json:
        """`POST …/pay` is refused with a code of `refusals.REFUSALS`, or any with `message` and `status`."""
        return await self.add_barrier("refused", method="POST", path="/v1/invoices/*/pay", code=code, **fields)

    async def barriers(self) -> list[Json]:
        return await self._list("/access")

    async def clear_barriers(self, ident: str | None = None) -> None:
        """Takes all barriers down, or one by its `id`."""
        await self._request("DELETE", "/access", {"id": ident} if ident else {})

    async def reconnect(self, account: str, scope: str = "read_write") -> Json:
        """A merchant who left connects again: the grant, as `/oauth/token` gives it."""
        return await self._post(f"/accounts/{account}/reconnect", {"scope": scope})

    async def restrict(self, account: str, *, charges: bool = False) -> Json:
        """The account may not charge any more (`charges=True`: it may again); the account."""
        return await self._post(f"/accounts/{account}/restrict", {"charges": charges})

    # -- cards -----------------------------------------------------------------------------------

    async def renew_card(
        self, payment_method: str, *, number: bool = False, events: list[str] | None = None, **card: Any
    ) -> Json:
        """The card updater: a new `number` or only a new date under the same id, good unless `card` has a script.

        `events` are names of `cards.RENEWALS` (`payment_method.automatically_updated` unless told otherwise).
        """
        told = {} if events is None else {"events": events}
        return await self._post(f"/payment_methods/{payment_method}/renew", {"number": number, "card": card, **told})

    async def own_form(self, customer: str, *, default: bool = True, **card: Any) -> Json:
        """A card entered in a merchant's own form: the customer's default, and no subscription's."""
        return await self._post(f"/customers/{customer}/own_form", {"default": default, "card": card})

    async def change_default(self, customer: str, payment_method: str | None, *, by: str = "form") -> Json:
        """Another default of the customer, by a `form` (what subscriptions pin stays) or by the `portal`."""
        return await self._post(f"/customers/{customer}/default", {"payment_method": payment_method, "by": by})

    async def pin_card(self, subscription: str, payment_method: str | None) -> Json:
        """The subscription's own default payment method; None: it has none any more."""
        return await self._post(f"/subscriptions/{subscription}/pin", {"payment_method": payment_method})

    async def add_bare_renewal(self, account: str, **fields: Any) -> Json:
        """As `add_renewal`, of a customer who has no payment method at all."""
        return await self._post("/renewals", {"account": account, **fields})

    async def add_source_renewal(self, account: str, source: Json, **fields: Any) -> Json:
        """As `add_renewal`, of a customer who has a legacy card and nothing else (`prefix`: card or src)."""
        return await self._post("/source_renewals", {"account": account, "source": source, **fields})

    async def add_source(self, customer: str, *, prefix: str = "card", default: bool = True, **card: Any) -> Json:
        """A legacy card (`card_…`) or source (`src_…`), the customer's `default_source` if `default`."""
        return await self._post(f"/customers/{customer}/sources", {"prefix": prefix, "default": default, "card": card})

    async def event(self, ident: str) -> Json:
        """One event as its webhook carries it."""
        return await self._request("GET", f"/events/{ident}")

    # -- collection settings ---------------------------------------------------------------------

    async def set_auto_advance(self, invoice: str, on: bool) -> Json:
        """The merchant turns automatic collection of one invoice off, or on again; the invoice."""
        return await self._post(f"/invoices/{invoice}/auto_advance", {"on": on})

    async def set_collection_method(self, ident: str, method: str, days_until_due: int = 30) -> Json:
        """`send_invoice` or `charge_automatically`, of an invoice (`in_…`) or of a subscription's next ones."""
        kind = "subscriptions" if ident.startswith("sub_") else "invoices"
        body = {"method": method, "days_until_due": days_until_due}
        return await self._post(f"/{kind}/{ident}/collection_method", body)

    async def stripe_retry(self, invoice: str) -> Json:
        """Stripe tries by itself, now and unannounced; the invoice."""
        return await self._post(f"/invoices/{invoice}/stripe_retry")

    async def pause_collection(
        self, subscription: str, behavior: str | None = "void", resumes_at: int | None = None
    ) -> Json:
        """`keep_as_draft`, `mark_uncollectible` or `void`; None lifts the pause."""
        body = {"behavior": behavior, "resumes_at": resumes_at}
        return await self._post(f"/subscriptions/{subscription}/pause", body)

    async def end_subscription(self, subscription: str, *, at: int | None = None, at_period_end: bool = False) -> Json:
        """`cancel_at` or `cancel_at_period_end`, which comes true when the clock gets there; neither: it goes on."""
        return await self._post(f"/subscriptions/{subscription}/ends", {"at": at, "at_period_end": at_period_end})

    async def set_status(self, subscription: str, status: str) -> Json:
        """active, past_due, unpaid, paused or canceled, as Stripe's settings for failed payments would."""
        return await self._post(f"/subscriptions/{subscription}/status", {"status": status})

    async def add_invoice(self, subscription: str, reason: str, amount: int | None = None) -> Json:
        """An invoice between the renewals, tried at once; `reason` is its billing reason."""
        return await self._post(f"/subscriptions/{subscription}/invoices", {"reason": reason, "amount": amount})

    # -- shapes ----------------------------------------------------------------------------------

    async def emit(
        self,
        type: str,  # noqa: A002 - Stripe's own name
        ident: str,
        *,
        changes: Json | None = None,
        without: list[str] | None = None,
        previous: Json | None = None,
    ) -> str:
        """An event about an object as it is, or with `changes` and `without` fields in the event only; its id."""
        body = {"type": type, "object": ident, "changes": changes or {}, "without": without or [], "previous": previous}
        return str((await self._post("/events", body))["event"])

    async def change_person(self, customer: str, **fields: Any) -> Json:
        """An `email` (`name`, `phone`, `address`, `preferred_locales`) that the merchant adds or corrects."""
        return await self._post(f"/customers/{customer}/person", fields)

    async def delete_customer(self, customer: str) -> Json:
        """The merchant deletes the customer, whose subscriptions end and whose open invoices stay."""
        return await self._post(f"/customers/{customer}/delete")

    async def make_customer_account(self, customer: str) -> str:
        """From now on the customer's objects say `customer_account` (Accounts v2) and no `customer`; its id."""
        return str((await self._post(f"/customers/{customer}/as_account"))["customer_account"])

    async def set_test_clock(self, customer: str, ahead: int) -> Json:
        """The customer's objects say times that are `ahead` seconds of the simulation's (negative: behind)."""
        return await self._post(f"/customers/{customer}/test_clock", {"ahead": ahead})

    async def meter_error(
        self, account: str, code: str, identifiers: list[str] | None = None, meter: str | None = None
    ) -> Json:
        """Stripe tells, by a thin event, that accepted meter events were of no use; the event with its data."""
        body = {"account": account, "code": code, "identifiers": identifiers or [], "meter": meter}
        return await self._post("/meter_errors", body)

    async def meter_duplicates(self, **error: Any) -> Json:
        """How a repeated identifier is answered: `status` (200: taken, not counted), `code`, `param`, `type`, …"""
        return await self._post("/meter_duplicates", error)

    # -- emails ----------------------------------------------------------------------------------

    async def set_resend_limits(self, *, rate: int | None = None, daily_quota: int | None = None) -> Json:
        """Requests a second of real time, and emails a simulated day, that Resend takes; None: without limit."""
        return await self._post("/resend_limits", {"rate": rate, "daily_quota": daily_quota})

    async def set_mailbox(self, address: str, outcome: str) -> Json:
        """Emails to `address` from now on: `delivers`, `bounces`, `complains` or `delays`."""
        return await self._post("/mailboxes", {"address": address, "outcome": outcome})

    async def deliver_emails(self) -> list[Json]:
        """Tells by Resend's webhooks what became of the emails since the last time: `email`, `type`, `status`, `id`."""
        told: list[Json] = await self._any("POST", "/outbox/deliver")
        return told
