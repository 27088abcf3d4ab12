"""What the API takes and gives, as pydantic models; the OpenAPI document is made from them.

What comes in forbids unknown fields, and bodies are strict (a number in quotes is not a number). What goes out has
every field, always; null says that there is no value. Amounts are whole minor units of the currency beside them.
"""

from datetime import date, datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.ledger.fields import (
    EXACT_MAX,
    Currency,
    CursorText,
    CustomerId,
    Day,
    EventName,
    Instant,
    InvoiceId,
    Limit,
    MetricType,
    RowId,
    SubscriptionId,
    TaskType,
    UniqueKey,
)
from services.ledger.lift import Verdict
from services.ledger.report_store import GroupBy
from shared.queue.tasks import TaskStatus
from shared.recoveries import RecoveryState
from shared.silences import SilenceReason

T = TypeVar("T", bound=BaseModel)


class Incoming(BaseModel):
    """Parameters: texts from path and query."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """A body: parsed JSON, taken as it is."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Outgoing(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


class NoBody(Body):
    """Of an endpoint that reads no body."""


# ---- parameters -----------------------------------------------------------------------------------------------------


class OfMerchant(Incoming):
    """What to read: one merchant, or with a platform's key and without `merchant_id` all of them."""

    merchant_id: RowId | None = None


class Paged(OfMerchant):
    """One page of a list, newest first."""

    limit: Limit = 50
    cursor: CursorText | None = Field(None, description="next_cursor of the page before")


class DailyRange(OfMerchant):
    """Days in UTC, both ends included, at most 366; by default the 30 days that end today."""

    from_: Day | None = Field(None, alias="from")
    to: Day | None = None
    currency: Currency | None = None


class RecoveryMatch(OfMerchant):
    """`opened_from` is included, `opened_to` is not."""

    state: RecoveryState | None = None
    invoice_id: InvoiceId | None = None
    subscription_id: SubscriptionId | None = None
    customer_id: CustomerId | None = None
    currency: Currency | None = None
    opened_from: Instant | None = None
    opened_to: Instant | None = None


class RecoveryFilter(RecoveryMatch, Paged):
    """One page of the recoveries that match, newest first."""


class ReportRange(OfMerchant):
    """Which recoveries: by the day (UTC) on which they were opened, both ends included, at most 366 days; by default
    the 90 days that end today."""

    from_: Day | None = Field(None, alias="from")
    to: Day | None = None
    group_by: GroupBy | None = Field(
        None,
        description="`cause` of the first decline, `policy_version` that it was opened under, `cohort_week` of the "
        "first failure (its Monday, UTC), `attribution` of the payment; without it everything is one group",
    )


class CustomerPage(Paged):
    """One page of what is kept about customers, newest first."""

    customer_id: CustomerId | None = None


class TaskFilter(Paged):
    """Which tasks."""

    status: TaskStatus | None = None
    task_type: TaskType | None = None
    recovery_id: RowId | None = None


class MerchantPage(Incoming):
    """One page of merchants, newest first."""

    limit: Limit = 50
    cursor: CursorText | None = Field(None, description="next_cursor of the page before")


class OneRecovery(Incoming):
    """Which recovery."""

    recovery_id: RowId


class OneTask(Incoming):
    """Which task: the id that the API gave, not the row's number."""

    task_id: RowId


class OneMerchant(Incoming):
    """Which merchant."""

    merchant_id: RowId


class OnePolicy(Incoming):
    """Which version of a policy."""

    policy_id: RowId


class TwoPolicies(OnePolicy):
    """Which two versions."""

    other_id: RowId


class NoParameters(Incoming):
    """Of an endpoint that takes none."""


# ---- bodies ---------------------------------------------------------------------------------------------------------


class TaskCreate(Body):
    """A task to queue. A type that no worker handles ends in the dead letters."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    task_type: TaskType
    payload: dict[str, JsonValue] = Field(
        description="what the task type's handler expects: ids, codes, amounts and times, never personal data; "
        "at most 32 levels deep, no U+0000",
    )
    run_at: Instant | None = Field(None, description="business time; by default, and for a time that has passed, now")
    unique_key: UniqueKey | None = Field(
        None, description="while a task that was made here with this key is pending or running, no other is (409)"
    )


class TaskSelection(Body):
    """Tasks of a merchant, of a type, or of both. With a merchant's key: that merchant's."""

    merchant_id: RowId | None = None
    task_type: TaskType | None = None


class PauseStart(TaskSelection):
    """What to pause."""

    reason: str = Field("", max_length=200, description="for other operators; never personal data")


class PauseEnd(TaskSelection):
    """Which pause to end: named as it was started."""


class UsageCreate(Body):
    """Usage of a merchant's customer, for the ledger and for Stripe's meter."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    customer_id: CustomerId
    metric_type: MetricType = Field(
        description="the ledger's name for what was used; the names of the recoveries' own numbers are refused"
    )
    amount: int = Field(ge=1, le=EXACT_MAX, description="how much, in the meter's unit")
    event_name: EventName = Field(description="the Stripe meter's event_name")
    timestamp: Instant | None = Field(
        None, description="when it was used, by default now; Stripe takes 35 days back and 5 minutes ahead"
    )


class SilenceStart(Body):
    """Who is not to be written to any more, and why."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    customer_id: CustomerId
    reason: SilenceReason = Field(SilenceReason.OPTED_OUT, strict=False)


class SilenceEnd(Body):
    """Who is to be written to again."""

    merchant_id: RowId | None = Field(None, description="required with a key of the platform")
    customer_id: CustomerId
    reason: SilenceReason | None = Field(
        None, strict=False, description="this silence only; without it, all of the customer's"
    )


class PolicyDocument(Body):
    """A policy that is not written, only looked at."""

    document: dict[str, JsonValue] = Field(description="as `GET /v1/policy-schema` describes it")


class PolicyCreate(PolicyDocument):
    """The next version of a policy."""

    merchant_id: RowId | None = Field(None, description="with a key of the platform; without it, the platform's own")
    note: str | None = Field(
        None, max_length=500, description="what the version is for; no personal data", pattern=r"^[^\u0000]*$"
    )


class PolicyOwner(Body):
    """Whose policy."""

    merchant_id: RowId | None = Field(None, description="with a key of the platform; without it, the platform's own")


# ---- answers --------------------------------------------------------------------------------------------------------


class Page(Outgoing, Generic[T]):
    """One page; `next_cursor` is null on the last."""

    data: list[T]
    next_cursor: str | None


class Sum(Outgoing):
    """Money, and how many recoveries it is of."""

    amount: int
    count: int


class Money(Outgoing):
    """The recoveries' numbers in one currency."""

    currency: str
    failed: Sum = Field(description="every recovery that was opened: what was due")
    recovered: Sum
    exhausted: Sum
    stopped: Sum
    attempts: int
    messages: int


class Totals(Money):
    """The numbers over all time."""

    at_risk: Sum = Field(description="failed less recovered, exhausted and stopped: the recoveries that go on")
    recovery_rate: float | None = Field(description="recovered ÷ failed, by amount; null when nothing has failed")


class Capped(Outgoing):
    """A count that stops at 10,000; `more` says that it did."""

    count: int = Field(ge=0, le=10_000)
    more: bool


class QueueHealth(Outgoing):
    """The queue: `due` tasks are pending ones whose time has come. Of all merchants: without what is paused."""

    due: Capped
    pending: Capped
    running: Capped
    dead: Capped
    oldest_due_seconds: float | None = Field(description="how long the oldest due task has waited; null without one")


class Stats(Outgoing):
    """Everything for a dashboard's first screen. One entry per currency: currencies are never added up."""

    merchant_id: UUID | None = Field(description="null: all merchants")
    as_of: datetime
    money: list[Totals]
    queue: QueueHealth


class DailyMoney(Money):
    """The numbers of one day (UTC)."""

    date: date


class Daily(Outgoing):
    """One entry per day and currency in which something happened, oldest first."""

    merchant_id: UUID | None = Field(description="null: all merchants")
    from_: date = Field(alias="from")
    to: date
    data: list[DailyMoney]


class Recovery(Outgoing):
    """A failed invoice, and where its recovery is."""

    id: UUID
    merchant_id: str
    invoice_id: str
    subscription_id: str | None
    customer_id: str | None
    state: RecoveryState
    end_reason: str | None
    stop_requested: str | None
    amount_due: int
    currency: str
    amount_recovered: int
    recovered_by: Literal["retry", "message"] | None
    decline_cause: str | None
    policy_id: UUID
    opened_at: datetime
    next_attempt_at: datetime | None
    closed_at: datetime | None
    updated_at: datetime


class Attempt(Outgoing):
    """One try to collect, by The Citadel or by Stripe."""

    id: UUID
    origin: Literal["citadel", "stripe"]
    number: int
    result: Literal["started", "succeeded", "declined", "requires_action", "failed", "abandoned", "unknown"]
    amount: int
    currency: str
    payment_method_id: str | None
    card_network: str | None
    card_country: str | None
    payment_intent_id: str | None
    charge_id: str | None
    error_code: str | None
    decline_code: str | None
    advice_code: str | None
    network_decline_code: str | None
    network_advice_code: str | None
    started_at: datetime
    finished_at: datetime | None


class TimelineEntry(Outgoing):
    """What happened to a recovery, by which rule, and what comes next."""

    at: datetime
    kind: str
    from_state: RecoveryState | None
    to_state: RecoveryState | None
    rule: str
    explanation: str
    detail: dict[str, Any]
    next_step: str | None
    next_at: datetime | None


class CardWarning(Outgoing):
    """A customer was told ahead of a renewal that a card will have expired; once per card and its last month."""

    merchant_id: str
    customer_id: str
    payment_method_id: str
    exp_month: int
    exp_year: int
    warned_at: datetime


class RecoveryStory(Recovery):
    """A recovery with everything that was tried and everything that happened, oldest first.

    `card_warnings` are those that its customer had before it ended.
    """

    attempts: list[Attempt]
    timeline: list[TimelineEntry]
    card_warnings: list[CardWarning]


class Ours(Outgoing):
    """What counts as ours: collected by our retries, or paid by the customer after a message of ours."""

    retry: Sum
    message: Sum


class Elsewhere(Outgoing):
    """What does not: collected by Stripe's own retries, or paid by the customer unasked, or outside Stripe."""

    stripe: Sum
    customer: Sum


class ReportMoney(Outgoing):
    """One currency's numbers. Of what is ours the amount that came in, of everything else the amount that was due."""

    currency: str
    failed: Sum = Field(description="every recovery that was opened in the range")
    young: Sum = Field(description="those whose window is not over; nothing below counts them, ended or not")
    counted: Sum = Field(description="failed less young: what the shares are of")
    recovered: Sum = Field(description="by us: `ours.retry` and `ours.message`")
    recovered_share: float | None = Field(description="recovered ÷ counted, by count; null when nothing is counted")
    recovered_amount_share: float | None = Field(description="the same by amount")
    ours: Ours
    elsewhere: Elsewhere
    unpaid: Sum


class LiftGroup(Outgoing):
    """How many recoveries were drawn into a group, and how many of them were paid, by whomever."""

    assigned: int
    paid: int
    paid_share: float | None


class Lift(Outgoing):
    """The paid share of what was worked on less that of the holdout, and its interval.

    `gain`, `loss`: the whole interval is above, below 0. `unclear`: it holds 0. `not_enough_data`: fewer than 30 in one
    of the two, so there is no number. `no_holdout`: the policies held nothing out. `not_applicable`: the report is by
    an outcome. Only recoveries count whose window is over and that were opened under a policy with a
    holdout; where shares differ, each is compared with its own holdout.
    """

    verdict: Verdict
    treatment: LiftGroup
    holdout: LiftGroup
    difference: float | None
    low: float | None
    high: float | None
    confidence: float


class ReportGroup(Outgoing):
    """A group's numbers, by currency: currencies are never added up."""

    group: str | None = Field(description="`all` without `group_by`; null: no decline was read")
    label: str = Field(description="for people")
    money: list[ReportMoney]
    lift: Lift = Field(description="by count, over all currencies")


class RecoveryReport(Outgoing):
    """What became of the recoveries that were opened in a range. Weeks in their order, other groups by size."""

    merchant_id: UUID | None = Field(description="null: all merchants")
    from_: date = Field(alias="from")
    to: date
    as_of: datetime
    group_by: GroupBy | None
    data: list[ReportGroup]


class Silence(Outgoing):
    """A customer that is not written to, by Stripe's id, and why. One may have several."""

    merchant_id: str
    customer_id: str
    reason: SilenceReason
    silenced_at: datetime


class Activity(TimelineEntry):
    """A line of a timeline, and whose it is."""

    id: int
    recovery_id: UUID
    merchant_id: str


class Task(Outgoing):
    """A task of the queue. `version` changes with every change of the task."""

    id: UUID
    merchant_id: str
    task_type: str
    payload: dict[str, Any]
    status: TaskStatus
    run_at: datetime
    created_at: datetime
    recovery_id: UUID | None
    unique_key: str | None
    attempts: int
    max_attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    last_error: str | None
    version: str


class Changed(Outgoing):
    """How many rows a call changed. `more`: it stopped at its limit, call again."""

    changed: int
    more: bool


class Pause(Outgoing):
    """A pause in force; null is any."""

    merchant_id: str | None
    task_type: str | None
    reason: str
    paused_at: datetime


class PauseList(Outgoing):
    """All pauses in force."""

    data: list[Pause]


class Merchant(Outgoing):
    """A connected account; its tokens stay in the database."""

    id: UUID
    stripe_connect_id: str
    tier: str | None
    status: Literal["active", "disconnected", "deauthorized"]
    livemode: bool | None
    created_at: datetime
    connected_at: datetime | None
    disconnected_at: datetime | None
    caught_up_at: datetime | None = Field(description="when what Stripe could not deliver was last fetched to the end")
    missed_events: int = Field(description="events that no webhook had brought and that were fetched")
    missed_recoveries: int = Field(description="recoveries opened for open invoices that no event had told of")


class Usage(Outgoing):
    """Usage that is in the ledger; the task reports it to Stripe."""

    id: UUID
    merchant_id: str
    customer_id: str
    metric_type: str
    amount: int
    event_name: str
    timestamp: datetime
    created_at: datetime
    task_id: UUID


class PolicyVersion(Outgoing):
    """One version of a policy. Its document never changes."""

    id: UUID
    merchant_id: str | None = Field(description="null: the platform's, which holds for merchants without one in force")
    version: int
    active: bool = Field(description="whether it is its owner's version in force")
    note: str | None
    created_at: datetime
    activated_at: datetime | None = Field(description="when it was last put in force")
    document: dict[str, Any]


class PolicyVersions(Outgoing):
    """The versions of one owner, newest first, at most a hundred."""

    merchant_id: str | None = Field(description="null: the platform")
    in_force: UUID | None = Field(description="the version that new recoveries are opened under; it may be another's")
    data: list[PolicyVersion]


class PolicyProblem(Outgoing):
    """What is wrong in a policy, and where; an empty place is the whole document."""

    place: str
    message: str


class PolicyCheck(Outgoing):
    """Whether a document is a policy, and all that is wrong with it."""

    valid: bool
    problems: list[PolicyProblem]


class PolicyChange(Outgoing):
    """A place in the document, and what stands there in each version; null where nothing does."""

    place: str
    before: JsonValue
    after: JsonValue


class DifferencesOfPolicies(Outgoing):
    """All differences between two versions, in the order of the document."""

    before: UUID
    after: UUID
    data: list[PolicyChange]


class PolicyMove(Outgoing):
    """What moving one recovery changes. `ends_at_once`: by the new rules its window or its attempts are used up."""

    recovery_id: UUID
    invoice_id: str
    state: RecoveryState
    from_policy: UUID
    from_version: int
    window_ends_before: datetime
    window_ends_after: datetime
    attempts_left_before: int
    attempts_left_after: int
    ends_at_once: bool


class PolicyMoves(Outgoing):
    """The recoveries in flight that a move would put under a version; `data` shows the first hundred."""

    policy_id: UUID
    recoveries: int
    ending_at_once: int
    data: list[PolicyMove]


class PolicySchema(Outgoing):
    """The policy document as JSON Schema (draft 2020-12)."""

    json_schema: dict[str, Any]


class FieldError(BaseModel):
    """One thing that is wrong."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """An error (RFC 9457). `type` is stable; `errors` is there when single fields are wrong."""

    type: str
    title: str
    status: int
    detail: str
    request_id: UUID
    errors: list[FieldError] | None = None
