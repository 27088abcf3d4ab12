"""Stripe's answers as typed outcomes, and its errors as ours.

What Stripe does with an idempotency key: once a request has begun to run, its answer (declines and 500s included) is
saved and replayed for at least 24 hours. Validation errors, 409s and 429s save nothing. The same key with another
request is refused (https://docs.stripe.com/api/idempotent_requests, read October 2026).
"""

import asyncio
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import aiohttp
import stripe
from stripe.params import EventListParamsCreated

from services.worker.errors import Hold, InvoiceMissing, MerchantUnreachable, Refused, RetryLater
from services.worker.outside.invoices import Reading, SeenCharge, card_of, read, seen
from services.worker.outside.lease import Lease
from services.worker.outside.stripe_objects import Charge, Invoice
from services.worker.recovery import AttemptResult, Card, Decline, InvoiceStatus
from services.worker.recovery.declines import BY_CODE
from services.worker.recovery.refusals import known_remedy
from shared.ids import ChargeId, CustomerId, InvoiceId, PaymentIntentId, PaymentMethodId, SubscriptionId
from shared.stripe_clients import ask, part

Id = TypeVar("Id", bound=str)

NEEDS_ACTION = "invoice_payment_intent_requires_action"

# The codes by which Stripe refuses a key, whatever the status (https://docs.stripe.com/error-codes, read November 2026;
# `more_permissions_required` is told of restricted keys since 2025, before that a 403 had no code).
_HOLDS = {
    "account_invalid": Hold.NO_ACCESS,
    "more_permissions_required": Hold.NO_PERMISSION,
    "api_key_expired": Hold.KEY_REFUSED,
    "platform_account_required": Hold.KEY_REFUSED,
    "platform_api_key_expired": Hold.KEY_REFUSED,
    "secret_key_required": Hold.KEY_REFUSED,
    "livemode_mismatch": Hold.WRONG_MODE,
}
_HOLDS_BY_STATUS = {401: Hold.KEY_REFUSED, 403: Hold.NO_PERMISSION}
# Stripe says only in words that an object exists in the other mode; its code is that of any missing object.
_OTHER_MODE = re.compile(r"exists in (?:live|test) mode")

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

_WITHOUT_CUSTOMER = ["customer", *(each for each in INVOICE_PARTS if not each.startswith("customer."))]

_jitter = random.Random()  # noqa: S311 - spreads repeats, is no secret


@dataclass(frozen=True, slots=True)
class Paid:
    """The request under this key collected the invoice, now or when it first ran."""

    reading: Reading


@dataclass(frozen=True, slots=True)
class Processing:
    """The request under this key has begun a payment whose end is known days later: Stripe answers 200 to it as well.

    (https://docs.stripe.com/payments/ach-direct-debit, read November 2026.)
    """

    reading: Reading
    payment_intent_id: PaymentIntentId
    charge_id: ChargeId


@dataclass(frozen=True, slots=True)
class Declined:
    """The bank or Stripe declined the request under this key.

    `charge_id` is the charge that the error names. A decline before any charge names none: then `latest_charge_id`, the
    PaymentIntent's latest, is one of an earlier attempt, unless it was never seen before.
    """

    decline: Decline
    payment_intent_id: PaymentIntentId | None
    charge_id: ChargeId | None
    payment_method_id: PaymentMethodId | None
    card: Card | None
    latest_charge_id: ChargeId | None = None


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


PayOutcome = Paid | Processing | Declined | RequiresAction | NotPayable | Inconclusive


@contextmanager
def stripe_errors() -> Iterator[None]:
    """Turn what the SDK raises into the worker's errors.

    Raises RetryLater (outages, rate limits, locks, unknown outcomes), MerchantUnreachable (keys, permissions, modes)
    and Refused. Card errors pass through: only `pay` gets them, and handles them.
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
        case _ if (why := _held_for(error, code)) is not None:
            return MerchantUnreachable(what, why)
        case _ if status is None or status == 409 or not 400 <= status < 500:
            return RetryLater(what)  # also a 2xx whose body cannot be read: the request may have been executed
        case _:
            return Refused(what, status=status, code=code, param=getattr(error, "param", None))


def _held_for(error: stripe.StripeError, code: str | None) -> Hold | None:
    """Why the task is held; None when the error is about the request itself."""
    if code in _HOLDS:
        return _HOLDS[code]
    if code == "resource_missing" and _OTHER_MODE.search(error.user_message or ""):
        return Hold.WRONG_MODE
    return _HOLDS_BY_STATUS.get(error.http_status or 0)


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
    """Stripe's own JSON of the invoice, with the customer's personal data: pass it at once to a model that drops it.

    Raises InvoiceMissing when it is this invoice that Stripe does not know. A 404 for anything else says nothing of it.
    """
    try:
        return await _retrieve_expanded(client, invoice_id, INVOICE_PARTS)
    except Refused as refused:
        if refused.status == 400:
            # A deleted customer has no parts that could be expanded.
            return await _retrieve_expanded(client, invoice_id, _WITHOUT_CUSTOMER)
        cause = refused.__cause__
        # Only Stripe's words name the object that is missing.
        if refused.status == 404 and isinstance(cause, stripe.StripeError) and invoice_id in (cause.user_message or ""):
            raise InvoiceMissing(refused.reason, status=404, code=refused.code) from cause
        raise


async def _retrieve_expanded(client: stripe.StripeClient, invoice_id: InvoiceId, parts: list[str]) -> dict[str, Any]:
    with stripe_errors():
        return await ask(client, "get", f"/v1/invoices/{part(invoice_id)}", expand=parts)


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
        code = _code(error)
        if known_remedy(code) is not None and code not in BY_CODE:
            return NotPayable(code)  # "missing": there is no card, so no bank was asked
        return await _as_its_charge_says(client, _declined(error))
    except RetryLater as later:
        cause = later.__cause__
        if isinstance(cause, stripe.APIError) and (cause.http_status or 0) >= 500 and replayed(cause):
            return Inconclusive(f"replayed_{cause.http_status}")
        raise
    except Refused as refused:
        return _not_executed(refused)
    return _accepted(read(Invoice.model_validate(invoice)))


def _accepted(reading: Reading) -> Paid | Processing | Inconclusive:
    if reading.truth.paid:
        return Paid(reading)
    if reading.under_way is None:
        return Inconclusive("accepted_and_not_paid")
    payment_intent_id, charge_id = reading.under_way
    if charge_id is None:
        return Inconclusive("under_way_without_a_charge")
    return Processing(reading, payment_intent_id, charge_id)


def _not_executed(refused: Refused) -> Declined | RequiresAction | NotPayable | Inconclusive:
    """What a refusal of the request to pay means. Raises one that is not about the payment."""
    cause, code = refused.__cause__, refused.code
    if isinstance(cause, stripe.IdempotencyError):
        return Inconclusive("key_used_for_another_request")
    of_method = refused.status == 404 and refused.param == "payment_method"
    if refused.status != 400 and not of_method:
        raise refused
    if isinstance(cause, stripe.StripeError) and code in BY_CODE and known_remedy(code) is None:
        return _declined(cause)  # a payment method that is no card is declined with a 400
    return NotPayable(code)


def _declined(error: stripe.StripeError) -> Declined | RequiresAction:
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
        charge_id=ChargeId(charge) if charge else None,
        payment_method_id=method.get("id") if method else _id(intent.get("payment_method"), PaymentMethodId),
        card=card_of(method) if method else None,
        latest_charge_id=_id(intent.get("latest_charge"), ChargeId),
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
        if isinstance(refused.__cause__, stripe.IdempotencyError):
            return False
        if refused.status == 404:
            raise  # not saved: the key is as free as before, but whether it was used is not known
    return True


async def invoices_of(
    client: stripe.StripeClient, subscription_id: SubscriptionId
) -> list[tuple[InvoiceId, InvoiceStatus]]:
    """The subscription's invoices and their states, newest first (100 at most)."""
    with stripe_errors():
        found = await ask(client, "get", "/v1/invoices", subscription=subscription_id, limit=100)
    invoices = (Invoice.model_validate(each) for each in found["data"])
    return [(each.id, each.status) for each in invoices]


async def charges_of(client: stripe.StripeClient, payment_intent_id: PaymentIntentId) -> list[SeenCharge]:
    """Every charge of a PaymentIntent, newest first (100 at most)."""
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
    # A debit ends days after the request that began it: only the event of its beginning names that request.
    types = ["charge.pending", *_ENDS.get(charge.result, [])]
    found: str | None = None
    with stripe_errors():
        page = await client.v1.events.list_async({"types": types, "created": created, "limit": 100})
        async for event in page.auto_paging_iter():
            told = event.to_dict()
            if told["data"]["object"].get("id") == charge.charge_id:
                found = str((told.get("request") or {}).get("idempotency_key") or "")
                if found:
                    return found
    return found


_ENDS = {AttemptResult.SUCCEEDED: ["charge.succeeded"], AttemptResult.DECLINED: ["charge.failed"]}


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
