"""What events about refunds and disputes mean: money that goes back, and a stop. Pure, as `routing`, which calls it."""

from shared.events.fields import MAX_AMOUNT, Json, amount_of, code_of, id_of, mapping_of, money_in, time_of
from shared.events.intents import Ignored, Intent, MoneyBack, Rule, StopCharge
from shared.ids import ChargeId, InvoiceId, PaymentIntentId
from shared.money import Money
from shared.money_back import Kind
from shared.recovery_model import EndReason


def charge_refunded(charge: Json, _previous: Json) -> Intent:
    """`amount_refunded` is the sum of the charge's refunds at that moment, without those that had failed."""
    stop = _stop_charge(charge.get("id"), charge, EndReason.REFUNDED)
    sum_ = money_in(charge, "amount_refunded")
    if not isinstance(stop, StopCharge) or stop.charge_id is None or sum_ is None:
        return stop
    return MoneyBack(
        Kind.REFUNDS, stop.charge_id, stop.charge_id, stop.payment_intent_id, sum_, None, returned=0, stop=stop
    )


def refund_changed(refund: Json, _previous: Json) -> Intent:
    """A refund takes the money when it is created, also while it is pending; one that fails or is canceled gives it
    back, even after it had succeeded (https://docs.stripe.com/refunds#failed-refunds, read November 2026)."""
    came_back = code_of(refund.get("status")) in {"failed", "canceled"}
    return _money_back(Kind.REFUND, refund, EndReason.REFUNDED, taken=None, returned=None if came_back else 0)


# No money has moved by these. `prevented`: it was resolved by a refund, which has events of its own (assumed: Stripe
# documents the status without saying what it does to the balance). `charge_refunded` is of API versions before 2019.
_INQUIRY = frozenset({"warning_needs_response", "warning_under_review", "warning_closed"})
_WITHOUT_MONEY = _INQUIRY | {"prevented", "charge_refunded"}


def dispute_changed(*, withdrawn: bool = False, reinstated: bool = False) -> Rule:
    """`withdrawn`, `reinstated`: the event type says that money moved, whatever the status is.

    A dispute that is no inquiry has taken its amount: Stripe debits it when the dispute is opened. What was won comes
    back. Its balance transactions say it better, if they are there and in the dispute's currency.
    """

    def rule(dispute: Json, _previous: Json) -> Intent:
        status = code_of(dispute.get("status"))
        amount = amount_of(dispute.get("amount"))
        if amount is None:
            return Ignored("unreadable") if reinstated or status == "won" else _stop_disputed(dispute)
        taken, returned = _of_transactions(dispute)
        if taken == 0 and (withdrawn or reinstated or status not in _WITHOUT_MONEY):
            taken = amount
        if returned == 0 and (reinstated or status == "won"):
            returned = taken
        if taken == 0:
            # An inquiry: the customer contests the payment, so no other is tried. When it is over, nothing follows.
            open_ = status not in {"warning_closed", "prevented", "charge_refunded"}
            return _stop_disputed(dispute) if open_ else Ignored("no_money_moved")
        return _money_back(Kind.DISPUTE, dispute, EndReason.DISPUTED, taken=taken, returned=returned)

    return rule


def _of_transactions(dispute: Json) -> tuple[int, int]:
    """What was withdrawn and reinstated, by the balance transactions; zeros where they do not say it."""
    found = dispute.get("balance_transactions")
    transactions = [mapping_of(each) for each in found] if isinstance(found, list) else []
    if any(each.get("currency") != dispute.get("currency") for each in transactions):
        return 0, 0  # the account is settled in another currency
    amounts = [each.get("amount") for each in transactions]
    taken = sum(-each for each in amounts if type(each) is int and -MAX_AMOUNT <= each < 0)
    returned = sum(each for each in amounts if type(each) is int and 0 < each <= MAX_AMOUNT)
    return min(taken, MAX_AMOUNT), min(taken, returned, MAX_AMOUNT)


def _stop_disputed(dispute: Json) -> Intent:
    # A dispute's charge is an id, or the whole charge, which may still name its invoice.
    charge = mapping_of(dispute.get("charge"))
    return _stop_charge(dispute.get("charge"), {**charge, **dispute}, EndReason.DISPUTED)


def _money_back(kind: Kind, resource: Json, reason: EndReason, *, taken: int | None, returned: int | None) -> Intent:
    """`taken`: None is the resource's amount; `returned`: None is all of it. Unreadable money still stops."""
    charge = mapping_of(resource.get("charge"))
    stop = _stop_charge(resource.get("charge"), {**charge, **resource}, reason)
    external_id, money = id_of(resource.get("id"), str), money_in(resource, "amount")
    if not isinstance(stop, StopCharge):
        return stop
    named = stop.charge_id or stop.payment_intent_id
    if external_id is None or money is None or named is None:
        return stop if returned == 0 else Ignored("unreadable")
    taken = money.amount if taken is None else taken
    returned = taken if returned is None else returned
    return MoneyBack(
        kind,
        external_id,
        stop.charge_id,
        stop.payment_intent_id,
        Money(taken, money.currency),
        time_of(resource.get("created")),
        returned,
        stop if returned == 0 else None,
    )


def _stop_charge(charge: object, resource: Json, reason: EndReason) -> Intent:
    charge_id, intent_id = id_of(charge, ChargeId), id_of(resource.get("payment_intent"), PaymentIntentId)
    invoice_id = id_of(resource.get("invoice"), InvoiceId)
    if not (charge_id or intent_id or invoice_id):
        return Ignored("unreadable")
    return StopCharge(charge_id, intent_id, invoice_id, reason)
