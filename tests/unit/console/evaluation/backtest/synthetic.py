"""Made-up pasts: what a ladder would have left on record of the population of `citadel simulate`, and single ones."""

from datetime import UTC, datetime, timedelta
from itertools import islice

from console.evaluation.history import Attempt, Card, Failure, Header
from console.evaluation.play import NOBODY, RETRY, play
from console.evaluation.population import DAY, HORIZON_DAYS, Population
from console.evaluation.population import Failure as MadeUp
from console.evaluation.strategies import Brain, Ladder, Strategy
from console.evaluation.worlds import as_made
from services.worker.recovery import Policy

CITADEL = Policy.default().model_copy(update={"driver": "citadel"})
SILENT = CITADEL.model_copy(update={"message_days": ()})
"""Nobody answers a message, so that a replay, which knows none of them, can be compared with the truth."""

OPENED = datetime(2026, 1, 5, 12, tzinfo=UTC)
UNTIL = int((OPENED + timedelta(days=200)).timestamp())


def at(days: float) -> int:
    """Unix seconds, so many days after OPENED."""
    return int((OPENED + timedelta(days=days)).timestamp())


def declined(days: float, code: str = "do_not_honor", **given: object) -> Attempt:
    return Attempt.model_validate(
        {"at": at(days), "result": "declined", "code": "card_declined", "decline_code": code} | given
    )


def paid(days: float, **given: object) -> Attempt:
    return Attempt.model_validate({"at": at(days), "result": "succeeded"} | given)


def failure(*attempts: Attempt, invoice: str = "in_1", **given: object) -> Failure:
    card = {"fingerprint": f"card_{invoice}", "network": "visa", "country": "US"}
    fields = {"invoice": invoice, "amount": 1000, "currency": "usd", "card": card, "attempts": attempts}
    return Failure.model_validate(fields | given)


def ladder(name: str = "stripe") -> Strategy:
    """What retried in the past: eight times in two weeks, or after 2, 5, 7 and 7 days."""
    day = timedelta(days=1)
    if name == "stripe":
        return Ladder(name, [14 / 8 * day] * 8, SILENT, obeys_hard=True)
    return Ladder(name, [2 * day, 5 * day, 7 * day, 7 * day], SILENT, obeys_hard=True)


def past(count: int, seed: int, retried: Strategy) -> tuple[Header, list[Failure], list[MadeUp]]:
    """The history file that a strategy leaves behind, and whom it was about."""
    people = list(islice(Population(as_made(), seed), count))
    found = [_on_record(f"in_{seed}_{number}", each, retried) for number, each in enumerate(people)]
    first = int(min(each.kind.opened_at for each in people))
    header = Header.of("acct_made_up", first - 40 * 86_400, first + (HORIZON_DAYS + 60) * 86_400)
    return header, found, people


def _on_record(invoice: str, person: MadeUp, retried: Strategy) -> Failure:
    fate, said = play(retried, person), person.kind.decline
    opened = person.kind.opened_at
    no = {"result": "declined", "code": said.code, "decline_code": said.decline_code}
    attempts = [Attempt.model_validate({"at": int(opened), **no})]
    for step in retried.plan(person.kind).attempts:
        if step.at >= fate.paid_at:
            break
        attempts.append(Attempt.model_validate({"at": int(step.at), **no}))
    if fate.by == RETRY:
        attempts.append(Attempt(at=int(fate.paid_at), result="succeeded"))
    elif fate.by != NOBODY:
        attempts.append(Attempt(at=int(fate.paid_at), result="succeeded", by="customer", method="pm_new"))
    kind = person.kind
    return Failure(
        invoice=invoice,
        amount=person.amount.amount,
        currency=person.amount.currency,
        attempts=tuple(attempts),
        card=Card(fingerprint=f"card_{invoice}", network=kind.network, country=kind.country),
    )


def truth(people: list[MadeUp], policy: Policy = SILENT) -> tuple[float, float]:
    """The share that the policy would really have been paid of these people, and its attempts."""
    brain = Brain("truth", policy)
    fates = [play(brain, each) for each in people]
    # A replay follows a failure for 60 days.
    share = sum(fate.paid_at - each.kind.opened_at < 60 * DAY for fate, each in zip(fates, people, strict=True))
    return share / len(people), sum(fate.attempts for fate in fates)
