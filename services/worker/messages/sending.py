"""Makes one email from drafts and Stripe's answers; or says why none is sent.

Personal data (the address, the card's name) comes from Stripe's answers, is in the `Email` only, and dropped with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from services.worker.messages.brand import Brand, brand_of
from services.worker.messages.campaign import LINKS, ONE_DAY, URGENCY, Link, Message
from services.worker.messages.drafting import Draft
from services.worker.messages.language import Language, choose
from services.worker.messages.letters import Facts, Item, Letter, again, write, write_several
from services.worker.outside.email import Email
from services.worker.outside.invoices import read
from services.worker.outside.stripe_objects import Invoice
from services.worker.recovery.timezones import zone_of
from shared.ids import PaymentMethodId, RecoveryId
from shared.money import Money
from shared.unsubscribe import Recipient

Unsent = Literal["no_address", "no_page"]

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


class _Numbered(_Part):
    """What its customer knows an invoice by."""

    number: str | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """The draft of a message, and Stripe's own JSON of the invoice that it is about."""

    draft: Draft
    invoice: dict[str, Any]


def address_of(invoice: dict[str, Any]) -> str | None:
    """The address that an email about the invoice goes to."""
    return _Addressee.model_validate(invoice).address


def compose(
    sheets: Sequence[Sheet],
    recipient: Recipient,
    task_id: str,
    account: dict[str, Any],
    card_page: str | None,
    unsubscribe: str | None,
) -> Email | Unsent:
    """The email about one invoice or several, from Stripe's own JSON of invoices and account.

    `card_page` is the form for another card. Without a page to pay on, no message asks for a payment.
    """
    first = sheets[0]
    addressee = _Addressee.model_validate(first.invoice)
    if addressee.address is None:
        return "no_address"
    brand = brand_of(account, addressee.account_name)
    language = choose(addressee.locales, brand.country)
    if card_page is None and not any(_page_of(each.invoice) for each in sheets):
        return "no_page"
    if len(sheets) == 1:
        message, letter = first.draft.message, _letter_about_one(first, language, brand, card_page, unsubscribe)
    else:
        message, letter = Message.SEVERAL, _letter_about_several(sheets, language, brand, card_page, unsubscribe)
    if all(each.draft.again for each in sheets):
        letter = again(letter, language)
    lead = first.draft.recovery_id
    return envelope(message, recipient, task_id, addressee.address, brand, letter, unsubscribe, lead)


def compose_after(
    message: Message,
    invoices: Sequence[dict[str, Any]],
    recipient: Recipient,
    task_id: str,
    recovery_id: RecoveryId,
    account: dict[str, Any],
    unsubscribe: str | None,
    ended_at: datetime | None = None,
) -> Email | Unsent:
    """The email after the end: thanks for what was paid, or that the subscription has ended for lack of payment."""
    addressee, reading = _Addressee.model_validate(invoices[0]), read(Invoice.model_validate(invoices[0]))
    if addressee.address is None:
        return "no_address"
    brand = brand_of(account, addressee.account_name)
    language = choose(addressee.locales, brand.country)
    readings = [read(Invoice.model_validate(each)) for each in invoices]
    zone = zone_of(reading.truth.card.country if reading.truth.card else None)
    paid = message is Message.RECOVERED
    paid_at = reading.paid_at if len(invoices) == 1 else None
    # Several may end on several days: then nothing is said of that.
    ends = {_end_of(each) for each in invoices}
    ends_at = ends.pop() if paid and len(ends) == 1 and all(_runs(each) for each in invoices) else None
    amounts = [each.amount_paid if paid else each.truth.amount_remaining for each in readings]
    facts = Facts(
        amount=language.together([language.amount(each) for each in amounts]),
        count=len(invoices),
        paid_on=language.day(paid_at.astimezone(zone).date()) if paid_at else None,
        ended_on=language.day(ended_at.astimezone(zone).date()) if ended_at else None,
        ends_on=language.day(ends_at.astimezone(zone).date()) if ends_at else None,
        goes_on=all(goes_on(each) for each in invoices),
        paused=is_paused(invoices[0]),
        link=reading.hosted_invoice_url if len(invoices) == 1 else None,  # to look at it, or to pay it still
    )
    letter = write(message, language, brand, facts, unsubscribe)
    return envelope(message, recipient, task_id, addressee.address, brand, letter, unsubscribe, recovery_id)


def goes_on(invoice: Mapping[str, Any]) -> bool:
    """Whether the invoice's subscription goes on without an end, by the reading."""
    return _runs(invoice) and _end_of(invoice) is None


def _runs(invoice: Mapping[str, Any]) -> bool:
    return _subscription(invoice).get("status") in {"active", "trialing"} and not is_paused(invoice)


def _end_of(invoice: Mapping[str, Any]) -> datetime | None:
    """When the invoice's subscription ends, if it was canceled for then."""
    return read(Invoice.model_validate(invoice)).truth.ends_at


def is_paused(invoice: Mapping[str, Any]) -> bool:
    """Whether the collection of the invoice's subscription is paused."""
    return bool(_subscription(invoice).get("pause_collection"))


def _subscription(invoice: Mapping[str, Any]) -> Mapping[str, Any]:
    return _at(invoice, "parent", "subscription_details", "subscription")


def _page_of(invoice: Mapping[str, Any]) -> str | None:
    page = invoice.get("hosted_invoice_url")
    return page if isinstance(page, str) else None


def _letter_about_one(
    sheet: Sheet, language: Language, brand: Brand, card_page: str | None, unsubscribe: str | None
) -> Letter:
    page = _page_of(sheet.invoice)
    link = (card_page or page) if LINKS[sheet.draft.message] is Link.CARD else (page or card_page)
    facts = _facts(sheet, language, link, page if link == card_page else None)
    return write(sheet.draft.message, language, brand, facts, unsubscribe)


def _letter_about_several(
    sheets: Sequence[Sheet], language: Language, brand: Brand, card_page: str | None, unsubscribe: str | None
) -> Letter:
    """The most urgent first, and each with its own link."""
    ordered = sorted(sheets, key=lambda each: URGENCY.index(each.draft.kind))
    items = [Item(each.draft.kind, _facts(each, language, _page_of(each.invoice), None)) for each in ordered]
    totals: dict[str, Money] = {}
    for each in ordered:
        left = read(Invoice.model_validate(each.invoice)).truth.amount_remaining
        totals[left.currency] = totals[left.currency] + left if left.currency in totals else left
    total = language.together([language.amount(totals[currency]) for currency in sorted(totals)])
    facts = Facts(amount=total, count=len(items), link=card_page)
    return write_several(language, brand, facts, items, unsubscribe)


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


def _facts(sheet: Sheet, language: Language, link: str | None, invoice_link: str | None) -> Facts:
    draft, invoice = sheet.draft, sheet.invoice
    truth = read(Invoice.model_validate(invoice)).truth
    zone = zone_of(truth.card.country if truth.card else None)
    retry_at = draft.retry_at
    ends_at = draft.ends.at if draft.ends else None
    # The last day that ends before the recovery does: a payment at any hour of it is in time.
    deadline = (ends_at - ONE_DAY).astimezone(zone).date() if ends_at else None
    past = deadline is not None and deadline < draft.now.astimezone(zone).date()
    return Facts(
        amount=language.amount(truth.amount_remaining),
        because=draft.because,
        then=draft.ends.then if draft.ends else None,
        retry_on=language.day(retry_at.astimezone(zone).date()) if retry_at else None,
        deadline=language.day(deadline) if deadline and not past else None,
        ends_on=language.day(ends_at.astimezone(zone).date()) if ends_at else None,
        card=_card(invoice, draft.failed_method),
        number=_Numbered.model_validate(invoice).number,
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
