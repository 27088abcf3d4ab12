"""Checks that a JSON object is one of Stripe's events, and reduces it to the event without its payload."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from shared.events.intents import Routed
from shared.events.routing import route
from shared.ids import AccountId


class Envelope(BaseModel):
    """The fields that every event has; everything else in it may be missing or malformed."""

    model_config = ConfigDict(strict=True, extra="ignore")

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
    type: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]
    account: Annotated[AccountId, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")] | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event without its payload, before it is taken in. `account=None`: it is about the platform's own account."""

    event_id: str
    event_type: str
    account: AccountId | None
    routed: Routed


def read_event(event: Mapping[str, Any], *, listed_for: AccountId | None = None) -> Incoming:
    """The event without its payload. Raises pydantic's ValidationError when the object is not an event.

    `listed_for` is the account whose list the event was read from: an event in a list does not name its account.
    """
    envelope = Envelope.model_validate(event)
    return Incoming(envelope.id, envelope.type, listed_for or envelope.account, route(event))
