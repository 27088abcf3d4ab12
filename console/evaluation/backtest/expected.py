"""The expected outcome of one failure under a policy: the chance that it is paid, by whom, after how many attempts."""

from dataclasses import dataclass
from typing import Final

from console.evaluation.backtest.clearing import HOUR, Model
from console.evaluation.backtest.past import Past
from console.evaluation.backtest.replay import Way


@dataclass(frozen=True, slots=True)
class Expected:
    """One failure under one policy: the chances (0 to 1) to be paid, and the expected attempts and messages.

    `estimated`: the part of `attempts` that is estimated and not known from history.
    """

    by_retry: float
    otherwise: float
    attempts: float
    estimated: float
    messages: float

    @property
    def paid(self) -> float:
        """The chance that it is paid, by anybody."""
        return self.by_retry + self.otherwise


def expected(way: Way, model: Model) -> Expected:
    """The expected outcome of a policy's way under the model."""
    past = way.past
    if way.paid_at is not None:
        sent = sum(at < way.paid_at for at in way.messages)
        return Expected(1.0, 0.0, way.known, 0.0, sent)
    open_, by_retry, alone, estimated = 1.0, 0.0, 0.0, 0.0
    messages, sent = way.messages, 0
    mailed = 0.0
    # What the customer would have done after the successful retry is not on record: the model estimates that, too.
    unknown_from = past.hours(past.paid_at) if past.paid_by_retry and past.paid_at is not None else None
    before = 0.0
    for step in way.steps:
        hours = (step.at - past.opened_at) / HOUR
        while sent < len(messages) and messages[sent] < step.at:
            mailed += open_
            sent += 1
        if unknown_from is not None and hours > unknown_from:
            stays = model.nobody_paid(past.cause, max(unknown_from, before), hours)
            alone += open_ * (1 - stays)
            open_ *= stays
        before = hours
        yes = open_ * model.chance(past.cause, step.exposure)
        estimated += yes if step.on_news else open_
        by_retry += yes
        open_ -= yes
    mailed += open_ * (len(messages) - sent)
    if unknown_from is not None:
        stays = model.nobody_paid(past.cause, max(unknown_from, before), past.hours(past.followed_until))
        alone += open_ * (1 - stays)
    elif past.paid_at is not None:
        alone += open_  # the customer paid, as they did
    return Expected(by_retry, alone, way.known + estimated, estimated, mailed)


HAPPENED_MESSAGES: Final = 0.0
"""History does not say which messages were sent."""


def happened(past: Past) -> Expected:
    """What happened, in the same form."""
    made = sum(each.at < past.followed_until for each in past.retries)
    paid = past.paid_at is not None
    by_retry = float(past.paid_by_retry)
    return Expected(by_retry, float(paid) - by_retry, made, 0.0, HAPPENED_MESSAGES)
