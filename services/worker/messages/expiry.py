"""Whether a subscription's card will have expired when it renews, from Stripe's own JSON of the subscription."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from services.worker.messages.sending import card_name
from services.worker.recovery import end_of_card
from shared.ids import CustomerId, PaymentMethodId, SubscriptionId

RENEWS = frozenset({"active", "trialing"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Card(_Part):
    exp_month: int
    exp_year: int
    country: str | None = None


class _Method(_Part):
    id: PaymentMethodId
    card: _Card | None = None


class _InvoiceSettings(_Part):
    default_payment_method: _Method | PaymentMethodId | None = None


class _Customer(_Part):
    id: CustomerId
    deleted: bool = False
    email: str | None = None
    preferred_locales: tuple[str, ...] | None = None
    invoice_settings: _InvoiceSettings = _InvoiceSettings()


class _Item(_Part):
    current_period_end: int


class _Items(_Part):
    data: tuple[_Item, ...] = ()


class _Pause(_Part):
    resumes_at: int | None = None


class _Subscription(_Part):
    id: SubscriptionId
    status: str | None = None
    collection_method: str | None = "charge_automatically"
    cancel_at_period_end: bool = False
    cancel_at: int | None = None
    pause_collection: _Pause | None = None
    default_payment_method: _Method | PaymentMethodId | None = None
    items: _Items = _Items()
    customer: _Customer | CustomerId

    def renews(self, at: int) -> bool:
        """Whether it is charged at its renewal, `at` (unix seconds): it has not ended by then, and is not paused."""
        pause = self.pause_collection
        paused = pause is not None and (pause.resumes_at is None or pause.resumes_at > at)
        ended = self.cancel_at_period_end or (self.cancel_at is not None and self.cancel_at <= at)
        return self.status in RENEWS and not paused and not ended


@dataclass(frozen=True, slots=True)
class CardDate:
    """A card and the month at whose end it expires."""

    payment_method_id: PaymentMethodId
    year: int
    month: int

    @property
    def ends(self) -> datetime:
        """The first moment at which it is good nowhere any more."""
        return end_of_card(self.year, self.month)


@dataclass(frozen=True, slots=True)
class Expiring:
    """A card that will have expired at the renewal, and its customer; `name` and `address` are for the email only."""

    card: CardDate
    name: str | None
    address: str | None
    locales: tuple[str, ...]
    renews_at: datetime


def expiring(subscription: dict[str, Any]) -> Expiring | str:
    """The card that will have expired at the next renewal; else why there is no warning."""
    read = _Subscription.model_validate(subscription)
    customer = read.customer
    if isinstance(customer, str) or customer.deleted:
        return "the customer is deleted"
    if read.collection_method != "charge_automatically" or not read.items.data:
        return "the renewal is not charged by itself"
    renewal = min(item.current_period_end for item in read.items.data)
    if not read.renews(renewal):
        return "the subscription does not renew"
    # Stripe charges the subscription's own payment method before the customer's.
    method = read.default_payment_method or customer.invoice_settings.default_payment_method
    if not isinstance(method, _Method) or method.card is None:
        return "it is not a card that is charged"
    card = CardDate(method.id, method.card.exp_year, method.card.exp_month)
    renews_at = datetime.fromtimestamp(renewal, UTC)
    if card.ends > renews_at:
        return "the card is good for the renewal"
    return Expiring(card, _name(subscription), customer.email, customer.preferred_locales or (), renews_at)


def _name(subscription: dict[str, Any]) -> str | None:
    own = subscription.get("default_payment_method")
    theirs = subscription["customer"]["invoice_settings"]["default_payment_method"]
    return card_name(own if isinstance(own, dict) else theirs)
