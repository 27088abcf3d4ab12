"""Faults on demand: what a network and a busy Stripe do to a request.

kind            what the client sees                              the effect
rate_limited    429 with Stripe-Rate-Limited-Reason               never happened
lock_timeout    409 (or `status`) with code lock_timeout          never happened
server_error    500                                               before or after
timeout         nothing for `seconds`, then a closed connection   before or after
drop            the connection closes                             before or after
truncate        the first half of the body, then it closes        after
slow            the answer, `latency_ms` late                     after the wait
"""

import random
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

KINDS = {
    "rate_limited",
    "lock_timeout",
    "server_error",
    "timeout",
    "drop",
    "truncate",
    "slow",
}


@dataclass(slots=True)
class Fault:
    """One rule. It hits the next `times` matching requests, or each with `probability`.

    `method`, `path` and `account` are patterns (`*` matches anything, also slashes); `skip` lets that
    many matching requests pass first; `should_retry` sets Stripe-Should-Retry on the answer.
    """

    kind: str
    method: str = "*"
    path: str = "*"
    account: str = "*"
    times: int | None = None
    skip: int = 0
    probability: float = 1.0
    after_effect: bool = False
    latency_ms: int = 0
    seconds: float = 30.0
    status: int = 409
    reason: str = "global-rate"
    should_retry: bool | None = None
    id: str = ""
    hits: int = field(default=0)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Unknown fault {self.kind!r}; known: {sorted(KINDS)}.")

    def matches(self, method: str, path: str, account: str) -> bool:
        return fnmatchcase(method, self.method) and fnmatchcase(path, self.path) and fnmatchcase(account, self.account)

    @property
    def spent(self) -> bool:
        return self.times is not None and self.hits >= self.times


class Faults:
    """The rules in force, in the order in which they were added; the first that strikes wins."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._count = 0
        self.rules: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Puts a rule in force."""
        self._count += 1
        fault.id = fault.id or f"fault_{self._count}"
        self.rules.append(fault)
        return fault

    def clear(self) -> None:
        """Ends all rules."""
        self.rules.clear()

    def strike(self, method: str, path: str, account: str) -> Fault | None:
        """The fault that hits this request, if any."""
        for fault in self.rules:
            if fault.spent or not fault.matches(method, path, account):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.probability >= 1 or self._rng.random() < fault.probability:
                fault.hits += 1
                return fault
        return None
