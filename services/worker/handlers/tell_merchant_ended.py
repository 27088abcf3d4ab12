"""`tell_merchant_ended`: tells a merchant which subscriptions and invoices were ended for lack of payment.

The first end is told at once; what ends within the day after that is told together, a day later. So a merchant gets at
most one such email a day, however many end. Each end is in one email only: its recovery's timeline says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.worker.backoff import RetryPolicy
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.merchants import find_merchant
from services.worker.messages import store
from services.worker.messages.brand import brand_of
from services.worker.messages.campaign import ONE_DAY
from services.worker.messages.language import Language, choose
from services.worker.messages.letters import ENDED_NOTICE, write_ended_notice
from services.worker.messages.store import Ended
from services.worker.outside.email import Email, is_address
from services.worker.outside.mail_quota import check_quota
from services.worker.outside.remote import Remote
from services.worker.outside.stripe_calls import own_account
from shared import recoveries, recovery_tasks
from shared.clock import business_now
from shared.database import Connection
from shared.ids import AccountId
from shared.recovery_model import Entry, EntryKind

# In the order in which they are told.
ACTIONS = ("cancel", "pause", "mark_uncollectible")


class MerchantEndedPayload(Payload):
    """Empty: the task names the merchant."""


@dataclass(frozen=True, slots=True)
class Tell:
    """The ends that the merchant was not told of."""

    account: AccountId
    ends: tuple[Ended, ...]
    task_id: str


@dataclass(frozen=True, slots=True)
class Told:
    """The merchant was told of these; `rule` says how, or that there is no address."""

    ends: tuple[Ended, ...]
    rule: str
    email_id: str | None = None


Plan = Nothing | Tell
Outcome = Nothing | Told


@handles("tell_merchant_ended")
class TellMerchantEnded(Handler[MerchantEndedPayload, Plan, Outcome]):
    """One email to one merchant."""

    payload = MerchantEndedPayload
    calls = ("stripe", "resend")
    retry = RetryPolicy(base=timedelta(minutes=1), factor=3.0, longest=timedelta(hours=6))

    async def load(self, db: Connection, task: Job[MerchantEndedPayload]) -> Plan:
        """The ends that are not told yet."""
        await check_quota(db)
        merchant = await find_merchant(db, task.merchant_id)
        if merchant is None or not merchant.active:
            return Nothing("the merchant is gone")
        ends = await store.untold_ends(db, task.merchant_id)
        return Tell(merchant.account, tuple(ends), str(task.public_id)) if ends else Nothing("all are told")

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Send the email."""
        if isinstance(plan, Nothing):
            return plan
        account = await own_account(remote.stripe.for_merchant(plan.account))
        address = account.get("email") or ""
        if not is_address(address):
            return Told(plan.ends, "no_address")
        brand = brand_of(account)
        language = choose((), brand.country)
        letter = write_ended_notice(language, brand, _groups(language, plan.ends), len(plan.ends))
        key = f"email:{plan.task_id}"
        email = Email(ENDED_NOTICE, address, letter.subject, letter.text, letter.html, key, entity_ref=plan.task_id)
        with remote.lease.guarding():
            sent = await remote.email.send(email)
        return Told(plan.ends, "printed" if sent.printed else "told", sent.provider_id)

    async def commit(self, db: Connection, task: Job[MerchantEndedPayload], outcome: Outcome) -> None:
        """Say so in each timeline; what ends from now on is told in a day."""
        if isinstance(outcome, Nothing):
            return
        text = _TEXTS[outcome.rule]
        for each in sorted(outcome.ends, key=lambda ended: str(ended.recovery_id)):
            detail = {"email_id": outcome.email_id} if outcome.email_id else {}
            await recoveries.record(db, each.recovery_id, Entry(EntryKind.MERCHANT_TOLD, outcome.rule, text, detail))
        await recovery_tasks.tell_merchant_ended(db, task.merchant_id, await business_now(db) + ONE_DAY)


_TEXTS = {
    "told": "The merchant was told of the end.",
    "printed": "The email to the merchant about the end was printed.",
    "no_address": "The merchant was not told of the end: its account has no email address.",
}


def _groups(language: Language, ends: Sequence[Ended]) -> list[tuple[str, list[str]]]:
    """What ended, by how it did; each named by Stripe's ids, as the merchant finds it in the dashboard."""
    groups = []
    for action in ACTIONS:
        lines = [
            " · ".join((*_subscription(each), each.invoice_id, language.amount(each.due)))
            for each in ends
            if each.action == action
        ]
        if lines:
            groups.append((action, lines))
    return groups


def _subscription(ended: Ended) -> tuple[str, ...]:
    return (ended.subscription_id,) if ended.subscription_id else ()
