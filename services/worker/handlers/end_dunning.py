"""`end_dunning`: carry out a policy's end action on an exhausted recovery, once, and say so in its timeline.

It takes something away from a customer, so it must be sure. It is left out if the customer pays the subscription again,
if what the policy promises before it was not done, if no message announced it, or if the payment failed for something
that the customer can do nothing about. It waits while a payment is under way, also of an older invoice, while a newer
invoice of the subscription is still being collected (whether the customer pays is decided by the latest one), and while
people say that nothing is to be done: the customer is left alone, or the merchant pauses the collection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import stripe

from services.worker.backoff import RetryPolicy
from services.worker.dossier import store, window
from services.worker.dossier.dossier import OUR_PAUSE, Dossier
from services.worker.dossier.ending import ANNOUNCED, STEPS, newer_against, newer_than, older_and_open
from services.worker.errors import BadPayload, InvoiceMissing, Refused
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.outside import stripe_calls
from services.worker.outside.invoices import Reading
from services.worker.outside.remote import Remote
from services.worker.recovery import InvoiceStatus, InvoiceTruth
from services.worker.recovery.decide import SUBSCRIPTION_OVER
from shared import recoveries, recovery_tasks
from shared.database import Connection
from shared.ids import AccountId, InvoiceId, RecoveryId, SubscriptionId
from shared.recovery_model import CANCELED_BY_OPERATOR, Entry, EntryKind, RecoveryState

Action = Literal["cancel", "pause", "mark_uncollectible"]

LOOK_AGAIN = timedelta(days=1)
# A bank debit takes less (https://docs.stripe.com/payments/bank-debits, read November 2026); a default window as long.
LONGEST_WAIT = timedelta(days=21)

# Few subscriptions have more open invoices, and each is a call.
_OLDER_READ = 5

WAITS = "end_action_waits"


class EndDunningPayload(Payload):
    """The end action and the invoice. The recovery is in the task's `recovery_id`."""

    invoice_id: InvoiceId
    action: Action


@dataclass(frozen=True, slots=True)
class End:
    """What to do. `key` is the same in every try; from `patience` on, nothing newer is waited for.

    `announced`: the customer was told that it would follow, as far as it has to be and could be told.
    """

    account: AccountId
    invoice_id: InvoiceId
    subscription_id: SubscriptionId | None
    action: Action
    key: str
    now: datetime
    patience: datetime
    recovery_id: RecoveryId
    pause_is_ours: bool
    announced: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The result: the rule, and a sentence."""

    action: Action
    rule: Literal[
        "end_action_done",
        "invoice_settled",
        "already_so",
        "no_subscription",
        "merchant_gone",
        "not_found",
        "newer_invoice_paid",
        "payment_under_way",
        "not_all_was_done",
        "not_announced",
        "not_the_customers_fault",
        "left_alone",
    ]


@dataclass(frozen=True, slots=True)
class Later:
    """Not yet: look again at `at`."""

    action: Action
    why: Literal["payment_under_way", "newer_invoice_open", "left_alone", "collection_paused"]
    at: datetime


Plan = Nothing | Done | Later | End
Outcome = Nothing | Done | Later

_BY_HAND = "To do it all the same, do it in Stripe's dashboard."
TOLD = {
    "end_action_done": "The policy's end action was carried out: {step}.",
    "invoice_settled": "The policy's end action ({step}) was left out: the invoice is not open any more.",
    "already_so": "The policy's end action ({step}) had no work left: it is so already.",
    "no_subscription": "The policy's end action ({step}) was left out: the invoice has no subscription.",
    "merchant_gone": "The policy's end action ({step}) was left out: the merchant is not connected any more.",
    "not_found": "The policy's end action ({step}) was left out: Stripe does not know the object.",
    "newer_invoice_paid": "The policy's end action ({step}) was left out: a newer invoice of the subscription is paid. "
    + _BY_HAND,
    "payment_under_way": "The policy's end action ({step}) was left out: a payment of the invoice, or of an older one, "
    "is still under way. " + _BY_HAND,
    "left_alone": "The policy's end action ({step}) was left out: the customer or the subscription is left alone for "
    "good.",
    "not_all_was_done": "The policy's end action ({step}) was left out: not all attempts and messages that come before "
    "it were made. " + _BY_HAND,
    "not_announced": "The policy's end action ({step}) was left out: the customer was written to, and no message said "
    "that it would follow. " + _BY_HAND,
    "not_the_customers_fault": "The policy's end action ({step}) was left out: the last attempt failed for something "
    "that the customer can do nothing about. " + _BY_HAND,
}
WAITED = {
    "payment_under_way": "The policy's end action ({step}) waits: a payment of the invoice, or of an older one, is "
    "under way.",
    "newer_invoice_open": "The policy's end action ({step}) waits: a newer invoice of the subscription is still open.",
    "left_alone": "The policy's end action ({step}) waits: the customer or the subscription is left alone.",
    "collection_paused": "The policy's end action ({step}) waits: the merchant pauses the subscription's collection.",
}


@handles("end_dunning")
class EndDunning(Handler[EndDunningPayload, Plan, Outcome]):
    """One end action of one recovery."""

    payload = EndDunningPayload
    calls = ("stripe",)
    retry = RetryPolicy(base=timedelta(seconds=5), factor=4.0, longest=timedelta(hours=6))

    async def load(self, db: Connection, task: Job[EndDunningPayload]) -> Plan:
        """Check that the end action is still to be carried out, and that all was done that comes before it."""
        if task.recovery_id is None:
            raise BadPayload("an end_dunning names its recovery in recovery_id")
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            raise BadPayload("the recovery does not exist")
        # One that was canceled is here again only if somebody wants it after all.
        done = any(row.kind == EntryKind.END_ACTION and row.rule != CANCELED_BY_OPERATOR for row in dossier.story.rows)
        if dossier.state is not RecoveryState.EXHAUSTED or done:
            return Nothing("it was done before, or the recovery is not exhausted (any more)")
        return _plan(dossier, task.payload.action)

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Read the invoice; act only while it is still open. Raises MerchantUnreachable: the task is held."""
        if not isinstance(plan, End):
            return plan
        try:
            return await _end(remote.stripe.for_merchant(plan.account), remote, plan)
        except InvoiceMissing:
            return Done(plan.action, "not_found")

    async def commit(self, db: Connection, task: Job[EndDunningPayload], outcome: Outcome) -> None:
        """Say in the timeline what was done, and have it told; or why it was not; or queue it for later."""
        if task.recovery_id is None or isinstance(outcome, Nothing):
            return
        step = STEPS[outcome.action]
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if isinstance(outcome, Done):
            detail = {"action": outcome.action, **await _have_told(db, task, dossier, outcome)}
            entry = Entry(EntryKind.END_ACTION, outcome.rule, TOLD[outcome.rule].format(step=step), detail)
            await recoveries.record(db, task.recovery_id, entry)
            return
        said = dossier is not None and any(
            (row.rule, row.detail.get("why")) == (WAITS, outcome.why) for row in dossier.story.rows
        )
        if not said:
            detail = {"action": outcome.action, "why": outcome.why}
            text = WAITED[outcome.why].format(step=step)
            await recoveries.record(
                db, task.recovery_id, Entry(EntryKind.CHANGED, WAITS, text, detail, "look again", outcome.at)
            )
        await recovery_tasks.carry_out_end(
            db, task.merchant_id, task.recovery_id, task.payload.invoice_id, outcome.action, outcome.at
        )


async def _have_told(
    db: Connection, task: Job[EndDunningPayload], dossier: Dossier | None, done: Done
) -> dict[str, Any]:
    """Queue the emails about an end action that was carried out, as the policy says; what its entry says of that.

    If it was so already, an earlier try did it and could not say so; in the first try it was somebody else.
    """
    carried_out = done.rule == "end_action_done" or (done.rule == "already_so" and task.claimed.tries > 1)
    if dossier is None or not carried_out:
        return {}
    if dossier.policy.tell_end_customer and done.action != "mark_uncollectible":
        await recovery_tasks.tell_ended(db, dossier.merchant_id, dossier.recovery_id, dossier.invoice_id)
    if not dossier.policy.tell_end_merchant:
        return {}
    await recovery_tasks.tell_merchant_ended(db, dossier.merchant_id)
    return {"tell_merchant": True}


def _plan(dossier: Dossier, action: Action) -> Done | Later | End:
    if dossier.account is None or not dossier.merchant_active:
        return Done(action, "merchant_gone")
    if dossier.left_alone:
        until = dossier.held_until
        return (
            Done(action, "left_alone")
            if None in dossier.left_alone or until is None
            else Later(action, "left_alone", until)
        )
    if dossier.in_flight is not None:
        return Done(action, "payment_under_way")  # an attempt of ours whose outcome could not be read
    if dossier.merchants_matter:
        return Done(action, "not_the_customers_fault")
    closed = next((row.at for row in reversed(dossier.story.rows) if row.kind == EntryKind.CLOSED), dossier.now)
    if window.lengthened(dossier) >= window.MOST or window.message_is_missing(dossier, closed):
        return Done(action, "not_all_was_done")
    patience = closed + max(timedelta(days=dossier.policy.window_days), LONGEST_WAIT)
    key = f"{dossier.recovery_id}:end:{action}"
    invoice_id, subscription_id = dossier.invoice_id, dossier.subscription_id
    recovery_id, ours = dossier.recovery_id, dossier.paused_by_us
    announced = action not in ANNOUNCED or not window.is_unannounced(dossier)
    return End(
        dossier.account, invoice_id, subscription_id, action, key, dossier.now, patience, recovery_id, ours, announced
    )


async def _end(client: stripe.StripeClient, remote: Remote, plan: End) -> Done | Later:
    reading = await stripe_calls.read_invoice(client, plan.invoice_id)
    newer: list[InvoiceStatus] = []
    under_way = reading.truth.payment_under_way
    if plan.subscription_id is not None:
        invoices = await stripe_calls.invoices_of(client, plan.subscription_id)
        newer = newer_than(invoices, plan.invoice_id)
        # An older one may be on its way to be paid: then the customer is no one who does not pay.
        for older in older_and_open(invoices, plan.invoice_id)[:_OLDER_READ]:
            under_way = under_way or (await stripe_calls.read_invoice(client, older)).truth.payment_under_way
    against = _against(plan, reading, newer, under_way=under_way)
    if against is None and await remote.permission.left_alone(plan.recovery_id):
        against = Later(plan.action, "left_alone", plan.now + LOOK_AGAIN)
    return against or await _act(client, remote, plan)


def _against(plan: End, reading: Reading, newer: Sequence[InvoiceStatus], *, under_way: bool) -> Done | Later | None:
    """Why the action is not carried out now; None when it is.

    `newer` are the subscription's newer invoices; `under_way`: a payment of this one, or of an older one, is.
    """
    truth, again, prevented = reading.truth, plan.now + LOOK_AGAIN, newer_against(newer)
    patient = plan.now < plan.patience
    against: Done | Later | None = None
    if _already_so(plan.action, truth):
        against = Done(plan.action, "already_so")
    elif not truth.payment_under_way and (truth.paid or truth.status is not InvoiceStatus.OPEN):
        against = Done(plan.action, "invoice_settled")
    elif prevented == "newer_invoice_paid":
        against = Done(plan.action, "newer_invoice_paid")
    elif under_way:
        against = Later(plan.action, "payment_under_way", again) if patient else Done(plan.action, "payment_under_way")
    elif prevented == "newer_invoice_open" and patient:
        against = Later(plan.action, "newer_invoice_open", again)
    elif truth.paused is not None and not plan.pause_is_ours and plan.action != "pause":
        against = Later(plan.action, "collection_paused", max(again, truth.paused.resumes_at or again))
    elif not plan.announced:
        against = Done(plan.action, "not_announced")
    return against


async def _act(client: stripe.StripeClient, remote: Remote, plan: End) -> Done:
    try:
        if plan.action == "mark_uncollectible":
            await stripe_calls.mark_uncollectible(client, plan.invoice_id, plan.key, remote.lease)
        elif plan.subscription_id is None:
            return Done(plan.action, "no_subscription")
        elif plan.action == "cancel":
            await stripe_calls.cancel_subscription(client, plan.subscription_id, plan.key, remote.lease)
        else:
            await stripe_calls.pause_subscription(client, plan.subscription_id, plan.key, remote.lease)
    except Refused as refused:
        if refused.status == 404:
            return Done(plan.action, "not_found")
        raise
    return Done(plan.action, "end_action_done")


def _already_so(action: Action, truth: InvoiceTruth) -> bool:
    """Whether the action has been carried out already, as a repeat after a crash finds it."""
    if action == "mark_uncollectible":
        return truth.status is InvoiceStatus.UNCOLLECTIBLE
    paused = truth.paused
    if action == "pause" and paused is not None and (paused.behavior, paused.resumes_at) != (OUR_PAUSE, None):
        return True  # the merchant's own pause stays as it is
    return truth.subscription_status in SUBSCRIPTION_OVER
