"""What a policy does about one failure while it is unpaid."""

from dataclasses import dataclass, field
from datetime import datetime

from console.evaluation.backtest.clearing import Exposure
from console.evaluation.backtest.past import Past
from console.evaluation.history import Attempt
from services.worker.recovery import DeclineCause, Origin
from shared.ids import PaymentMethodId


@dataclass(slots=True)
class Step:
    """An attempt whose outcome must be estimated; `at` in unix seconds, `cause` that of the decline it follows on.

    `on_news`: it is made only when an event says that the card was renewed, at some time before `at`.
    `backup`: it is the first with another payment method on file, whose chance no exposure tells.
    """

    at: float
    exposure: Exposure
    cause: DeclineCause
    on_news: bool = False
    backup: bool = False


@dataclass(slots=True)
class Trace:
    """What a policy does about a failure while it is unpaid; unix seconds.

    `known` attempts came out as history shows; with `paid_at` the last of them paid. `steps` are the attempts that must
    be estimated, up to `ends_at`; a known payment comes after them. `moved`: how many attempts learned timing put at
    another time than the schedules'. `watched`: it is of the policy's holdout.
    """

    past: Past
    ends_at: float
    known: int = 0
    paid_at: float | None = None
    steps: list[Step] = field(default_factory=list)
    messages: tuple[float, ...] = ()
    breaches: list[str] = field(default_factory=list)
    moved: int = 0
    watched: bool = False


@dataclass(slots=True)
class Made:
    """An attempt that was made in a replay: when (`unix`: the same in seconds), and as which one it ended."""

    at: datetime
    unix: float
    origin: Origin
    said: Attempt
    method: PaymentMethodId
