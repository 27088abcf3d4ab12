"""Stripe's answers as typed outcomes, and its errors as ours.

What Stripe does with an idempotency key: once a request has begun to run, its answer (declines and 500s included) is
saved and replayed for at least 24 hours. Validation errors, 409s and 429s save nothing. The same key with another
request is refused (https://docs.stripe.com/api/idempotent_requests, read October 2026).
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import aiohttp
import stripe
from stripe.params import EventListParamsCreated

from services.worker.errors import MerchantUnreachable, Refused, RetryLater
from services.worker.outside.invoices import Charge, Invoice, Reading, SeenCharge, card_of, read, seen
from services.worker.outside.lease import Lease
from services.worker.recovery import AttemptResult, Card, Decline
from shared.ids import ChargeId, CustomerId, InvoiceId, PaymentIntentId, PaymentMethodId, SubscriptionId
from shared.logging import get_logger
from shared.stripe_clients import ask, part

log = get_logger(__name__)

Id = TypeVar("Id", bound=str)

NEEDS_ACTION = "invoice_payment_intent_requires_action"
NO_ACCESS = "account_invalid"
INVOICE_PARTS = [
    "payments.data.payment.payment_intent",
    "customer.invoice_settings.default_payment_method",
    "customer.default_source",
    "default_payment_method",
    "default_source",
    "parent.subscription_details.subscription.default_payment_method",
    "parent.subscription_details.subscription.default_source",
]
"""Everything that the rules need of an invoice, in one read; Stripe expands at most four levels."""

_jitter = random.Random()  # noqa: S311 - spreads repeats, is no secret


@dataclass(frozen=True, slots=True)
class Paid:
    """The request under this key collected the invoice, now or when it first ran."""

    reading: Reading


@dataclass(frozen=True, slots=True)
class Declined:
    """The bank or Stripe declined the request under this key."""

    decline: Decline
    payment_intent_id: PaymentIntentId | None
    charge_id: ChargeId | None
    payment_method_id: PaymentMethodId | None
    card: Card | None


@dataclass(frozen=True, slots=True)
class RequiresAction:
    """The customer has to authenticate; nothing was charged."""

    payment_intent_id: PaymentIntentId | None
    payment_method_id: PaymentMethodId | None


@dataclass(frozen=True, slots=True)
class NotPayable:
    """Stripe refused to try: paid already, void, no payment method. The request under this key charged nothing."""

    code: str | None


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """Stripe replays an error for this key, or the key belongs to another request: the invoice must be read."""

    code: str


PayOutcome = Paid | Declined | RequiresAction | NotPayable | Inconclusive


@contextmanager
def stripe_errors() -> Iterator[None]:
    """Turn what the SDK raises into the worker's errors.

    Raises RetryLater (outages, rate limits, locks, unknown outcomes), MerchantUnreachable and Refused. Card errors
    pass through: only `pay` gets them, and handles them.
    """
    try:
        yield
    except stripe.CardError:
        raise
    except stripe.StripeError as error:
        raise _translated(error) from error
    except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
        # The SDK does not wrap the error of a body that breaks off. The outcome is unknown: repeat with the same key.
        raise RetryLater(f"stripe: no whole answer ({type(error).__name__})") from error


def _translated(error: stripe.StripeError) -> RetryLater | MerchantUnreachable | Refused:
    status, code = error.http_status, _code(error)
    what = f"stripe: {status or 'no answer'} {code or type(error).__name__}{_request(error)}"
    match error:
        case stripe.RateLimitError():
            return RetryLater(what, delay=_asked_delay(error), counts=False)
        case stripe.APIConnectionError():
            return RetryLater(what)
        case _ if code == NO_ACCESS:
            return MerchantUnreachable(what)
        case stripe.AuthenticationError():
            # The platform's own key is wrong, for all merchants: log it loudly, and use up no tries.
            log.critical("stripe_key_refused", reason=what)
            return RetryLater(what, delay=timedelta(seconds=_jitter.uniform(20, 60)), counts=False)
        case _ if status is None or status == 409 or not 400 <= status < 500:
            return RetryLater(what)  # also a 2xx whose body cannot be read: the request may have been executed
        case _:
            return Refused(what, status=status, code=code, param=getattr(error, "param", None))


def _code(error: stripe.StripeError) -> str | None:
    code = error.code or (error.error.code if error.error is not None else None)
    return code if isinstance(code, str) else None


def _request(error: stripe.StripeError) -> str:
    return f" {error.request_id}" if error.request_id else ""


def _asked_delay(error: stripe.StripeError) -> timedelta:
    """Stripe's `Retry-After`; else a few seconds, at random."""
    asked = str((error.headers or {}).get("retry-after", ""))
    seconds = float(asked) if asked.isdigit() else 1.0
    return timedelta(seconds=min(seconds, 3600.0) + _jitter.uniform(0, 4))


def replayed(error: stripe.StripeError) -> bool:
    """Whether Stripe replayed a saved answer."""
    return str((error.headers or {}).get("idempotent-replayed", "")).lower() == "true"


async def retrieve_invoice(client: stripe.StripeClient, invoice_id: InvoiceId) -> dict[str, Any]:
    """Stripe's own JSON of the invoice, with the customer's personal data: pass it at once to a model that drops it."""
    with stripe_errors():
        return await ask(client, "get", f"/v1/invoices/{part(invoice_id)}", expand=INVOICE_PARTS)


async def read_invoice(client: stripe.StripeClient, invoice_id: InvoiceId) -> Reading:
    """The invoice as it is now. Raises what `stripe_errors` does."""
    return read(Invoice.model_validate(await retrieve_invoice(client, invoice_id)))


async def payment_methods_of(client: stripe.StripeClient, customer_id: CustomerId) -> list[dict[str, Any]]:
    """Stripe's own JSON of the customer's payment methods, newest first (100 at most), with personal data."""
    with stripe_errors():
        found = await ask(client, "get", f"/v1/customers/{part(customer_id)}/payment_methods", limit=100)
    methods: list[dict[str, Any]] = found["data"]
    return methods


async def own_account(client: stripe.StripeClient) -> dict[str, Any]:
    """Stripe's own JSON of the merchant's account."""
    with stripe_errors():
        return await ask(client, "get", "/v1/account")


async def pay(
    client: stripe.StripeClient,
    invoice_id: InvoiceId,
    key: str,
    lease: Lease,
    payment_method_id: PaymentMethodId | None = None,
) -> PayOutcome:
    """Collect the invoice off-session, with this payment method and no other. Nothing else of the merchant's changes.

    Without one, as releases before 0026 asked, it is the first in Stripe's order. The request is the same in every
    repeat, as its key requires. Raises RetryLater when the outcome is unknown: repeat with the same key. Raises
    MerchantUnreachable and LeaseLost: it was not sent or did not run.
    """
    asked: dict[str, Any] = {"off_session": True, "expand": INVOICE_PARTS}
    if payment_method_id is not None:
        # What is older than payment methods is a source (https://docs.stripe.com/api/invoices/pay, read November 2026).
        asked["payment_method" if payment_method_id.startswith("pm_") else "source"] = payment_method_id
    try:
        with lease.guarding(), stripe_errors():
            invoice = await ask(client, "post", f"/v1/invoices/{part(invoice_id)}/pay", **asked, idempotency_key=key)
    except stripe.CardError as error:
        return await _as_its_charge_says(client, _declined(error))
    except RetryLater as later:
        cause = later.__cause__
        if isinstance(cause, stripe.APIError) and (cause.http_status or 0) >= 500 and replayed(cause):
            return Inconclusive(f"replayed_{cause.http_status}")
        raise
    except Refused as refused:
        if isinstance(refused.__cause__, stripe.IdempotencyError):
            return Inconclusive("key_used_for_another_request")
        if refused.status == 400:
            return NotPayable(refused.code)
        raise
    return Paid(read(Invoice.model_validate(invoice)))


def _declined(error: stripe.CardError) -> Declined | RequiresAction:
    body = error.error.to_dict() if error.error is not None else {}
    intent = body.get("payment_intent") or {}
    last = intent.get("last_payment_error") or {}
    method = body.get("payment_method") or last.get("payment_method") or {}
    code = _code(error)
    if code == NEEDS_ACTION:
        return RequiresAction(intent.get("id"), _id(intent.get("payment_method"), PaymentMethodId))

    def detail(name: str) -> str | None:
        value = body.get(name) or last.get(name)
        return value if isinstance(value, str) else None

    charge = detail("charge")
    return Declined(
        Decline(
            code=code,
            decline_code=detail("decline_code"),
            advice_code=detail("advice_code"),
            network_decline_code=detail("network_decline_code"),
            network_advice_code=detail("network_advice_code"),
        ),
        payment_intent_id=intent.get("id"),
        charge_id=ChargeId(charge) if charge else _id(intent.get("latest_charge"), ChargeId),
        payment_method_id=method.get("id") if method else _id(intent.get("payment_method"), PaymentMethodId),
        card=card_of(method) if method else None,
    )


async def _as_its_charge_says(
    client: stripe.StripeClient, answer: Declined | RequiresAction
) -> Declined | RequiresAction:
    """The answer with the reason of its charge, where the error has only `fraudulent`.

    With that code Stripe tells of everything that Radar blocks; only the charge's outcome says that it was a rule of
    the merchant's own. An unread charge leaves the answer as it is.
    """
    if not isinstance(answer, Declined) or answer.decline.decline_code != "fraudulent":
        return answer
    if answer.charge_id is None or answer.payment_intent_id is None:
        return answer
    try:
        charges = await charges_of(client, answer.payment_intent_id)
    except (Refused, MerchantUnreachable):
        return answer  # what was declined is known; that the key may not read charges changes nothing
    said = next((each.decline for each in charges if each.charge_id == answer.charge_id and each.decline), None)
    return replace(answer, decline=said) if said is not None and said.decline_code is not None else answer


def _id(value: object, kind: Callable[[str], Id]) -> Id | None:
    """The id of something that may be expanded, as this kind of id."""
    found = value.get("id") if isinstance(value, dict) else value
    return kind(found) if isinstance(found, str) else None


async def spend_key(client: stripe.StripeClient, invoice_id: InvoiceId, key: str, lease: Lease) -> bool:
    """Make sure that `key` never pays: True when it never has and never will, False when a payment was made with it.

    Sends a request that changes nothing under the key. Stripe accepts a key for one request only: a payment that is
    sent with it later is refused, and if a payment was sent before, this request is refused. Raises RetryLater while
    that payment still runs.
    """
    try:
        with lease.guarding(), stripe_errors():
            await client.v1.invoices.update_async(invoice_id, {}, {"idempotency_key": key})
    except Refused as refused:
        return not isinstance(refused.__cause__, stripe.IdempotencyError)
    return True


async def charges_of(client: stripe.StripeClient, payment_intent_id: PaymentIntentId) -> list[SeenCharge]:
    """Every charge of a PaymentIntent that has ended, newest first (100 at most)."""
    with stripe_errors():
        found = await ask(client, "get", "/v1/charges", payment_intent=payment_intent_id, limit=100)
    charges = (seen(Charge.model_validate(each)) for each in found["data"])
    return [charge for charge in charges if charge is not None]


async def key_behind(client: stripe.StripeClient, charge: SeenCharge, since: datetime) -> str | None:
    """The idempotency key of the request that made a charge; "" when it had none; None while no event says it.

    Every event names the request that caused it (https://docs.stripe.com/api/events/object#event_object-request). It is
    looked for at the charge's time. Where it is not, among all since `since`, the time of the request that is asked
    about: a charge for a customer on a test clock has that clock's time, and its event need not.
    """
    at = int(charge.at.timestamp())
    key = await _key_of(client, charge, {"gte": at - 60, "lte": at + 600})
    return key if key is not None else await _key_of(client, charge, {"gte": int(since.timestamp()) - 60})


async def _key_of(client: stripe.StripeClient, charge: SeenCharge, created: EventListParamsCreated) -> str | None:
    type_: Literal["charge.succeeded", "charge.failed"]
    type_ = "charge.succeeded" if charge.result is AttemptResult.SUCCEEDED else "charge.failed"
    with stripe_errors():
        page = await client.v1.events.list_async({"type": type_, "created": created, "limit": 100})
        async for event in page.auto_paging_iter():
            told = event.to_dict()
            if told["data"]["object"].get("id") == charge.charge_id:
                return str((told.get("request") or {}).get("idempotency_key") or "")
    return None


# --- End actions ------------------------------------------------------------------------------------------------------


async def mark_uncollectible(client: stripe.StripeClient, invoice_id: InvoiceId, key: str, lease: Lease) -> None:
    """Write the invoice off as bad debt; it can still be paid or voided. Raises what `stripe_errors` does."""
    with lease.guarding(), stripe_errors():
        await client.v1.invoices.mark_uncollectible_async(invoice_id, {}, {"idempotency_key": key})


async def cancel_subscription(
    client: stripe.StripeClient, subscription_id: SubscriptionId, key: str, lease: Lease
) -> None:
    """Cancel the subscription now, without a last invoice and without proration. Raises what `stripe_errors` does."""
    with lease.guarding(), stripe_errors():
        await client.v1.subscriptions.cancel_async(subscription_id, {}, {"idempotency_key": key})


async def pause_subscription(
    client: stripe.StripeClient, subscription_id: SubscriptionId, key: str, lease: Lease
) -> None:
    """Pause the subscription's collection until somebody resumes it; its next invoices are kept as drafts.

    Of Stripe's three behaviours only drafts can be undone without loss.
    """
    with lease.guarding(), stripe_errors():
        await client.v1.subscriptions.update_async(
            subscription_id, {"pause_collection": {"behavior": "keep_as_draft"}}, {"idempotency_key": key}
        )
