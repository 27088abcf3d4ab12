"""What `dunning_retry` does at Stripe: reads the invoice, decides, and pays if the decision is to attempt now.

An attempt of ours that has no outcome is settled first:

    paid, or still to be attempted ──> the same request with the same key: Stripe replays what happened, or it happens
    not to be attempted any more ────> the key is spent on a request that changes nothing. If the key was unused, no
                                       payment was made and none can be; if it was used, the charges are read
    older than Stripe keeps keys ────> the charges are read

A bank debit of ours has an outcome days later: `/pay` answers that it has begun, and its charge is read until it has
ended.
Of an ended recovery only the money is read: nothing is attempted.

Whose charge it is: a charge's event names the key of the request that made it.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import assert_never

import stripe

from services.worker.dossier.dossier import KEYS_ARE_KEPT, Dossier, KnownAttempt, method_in
from services.worker.dunning_retry.outcome import Collected, Evaluation, Outcome, Settled, Unreachable
from services.worker.errors import InvoiceMissing, MerchantUnreachable, Refused, RetryLater
from services.worker.outside import stripe_calls
from services.worker.outside.invoices import Reading, SeenCharge, WithoutCharge, with_backups
from services.worker.outside.remote import Remote
from services.worker.outside.stripe_calls import (
    Declined,
    Inconclusive,
    NotPayable,
    Paid,
    PayOutcome,
    Processing,
    RequiresAction,
)
from services.worker.recovery import AttemptNow, AttemptResult, Card, Decision, Reason
from services.worker.recovery.refusals import ACCOUNT_RESTRICTED, known_remedy
from shared.recovery_model import EndReason

# An event is there within seconds. A charge whose event is still missing after this long counts as not ours.
EVENTS_ARE_LATE = timedelta(hours=1)


async def collect(remote: Remote, evaluation: Evaluation) -> Outcome:
    """Carry out the plan. Raises RetryLater when Stripe gives no answer, MerchantUnreachable when it lets nobody ask.

    The attempt's row stays as it is then.
    """
    dossier = evaluation.dossier
    # For an attempt without an outcome, try to read it even if our row says that the merchant is gone.
    to_settle = evaluation.attempt is not None or bool(dossier.processing)
    if dossier.account is None or not (dossier.merchant_active or to_settle):
        return _gone(evaluation)
    client = remote.stripe.for_merchant(dossier.account)
    try:
        collected = await _collect(client, remote, evaluation)
        return replace(_of_planned(collected), last_id=dossier.story.last_id)
    except MerchantUnreachable:
        if dossier.merchant_active:
            raise  # no sign that the merchant has left: a key or a permission has to be set right
        return _gone(evaluation)
    except InvoiceMissing:
        text = "Stripe does not know the invoice."
        return Unreachable(EndReason.INVOICE_MISSING, text, evaluation.attempt, may_have_paid=not evaluation.fresh)


def _gone(evaluation: Evaluation) -> Unreachable:
    text = "The merchant's account cannot be reached any more."
    return Unreachable(EndReason.MERCHANT_GONE, text, evaluation.attempt, may_have_paid=not evaluation.fresh)


async def _collect(client: stripe.StripeClient, remote: Remote, evaluation: Evaluation) -> Collected:
    dossier, attempt = evaluation.dossier, evaluation.attempt
    reading = await _read(client, dossier)
    seen = await _unrecorded(client, dossier, reading)
    failures = tuple(each for each in seen if each.result is not AttemptResult.SUCCEEDED)
    if attempt is None:
        return Collected(reading, seen)
    if dossier.state.ended:
        return await _settle(client, remote, dossier, attempt, reading, seen)
    decision = dossier.decide(reading, failures, without=attempt.id)
    against = await _against(remote, dossier, attempt, reading, decision)
    if isinstance(decision, AttemptNow) and against is None:
        return await _pay(client, remote, evaluation, attempt, reading, seen, decision.reason)
    if evaluation.fresh:
        settled = Settled(AttemptResult.ABANDONED, against or "the rules say otherwise now", called=False)
        return Collected(reading, seen, attempt, settled)
    return await _settle(client, remote, dossier, attempt, reading, seen)


async def _read(client: stripe.StripeClient, dossier: Dossier) -> Reading:
    """The invoice as it is now, with the customer's other payment methods if one of them may have to be named."""
    reading = await stripe_calls.read_invoice(client, dossier.invoice_id)
    unread = any(method_in(reading, each) is None for each in dossier.brought)
    if not (dossier.tries_backups or unread) or dossier.customer_id is None or reading.truth.paid:
        return reading
    try:
        return with_backups(reading, await stripe_calls.payment_methods_of(client, dossier.customer_id))
    except Refused as refused:
        if refused.status == 404:
            return reading  # the customer was deleted, and has no other payment methods; the invoice is still open
        raise


async def _against(
    remote: Remote, dossier: Dossier, attempt: KnownAttempt, reading: Reading, decision: Decision
) -> str | None:
    """Why the attempt is not made now although the rules allow it; None when it is made.

    It must be for the card that its row names, because other recoveries have counted it on that card and only that
    card's history was read. And there must be no stop so far.
    """
    if not isinstance(decision, AttemptNow):
        return None
    if not dossier.is_planned(attempt, reading, decision.payment_method_id):
        return "the payment method has changed since the attempt was planned"
    stopped = await remote.permission.refusal(dossier.recovery_id, dossier.story.last_id)
    return None if stopped is None else f"stopped right before the call: {stopped}"


async def _unrecorded(client: stripe.StripeClient, dossier: Dossier, reading: Reading) -> tuple[SeenCharge, ...]:
    """The charges of the invoice that have no row yet, whoever made them, and debits of ours that have ended.

    Of an ended recovery all charges: one that was booked may have failed since.
    """
    if dossier.state.ended:
        intents = [intent for intent, latest in reading.payment_intents if latest is not None]
        return tuple([charge for intent in intents for charge in await stripe_calls.charges_of(client, intent)])
    known, ours = dossier.known_charges, {each.charge_id for each in dossier.processing}
    asked = [intent for intent, latest in reading.payment_intents if latest is not None and latest not in known - ours]
    asked += [each.payment_intent_id for each in dossier.processing if each.payment_intent_id]
    found: list[SeenCharge] = []
    for payment_intent in dict.fromkeys(asked):
        for charge in await stripe_calls.charges_of(client, payment_intent):
            ended = charge.charge_id in ours and charge.result is not AttemptResult.PROCESSING
            if ended or charge.charge_id not in known:
                found.append(charge)
    if reading.awaiting_action is not None:
        payment_intent, method = reading.awaiting_action
        waiting = (AttemptResult.REQUIRES_ACTION, method)
        if all((each.past.result, each.past.payment_method_id) != waiting for each in dossier.attempts):
            amount = reading.truth.amount_remaining
            found.append(
                SeenCharge(
                    None,
                    payment_intent,
                    dossier.now,
                    amount,
                    AttemptResult.REQUIRES_ACTION,
                    method,
                    method_in(reading, method),
                    None,
                )
            )
    declined = reading.without_charge
    if declined is not None and not _has_charge(declined, found) and _is_news(dossier, declined):
        found.append(
            SeenCharge(
                None,
                declined.payment_intent_id,
                dossier.now if dossier.attempts else dossier.opened_at,
                reading.truth.amount_remaining,
                AttemptResult.DECLINED,
                declined.payment_method_id,
                declined.card,
                declined.decline,
            )
        )
    return tuple(found)


def _has_charge(declined: WithoutCharge, found: Sequence[SeenCharge]) -> bool:
    """Whether one of the charges tells of this decline: not one of another payment, as of a part that was paid."""
    return any(
        each.payment_intent_id == declined.payment_intent_id and each.result is not AttemptResult.SUCCEEDED
        for each in found
    )


def _is_news(dossier: Dossier, declined: WithoutCharge) -> bool:
    """Whether nothing but the reading tells of this decline: the failure that opened the recovery, or a payment method
    that was never tried before, as a customer's other card on the hosted page."""
    tried = {each.past.payment_method_id for each in dossier.attempts}
    return not tried or (declined.payment_method_id is not None and declined.payment_method_id not in tried)


async def _read_again(client: stripe.StripeClient, dossier: Dossier) -> tuple[Reading, tuple[SeenCharge, ...]]:
    """The invoice and what was tried, after a request that may have changed both."""
    try:
        reading = await _read(client, dossier)
    except InvoiceMissing as gone:
        # It was there before the request. The next run no longer takes the attempt for one that was not made.
        raise RetryLater(gone.reason) from gone
    return reading, await _unrecorded(client, dossier, reading)


# --- The attempt ------------------------------------------------------------------------------------------------------


async def _pay(
    client: stripe.StripeClient,
    remote: Remote,
    evaluation: Evaluation,
    attempt: KnownAttempt,
    reading: Reading,
    seen: tuple[SeenCharge, ...],
    reason: Reason | None,
) -> Collected:
    """Send the request to pay, for the first time or again, and interpret the answer."""
    dossier = evaluation.dossier
    if not evaluation.fresh and dossier.now - attempt.past.at >= KEYS_ARE_KEPT:
        return await _by_reading(client, dossier, attempt, (reading, seen), "its key is no longer kept", spent=False)
    key = _key(attempt)
    answer = await stripe_calls.pay(client, dossier.invoice_id, key, remote.lease, attempt.past.payment_method_id)
    how = "Stripe's answer" if evaluation.fresh else "Stripe's answer to the same key"
    match answer:
        case Inconclusive(code):
            return await _by_reading(client, dossier, attempt, await _read_again(client, dossier), code, spent=True)
        case Paid():
            reading = answer.reading
            # That it was paid is known. A key that may not read charges does not keep it from being written down.
            with suppress(MerchantUnreachable, Refused):
                seen = await _unrecorded(client, dossier, reading)
        case Processing():
            # A replayed answer tells what was begun, and not what has become of it.
            reading, seen = await _read_again(client, dossier)
        case NotPayable():
            # Something has changed since the reading; what exactly, only another one tells.
            reading, seen = await _read_again(client, dossier)
            answer = await _as_its_account_says(client, answer)
        case Declined() | RequiresAction():
            pass
        case _:
            assert_never(answer)
    return Collected(reading, seen, attempt, _settled(answer, reading, dossier, seen, how), reason)


async def _as_its_account_says(client: stripe.StripeClient, answer: NotPayable) -> NotPayable:
    """The refusal; one whose code says nothing is for a restricted account, if the account may not charge."""
    if known_remedy(answer.code) is not None:
        return answer
    try:
        account = await stripe_calls.own_account(client)
    except (MerchantUnreachable, Refused):
        return answer
    return NotPayable(ACCOUNT_RESTRICTED) if account.get("charges_enabled") is False else answer


def _of_planned(collected: Collected) -> Collected:
    """The outcome for the payment method that the request named; the reading is about the first in Stripe's order.

    The row keeps the card that it was planned for, which others have counted; what else is known of it is added if the
    request was sent.
    """
    attempt, settled = collected.attempt, collected.settled
    if attempt is None or settled is None or attempt.past.payment_method_id is None:
        return collected
    named, planned = attempt.past.payment_method_id, attempt.past.card_fingerprint
    card = settled.card if settled.payment_method_id == named else method_in(collected.reading, named)
    if card is None or not settled.called:
        card = Card()
    card = replace(card, fingerprint=planned or card.fingerprint)
    return replace(collected, settled=replace(settled, payment_method_id=named, card=card))


def _key(attempt: KnownAttempt) -> str:
    if attempt.key is None:
        raise ValueError(f"attempt {attempt.id} is ours and has no key")
    return attempt.key


def _settled(answer: PayOutcome, reading: Reading, dossier: Dossier, seen: tuple[SeenCharge, ...], how: str) -> Settled:
    truth = reading.truth
    match answer:
        case Paid():
            return _paid(reading, seen, how)
        case Processing(payment_intent_id=payment_intent_id, charge_id=charge_id):
            # It has begun; if it has ended meanwhile, its charge is among those seen and ends it.
            begun = next((each for each in seen if each.charge_id == charge_id), None)
            return Settled(
                AttemptResult.PROCESSING,
                how,
                payment_intent_id=payment_intent_id,
                charge_id=charge_id,
                payment_method_id=(begun.payment_method_id if begun else None) or truth.payment_method_id,
                card=(begun.card if begun else None) or truth.card,
                amount=begun.amount if begun else None,
            )
        case Declined(decline):
            earlier = dossier.known_charges | {each.charge_id for each in seen}
            latest = answer.latest_charge_id if answer.latest_charge_id not in earlier else None
            return Settled(
                AttemptResult.DECLINED,
                how,
                decline=decline,
                payment_intent_id=answer.payment_intent_id,
                charge_id=answer.charge_id or latest,
                payment_method_id=answer.payment_method_id or truth.payment_method_id,
                card=answer.card or truth.card,
            )
        case RequiresAction(payment_intent_id, method):
            return Settled(
                AttemptResult.REQUIRES_ACTION,
                how,
                error_code=stripe_calls.NEEDS_ACTION,
                payment_intent_id=payment_intent_id,
                payment_method_id=method or truth.payment_method_id,
                card=truth.card,
            )
        case NotPayable(code):
            return Settled(
                AttemptResult.FAILED,
                how,
                error_code=code or "not_payable",
                payment_method_id=truth.payment_method_id,
                card=truth.card,
            )
        case Inconclusive():
            raise ValueError("an inconclusive answer is settled by reading")
    assert_never(answer)


def _paid(reading: Reading, seen: tuple[SeenCharge, ...], how: str) -> Settled:
    """By the charge that was made, where it was seen; else by what the invoice says."""
    payment_intent_id, charge_id = reading.payment_intents[-1] if reading.payment_intents else (None, None)
    made = next((each for each in seen if each.charge_id == charge_id), None)
    if made is not None and made.result is AttemptResult.SUCCEEDED:
        return from_charge(made, how)
    paid = reading.paid_by
    return Settled(
        AttemptResult.SUCCEEDED,
        how,
        payment_intent_id=payment_intent_id,
        charge_id=charge_id,
        payment_method_id=reading.truth.payment_method_id,
        card=reading.truth.card,
        amount=paid.amount if paid is not None and paid.charge_id == charge_id else None,
    )


# --- An attempt without an outcome ------------------------------------------------------------------------------------


async def _settle(
    client: stripe.StripeClient,
    remote: Remote,
    dossier: Dossier,
    attempt: KnownAttempt,
    reading: Reading,
    seen: tuple[SeenCharge, ...],
) -> Collected:
    """Find out how an attempt ended that must not be made again."""
    if dossier.now - attempt.past.at >= KEYS_ARE_KEPT:
        return await _by_reading(client, dossier, attempt, (reading, seen), "its key is no longer kept", spent=False)
    if reading.truth.paid:
        # The invoice cannot be charged any more, so sending again is safe, and the answer says whose payment it was.
        return await _pay(client, remote, Evaluation(dossier, attempt), attempt, reading, seen, None)
    if await stripe_calls.spend_key(client, dossier.invoice_id, _key(attempt), remote.lease):
        settled = Settled(AttemptResult.ABANDONED, "its key was free: it never reached Stripe", called=False)
        return Collected(reading, seen, attempt, settled)
    # The request has ended; the reading may be from before it did.
    return await _by_reading(
        client, dossier, attempt, await _read_again(client, dossier), "its key was used", spent=True
    )


async def _by_reading(
    client: stripe.StripeClient,
    dossier: Dossier,
    attempt: KnownAttempt,
    read: tuple[Reading, tuple[SeenCharge, ...]],
    why: str,
    *,
    spent: bool,
) -> Collected:
    """Settle the attempt by the invoice's charges, as they were `read` after the request had ended.

    `spent`: its key was used, so its request was executed.
    """
    reading, seen = read
    for charge in seen:
        if charge.charge_id is None:
            continue
        key = await stripe_calls.key_behind(client, charge, attempt.past.at)
        made = charge.at if charge.at <= dossier.now else attempt.past.at  # ahead of us: a test clock's time
        if key is None and made >= attempt.past.at - EVENTS_ARE_LATE and dossier.now - made < EVENTS_ARE_LATE:
            raise RetryLater("stripe: a charge's event is not there yet", counts=False)
        if key == attempt.key:
            return Collected(reading, seen, attempt, from_charge(charge, f"read from its charge, for {why}"))
    if reading.under_way is not None and reading.under_way[1] is None:
        raise RetryLater("stripe: a payment is under way whose charge is not there yet", counts=False)
    if spent and reading.awaiting_action is not None and any(each.charge_id is None for each in seen):
        intent, method = reading.awaiting_action
        how = f"read from its payment intent, for {why}"
        settled = _settled(RequiresAction(intent, method), reading, dossier, seen, how)
        return Collected(reading, seen, attempt, settled)
    result = AttemptResult.FAILED if spent else AttemptResult.ABANDONED
    settled = Settled(result, f"no charge of it exists, read for {why}", called=spent, error_code=None)
    return Collected(reading, seen, attempt, settled)


def from_charge(charge: SeenCharge, how: str) -> Settled:
    """An attempt's outcome, as its charge says it."""
    return Settled(
        charge.result,
        how,
        decline=charge.decline,
        payment_intent_id=charge.payment_intent_id,
        charge_id=charge.charge_id,
        payment_method_id=charge.payment_method_id,
        card=charge.card,
        amount=charge.amount,
    )
