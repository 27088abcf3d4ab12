"""`end_dunning`: carry out a policy's end action on an exhausted recovery, once, and say so in its timeline.

While people say that nothing is to be done (the customer is left alone, the merchant pauses the collection), it waits.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from services.worker.backoff import RetryPolicy
from services.worker.dossier import store
from services.worker.dossier.dossier import OUR_PAUSE
from services.worker.dossier.ending import STEPS
from services.worker.errors import BadPayload, MerchantUnreachable, Refused
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.outside import stripe_calls
from services.worker.outside.remote import Remote
from services.worker.recovery import InvoiceStatus, InvoiceTruth
from services.worker.recovery.decide import LOOK_AGAIN_HELD, SUBSCRIPTION_OVER
from shared import recoveries, recovery_tasks
from shared.database import Connection
from shared.ids import AccountId, InvoiceId, RecoveryId, SubscriptionId
from shared.recovery_model import CANCELED_BY_OPERATOR, LEFT_ALONE, Entry, EntryKind, RecoveryState

Action = Literal["cancel", "pause", "mark_uncollectible"]


class EndDunningPayload(Payload):
    """The end action and the invoice. The recovery is in the task's `recovery_id`."""

    invoice_id: InvoiceId
    action: Action


@dataclass(frozen=True, slots=True)
class End:
    """What to do. `key` is the same in every try."""

    account: AccountId | None
    invoice_id: InvoiceId
    subscription_id: SubscriptionId | None
    action: Action
    key: str
    recovery_id: RecoveryId
    now: datetime
    pause_is_ours: bool


Plan = Nothing | End


@dataclass(frozen=True, slots=True)
class Done:
    """The result: the rule, and a sentence."""

    action: Action
    rule: Literal[
        "end_action_done",
        "invoice_settled",
        "already_so",
        "no_subscription",
        "merchant_unreachable",
        "not_found",
    ]


@dataclass(frozen=True, slots=True)
class Held:
    """People say that nothing is to be done now: look again then."""

    until: datetime


Outcome = Nothing | Done | Held

TOLD = {
    "end_action_done": "The policy's end action was carried out: {step}.",
    "invoice_settled": "The policy's end action ({step}) was left out: the invoice is not open any more.",
    "already_so": "The policy's end action ({step}) had no work left: it is so already.",
    "no_subscription": "The policy's end action ({step}) was left out: the invoice has no subscription.",
    "merchant_unreachable": "The policy's end action ({step}) was left out: the account cannot be reached any more.",
    "not_found": "The policy's end action ({step}) was left out: Stripe does not know the object.",
}


@handles("end_dunning")
class EndDunning(Handler[EndDunningPayload, Plan, Outcome]):
    """One end action of one recovery."""

    payload = EndDunningPayload
    calls = ("stripe",)
    retry = RetryPolicy(base=timedelta(seconds=5), factor=4.0, longest=timedelta(hours=6))

    async def load(self, db: Connection, task: Job[EndDunningPayload]) -> Plan:
        """Check that the end action is still to be carried out."""
        if task.recovery_id is None:
            raise BadPayload("an end_dunning names its recovery in recovery_id")
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            raise BadPayload("the recovery does not exist")
        # One that was canceled is here again only if somebody wants it after all.
        done = any(row.kind == EntryKind.END_ACTION and row.rule != CANCELED_BY_OPERATOR for row in dossier.story.rows)
        if dossier.state is not RecoveryState.EXHAUSTED or done:
            return Nothing("it was done before, or the recovery is not exhausted (any more)")
        account = dossier.account if dossier.merchant_active else None
        action = task.payload.action
        key = f"{dossier.recovery_id}:end:{action}"
        subscription = dossier.subscription_id
        recovery, now, ours = dossier.recovery_id, dossier.now, dossier.paused_by_us
        return End(account, dossier.invoice_id, subscription, action, key, recovery, now, ours)

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Read the invoice; act only while it is still open."""
        if isinstance(plan, Nothing):
            return plan
        if plan.account is None:
            return Done(plan.action, "merchant_unreachable")
        try:
            return await _end(remote, plan, plan.account)
        except MerchantUnreachable:
            return Done(plan.action, "merchant_unreachable")
        except Refused as refused:
            if refused.status == 404:
                return Done(plan.action, "not_found")
            raise

    async def commit(self, db: Connection, task: Job[EndDunningPayload], outcome: Outcome) -> None:
        """Say in the timeline what was done, or why it was not."""
        if task.recovery_id is None or isinstance(outcome, Nothing):
            return
        if isinstance(outcome, Held):
            await self._held(db, task, task.recovery_id, outcome)
            return
        text = TOLD[outcome.rule].format(step=STEPS[outcome.action])
        entry = Entry(EntryKind.END_ACTION, outcome.rule, text, {"action": outcome.action})
        await recoveries.record(db, task.recovery_id, entry)

    async def _held(self, db: Connection, task: Job[EndDunningPayload], recovery_id: RecoveryId, held: Held) -> None:
        """Queue it again for when the hold may be over; or leave it out when that is never."""
        dossier = await store.open_dossier(db, task.merchant_id, recovery_id)
        if dossier is None:
            return
        action = task.payload.action
        if None in dossier.left_alone:
            text = f"The policy's end action ({STEPS[action]}) was left out: the customer is left alone for good."
            entry = Entry(EntryKind.END_ACTION, LEFT_ALONE, text, {"action": action})
            await recoveries.record(db, recovery_id, entry)
            return
        at = max(held.until, dossier.held_until or held.until)
        await recovery_tasks.carry_out_end(db, task.merchant_id, recovery_id, task.payload.invoice_id, action, at)


async def _end(remote: Remote, plan: End, account: AccountId) -> Done | Held:
    client = remote.stripe.for_merchant(account)
    truth = (await stripe_calls.read_invoice(client, plan.invoice_id)).truth
    if _already_so(plan.action, truth):
        return Done(plan.action, "already_so")
    if truth.paid or truth.status is not InvoiceStatus.OPEN:
        return Done(plan.action, "invoice_settled")
    held = _held_at_stripe(plan, truth)
    if held is not None:
        return held
    if await remote.permission.left_alone(plan.recovery_id):
        return Held(plan.now + LOOK_AGAIN_HELD)
    if plan.action == "mark_uncollectible":
        await stripe_calls.mark_uncollectible(client, plan.invoice_id, plan.key, remote.lease)
    elif plan.subscription_id is None:
        return Done(plan.action, "no_subscription")
    elif plan.action == "cancel":
        await stripe_calls.cancel_subscription(client, plan.subscription_id, plan.key, remote.lease)
    else:
        await stripe_calls.pause_subscription(client, plan.subscription_id, plan.key, remote.lease)
    return Done(plan.action, "end_action_done")


def _held_at_stripe(plan: End, truth: InvoiceTruth) -> Held | None:
    """Whether the merchant pauses the subscription's collection, and until when.

    Our own pause is no reason to wait, and to pause what is paused there is none either.
    """
    paused = truth.paused
    if paused is None or plan.pause_is_ours or plan.action == "pause":
        return None
    later = plan.now + LOOK_AGAIN_HELD
    return Held(max(later, paused.resumes_at or later))


def _already_so(action: Action, truth: InvoiceTruth) -> bool:
    """Whether the action has been carried out already, as a repeat after a crash finds it."""
    if action == "mark_uncollectible":
        return truth.status is InvoiceStatus.UNCOLLECTIBLE
    paused = truth.paused
    if action == "pause" and paused is not None and (paused.behavior, paused.resumes_at) != (OUR_PAUSE, None):
        return True  # the merchant's own pause stays as it is
    return truth.subscription_status in SUBSCRIPTION_OVER
