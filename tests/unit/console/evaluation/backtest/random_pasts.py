"""Random pasts and policies, of every kind that a replay may meet; the same for a seed."""

from random import Random
from typing import Any

from console.evaluation.history import Failure
from services.worker.recovery import Policy
from tests.unit.console.evaluation.backtest.synthetic import at

CODES = (
    *("insufficient_funds",) * 4,
    *("do_not_honor",) * 3,
    *("try_again_later", "card_velocity_exceeded", "expired_card", "rule", "restricted_card", "no_such_code"),
    *("lost_card", "authentication_required", "highest_risk_level"),
)
HOUR = 1 / 24


def failures(random: Random, count: int) -> list[Failure]:
    """Failures over half a year; some share cards, some cards have other charges, backups, dates, or no fingerprint."""
    return [_failure(random, number) for number in range(count)]


def _failure(random: Random, number: int) -> Failure:
    opened = random.choice((random.uniform(0, 150), random.randrange(150) + 3 * HOUR))
    said = _said(random)
    first = {"at": at(opened), "result": "declined"} | said
    if random.random() < 0.05:
        first = {"at": at(opened), "result": "requires_action"}
    fields: dict[str, Any] = {
        "invoice": f"in_{random.randrange(10**9)}_{number}",
        "amount": random.choice((300, 1000, 1000, 9900)),
        "currency": random.choice(("usd", "usd", "eur", "inr")),
        "card": _card(random, f"own_{number}"),
        "attempts": [first, *_later(random, opened, said)],
        "elsewhere": [
            {
                "at": at(opened + random.uniform(-40, 20)),
                "amount": random.choice((300, 1000)),
                "currency": "usd",
                "result": random.choice(("succeeded", "declined")),
            }
            for _ in range(random.choice((0, 0, 0, 0, 2, 12)))
        ],
    }
    if random.random() < 0.4:
        fields["backups"] = [
            {"method": f"pm_{n}", **_card(random, f"backup_{number}_{n}")} for n in range(random.randint(1, 2))
        ]
    if fields["attempts"][-1]["result"] != "succeeded" and random.random() < 0.3:
        fields["ending"] = random.choice(("void", "canceled", "paid_elsewhere", "uncollectible"))
        fields["ended_at"] = max(each["at"] for each in fields["attempts"]) + random.randrange(20 * 86_400)
    if random.random() < 0.3:
        fields["subscribed_at"] = at(opened - random.choice((10, 25, 200)))
    return Failure.model_validate(fields)


def _later(random: Random, opened: float, said: dict[str, Any]) -> list[dict[str, Any]]:
    """What followed: gaps that policies have, too, so that some attempts of a replay are on record."""
    found: list[dict[str, Any]] = []
    moment = opened
    for _ in range(random.choice((0, 0, 1, 2, 3, 4, 8))):
        moment += random.choice((0.05, 1.02, 1.05, 2.03, 2.1, 3.1, random.uniform(0.01, 9)))
        each = {"at": at(moment), "result": "declined"} | (said if random.random() < 0.85 else _said(random))
        if random.random() < 0.1:
            each |= {"method": random.choice(("pm_0", "pm_9")), "by": random.choice(("retry", "customer"))}
        found.append(each)
    # Some hours are better than others, so that there is something to learn.
    if found and random.random() < (0.8 if found[-1]["at"] // 3600 % 24 in {9, 10, 11} else 0.3):
        found[-1] = {"at": found[-1]["at"], "result": "succeeded", "by": random.choice(("retry", "retry", "customer"))}
    return found


def _said(random: Random) -> dict[str, Any]:
    said: dict[str, Any] = {"code": "card_declined", "decline_code": random.choice(CODES)}
    if random.random() < 0.4:
        said["network_decline_code"] = random.choice(("05", "51", "51", "14", "R1"))
    if random.random() < 0.2:
        said["network_advice_code"] = random.choice(("01", "02", "03", "24", "30"))
    if random.random() < 0.05:
        said["advice_code"] = random.choice(("try_again_later", "do_not_try_again", "confirm_card_data"))
    return said


def _card(random: Random, own: str) -> dict[str, Any]:
    card: dict[str, Any] = {
        "network": random.choice((None, "visa", "visa", "mastercard", "amex", "us_bank_account")),
        "country": random.choice((None, "US", "US", "DE", "BR", "IN", "NP")),
        "funding": random.choice((None, "credit", "debit")),
        "fingerprint": random.choice((None, own, own, own, own, "shared_1", "shared_2")),
    }
    if random.random() < 0.3:
        card |= {"exp_month": random.randint(1, 12), "exp_year": random.choice((2026, 2026, 2030))}
    return card


def policy(random: Random) -> Policy:
    """Any policy that a merchant may have."""
    window = random.choice((3, 10, 21, 21, 45, 60))
    document: dict[str, Any] = {
        "driver": random.choice(("citadel", "citadel", "auto", "stripe")),
        "max_attempts": random.choice((1, 4, 8, 8, 20)),
        "window_days": window,
        "minimum_gap_hours": random.choice((1, 1, 48)),
        "quiet_hours_around_stripe": random.choice((24, 1, 100)),
        "timing": random.choice(("rules", "learned")),
        "message_days": [day for day in (0, 3, 7, 14, 21) if day <= window],
        "backup_methods": random.random() < 0.4,
        "holdout_share": random.choice((0, 0, 0.2)),
        "schedules": {cause: _schedule(random) for cause in ("insufficient_funds", "do_not_honor", "unknown")},
    }
    if random.random() < 0.3:
        document["minimum_amounts"] = {"usd": 500}
    if random.random() < 0.4:
        document["attempt_times"] = {
            "quiet_from": random.choice((0, 22, 9)),
            "quiet_until": random.choice((0, 7, 13)),
            "weekdays": random.choice((["monday", "friday"], ["tuesday", "wednesday", "thursday", "saturday"])),
            "skip_holidays": random.random() < 0.5,
        }
    if random.random() < 0.4:
        document["segments"] = [{"name": "some", "when": _when(random), "then": _then(random, window)}]
    return Policy.model_validate(document)


def _schedule(random: Random) -> dict[str, Any]:
    most = random.choice((None, None, 0, 2))
    kinds: tuple[dict[str, Any], ...] = (
        {"kind": "delays", "hours": [random.choice((1, 24, 50, 200)) for _ in range(random.randint(1, 4))]},
        {"kind": "paydays", "from_hour": random.choice((4, 8)), "days_of_month": [1, 25], "over_minutes": 90},
        {"kind": "likeliest", "least_chance": random.choice((0.01, 0.1))},
    )
    return random.choice(kinds) | {"max_attempts": most}


def _when(random: Random) -> dict[str, Any]:
    return random.choice(
        (
            {"amount_below": {"usd": 2000}},
            {"causes": ["do_not_honor"]},
            {"tenure_days_below": 30},
            {"countries": ["US"]},
        )
    )


def _then(random: Random, window: int) -> dict[str, Any]:
    return random.choice(
        (
            {"max_attempts": 2},
            {"window_days": min(60, window + 5)},
            {"backup_methods": True},
            {"schedules": {"do_not_honor": {"kind": "delays", "hours": [30]}}, "message_days": [1]},
        )
    )
