"""A story: what happens in one world, as a list that can be printed, shortened and played again.

A world is made of nothing but its story. Each act names its time (seconds after the start), what is done, to whom (the
label of a renewal, see `plot.py`) and how. An act whose object is not there (any more) does nothing, so that any part
of a story is a story.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson

HOUR = 3_600
DAY = 24 * HOUR
MERCHANT = ""
"""Whom an act is about that is about no renewal."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that somebody does. `how` has what is not as usual."""

    at: int
    what: str
    who: str = MERCHANT
    how: dict[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """One line."""
        day, rest = divmod(self.at, DAY)
        more = " ".join(f"{name}={_short(value)}" for name, value in self.how.items())
        return f"day {day:>2} {rest // HOUR:02}:{rest % HOUR // 60:02}  {self.what} {self.who} {more}".rstrip()


@dataclass(frozen=True, slots=True)
class Story:
    """`shop`: the merchant's account at Stripe; `policy`: its document, what differs from the default."""

    seed: int
    start: int
    days: int
    shop: dict[str, Any]
    policy: dict[str, Any]
    acts: tuple[Act, ...]

    def with_acts(self, acts: Iterable[Act]) -> "Story":
        """The same world with another story."""
        return replace(self, acts=tuple(acts))

    def told(self) -> str:
        """All of it, a line for each act."""
        start = datetime.fromtimestamp(self.start, UTC)
        lines = [f"seed {self.seed}, from {start:%A %Y-%m-%d %H:%M} UTC, {self.days} days"]
        lines += [f"shop {_short(self.shop)}"] if self.shop else []
        lines += [f"policy {_short(self.policy)}"] if self.policy else []
        return "\n".join([*lines, *(act.told() for act in self.acts)])

    def line(self) -> str:
        """As one line of JSON, for `--story`."""
        acts = [[act.at, act.what, act.who, act.how] for act in self.acts]
        parts = {name: getattr(self, name) for name in ("seed", "start", "days", "shop", "policy")}
        return orjson.dumps({**parts, "acts": acts}).decode()

    @classmethod
    def read(cls, line: str) -> "Story":
        """From such a line."""
        parts = orjson.loads(line)
        return cls(**{**parts, "acts": tuple(Act(*act) for act in parts["acts"])})


def _short(value: Any) -> str:
    return orjson.dumps(value).decode()
