"""A world as a document: who fails to pay, and what their banks and they themselves would do.

What a file leaves out, of the document or of one of its groups, is as in the world `as_made` (`validation.py`).
`docs/world.schema.json` is this model as JSON Schema. Amounts are minor units, whatever the currency.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from console.evaluation.worlds.base import (
    DayOfMonth,
    For,
    Funding,
    LocalSpan,
    MedianHours,
    Part,
    Share,
    Source,
    Spread,
)
from console.evaluation.worlds.calendars import DAYS, FIRST_DAY, run_days_of
from console.evaluation.worlds.wages import Wages
from services.worker.recovery import Decline, classify
from shared.policy.contradictions import Contradiction
from shared.policy.document import Country, Currency, Weekday
from shared.policy.fields import Hour

SCHEMA_VERSION = 1
ROUNDING = 0.001
"""Shares of one whole may miss 1 by so much: people write them with three digits."""


# --- Who renews -------------------------------------------------------------------------------------------------------


class CountryShare(Part):
    """A country of cards (ISO 3166 alpha-2), and the currency in which its customers pay."""

    code: Country
    currency: Currency
    share: Share


class NetworkShare(Part):
    """A card network, by Stripe's name (`card.brand`)."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
    share: Share


class FundingShare(Part):
    """A kind of card, by Stripe's name (`card.funding`)."""

    name: Funding
    share: Share


class AmountShare(Part):
    """An amount that renewals are for, in minor units."""

    minor_units: Annotated[int, Field(ge=1, le=10**9)]
    share: Share


class Renewals(Part):
    """Whose renewals fail, and when. Each day's renewals are collected in one run.

    run_hours: the hours (UTC) of the runs of successive days; after the last hour the first one comes again.
    run_days: the days of the month that have a run; empty: all.
    again: the share of failures whose customers have failed before, once to three times in the last six months.
    """

    source: Source
    countries: Annotated[tuple[CountryShare, ...], Field(min_length=1, max_length=40)]
    networks: Annotated[tuple[NetworkShare, ...], Field(min_length=1, max_length=10)]
    funding: Annotated[tuple[FundingShare, ...], Field(min_length=1, max_length=3)]
    amounts: Annotated[tuple[AmountShare, ...], Field(min_length=1, max_length=12)]
    run_hours: Annotated[tuple[Hour, ...], Field(min_length=1, max_length=60)]
    run_days: Annotated[tuple[DayOfMonth, ...], Field(max_length=31)] = ()
    again: Share = 0.0


# --- Why they fail, and how that clears -------------------------------------------------------------------------------


class _Way(Part):
    # Of the failures of the code that ever clear, on cards with this funding; the shares that fit a card are a whole.
    share: Share = 1.0
    funding: tuple[Funding, ...] = ()


class ByWages(_Way):
    """When wages arrive, for as long as the money is enough."""

    by: Literal["wages"]


class ByLimit(_Way):
    """When a limit is reset: at the local end of the day, the week or the month."""

    by: Literal["limit"]
    every: Literal["day", "week", "month"]


class ByDelay(_Way):
    """After hours: lognormal."""

    by: Literal["delay"]
    median_hours: MedianHours
    spread: Spread


class ByOutage(_Way):
    """When an outage ends, for all failures of a run in a country at the same time; after hours: lognormal."""

    by: Literal["outage"]
    median_hours: MedianHours
    spread: Spread


class ByUpdater(_Way):
    """When the network's updater service has renewed the card, of which Stripe sends an event; lognormal."""

    by: Literal["updater"]
    median_hours: MedianHours
    spread: Spread


class ByRest(_Way):
    """By rest (velocity): the bank declines while the last attempt was less than `hours` ago, and, with `most`, while
    there were so many within the last `within_days`. The failed renewal is an attempt, too."""

    by: Literal["rest"]
    hours: Annotated[float, Field(ge=0, le=24 * 30)]
    most: Annotated[int, Field(ge=1, le=20)] | None = None
    within_days: Annotated[float, Field(gt=0, le=60)] = 30.0


Way = Annotated[ByWages | ByLimit | ByDelay | ByOutage | ByUpdater | ByRest, Field(discriminator="by")]


class Code(Part):
    """Failures with one of Stripe's decline codes.

    share: of all failures. clears: the share of them that clears some day without the customer, in one of the `ways`.
    approves: the chance that the bank then accepts an attempt. responds: the share of customers who pay after the first
    message.
    """

    code: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
    share: Share
    clears: Share
    approves: Share
    responds: Share
    ways: Annotated[tuple[Way, ...], Field(max_length=20)] = ()


class Causes(Part):
    """The decline codes."""

    source: Source
    codes: Annotated[tuple[Code, ...], Field(min_length=1, max_length=100)]


class Stay(Part):
    """Wages are enough for any invoice, and stay for so many days on average (exponentially distributed)."""

    kind: Literal["stay"]
    source: Source
    days: Annotated[float, Field(gt=0, le=90)]


class Balance(Part):
    """Each payday leaves a balance (lognormal, in minor units), which is spent: after `days` days 37 % of it are left.

    An invoice can be paid while the balance is larger. So a small invoice clears at more paydays, and for longer.
    """

    kind: Literal["balance"]
    source: Source
    days: Annotated[float, Field(gt=0, le=90)]
    median: Annotated[float, Field(gt=0, le=10**9)]
    spread: Spread


Funds = Annotated[Stay | Balance, Field(discriminator="kind")]


# --- When banks decline whatever the cause ----------------------------------------------------------------------------


class ClosedHours(LocalSpan):
    """Hours in which a bank declines with this chance, in the card country's time or in UTC.

    weekdays: the days on which these hours count, by the same clock; empty: all. `why` is for readers: a batch at
    night, a stricter check for fraud.
    """

    clock: Literal["local", "utc"] = "local"
    weekdays: Annotated[tuple[Weekday, ...], Field(max_length=7)] = ()
    chance: Share = 1.0
    why: str = ""


class BankGroup(For):
    """Cards whose bank declines in some hours. The shares of the groups that fit a card may be less than 1: the rest
    has no such bank."""

    share: Share
    closed: Annotated[tuple[ClosedHours, ...], Field(min_length=1, max_length=20)]


class Outage(For):
    """From `begins` on a share of the cards is declined for so many hours."""

    begins: AwareDatetime
    hours: Annotated[float, Field(gt=0, le=24 * 14)]
    share: Share


class Banks(Part):
    """What banks do whatever the cause of the first decline."""

    source: Source
    groups: Annotated[tuple[BankGroup, ...], Field(max_length=40)] = ()
    outages: Annotated[tuple[Outage, ...], Field(max_length=100)] = ()


# --- What customers do ------------------------------------------------------------------------------------------------


class HourFactor(LocalSpan):
    """By what an answer is more likely (less, below 1) if the message is sent in these hours of the customer's day."""

    factor: Annotated[float, Field(ge=0, le=5)]


class Messages(Part):
    """Answers to messages.

    fades: by what each further message moves fewer of those who have not answered yet. median_hours, spread: until the
    answer, lognormal. hours: of all hours that hold, the first; other hours have the factor 1.
    """

    source: Source
    fades: Share
    median_hours: MedianHours
    spread: Spread
    hours: Annotated[tuple[HourFactor, ...], Field(max_length=24)] = ()


class Alone(Part):
    """The share of customers who pay by themselves within the horizon, without a message."""

    source: Source
    share: Share


class Drift(Part):
    """From a date on wages come so many days later, and the banks' hours begin so many hours later, than the groups
    say. It holds until the next drift begins."""

    since: date
    wages_days: Annotated[int, Field(ge=-31, le=31)] = 0
    bank_hours: Annotated[int, Field(ge=-23, le=23)] = 0


UNMOVED = Drift(since=date.min)


# --- The document -----------------------------------------------------------------------------------------------------


class WorldFields(Part):
    """Who fails to pay, and what their banks and they themselves would do; `World` is one that nowhere contradicts
    itself.

    about: what the world is, or what is hard about it, for people. Each group of facts says in `source` where it is
    published, or that it is assumed.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    about: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    renewals: Renewals
    causes: Causes
    wages: Wages
    funds: Funds
    banks: Banks
    messages: Messages
    alone: Alone
    drift: Annotated[tuple[Drift, ...], Field(max_length=100)] = ()

    def contradictions(self) -> Iterator[Contradiction]:
        """The contradictions between the values, each with its place."""
        renewals = self.renewals
        for name in ("countries", "networks", "funding", "amounts"):
            entries = getattr(renewals, name)
            yield from _a_whole(f"renewals.{name}", [each.share for each in entries])
            yield from _named_once(f"renewals.{name}", [next(iter(each.__dict__.values())) for each in entries])
        if not run_days_of(renewals.run_days, FIRST_DAY, DAYS):
            text = f"none of these days is among the {DAYS} compared ones from {FIRST_DAY} on: nothing would fail"
            yield Contradiction("renewals.run_days", text)
        yield from self._of_causes()
        yield from self._of_wages()
        yield from self._of_banks()
        for number, hours in enumerate(self.messages.hours):
            yield from _no_empty_span(f"messages.hours.{number}", hours)
        if any(later.since <= earlier.since for earlier, later in pairwise(self.drift)):
            yield Contradiction("drift", "the dates must rise")

    def _cards(self) -> list[tuple[str, str]]:
        """Each country with each funding that there is."""
        countries = [each.code for each in self.renewals.countries if each.share]
        return [(country, each.name) for country in countries for each in self.renewals.funding if each.share]

    def _of_causes(self) -> Iterator[Contradiction]:
        codes = self.causes.codes
        yield from _a_whole("causes.codes", [each.share for each in codes])
        yield from _named_once("causes.codes", [each.code for each in codes])
        for number, each in enumerate(codes):
            place = f"causes.codes.{number}"
            if classify(Decline("card_declined", each.code)).unknown:
                yield Contradiction(f"{place}.code", f"Stripe has no decline code {each.code!r} that is known here")
            if each.clears:
                for funding in sorted({funding for _, funding in self._cards()}):
                    shares = [way.share for way in each.ways if not way.funding or funding in way.funding]
                    yield from _a_whole(f"{place}.ways", shares, f" of {funding} cards")

    def _of_wages(self) -> Iterator[Contradiction]:
        for number, each in enumerate(self.wages.sets):
            yield from _a_whole(f"wages.sets.{number}.groups", [group.share for group in each.groups])
        for country, funding in self._cards():
            if not any(each.fits(country, funding) for each in self.wages.sets):
                text = f"no set says when customers with {funding} cards of {country} are paid"
                yield Contradiction("wages.sets", text)

    def _of_banks(self) -> Iterator[Contradiction]:
        for country, funding in self._cards():
            whole = sum(each.share for each in self.banks.groups if each.fits(country, funding))
            if whole > 1 + ROUNDING:
                text = f"the shares of {funding} cards of {country} add up to {whole:g}, which is more than all"
                yield Contradiction("banks.groups", text)
        for number, group in enumerate(self.banks.groups):
            for place, hours in enumerate(group.closed):
                yield from _no_empty_span(f"banks.groups.{number}.closed.{place}", hours)


class World(WorldFields):
    """Who fails to pay, and what their banks and they themselves would do."""

    @model_validator(mode="after")
    def _contradicts_itself_nowhere(self) -> Self:
        found = list(self.contradictions())
        if found:
            raise ValueError("; ".join(f"{each.place}: {each.message}" for each in found))
        return self

    def drifted(self, day: date) -> Drift:
        """By what a day is off; by nothing before the first drift."""
        return next((each for each in reversed(self.drift) if each.since <= day), UNMOVED)


def _a_whole(place: str, shares: Sequence[float], of: str = "") -> Iterator[Contradiction]:
    whole = sum(shares)
    if abs(whole - 1) > ROUNDING:
        yield Contradiction(place, f"the shares{of} must add up to 1, not to {whole:g}")


def _named_once(place: str, names: Sequence[object]) -> Iterator[Contradiction]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Contradiction(f"{place}.{number}", f"{name} is there twice")


def _no_empty_span(place: str, span: LocalSpan) -> Iterator[Contradiction]:
    if span.from_hour == span.until_hour:
        yield Contradiction(place, "from_hour and until_hour are the same: no hour would count")


@cache
def json_schema() -> dict[str, Any]:
    """The document as JSON Schema (draft 2020-12), as files are written: they may leave out what is as in `as_made`."""
    schema = WorldFields.model_json_schema() | {"title": "World", "required": ["name", "about"]}
    for group in ("Renewals", "Causes", "Wages", "Banks", "Messages", "Alone"):
        schema["$defs"][group].pop("required", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
