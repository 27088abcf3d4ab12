"""What makes a JSON object an event of Stripe's, and what is left of it when its payload has been read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from shared.events.routing import Routed, route


class Envelope(BaseModel):
    """What every event has; everything else in it may be missing or strange."""

    model_config = ConfigDict(strict=True, extra="ignore")

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
    type: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]
    account: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")] | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event on its way in, without its payload. `account=None`: it is about the platform's own account."""

    event_id: str
    event_type: str
    account: str | None
    routed: Routed


def read_event(event: Mapping[str, Any], *, listed_for: str | None = None) -> Incoming:
    """The event without its payload. Raises pydantic's ValidationError when it is none.

    `listed_for` is the account whose list it was read in: there an event does not name its account.
    """
    envelope = Envelope.model_validate(event)
    return Incoming(envelope.id, envelope.type, listed_for or envelope.account, route(event))
