"""The history file: JSON Lines, a header and then one failed invoice a line. It is described in
`console/evaluation/README.md`.

Times are unix seconds, amounts minor units. It holds no customer's data: ids, codes, amounts, times, the card's brand,
country and funding, and a hash in place of its fingerprint.

HistoryRefused   the file is not a valid history; `problems` says why, each with its line
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

VERSION = 1
MOST_PROBLEMS = 50

# From 2010 to 2100, so that a time in milliseconds, the usual mistake, is refused.
Time = Annotated[int, Field(ge=1_262_304_000, lt=4_102_444_800, strict=True)]
Amount = Annotated[int, Field(ge=1, le=10**12, strict=True)]
Currency = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
# How a past recovery ended, if not by a successful attempt.
Ending = Literal["open", "void", "uncollectible", "canceled", "paid_elsewhere"]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Header(_Line):
    """The first line. The file holds the invoices that were made in [since, until), as they were at `until`."""

    schema_: Annotated[Literal["citadel-history"], Field(alias="schema")]
    version: Literal[1]
    merchant: Id | None = None
    since: Time
    until: Time
    # The number of renewals that were left out, by reason, for the report.
    left_out: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def of(cls, merchant: str | None, since: int, until: int, left_out: dict[str, int] | None = None) -> Self:
        """A header of this version."""
        given = {"merchant": merchant, "since": since, "until": until, "left_out": left_out or {}}
        return cls.model_validate({"schema": "citadel-history", "version": VERSION, **given})

    @model_validator(mode="after")
    def _goes_forward(self) -> Self:
        if self.since >= self.until:
            raise ValueError("`since` has to be before `until`")
        return self


class Card(_Line):
    """The card that failed first; `network` is Stripe's brand, or the type of a payment method that is not a card."""

    fingerprint: Id | None = None
    network: Code | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    funding: Literal["credit", "debit", "prepaid", "unknown"] | None = None
    exp_month: Annotated[int, Field(ge=1, le=12)] | None = None
    exp_year: Annotated[int, Field(ge=2000, le=2100)] | None = None


class OnFile(Card):
    """Another payment method that the customer had with the merchant when the renewal failed: its id and its card."""

    method: Id


class Attempt(_Line):
    """One attempt. `by` is who made it: `retry`: off-session, by any software; `customer`: on a page."""

    at: Time
    result: Literal["succeeded", "declined", "requires_action"]
    by: Literal["retry", "customer"] = "retry"
    # None: the payment method that failed first.
    method: Id | None = None
    code: Code | None = None
    decline_code: Code | None = None
    advice_code: Code | None = None
    network_decline_code: Code | None = None
    network_advice_code: Code | None = None


class Elsewhere(_Line):
    """A charge on the same card for something else, which the networks' limits count."""

    at: Time
    amount: Amount
    currency: Currency
    result: Literal["succeeded", "declined"]
    network_decline_code: Code | None = None
    network_advice_code: Code | None = None


class Failure(_Line):
    """A renewal that failed, all attempts to collect it in the order of time, and how it ended.

    `ended_at` is when it was paid elsewhere, voided, written off or its subscription canceled.
    """

    invoice: Id
    amount: Amount
    currency: Currency
    attempts: Annotated[tuple[Attempt, ...], Field(max_length=500)]
    card: Card = Card()
    # In the order in which they would be tried.
    backups: Annotated[tuple[OnFile, ...], Field(max_length=100)] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    ending: Ending = "open"
    ended_at: Time | None = None
    subscribed_at: Time | None = None
    products: tuple[Id, ...] = ()
    prices: tuple[Id, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.attempts:
            raise ValueError("`attempts` is empty: the first is the renewal that failed")
        first = self.attempts[0]
        if first.result == "succeeded":
            raise ValueError("the first attempt succeeded: that is no failure")
        if first.by != "retry" or first.method is not None:
            raise ValueError("the first attempt is the renewal: `by` is retry, and `method` is left out")
        if any(later.at < earlier.at for earlier, later in pairwise(self.attempts)):
            raise ValueError("the attempts are not in the order of time")
        if any(each.result == "succeeded" for each in self.attempts[:-1]):
            raise ValueError("an attempt follows on one that succeeded")
        if (self.ended_at is None) != (self.ending == "open"):
            raise ValueError("`ended_at` says when it ended, and is there exactly when `ending` is not open")
        if self.ending != "open" and self.attempts[-1].result == "succeeded":
            raise ValueError("an attempt succeeded: `ending` is then left out")
        if self.ended_at is not None and self.ended_at < first.at:
            raise ValueError("`ended_at` is before the first attempt")
        if len({each.method for each in self.backups}) < len(self.backups):
            raise ValueError("two of `backups` have the same `method`")
        return self

    @property
    def opened_at(self) -> int:
        """When it failed."""
        return self.attempts[0].at


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, its line (from 1) and its place in the line."""

    line: int
    place: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.place + ': ' if self.place else ''}{self.message}"


class HistoryRefused(ValueError):
    """The file is not a valid history. `problems` are the first `MOST_PROBLEMS`, `count` counts all."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems[:MOST_PROBLEMS]
        self.count = len(problems)
        super().__init__("; ".join(map(str, self.problems)))


def read_history(path: Path) -> tuple[Header, list[Failure]]:
    """The header and the failures in the order of the file. Raises HistoryRefused, and OSError."""
    problems: list[Problem] = []
    header: Header | None = None
    failures: list[Failure] = []
    invoices: dict[str, int] = {}
    number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                if number == 1:
                    header = Header.model_validate_json(line)
                    continue
                failure = Failure.model_validate_json(line)
            except ValidationError as error:
                problems += _problems(number, error)
                continue
            before = invoices.setdefault(failure.invoice, number)
            if before != number:
                problems.append(Problem(number, "invoice", f"{failure.invoice} is on line {before}, too"))
            elif header is not None and failure.attempts[-1].at >= header.until:
                problems.append(Problem(number, "attempts", "an attempt is not before the header's `until`"))
            failures.append(failure)
    if number == 0:
        problems.append(Problem(1, "", "the file is empty: the first line is the header"))
    if header is None or problems:
        raise HistoryRefused(problems)
    return header, failures


def _problems(number: int, error: ValidationError) -> Iterator[Problem]:
    for each in error.errors(include_url=False, include_input=False):
        place = ".".join(map(str, each["loc"]))
        yield Problem(number, place, each["msg"].removeprefix("Value error, "))


def write_history(path: Path, header: Header, failures: Iterable[Failure]) -> None:
    """Write the whole file or nothing: it gets its name when it is on the disk. Readable by its owner only."""
    beside = path.with_name(f".{path.name}.new")
    with open(beside, "wb", opener=private) as file:
        file.write(header.model_dump_json(by_alias=True).encode() + b"\n")
        file.writelines(each.model_dump_json(exclude_defaults=True).encode() + b"\n" for each in failures)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def private(name: str, flags: int) -> int:
    """Open a file that only its owner can read."""
    return os.open(name, flags, 0o600)
