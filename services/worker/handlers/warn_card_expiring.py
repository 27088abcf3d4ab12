"""`warn_card_expiring`: before a renewal, warns a customer whose card will have expired by then, once per card.

Queued when an event announces a renewal. The task runs again on the policy's day and reads the subscription from
Stripe: if the card was replaced meanwhile, or the subscription ends, no warning is sent.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, assert_never

import stripe
from pydantic import Field

from services.worker.backoff import RetryPolicy
from services.worker.errors import Refused
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.merchants import find_merchant
from services.worker.messages import store, turns
from services.worker.messages.brand import brand_of
from services.worker.messages.campaign import Message
from services.worker.messages.cards import card_page
from services.worker.messages.delivery import Delivered, NotSent, account_for_brand, hand_over
from services.worker.messages.expiry import CardDate, Expiring, expiring
from services.worker.messages.language import choose
from services.worker.messages.letters import Facts, write
from services.worker.messages.sending import envelope
from services.worker.outside.email import Email
from services.worker.outside.mail_quota import check_quota
from services.worker.outside.remote import Remote
from services.worker.outside.stripe_calls import stripe_errors
from shared import left_alone, silences
from shared.database import Connection
from shared.ids import AccountId, CustomerId, SubscriptionId
from shared.logging import get_logger
from shared.merchant_tasks import warn_of_card
from shared.silences import SilenceReason
from shared.stripe_clients import ask, part
from shared.unsubscribe import Recipient

log = get_logger(__name__)

PARTS = ["default_payment_method", "customer.invoice_settings.default_payment_method"]
PAGE_OUTLIVES_RENEWAL = timedelta(days=30)


class WarnPayload(Payload):
    """The subscription that renews, and its customer."""

    customer_id: Annotated[CustomerId, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
    subscription_id: Annotated[SubscriptionId, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$")]


@dataclass(frozen=True, slots=True)
class Look:
    """Read the subscription, and warn its customer `ahead` of the renewal, once per card."""

    account: AccountId
    recipient: Recipient
    subscription_id: SubscriptionId
    told: frozenset[CardDate]
    task_id: str
    now: datetime
    ahead: timedelta


@dataclass(frozen=True, slots=True)
class Early:
    """The customer is to be warned on another day."""

    on: datetime


@dataclass(frozen=True, slots=True)
class Warned:
    """The customer was warned of this card."""

    card: CardDate


Plan = Nothing | SilenceReason | Early | Look
Outcome = Nothing | SilenceReason | Early | Warned


@handles("warn_card_expiring")
class WarnCardExpiring(Handler[WarnPayload, Plan, Outcome]):
    """One warning about one card."""

    payload = WarnPayload
    calls = ("stripe", "resend")
    retry = RetryPolicy(base=timedelta(minutes=1), factor=3.0, longest=timedelta(hours=6))

    async def load(self, db: Connection, task: Job[WarnPayload]) -> Plan:
        """Read whether the customer gets messages, and which cards they were warned of."""
        await check_quota(db)
        merchant = await find_merchant(db, task.merchant_id)
        if merchant is None or not merchant.active:
            return Nothing("the merchant is gone")
        customer_id = task.payload.customer_id
        silence = await silences.find(db, task.merchant_id, customer_id)
        if silence is not None:
            return silence
        if await left_alone.ends(db, task.merchant_id, customer_id, task.payload.subscription_id):
            return Nothing("the customer or the subscription is left alone")
        ahead = timedelta(days=await store.warning_days(db, task.merchant_id))
        if not ahead:
            return Nothing("the policy has nobody told of a card")
        recipient = Recipient(task.merchant_id, customer_id)
        earliest = (await turns.ask(db, recipient, task.claimed)).free_from(task.now)
        if earliest > task.now:
            return Early(earliest)  # one email a day
        await turns.take(db, recipient, task.claimed)
        told = frozenset(CardDate(*row) for row in await store.cards_told_of(db, task.merchant_id, customer_id))
        subscription_id, task_id = task.payload.subscription_id, str(task.public_id)
        return Look(merchant.account, recipient, subscription_id, told, task_id, task.now, ahead)

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Read the subscription; warn the customer if its card will have expired."""
        if not isinstance(plan, Look):
            return plan
        return await _tell(remote.stripe.for_merchant(plan.account), remote, plan)

    async def commit(self, db: Connection, task: Job[WarnPayload], outcome: Outcome) -> None:
        """Save which card the customer was warned of."""
        recipient = Recipient(task.merchant_id, task.payload.customer_id)
        await turns.give_back(db, recipient, task.claimed, written=isinstance(outcome, Warned))
        match outcome:
            case Early(on):
                await warn_of_card(db, task.merchant_id, task.payload.customer_id, task.payload.subscription_id, on)
            case Warned(card):
                customer_id = task.payload.customer_id
                row = (card.payment_method_id, card.year, card.month)
                await store.note_card_told_of(db, task.merchant_id, customer_id, *row)
            case Nothing(why):
                log.info("card_not_warned_of", reason=why)
            case SilenceReason():
                log.info("card_not_warned_of", reason=outcome.value)


async def _tell(client: stripe.StripeClient, remote: Remote, plan: Look) -> Outcome:
    try:
        with stripe_errors():
            found = await ask(client, "get", f"/v1/subscriptions/{part(plan.subscription_id)}", expand=PARTS)
    except Refused as refused:
        if refused.status == 404:
            return Nothing("Stripe does not know the subscription")
        raise
    seen = expiring(found)
    if isinstance(seen, str):
        return Nothing(seen)
    if seen.card in plan.told:
        return Nothing("the customer was told of this card before")
    due = seen.renews_at - plan.ahead
    return Early(due) if plan.now < due else await _write(client, remote, plan, seen)


async def _write(client: stripe.StripeClient, remote: Remote, plan: Look, seen: Expiring) -> Outcome:
    if seen.address is None:
        return Nothing("Stripe has no email address for the customer")
    until = seen.renews_at + PAGE_OUTLIVES_RENEWAL
    page = await card_page(client, plan.recipient.customer_id, f"card_page:{plan.task_id}", until, remote.lease)
    if page is None:
        return Nothing("the merchant's portal has no page for cards")
    account = await account_for_brand(client)
    email = _email(plan, seen, seen.address, account, page, remote.email.unsubscribe_page(plan.recipient))
    if await remote.permission.spared(plan.recipient.merchant_id, plan.recipient.customer_id, plan.subscription_id):
        return Nothing("the customer or the subscription is left alone")
    handed = await hand_over(remote, Message.CARD_EXPIRING, plan.recipient, email)
    match handed:
        case Delivered():
            return Warned(seen.card)
        case NotSent(rule):
            return Nothing(rule)
        case SilenceReason():
            return handed
    assert_never(handed)


def _email(
    plan: Look, seen: Expiring, address: str, account: dict[str, Any], page: str, unsubscribe: str | None
) -> Email:
    brand = brand_of(account)
    language = choose(seen.locales, brand.country)
    month = language.month(seen.card.year, seen.card.month)
    facts = Facts(card=seen.name, expires=month, expired=seen.card.ends < plan.now, link=page)
    letter = write(Message.CARD_EXPIRING, language, brand, facts, unsubscribe)
    # Two subscriptions may use the same card at the same moment: so the key is the card's, not the task's.
    key = f"card_expiring:{seen.card.payment_method_id}:{seen.card.year}-{seen.card.month:02}"
    sent = envelope(Message.CARD_EXPIRING, plan.recipient, plan.task_id, address, brand, letter, unsubscribe)
    return replace(sent, key=key)
