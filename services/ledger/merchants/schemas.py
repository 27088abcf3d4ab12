"""Merchants as the API shows them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from services.ledger.api.fields import (
    CursorText,
    Limit,
    RowId,
)
from services.ledger.api.schemas import Incoming, Outgoing
from shared import ids


class MerchantPage(Incoming):
    """One page of merchants, newest first."""

    limit: Limit = 50
    cursor: CursorText | None = Field(None, description="next_cursor of the page before")


class OneMerchant(Incoming):
    """Which merchant."""

    merchant_id: RowId


class Attention(Outgoing):
    """Why tasks of a merchant are held. Once somebody has set a key or an account right, they go on by themselves."""

    reason: str = Field(
        description="no_access, no_permission, key_refused, wrong_mode or object_missing; see docs/operations.md"
    )
    since: datetime
    tasks: int


class Merchant(Outgoing):
    """A connected account, without its tokens."""

    id: UUID
    stripe_connect_id: ids.AccountId
    tier: str | None
    status: Literal["active", "disconnected", "deauthorized"]
    livemode: bool | None
    created_at: datetime
    connected_at: datetime | None
    disconnected_at: datetime | None
    caught_up_at: datetime | None = Field(description="when what Stripe could not deliver was last fetched to the end")
    missed_events: int = Field(description="events that no webhook had brought and that were fetched")
    missed_recoveries: int = Field(description="recoveries opened for open invoices that no event had told of")
    attention: list[Attention] = Field(description="why tasks are held, if any are; the oldest reason first")
