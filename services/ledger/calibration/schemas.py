"""The report on calibration as the API shows it."""

from datetime import date, datetime
from uuid import UUID

from pydantic import Field

from services.ledger.api.fields import Day
from services.ledger.api.schemas import OfMerchant, Outgoing
from services.ledger.calibration.measure import Agreement
from services.ledger.calibration.store import CalibratedBy
from services.ledger.learning.schemas import Learned


class CalibrationRange(OfMerchant):
    """The attempts of the recoveries that were opened on these days (UTC), both included, at most 366 days; by default
    the 90 days that end today."""

    from_: Day | None = Field(None, alias="from")
    to: Day | None = None
    group_by: CalibratedBy = Field(
        "cause", description="`cause` of the decline before the attempt; `merchant`, with a key of the platform"
    )


class CalibrationBin(Outgoing):
    """The attempts with a predicted chance from `at_least` to below `below`; the last bin includes 1."""

    at_least: float
    below: float
    attempts: int = Field(description="those whose outcome is known")
    succeeded: int
    predicted: float | None = Field(description="the mean of their predicted chances; null without attempts")
    observed: float | None = Field(description="succeeded ÷ attempts")
    low: float | None = Field(description="the observed share's 95 % interval (Wilson)")
    high: float | None


class Calibration(Outgoing):
    """What was predicted of attempts and what came of them.

    `as_predicted`: the interval of the observed share contains the mean predicted chance, and `error` is not above its
    limit. `right_on_average`: the first, but not the second, because bins are off in both directions.
    `less_than_predicted`, `more_than_predicted`: all of the interval is below, above. `not_enough_data`: fewer than 30
    attempts. `text` says so for people.
    """

    attempts: int = Field(description="those that had a predicted chance, and whose outcome is known")
    succeeded: int
    predicted: float | None = Field(description="the mean of their predicted chances; null without attempts")
    observed: float | None = Field(description="succeeded ÷ attempts")
    low: float | None = Field(description="the observed share's 95 % interval (Wilson)")
    high: float | None
    error: float | None = Field(
        description="the expected calibration error: the mean over the attempts of |predicted - observed| of their bin"
    )
    error_by_chance: float | None = Field(
        description="how large the error is on average, with as many attempts, if every prediction is right"
    )
    error_limit: float | None = Field(description="1.96 standard deviations above that: a larger error is no chance")
    verdict: Agreement
    text: str
    without_outcome: int = Field(description="predicted, and left out: no outcome is known yet")
    refused: int = Field(description="predicted, and left out: Stripe refused the request, and asked no bank")
    bins: list[CalibrationBin] = Field(description="ten, from the lowest chances to the highest")


class CalibrationGroup(Calibration):
    """The attempts after one cause, or of one merchant."""

    group: str


class CalibrationReport(Outgoing):
    """Predicted chances against outcomes, of the recoveries that were opened in a range. Groups by size."""

    merchant_id: UUID | None = Field(description="null: all merchants")
    from_: date = Field(alias="from")
    to: date
    as_of: datetime
    group_by: CalibratedBy
    confidence: float
    learned: Learned = Field(description="what was learned of these customers, and where they differ from the expected")
    total: Calibration
    data: list[CalibrationGroup]
