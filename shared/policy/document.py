"""The merchant's rules as a document: what the database stores as JSON and a recovery is pinned to.

A document is never changed once written; a new version is a new document. Only options that work are accepted.
`docs/policy.schema.json` is this model as JSON Schema.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from shared.policy.causes import DeclineCause
from shared.policy.contradictions import Contradiction, rising_within
from shared.policy.fields import Document, Hour, Zone
from shared.policy.message_hours import LikeliestHour, MessageHours
from shared.policy.paydays import PAYDAYS
from shared.recovery_model import BillingReason

SCHEMA_VERSION = 6


def _known_payday(name: str) -> str:
    if name not in PAYDAYS:
        near = get_close_matches(name, PAYDAYS, n=3, cutoff=0.4)
        raise ValueError(f"{name!r} is no payday; near it: {', '.join(near)}" if near else f"{name!r} is no payday")
    return name


Hours = Annotated[int, Field(ge=1, le=60 * 24)]
Day = Annotated[int, Field(ge=0, le=60)]
Days = Annotated[tuple[Day, ...], Field(max_length=61)]
Currency = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
StripeId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
SegmentName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
PaydayName = Annotated[str, AfterValidator(_known_payday), Field(json_schema_extra={"enum": list(PAYDAYS)})]
MinorUnits = Annotated[int, Field(ge=0, le=10**12)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


# --- When the next attempt is made ------------------------------------------------------------------------------------


class Delays(Document):
    """Retry after the first delay, then the second, …; the last one repeats.

    max_attempts: no more than this many of our attempts with one payment method whose last decline had this cause;
    null: as many as the policy allows.
    """

    kind: Literal["delays"] = "delays"
    hours: Annotated[tuple[Hours, ...], Field(min_length=1, max_length=20)]
    max_attempts: Annotated[int, Field(ge=0, le=20)] | None = None


class Paydays(Document):
    """Retry on the morning of the next likely payday, at least `after_hours` after the last attempt.

    The morning begins at `from_hour` in the card country's time and lasts `over_minutes`, in which attempts spread.
    A payday is one of `days_of_month`, one of `weekdays` or, with `last_business_day`, the month's last working day
    (holidays of the card's country counted out). max_attempts: as for delays.
    """

    kind: Literal["paydays"] = "paydays"
    after_hours: Hours = 20
    from_hour: Annotated[int, Field(ge=4, le=20)] = 8
    over_minutes: Annotated[int, Field(ge=1, le=180)] = 120
    days_of_month: Annotated[tuple[Annotated[int, Field(ge=1, le=31)], ...], Field(max_length=31)] = (1, 15)
    weekdays: Annotated[tuple[Weekday, ...], Field(max_length=7)] = ("friday",)
    last_business_day: bool = True
    max_attempts: Annotated[int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _some_day_is_a_payday(self) -> Self:
        if not (self.days_of_month or self.weekdays or self.last_business_day):
            raise ValueError("no day is a payday: name days_of_month or weekdays, or turn last_business_day on")
        return self


class Likeliest(Document):
    """Retry when the attempts that are left are likeliest to collect, by what is believed of customers after this cause
    (`services/worker/recovery/belief`): of their paydays, of how long money stays, of the hours at which banks decline.

    least_chance: an attempt is made only if it is so likely to succeed, should all others fail.
    after_hours: at least so long after the last attempt. wages: the shares of your customers that are known to be paid
    so (`last_business_day`: 0.6; the names are `shared.policy.paydays.PAYDAYS`); of the others it is believed what is
    believed of their country. max_attempts: as for delays.
    """

    kind: Literal["likeliest"] = "likeliest"
    least_chance: Annotated[float, Field(ge=0.001, le=0.5)] = 0.01
    after_hours: Hours = 16
    wages: Mapping[PaydayName, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    max_attempts: Annotated[int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _shares_are_of_a_whole(self) -> Self:
        if sum(self.wages.values()) > 1 + 1e-9:
            raise ValueError(f"the shares of wages add up to {sum(self.wages.values()):.2f}, which is more than all")
        return self


Schedule = Annotated[Delays | Paydays | Likeliest, Field(discriminator="kind")]


class Schedules(Document):
    """One schedule for each cause that can be soft."""

    insufficient_funds: Schedule = Likeliest()
    # What passes with time alone needs no belief: attempts that are soon collect as much, and sooner.
    try_later: Schedule = Delays(hours=(2, 8, 24, 48, 72, 96, 120))
    # Banks that hide their reason like attempts that are far apart.
    do_not_honor: Schedule = Likeliest(after_hours=30)
    # Limits run by the day, by the week or by the month: each first try comes an hour after one has passed.
    limit_exceeded: Schedule = Delays(hours=(25, 73, 169, 216))
    expired_card: Schedule = Delays(hours=(72, 168))
    not_allowed: Schedule = Delays(hours=(72, 168))
    unknown: Schedule = Likeliest(after_hours=30)

    def for_cause(self, cause: DeclineCause) -> Schedule:
        """The schedule after a decline of this cause; the one for unknown causes where a cause has none."""
        found: Schedule = getattr(self, cause) if cause in type(self).model_fields else self.unknown
        return found


class AttemptTimes(Document):
    """The local times at which attempts may be made; outside of them an attempt waits for the next that may.

    zone: `card_country` (UTC where the card's country is not known), or the merchant's own zone by its IANA name.
    quiet_from, quiet_until: no attempt from the one full hour up to the other, over midnight too; equal: none.
    weekdays: the days on which attempts are made. skip_holidays: not on public holidays of the card's country; with a
    zone of its own, of `holidays_of`.
    """

    zone: Literal["card_country"] | Zone = "card_country"
    quiet_from: Hour = 0
    quiet_until: Hour = 0
    weekdays: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] = WEEKDAYS
    skip_holidays: bool = False
    holidays_of: Country | None = None

    @property
    def always(self) -> bool:
        """Whether every time will do."""
        return self.quiet_from == self.quiet_until and len(set(self.weekdays)) == 7 and not self.skip_holidays


# --- Whom which rules are for -----------------------------------------------------------------------------------------


class Conditions(Document):
    """What an invoice has to be; all that are given have to hold. An unknown fact holds for no condition about it.

    amount_at_least, amount_below: minor units by currency; for other currencies the condition does not hold.
    tenure_days: since the subscription began. causes: of the last decline. countries: the card's.
    """

    currencies: Annotated[tuple[Currency, ...], Field(min_length=1)] | None = None
    amount_at_least: Mapping[Currency, MinorUnits] | None = None
    amount_below: Mapping[Currency, MinorUnits] | None = None
    products: Annotated[tuple[StripeId, ...], Field(min_length=1)] | None = None
    prices: Annotated[tuple[StripeId, ...], Field(min_length=1)] | None = None
    causes: Annotated[tuple[DeclineCause, ...], Field(min_length=1)] | None = None
    tenure_days_at_least: Annotated[int, Field(ge=1)] | None = None
    tenure_days_below: Annotated[int, Field(ge=1)] | None = None
    countries: Annotated[tuple[Country, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("a segment names at least one condition; what is for all stands outside the segments")
        return self


EndAction = Literal["leave", "cancel", "pause", "mark_uncollectible"]


class Overrides(Document):
    """What is different for a segment; what is not named stays as it is for all."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] | None = None
    window_days: Annotated[int, Field(ge=1, le=60)] | None = None
    message_days: Days | None = None
    message_hours: MessageHours | None = None
    schedules: Mapping[str, Schedule] | None = None
    attempt_times: AttemptTimes | None = None
    backup_methods: bool | None = None
    end_action: EndAction | None = None


class Segment(Document):
    """Invoices for which something is different. The first segment that fits is taken, and only that one."""

    name: SegmentName
    when: Conditions
    then: Overrides


# --- The document -----------------------------------------------------------------------------------------------------


class PolicyFields(Document):
    """How a merchant's failed invoices are recovered, value by value; `Policy` is one that nowhere contradicts itself.

    driver: who makes the retries. `auto`: we retry where Stripe has nothing scheduled, and keep away from what it has.
    `citadel`: we make all retries; Stripe's automatic ones are switched off, and should one be scheduled all the same,
    ours only keep out of its quiet period. `stripe`: Stripe retries; we write to the customer, watch and measure.

    quiet_hours_around_stripe: no attempt of ours this long before and after one of Stripe's. A day keeps the two from
    adding up on the limits that banks count by the day, and gives a late attempt and its events time to be seen.

    window_days: from the opening to the end; 60 is the longest that Stripe itself retries. max_attempts: of ours.
    message_days: on which days, counted from the opening, the customer is written to; action_required_days and
    new_method_days: the same while the customer has to authenticate or to bring another card; null: as message_days.
    message_hours: in which hour of the customer's day they go out; the first request to authenticate never waits.
    card_expiring_days: that many days before a renewal, a customer whose card will have expired is told, once per card;
    0: never. thank_you: whether a customer is thanked for a payment that came in.

    billing_reasons: which of the invoices that Stripe makes and charges by itself are collected: renewals
    (`subscription_cycle`), usage that reached a threshold (`subscription_threshold`), pending items that are billed at
    an interval of their own (`automatic_pending_invoice_item_invoice`).
    collect_ending: whether an invoice is still collected after its subscription was canceled to the end of the period
    that runs. On: the service was used, or will be until then.
    minimum_amounts: below this many minor units of a currency nothing is done about an invoice.
    backup_methods: whether another payment method that the customer has on file is tried when the default one is
    declined for good. Off: whether a customer agreed to that, only the merchant knows.
    end_action: what happens when nothing has helped. `leave` changes nothing, `cancel` and `pause` the subscription,
    `mark_uncollectible` the invoice.
    tell_end_customer, tell_end_merchant: whether the customer and the merchant are told when the end action was carried
    out.
    holdout_share: this share of invoices is watched and left alone, so that what the rest gains can be measured.
    timing: `learned`: schedules and message_hours of the kind `likeliest` plan by what the merchant's own recoveries
    have taught (where they are few, those of all merchants); in a policy without such schedules, the others pick the
    best hours by the merchant's retries, within the rules. `rules`: nothing is learned.
    """

    schema_version: Literal[6] = 6
    driver: Literal["auto", "citadel", "stripe"] = "auto"
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 15
    window_days: Annotated[int, Field(ge=1, le=60)] = 21
    minimum_gap_hours: Hours = 1
    quiet_hours_around_stripe: Annotated[int, Field(ge=1, le=7 * 24)] = 24
    schedules: Schedules = Schedules()
    attempt_times: AttemptTimes = AttemptTimes()
    timing: Literal["rules", "learned"] = "learned"
    message_days: Days = (0, 3, 7, 14, 21)
    action_required_days: Days | None = None
    new_method_days: Days | None = None
    message_hours: MessageHours = LikeliestHour()
    card_expiring_days: Annotated[int, Field(ge=0, le=60)] = 14
    thank_you: bool = True
    billing_reasons: Annotated[tuple[BillingReason, ...], Field(min_length=1, max_length=3)] = tuple(BillingReason)
    collect_ending: bool = True
    minimum_amounts: Mapping[Currency, MinorUnits] = Field(default_factory=dict)
    backup_methods: bool = False
    end_action: EndAction = "leave"
    tell_end_customer: bool = True
    tell_end_merchant: bool = True
    holdout_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    segments: Annotated[tuple[Segment, ...], Field(max_length=50)] = ()

    @model_validator(mode="before")
    @classmethod
    def _older_documents_keep_their_meaning(cls, document: Any) -> Any:
        if not isinstance(document, Mapping):
            return document
        match document.get("schema_version"):
            case 1:
                before: Mapping[str, Any] = {**_BEFORE_6, **_BEFORE_5, **_BEFORE_4, **_BEFORE_3, **_BEFORE_2}
            case 2:
                before = {**_BEFORE_6, **_BEFORE_5, **_BEFORE_4, **_BEFORE_3}
            case 3:
                before = {**_BEFORE_6, **_BEFORE_5, **_BEFORE_4}
            case 4:
                before = {**_BEFORE_6, **_BEFORE_5}
            case 5:
                before = _BEFORE_6
            case _:
                return document
        found = {**before, **document, "schema_version": SCHEMA_VERSION}
        if "schedules" in before and isinstance(found["schedules"], Mapping):
            found["schedules"] = {**_BEFORE_5["schedules"], **found["schedules"]}
        return found

    def contradictions(self) -> Iterator[Contradiction]:
        """The contradictions between the values, each with its place."""
        for name in ("message_days", "action_required_days", "new_method_days"):
            days = getattr(self, name)
            if days is not None:
                yield from rising_within(name, days, self.window_days)
        times = self.attempt_times
        if times.skip_holidays and times.zone != "card_country" and times.holidays_of is None:
            yield Contradiction("attempt_times.holidays_of", "say whose holidays: the zone is not the card country's")
        names: set[str] = set()
        for number, segment in enumerate(self.segments):
            place = f"segments.{number}"
            if segment.name in names:
                yield Contradiction(f"{place}.name", f"the name {segment.name!r} is taken")
            names.add(segment.name)
            yield from _of_overrides(self, segment.then, f"{place}.then")


class Policy(PolicyFields):
    """How a merchant's failed invoices are recovered."""

    @model_validator(mode="after")
    def _contradicts_itself_nowhere(self) -> Self:
        found = list(self.contradictions())
        if found:
            raise ValueError("; ".join(f"{each.place}: {each.message}" for each in found))
        return self

    @property
    def every_schedule(self) -> Iterator[Delays | Paydays | Likeliest]:
        """The schedules of all causes, and those of the segments."""
        for schedules in (dict(self.schedules), *(each.then.schedules or {} for each in self.segments)):
            yield from schedules.values()

    @classmethod
    def default(cls) -> "Policy":
        """The policy of a merchant who has set nothing."""
        return cls()

    @property
    def believes(self) -> bool:
        """Whether any of its schedules plans by what is believed of customers."""
        return any(isinstance(each, Likeliest) for each in self.every_schedule)

    @property
    def learns_hours(self) -> bool:
        """Whether it picks the best hours for its schedules by the merchant's own retries."""
        return self.timing == "learned" and not self.believes

    @property
    def writes_when_likeliest(self) -> bool:
        """Whether messages wait for the hour of the likeliest answer, for all invoices or for a segment's."""
        rules = (self.message_hours, *(each.then.message_hours for each in self.segments))
        return any(isinstance(each, LikeliestHour) for each in rules)

    def segment(self, name: str | None) -> "Policy":
        """This policy with the overrides of the named segment; itself for None and for an unknown name."""
        found = next((each for each in self.segments if each.name == name), None)
        return self if found is None else _overridden(self, found)


# The values that a document of version 5 (then of 4, …, of 1) did not have, as they were in effect then.
_BEFORE_6: Mapping[str, Any] = {
    "message_hours": {"kind": "any"},
}
_BEFORE_5: Mapping[str, Any] = {
    "max_attempts": 8,
    "timing": "rules",
    "schedules": {
        "insufficient_funds": {"kind": "paydays"},
        "try_later": {"kind": "delays", "hours": (2, 8, 24, 48, 72, 96, 120)},
        "do_not_honor": {"kind": "delays", "hours": (48, 72, 72, 96, 96, 120)},
        "limit_exceeded": {"kind": "delays", "hours": (25, 73, 169)},
        "expired_card": {"kind": "delays", "hours": (72, 168)},
        "not_allowed": {"kind": "delays", "hours": (72, 168)},
        "unknown": {"kind": "delays", "hours": (48, 72, 96, 120)},
    },
}
_BEFORE_4: Mapping[str, Any] = {
    "collect_ending": True,
    "tell_end_customer": False,
    "tell_end_merchant": False,
}
_BEFORE_3: Mapping[str, Any] = {
    "billing_reasons": (BillingReason.CYCLE,),
}
_BEFORE_2: Mapping[str, Any] = {
    "card_expiring_days": 0,
    "thank_you": False,
}


def _of_overrides(policy: PolicyFields, then: Overrides, place: str) -> Iterator[Contradiction]:
    for name in (then.schedules or {}).keys() - Schedules.model_fields.keys():
        yield Contradiction(f"{place}.schedules.{name}", "no cause that can be tried again has this name")
    days, window = then.message_days, then.window_days
    if days is not None or window is not None:
        within = policy.window_days if window is None else window
        shown = "message_days" if days is not None else "window_days"
        yield from rising_within(f"{place}.{shown}", policy.message_days if days is None else days, within)
    times = then.attempt_times
    if times is not None and times.skip_holidays and times.zone != "card_country" and times.holidays_of is None:
        yield Contradiction(f"{place}.attempt_times.holidays_of", "say whose holidays: the zone is not the card's")


def _overridden(policy: Policy, segment: Segment) -> Policy:
    changes: dict[str, Any] = {
        name: value for name in type(segment.then).model_fields if (value := getattr(segment.then, name)) is not None
    }
    if "schedules" in changes:
        changes["schedules"] = policy.schedules.model_copy(update=dict(changes["schedules"]))
    return policy.model_copy(update=changes)


@cache
def json_schema() -> dict[str, Any]:
    """The document as JSON Schema (draft 2020-12)."""
    schema = PolicyFields.model_json_schema() | {"title": "Policy"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
