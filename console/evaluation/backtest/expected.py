"""The expected outcome of one failure under a policy: the chance that it is paid, by whom, after how many attempts."""

from dataclasses import dataclass
from typing import Final

from console.evaluation.backtest.clearing import HOUR, Model
from console.evaluation.backtest.past import Past
from console.evaluation.backtest.trace import Step, Trace


@dataclass(frozen=True, slots=True)
class Expected:
    """One failure under one policy: the chances (0 to 1) to be paid, and the expected attempts and messages.

    `estimated`: the part of `attempts` that is estimated and not known from history. `first_tries`: the expected
    number of first tries of other payment methods on file that are estimated, and `by_first_try` the chance that one of
    them pays; parts of `attempts` and `by_retry`.
    """

    by_retry: float
    otherwise: float
    attempts: float
    estimated: float
    messages: float
    first_tries: float = 0.0
    by_first_try: float = 0.0

    @property
    def paid(self) -> float:
        """The chance that it is paid, by anybody."""
        return self.by_retry + self.otherwise


def expected(trace: Trace, model: Model) -> Expected:
    """The expected outcome of a policy's trace under the model."""
    past = trace.past
    if trace.paid_at is not None and not trace.steps:
        sent = sum(at < trace.paid_at for at in trace.messages)
        return Expected(1.0, 0.0, trace.known, 0.0, sent)
    open_, by_retry, alone, estimated = 1.0, 0.0, 0.0, 0.0
    first_tries, by_first_try = 0.0, 0.0
    messages, sent = trace.messages, 0
    if trace.paid_at is not None:
        messages = tuple(at for at in messages if at < trace.paid_at)
    mailed = 0.0
    # What the customer would have done after the successful retry is not on record: the model estimates that, too.
    unknown_from = past.hours(past.paid_at) if past.paid_by_retry and past.paid_at is not None else None
    before = 0.0
    for step in trace.steps:
        hours = (step.at - past.opened_at) / HOUR
        while sent < len(messages) and messages[sent] < step.at:
            mailed += open_
            sent += 1
        if unknown_from is not None and hours > unknown_from:
            stays = model.nobody_paid(past.cause, max(unknown_from, before), hours)
            alone += open_ * (1 - stays)
            open_ *= stays
        before = hours
        yes = open_ * _chance(step, model)
        estimated += yes if step.on_news else open_
        if step.backup:
            first_tries += open_
            by_first_try += yes
        by_retry += yes
        open_ -= yes
    mailed += open_ * (len(messages) - sent)
    known: float = trace.known
    if trace.paid_at is not None:  # the last of the known attempts is made if none of the steps before it paid
        by_retry += open_
        known += open_ - 1
    elif unknown_from is not None:
        stays = model.nobody_paid(past.cause, max(unknown_from, before), past.hours(past.followed_until))
        alone += open_ * (1 - stays)
    elif past.paid_at is not None:
        alone += open_  # the customer paid, as they did
    return Expected(by_retry, alone, known + estimated, estimated, mailed, first_tries, by_first_try)


def _chance(step: Step, model: Model) -> float:
    return model.backup if step.backup else model.chance(step.cause, step.exposure)


HAPPENED_MESSAGES: Final = 0.0
"""History does not say which messages were sent."""


def happened(past: Past) -> Expected:
    """What happened, in the same form."""
    made = sum(each.at < past.followed_until for each in past.retries)
    paid = past.paid_at is not None
    by_retry = float(past.paid_by_retry)
    return Expected(by_retry, float(paid) - by_retry, made, 0.0, HAPPENED_MESSAGES)
