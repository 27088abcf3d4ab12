"""What was learned, as decisions use it: of a merchant's customers its own belief, else the pool's, else none; and of
the customer how the earlier recoveries ended.

A belief, or counts, are parsed once in a process for as long as their row stays as it is; which row that is, is asked
every time.
"""

from datetime import datetime
from typing import Any, Final

from services.worker.dossier.attempt_store import ATTEMPTS_OF, MAY_TEACH, tried_of
from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.customers import Earlier
from services.worker.recovery.belief.document import LAYOUT, WrongDocument, read_document
from services.worker.recovery.belief.kept import Kept
from services.worker.recovery.message_answers import LAYOUT as LAYOUT_OF_HOURS
from services.worker.recovery.message_answers import Answers, Counts, believed, read_counts
from services.worker.recovery.outcomes import outcomes_of
from shared.database import Connection
from shared.ids import CustomerId, MerchantId
from shared.logging import get_logger
from shared.pool import POOL

log = get_logger(__name__)

# A belief of many countries takes a hundred kilobytes.
KEPT: Final = 200
REMEMBERED_OF_CUSTOMER: Final = 6
"""How many of a customer's earlier recoveries are learned from: the latest."""
# An unreadable one is kept as nothing, so that it is told once.
_parsed: Final[Kept[tuple[MerchantId, datetime], tuple[Learned, ...]]] = Kept(KEPT)
_counted: Final[Kept[tuple[MerchantId, datetime], tuple[Counts, ...]]] = Kept(KEPT)

LEARNED_AT = """
SELECT merchant_id, learned_at
FROM learned_beliefs
WHERE merchant_id = ANY ($1::text[]) AND layout = $2
ORDER BY merchant_id = $3
"""
BELIEF = "SELECT belief FROM learned_beliefs WHERE merchant_id = $1 AND learned_at = $2 AND layout = $3"

# The latest of a customer's recoveries that had ended by $1, by the end in the timeline: that stays there when money
# comes later or the merchant comes back. Only so many of the latest are looked through.
EARLIER = ATTEMPTS_OF.replace(
    "{recoveries}",
    f"""
    SELECT r.id, r.merchant_id, row_number() OVER (ORDER BY r.opened_at DESC, r.id DESC) AS place
    FROM (
        SELECT id, merchant_id, opened_at
        FROM recoveries
        WHERE customer_id = $3 AND merchant_id = $2 AND opened_at < $1
        ORDER BY opened_at DESC, id DESC
        LIMIT $4 * 3
    ) AS r
    WHERE {MAY_TEACH}
        AND EXISTS (
            SELECT FROM recovery_timeline AS t
            WHERE t.recovery_id = r.id AND t.to_state IN ('recovered', 'exhausted', 'stopped') AND t.at <= $1
        )
    ORDER BY r.opened_at DESC, r.id DESC
    LIMIT $4
""",  # noqa: S608 - constants of this module and of `attempt_store`
)


async def learned_of(db: Connection, merchant_id: MerchantId) -> Learned | None:
    """What is believed of the merchant's customers; None: what is believed before anything was seen.

    A belief that cannot be read is passed by, and the log says so.
    """
    for row in await db.fetch(LEARNED_AT, [merchant_id, POOL], LAYOUT, POOL):
        for found in await _belief(db, row["merchant_id"], row["learned_at"]):
            return found
    return None


MESSAGE_HOURS = """
SELECT merchant_id, learned_at, messages, hours
FROM learned_message_hours
WHERE merchant_id = ANY ($1::text[]) AND layout = $2
"""


async def answers_of(db: Connection, merchant_id: MerchantId) -> Answers:
    """In which hours the merchant's customers are believed to answer: by its own counts and the pool's.

    Counts that cannot be read are passed by, and the log says so.
    """
    counts: dict[MerchantId, Counts] = {}
    for row in await db.fetch(MESSAGE_HOURS, [merchant_id, POOL], LAYOUT_OF_HOURS):
        key = (row["merchant_id"], row["learned_at"])
        found = _counted.get(key)
        if found is None:
            found = _counted.keep(key, _read_counts(row["merchant_id"], row["messages"], row["hours"]))
        counts.update((row["merchant_id"], each) for each in found)
    return believed(counts.get(POOL), counts.get(merchant_id))


async def earlier_of(
    db: Connection, merchant_id: MerchantId, customer_id: CustomerId | None, opened_at: datetime
) -> Earlier | None:
    """What the customer's earlier recoveries at this merchant say to one that opened then; None without a customer.

    It is what had happened by the opening, so that it does not change while the recovery goes on; but for a charge that
    Stripe made before and told of after it.
    """
    if customer_id is None:
        return None
    rows = await db.fetch(EARLIER, opened_at, merchant_id, customer_id, REMEMBERED_OF_CUSTOMER)
    return Earlier(tuple([outcome for _, outcome in outcomes_of(map(tried_of, rows))]), opened_at)


async def _belief(db: Connection, merchant_id: MerchantId, learned_at: datetime) -> tuple[Learned, ...]:
    key = (merchant_id, learned_at)
    found = _parsed.get(key)
    if found is None:
        document = await db.fetchval(BELIEF, merchant_id, learned_at, LAYOUT)
        found = _parsed.keep(key, _read(merchant_id, document))
    return found


def _read(merchant_id: MerchantId, document: Any) -> tuple[Learned, ...]:
    try:
        return (read_document(document),)
    except WrongDocument as wrong:
        log.warning("belief_unreadable", merchant_id=merchant_id, reason=str(wrong))
        return ()


def _read_counts(merchant_id: MerchantId, messages: int, document: Any) -> tuple[Counts, ...]:
    found = read_counts(messages, document)
    if found is None:
        log.warning("message_hours_unreadable", merchant_id=merchant_id)
        return ()
    return (found,)
