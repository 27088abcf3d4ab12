"""Stops: an operator ends one recovery, or all open ones of a merchant, a customer or a subscription."""

from services.ledger.api.endpoint import Call
from services.ledger.api.schemas import Changed, NoParameters
from services.ledger.api.select import Row, fetch
from services.ledger.api.tenancy import merchant_to_write
from services.ledger.recoveries import store
from services.ledger.recoveries.schemas import OneRecovery, Recovery, RecoverySelection, Stop
from shared import interventions
from shared.http import Problem
from shared.left_alone import Whom
from shared.recovery_model import RecoveryState

BATCH = 100
"""The most recoveries of a merchant that one call stops; of a customer or a subscription there are few."""


async def stop_recovery(call: Call[OneRecovery, Stop]) -> Recovery:
    """Stop a recovery; one that is stopped, or whose stop is noted, is not changed. Raises Problem 404, 409."""
    row = await _read(call)
    if not await interventions.stop(call.db, row["id"], call.body.reason):
        row = await _read(call)  # as the lock found it
        state = RecoveryState(row["state"])
        if state.ended and state is not RecoveryState.STOPPED:
            detail = f"The recovery has ended as {state}. What is still to be done for it are its tasks: GET /v1/tasks."
            raise Problem(409, "already-ended", detail)
    return Recovery.model_validate(dict(await _read(call)))


async def stop_many(call: Call[NoParameters, RecoverySelection]) -> Changed:
    """Stop the open recoveries of a customer, of a subscription, or a batch of a merchant's."""
    asked = call.body
    merchant_id = await merchant_to_write(call.db, call.key, asked.merchant_id)
    if asked.customer_id is None and asked.subscription_id is None:
        count = await interventions.stop_of_merchant(call.db, merchant_id, asked.reason, BATCH)
        return Changed(changed=count, more=count == BATCH)
    if asked.customer_id is not None and asked.subscription_id is not None:
        errors = [{"field": "subscription_id", "message": "not beside customer_id"}]
        raise Problem(422, "invalid-body", "Name a customer or a subscription, not both.", errors=errors)
    whom = Whom(merchant_id, asked.customer_id, asked.subscription_id)
    return Changed(changed=await interventions.stop_all(call.db, whom, asked.reason), more=False)


async def _read(call: Call[OneRecovery, Stop]) -> Row:
    given = {"id": call.parameters.recovery_id, "merchant_id": call.key.merchant_id}
    rows = await fetch(call.db, store.select_recoveries(1, None, given))
    if not rows:
        raise Problem(404, "not-found", "There is no such recovery.")
    return rows[0]
