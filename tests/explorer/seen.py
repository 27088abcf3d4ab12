"""What is seen of a world while it goes by, each beside the truth of its moment: what the checks are about."""

from dataclasses import dataclass, field
from typing import Any

from simulator.world import Attempt
from tests.explorer.truth import Truth


@dataclass(frozen=True, slots=True)
class Word:
    """What a person with a say told us, and that was answered with a yes. `until`: when it is over by itself."""

    kind: str
    at: int
    customer: str | None = None
    invoice: str | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Charging:
    """A try of ours to move money, as the bank logged it; the truth right before it, and as we had read it last."""

    attempt: Attempt
    truth: Truth
    read: Truth
    words: int


@dataclass(frozen=True, slots=True)
class Written:
    """An email that went out, and what was true then of each invoice of its customer."""

    id: str
    at: int
    kind: str
    customer: str | None
    recovery: str | None
    subject: str
    text: str
    to: str
    truths: dict[str, Truth]
    plans: tuple[dict[str, Any], ...]
    words: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An end action of ours at Stripe, and the truth right before it."""

    at: int
    action: str
    target: str
    truths: tuple[Truth, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """An end of a recovery, and the truth when it was written."""

    at: int
    recovery: str
    invoice: str
    state: str
    rule: str
    truth: Truth | None


@dataclass(slots=True)
class Seen:
    """What was seen while the world went by."""

    charging: list[Charging] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    away: list[tuple[int, int]] = field(default_factory=list)
    cards: dict[str, int] = field(default_factory=dict)
    """When a customer last brought another way to pay."""
    addresses: dict[str, int] = field(default_factory=dict)
    """When a customer without an address got one."""
    outages: list[tuple[int, int]] = field(default_factory=list)
    """When Stripe gave no invoice for days."""
    hidden: list[str] = field(default_factory=list)
    """Recoveries that wait for nothing but a task that is dead, and that our API did not show as such."""
    unfinished: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Requests that the simulation itself failed to answer."""
    done: list[str] = field(default_factory=list)
    """The acts that took place."""
