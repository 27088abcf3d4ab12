"""`end_dunning`: carry out a policy's end action on an exhausted recovery, once, and say so in its timeline."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from services.worker.backoff import RetryPolicy
from services.worker.dossier import store
from services.worker.dossier.ending import STEPS
from services.worker.errors import BadPayload, MerchantUnreachable, Refused
from services.worker.handler import Handler, Job, Nothing, Payload, handles
from services.worker.outside import stripe_calls
from services.worker.outside.remote import Remote
from services.worker.recovery import InvoiceStatus, InvoiceTruth
from services.worker.recovery.decide import SUBSCRIPTION_OVER
from shared import recoveries, recovery_tasks
from shared.database import Connection
from shared.ids import AccountId, InvoiceId, SubscriptionId
from shared.recovery_model import Entry, EntryKind, RecoveryState

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


Plan = Nothing | End


@dataclass(frozen=True, slots=True)
class Done:
    """The result: the rule, and a sentence."""

    action: Action
    rule: Literal[
        "end_action_done", "invoice_settled", "already_so", "no_subscription", "merchant_unreachable", "not_found"
    ]


Outcome = Nothing | Done

TOLD = {
    "end_action_done": "The policy's end action was carried out: {step}.",
    "invoice_settled": "The policy's end action ({step}) was left out: the invoice is not open any more.",
    "already_so": "The policy's end action ({step}) had no work left: it is so already.",
    "no_subscription": "The policy's end action ({step}) was left out: the invoice has no subscription.",
    "merchant_unreachable": "The policy's end action ({step}) was left out: the account cannot be reached any more.",
    "not_found": "The policy's end action ({step}) was left out: Stripe does not know the object.",
}
# `already_so`: a run before this one did it, and was killed before it could say so.
CARRIED_OUT = frozenset({"end_action_done", "already_so"})


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
        done = any(row.kind == EntryKind.END_ACTION for row in dossier.story.rows)
        if dossier.state is not RecoveryState.EXHAUSTED or done:
            return Nothing("it was done before, or the recovery is not exhausted (any more)")
        account = dossier.account if dossier.merchant_active else None
        action = task.payload.action
        key = f"{dossier.recovery_id}:end:{action}"
        return End(account, dossier.invoice_id, dossier.subscription_id, action, key)

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
        """Say in the timeline what was done, or why it was not; have customer and merchant told, by the policy."""
        if task.recovery_id is None or isinstance(outcome, Nothing):
            return
        dossier = await store.open_dossier(db, task.merchant_id, task.recovery_id)
        if dossier is None:
            return
        text = TOLD[outcome.rule].format(step=STEPS[outcome.action])
        detail: dict[str, Any] = {"action": outcome.action}
        carried_out = outcome.rule in CARRIED_OUT
        if carried_out and dossier.policy.tell_end_merchant:
            detail["tell_merchant"] = True
            await recovery_tasks.tell_merchant_ended(db, task.merchant_id)
        if carried_out and dossier.policy.tell_end_customer and outcome.action != "mark_uncollectible":
            await recovery_tasks.tell_ended(db, task.merchant_id, task.recovery_id, dossier.invoice_id)
        entry = Entry(EntryKind.END_ACTION, outcome.rule, text, detail)
        await recoveries.record(db, task.recovery_id, entry)


async def _end(remote: Remote, plan: End, account: AccountId) -> Done:
    client = remote.stripe.for_merchant(account)
    truth = (await stripe_calls.read_invoice(client, plan.invoice_id)).truth
    if _already_so(plan.action, truth):
        return Done(plan.action, "already_so")
    if truth.paid or truth.status is not InvoiceStatus.OPEN:
        return Done(plan.action, "invoice_settled")
    if plan.action == "mark_uncollectible":
        await stripe_calls.mark_uncollectible(client, plan.invoice_id, plan.key, remote.lease)
    elif plan.subscription_id is None:
        return Done(plan.action, "no_subscription")
    elif plan.action == "cancel":
        await stripe_calls.cancel_subscription(client, plan.subscription_id, plan.key, remote.lease)
    else:
        await stripe_calls.pause_subscription(client, plan.subscription_id, plan.key, remote.lease)
    return Done(plan.action, "end_action_done")


def _already_so(action: Action, truth: InvoiceTruth) -> bool:
    """Whether the action has been carried out already, as a repeat after a crash finds it."""
    if action == "mark_uncollectible":
        return truth.status is InvoiceStatus.UNCOLLECTIBLE
    return truth.subscription_status in SUBSCRIPTION_OVER
