"""Makes one email about an invoice from our rows and Stripe's answers; or says why none is sent.

Personal data (the address, the card's name) comes from Stripe's answers, is in the `Email` only, and dropped with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from services.worker.messages.brand import Brand, brand_of
from services.worker.messages.campaign import ONE_DAY, STEPS, Link, Message
from services.worker.messages.language import Language, choose
from services.worker.messages.letters import Facts, Letter, again, write
from services.worker.outside.email import Email
from services.worker.outside.invoices import Invoice, Reading, read
from services.worker.recovery import InvoiceStatus
from services.worker.recovery.decide import SUBSCRIPTION_OVER
from services.worker.recovery.timezones import zone_of
from shared.ids import PaymentMethodId, RecoveryId
from shared.unsubscribe import Recipient

Unsent = Literal["not_open", "under_way", "not_paid", "no_address", "no_page", "collection_off"]

# Of these Stripe makes the next invoices (https://docs.stripe.com/billing/subscriptions/overview, November 2026); once
# its open invoice is paid, a subscription that was past due is active.
GOES_ON = frozenset({"active", "trialing", "past_due"})

# As the networks write their own names; a card of another network is named by its digits only.
_NETWORKS = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "amex": "American Express",
    "discover": "Discover",
    "diners": "Diners Club",
    "jcb": "JCB",
    "unionpay": "UnionPay",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Customer(_Part):
    email: str | None = None
    preferred_locales: tuple[str, ...] | None = None


class _Addressee(_Part):
    """Whom the email goes to."""

    customer: _Customer | str | None = None
    customer_email: str | None = None
    account_name: str | None = None

    @property
    def address(self) -> str | None:
        """The customer's present address, else the one on the invoice."""
        today = self.customer.email if isinstance(self.customer, _Customer) else None
        return today or self.customer_email

    @property
    def locales(self) -> tuple[str, ...]:
        """The languages that the customer prefers, in order."""
        return (self.customer.preferred_locales or ()) if isinstance(self.customer, _Customer) else ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A due message, from our own rows.

    `because` is a name of the texts' reasons. `again`: the same request was made before. `retry_at` is our next
    attempt, `until` the end of the recovery, `failed_method` the payment method that was charged last. `pause_is_ours`:
    if the subscription's collection is paused, an end action of ours did it.
    """

    message: Message
    recipient: Recipient
    task_id: str
    recovery_id: RecoveryId
    because: str | None = None
    again: bool = False
    retry_at: datetime | None = None
    until: datetime | None = None
    end_action: str | None = None
    failed_method: PaymentMethodId | None = None
    pause_is_ours: bool = False


def readiness(draft: Draft, invoice: dict[str, Any]) -> Unsent | None:
    """Why a message about the invoice as it is now is not sent; None when it is sent."""
    reading = read(Invoice.model_validate(invoice))
    open_ = reading.truth.status is InvoiceStatus.OPEN and not reading.truth.paid
    if draft.message is Message.RECOVERED and reading.truth.status is not InvoiceStatus.PAID:
        return "not_paid"
    if draft.message is not Message.RECOVERED and not open_:
        return "not_open"
    if draft.message is not Message.RECOVERED and reading.truth.payment_under_way:
        return "under_way"
    if draft.message is not Message.RECOVERED and reading.truth.paused is not None and not draft.pause_is_ours:
        return "collection_off"
    return "no_address" if _Addressee.model_validate(invoice).address is None else None


def compose(
    draft: Draft, invoice: dict[str, Any], account: dict[str, Any], card_page: str | None, unsubscribe: str | None
) -> Email | Unsent:
    """The email, from Stripe's own JSON of invoice and account. `card_page` is for a message whose button leads there.

    Without a page to pay on, no message asks for a payment; a thank-you needs none.
    """
    reading, addressee = read(Invoice.model_validate(invoice)), _Addressee.model_validate(invoice)
    if addressee.address is None:
        return "no_address"
    brand = brand_of(account, addressee.account_name)
    language = choose(addressee.locales, brand.country)
    page = reading.hosted_invoice_url
    link = (card_page or page) if STEPS[draft.message].link is Link.CARD else page
    if link is None and draft.message is not Message.RECOVERED:
        return "no_page"
    facts = _facts(draft, reading, invoice, language, link, page if link == card_page else None)
    letter = write(draft.message, language, brand, facts, unsubscribe)
    return envelope(
        draft.message,
        draft.recipient,
        draft.task_id,
        addressee.address,
        brand,
        again(letter, language) if draft.again else letter,
        unsubscribe,
        draft.recovery_id,
    )


def envelope(
    message: Message,
    recipient: Recipient,
    task_id: str,
    address: str,
    brand: Brand,
    letter: Letter,
    unsubscribe: str | None,
    recovery_id: RecoveryId | None = None,
) -> Email:
    """The email for a letter: recipient, sender, and the ids by which a bounce names it."""
    tags = {"message": task_id, "merchant": recipient.merchant_id, "customer": recipient.customer_id}
    return Email(
        kind=message,
        to=address,
        subject=letter.subject,
        text=letter.text,
        html=letter.html,
        key=f"email:{task_id}",
        entity_ref=task_id,
        tags=tags if recovery_id is None else {**tags, "recovery": str(recovery_id)},
        sender_name=brand.name,
        reply_to=brand.reply_to,
        unsubscribe=unsubscribe,
    )


def _facts(
    draft: Draft,
    reading: Reading,
    invoice: Mapping[str, Any],
    language: Language,
    link: str | None,
    invoice_link: str | None,
) -> Facts:
    truth = reading.truth
    zone = zone_of(truth.card.country if truth.card else None)
    retry_at = draft.retry_at or truth.stripe_next_attempt_at
    # The last day that ends before the recovery does: a payment at any hour of it is in time.
    until = (draft.until - ONE_DAY).astimezone(zone).date() if draft.until else None
    ends_on = None if truth.subscription_status in SUBSCRIPTION_OVER else truth.ends_at
    return Facts(
        amount=language.amount(reading.amount_paid if draft.message is Message.RECOVERED else truth.amount_remaining),
        because=draft.because,
        retry_on=language.day(retry_at.astimezone(zone).date()) if retry_at else None,
        deadline=language.day(until) if until else None,
        end_action=draft.end_action,
        card=_card(invoice, draft.failed_method),
        paid_on=language.day(reading.paid_at.astimezone(zone).date()) if reading.paid_at else None,
        ends_on=language.day(ends_on.astimezone(zone).date()) if ends_on else None,
        goes_on=truth.subscription_status in GOES_ON and truth.paused is None,
        link=link,
        invoice_link=invoice_link,
    )


def _card(invoice: Mapping[str, Any], method_id: PaymentMethodId | None) -> str | None:
    """The name of a payment method's card, as its holder knows it, if the invoice came with that method."""
    customer, subscription = _at(invoice, "customer"), _at(invoice, "parent", "subscription_details", "subscription")
    for place in (invoice, subscription, _at(customer, "invoice_settings")):
        method = _at(place, "default_payment_method")
        if method and method.get("id") == method_id:
            return card_name(method)
    return None


def card_name(method: Mapping[str, Any]) -> str | None:
    """`Visa •••• 4242`, from Stripe's own JSON of a payment method; None if it is not a card."""
    card = _at(method, "card")
    digits = card.get("last4")
    if not isinstance(digits, str):
        return None
    return f"{_NETWORKS.get(str(card.get('brand')), '')} •••• {digits}".strip()


def _at(value: Any, *path: str) -> Mapping[str, Any]:
    """The object at the end of a path of expanded objects; empty when one of them is missing."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}
