"""What was learned, as the API shows it."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from services.ledger.api.fields import RowId
from services.ledger.api.schemas import Body, Outgoing


class Difference(Outgoing):
    """Where customers clearly differ from what was expected before anything was seen."""

    about: str = Field(
        description="`payday`, `stay`, `bank_hours`, `weekend` or `message_hours`; or what a newer worker tells of"
    )
    text: str = Field(description="a sentence for the merchant")
    share: float = Field(description="as learned, from 0 to 1")
    expected: float = Field(description="as believed before anything was seen")


class Learned(Outgoing):
    """What was learned of a merchant's customers from its recoveries; shares only, and nothing of any single customer.

    `in_pool`: whether other merchants are taught by these recoveries, too.
    """

    merchant_id: UUID | None = Field(description="null: all merchants of the pool together")
    in_pool: bool
    opted_out_at: datetime | None
    learned_at: datetime | None = Field(description="null: there was not enough to learn from, so far")
    recoveries: int | None = Field(description="from how many recoveries it was learned")
    differences: list[Difference] = Field(description="empty also where less than 100 recoveries say nothing clearly")


class OfWhom(Body):
    """Which merchant."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
