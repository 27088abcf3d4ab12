"""The SQL of messages: whose turn it is to write to a customer, and who was warned of a card.

Messages that were sent are in a recovery's timeline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.database import Connection
from shared.ids import CustomerId, InvoiceId, MerchantId, PaymentMethodId, RecoveryId, SubscriptionId
from shared.money import Money
from shared.policy import Policy
from shared.recovery_model import RecoveryState
from shared.unsubscribe import Recipient

# The row is made where there is none, and locked.
TURN_OF = """
INSERT INTO written_customers AS w (merchant_id, customer_id)
VALUES ($1, $2)
ON CONFLICT (merchant_id, customer_id) DO UPDATE SET task_id = w.task_id
RETURNING w.task_id, w.recoveries, w.written_at, w.asked_at, (
    SELECT CASE WHEN t.status = 'pending' THEN t.run_at ELSE citadel_now() END
    FROM scheduled_tasks AS t
    WHERE t.id = w.task_id AND t.status IN ('pending', 'running')
) AS writes_at
"""

TAKE_TURN = """
UPDATE written_customers
SET task_id = $3, recoveries = $4
WHERE merchant_id = $1 AND customer_id = $2
"""

END_TURN = """
UPDATE written_customers
SET task_id = NULL,
    recoveries = '{}',
    written_at = CASE WHEN $4 THEN citadel_now() ELSE written_at END,
    asked_at = CASE WHEN $5 THEN citadel_now() ELSE asked_at END
WHERE merchant_id = $1 AND customer_id = $2 AND task_id = $3
"""

# What may be named in an email about another one, and what is about to be evaluated; oldest first.
OTHERS_OF_CUSTOMER = """
SELECT id, state, updated_at
FROM recoveries
WHERE merchant_id = $1 AND customer_id = $2 AND closed_at IS NULL AND id IS DISTINCT FROM $3
ORDER BY opened_at, id
"""

POLICY_IN_FORCE = """
SELECT document
FROM policies
WHERE active AND (merchant_id = $1 OR merchant_id IS NULL)
ORDER BY merchant_id NULLS LAST
LIMIT 1
"""

CARDS_TOLD_OF = """
SELECT payment_method_id, exp_year, exp_month
FROM card_warnings
WHERE merchant_id = $1 AND customer_id = $2
"""

NOTE_CARD_TOLD_OF = """
INSERT INTO card_warnings (merchant_id, customer_id, payment_method_id, exp_year, exp_month)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""

# Recovered lately after a message, and not thanked for; oldest first.
UNTHANKED = """
SELECT r.id
FROM recoveries AS r
WHERE r.customer_id = $2
    AND r.merchant_id = $1
    AND r.state = 'recovered'
    AND r.closed_at > citadel_now() - $3::interval
    AND EXISTS (SELECT FROM recovery_timeline AS t WHERE t.recovery_id = r.id AND t.kind IN ('messaged', 'printed'))
    AND NOT EXISTS (SELECT FROM recovery_timeline AS t WHERE t.recovery_id = r.id AND t.kind = 'thanked')
ORDER BY r.closed_at, r.id
"""

# The end action's entry says whether the policy wants the merchant told. The longest window is 60 days.
UNTOLD_ENDS = """
SELECT r.id, r.invoice_id, r.subscription_id, r.amount_due, r.currency, ended.action
FROM recoveries AS r
CROSS JOIN LATERAL (
    SELECT t.detail ->> 'action' AS action
    FROM recovery_timeline AS t
    WHERE t.recovery_id = r.id AND t.kind = 'end_action' AND (t.detail ->> 'tell_merchant')::boolean
    LIMIT 1
) AS ended
WHERE r.merchant_id = $1
    AND r.opened_at > citadel_now() - interval '75 days'
    AND r.closed_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM recovery_timeline AS t WHERE t.recovery_id = r.id AND t.kind = 'merchant_told')
ORDER BY r.closed_at, r.id
LIMIT 200
"""


async def warning_days(db: Connection, merchant_id: MerchantId) -> int:
    """How many days before a renewal the merchant's policy warns of expiring cards; 0: never."""
    document = await db.fetchval(POLICY_IN_FORCE, merchant_id)
    return 0 if document is None else Policy.model_validate(document).card_expiring_days


async def cards_told_of(
    db: Connection, merchant_id: MerchantId, customer_id: CustomerId
) -> list[tuple[PaymentMethodId, int, int]]:
    """(payment method, year, month) of each card that this customer was warned of."""
    rows = await db.fetch(CARDS_TOLD_OF, merchant_id, customer_id)
    return [(row["payment_method_id"], row["exp_year"], row["exp_month"]) for row in rows]


async def note_card_told_of(
    db: Connection,
    merchant_id: MerchantId,
    customer_id: CustomerId,
    payment_method_id: PaymentMethodId,
    year: int,
    month: int,
) -> None:
    """Save that a customer was warned of a card."""
    await db.execute(NOTE_CARD_TOLD_OF, merchant_id, customer_id, payment_method_id, year, month)


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A customer's row. `writes_at`: when the task that writes runs again, or now; None for one that is gone."""

    task_id: int | None
    recoveries: tuple[RecoveryId, ...]
    written_at: datetime | None
    asked_at: datetime | None
    writes_at: datetime | None


async def turn_of(db: Connection, recipient: Recipient) -> TurnRow:
    """The customer's row, locked until the end of the transaction."""
    row = await db.fetchrow(TURN_OF, recipient.merchant_id, recipient.customer_id)
    if row is None:
        raise LookupError("the row of a customer was not written")
    return TurnRow(row[0], tuple(row[1]), row[2], row[3], row[4])


async def take_turn(db: Connection, recipient: Recipient, task_id: int, recoveries: Sequence[RecoveryId]) -> None:
    """Save that this task writes to the customer, about these recoveries."""
    await db.execute(TAKE_TURN, recipient.merchant_id, recipient.customer_id, task_id, list(recoveries))


async def end_turn(db: Connection, recipient: Recipient, task_id: int, *, written: bool, asked: bool) -> None:
    """Save that this task does not write to the customer any more; nothing if it did not."""
    await db.execute(END_TURN, recipient.merchant_id, recipient.customer_id, task_id, written, asked)


async def others_of_customer(
    db: Connection, recipient: Recipient, recovery_id: RecoveryId | None
) -> list[tuple[RecoveryId, RecoveryState, datetime]]:
    """The customer's other open recoveries, oldest first: id, state, and when it last changed."""
    rows = await db.fetch(OTHERS_OF_CUSTOMER, recipient.merchant_id, recipient.customer_id, recovery_id)
    return [(row["id"], RecoveryState(row["state"]), row["updated_at"]) for row in rows]


async def unthanked(db: Connection, recipient: Recipient, within: timedelta) -> list[RecoveryId]:
    """The customer's recoveries that were recovered lately, after a message, and not thanked for; oldest first."""
    rows = await db.fetch(UNTHANKED, recipient.merchant_id, recipient.customer_id, within)
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class Ended:
    """A recovery on which an end action was carried out."""

    recovery_id: RecoveryId
    invoice_id: InvoiceId
    subscription_id: SubscriptionId | None
    due: Money
    action: str


async def untold_ends(db: Connection, merchant_id: MerchantId) -> list[Ended]:
    """The ends that the merchant is to be told of and was not, oldest first; 200 at most."""
    rows = await db.fetch(UNTOLD_ENDS, merchant_id)
    return [Ended(row[0], row[1], row[2], Money(row[3], row[4]), row[5]) for row in rows]
