"""The report on calibration, over attempts whose figures are known."""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.ledger.calibration.measure import Bin, error_by_chance
from services.ledger.reports.lift import wilson
from shared.api_keys import Scope
from shared.ids import MerchantId
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World

PATH = "/v1/reports/calibration"
NOW = datetime.now(UTC)
RECENT = NOW - timedelta(days=10)

# A recovery of its own for each attempt: at most one of a recovery can be in flight.
INSERT = """
WITH opened AS (
    INSERT INTO recoveries (merchant_id, invoice_id, amount_due, currency, policy_id, opened_at)
    SELECT $1, 'in_calibrated_' || $2, 100, 'usd', id, $3 FROM policies LIMIT 1
    RETURNING id
)
INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, result, amount, currency,
    predicted_chance, after_cause)
SELECT id, $1, $4, 1, CASE WHEN $4 = 'citadel' THEN id::text END, $5, 100, 'usd', $6, $7 FROM opened
"""
_numbers = itertools.count(1)


@dataclass
class Tried:
    """Writes attempts of one merchant, as they would stand there after weeks."""

    world: World
    merchant: MerchantId

    async def attempts(
        self,
        chance: float | None,
        *,
        cause: str = "insufficient_funds",
        at: datetime = RECENT,
        origin: str = "citadel",
        **results: int,
    ) -> None:
        """So many attempts with each of these results, all with this predicted chance."""
        async with self.world.database.transaction() as db:
            await db.execute("SET LOCAL session_replication_role = replica")
            for result, count in results.items():
                after = None if chance is None else cause
                for _ in range(count):
                    await db.execute(INSERT, self.merchant, str(next(_numbers)), at, origin, result, chance, after)


@pytest.fixture
async def tried(world: World) -> Tried:
    """A merchant with attempts."""
    return Tried(world, await world.connect())


def filled(found: Any) -> list[tuple[float, int, int, float]]:
    """(from, attempts, succeeded, mean predicted) of the bins that are not empty."""
    return [
        (each["at_least"], each["attempts"], each["succeeded"], each["predicted"])
        for each in found["bins"]
        if each["attempts"]
    ]


async def test_predicted_is_held_against_observed_in_all_and_by_cause(api: Api, tried: Tried) -> None:
    await tried.attempts(0.32, declined=6, succeeded=4)
    await tried.attempts(0.38, declined=7, requires_action=1, succeeded=2)
    await tried.attempts(0.85, cause="try_later", declined=10, succeeded=30)

    body = (await api.get(PATH, merchant_id=tried.merchant)).body

    assert (body["group_by"], body["confidence"], body["merchant_id"]) == ("cause", 0.95, tried.merchant)
    total = body["total"]
    assert (total["attempts"], total["succeeded"], total["observed"]) == (60, 36, 0.6)
    assert total["predicted"] == pytest.approx((10 * 0.32 + 10 * 0.38 + 40 * 0.85) / 60, abs=1e-6)
    assert filled(total) == [(0.3, 20, 6, 0.35), (0.8, 40, 30, 0.85)]
    # |0.35 - 0.30| of 20 attempts and |0.85 - 0.75| of 40.
    assert total["error"] == pytest.approx((20 * 0.05 + 40 * 0.10) / 60, abs=1e-6)
    chance = error_by_chance([Bin(20, 7.0, 6), Bin(40, 34.0, 30)])
    assert chance is not None
    assert (total["error_by_chance"], total["error_limit"]) == (round(chance.mean, 6), round(chance.limit, 6))
    assert (total["low"], total["high"]) == tuple(round(each, 6) for each in wilson(0.6, 60))
    assert [each["at_least"] for each in total["bins"]] == [n / 10 for n in range(10)]

    later, funds = body["data"]
    assert (later["group"], later["attempts"], later["error"]) == ("try_later", 40, pytest.approx(0.10))
    assert later["verdict"] == "as_predicted"
    assert later["text"] == "predicted 85.0%, succeeded 75.0% (59.8% to 85.8%): as predicted"
    assert (funds["group"], funds["verdict"]) == ("insufficient_funds", "not_enough_data")
    assert (funds["error"], filled(funds)) == (pytest.approx(0.05), [(0.3, 20, 6, 0.35)])
    (eighth,) = (each for each in later["bins"] if each["attempts"])
    assert (eighth["low"], eighth["high"]) == tuple(round(each, 6) for each in wilson(0.75, 40))


async def test_a_chance_at_the_edge_of_a_bin_is_in_the_one_that_it_begins(api: Api, tried: Tried) -> None:
    for chance in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        await tried.attempts(chance, declined=1)
    found = (await api.get(PATH)).body["total"]
    assert [each["attempts"] for each in found["bins"]] == [1, 1, 1, 1, 1, 1, 1, 1, 1, 2]


async def test_what_has_no_outcome_or_was_refused_is_left_out_and_counted(api: Api, tried: Tried) -> None:
    await tried.attempts(0.25, declined=3, succeeded=1, started=2, processing=4, unknown=1, failed=5, abandoned=6)
    await tried.attempts(0.25, cause="try_later", abandoned=1)
    await tried.attempts(None, declined=9, succeeded=9)
    await tried.attempts(None, origin="stripe", declined=9)

    body = (await api.get(PATH)).body

    for found in (body["total"], *body["data"]):
        assert (found["attempts"], found["succeeded"], found["observed"]) == (4, 1, 0.25)
        assert (found["without_outcome"], found["refused"]) == (7, 5)
        assert found["error"] == 0
    assert len(body["data"]) == 1


async def test_nothing_predicted_is_no_number(api: Api, tried: Tried) -> None:
    await tried.attempts(None, declined=1)
    body = (await api.get(PATH, merchant_id=tried.merchant)).body
    assert body["data"] == []
    total = body["total"]
    for name in ("predicted", "observed", "low", "high", "error", "error_by_chance", "error_limit"):
        assert total[name] is None
    assert (total["attempts"], total["verdict"]) == (0, "not_enough_data")
    await tried.attempts(0.5, processing=1)
    (only,) = (await api.get(PATH)).body["data"]
    assert (only["attempts"], only["without_outcome"], only["error"]) == (0, 1, None)


async def test_the_days_are_those_of_the_opening_and_both_included(api: Api, tried: Tried) -> None:
    for hour, day in ((0, 10), (23, 10), (0, 11)):
        await tried.attempts(0.5, at=datetime(2026, 3, day, hour, 30, tzinfo=UTC), declined=1)
    found = (await api.get(PATH, **{"from": "2026-03-10", "to": "2026-03-10"})).body
    assert (found["total"]["attempts"], found["from"], found["to"]) == (2, "2026-03-10", "2026-03-10")
    await tried.attempts(0.5, at=NOW - timedelta(days=95), declined=1)
    await tried.attempts(0.5, at=NOW - timedelta(days=80), declined=1)
    assert (await api.get(PATH)).body["total"]["attempts"] == 1


async def test_operators_see_each_merchant_and_a_merchant_only_its_own(api: Api, world: World, tried: Tried) -> None:
    other = Tried(world, await world.connect())
    await tried.attempts(0.4, declined=30, succeeded=2)
    await other.attempts(0.4, declined=20, succeeded=20)

    by_merchant = (await api.get(PATH, group_by="merchant")).body
    assert [(each["group"], each["attempts"], each["verdict"]) for each in by_merchant["data"]] == [
        (other.merchant, 40, "as_predicted"),
        (tried.merchant, 32, "less_than_predicted"),
    ]
    assert by_merchant["total"]["attempts"] == 72
    (only,) = (await api.get(PATH, group_by="merchant", merchant_id=tried.merchant)).body["data"]
    assert (only["group"], only["attempts"]) == (tried.merchant, 32)

    own = api.as_(await world.key(tried.merchant))
    for asked in ({}, {"merchant_id": tried.merchant}):
        body = (await own.get(PATH, **asked)).body
        assert (body["merchant_id"], body["total"]["attempts"], body["total"]["succeeded"]) == (tried.merchant, 32, 2)
        assert other.merchant not in str(body)
    assert (await own.get(PATH, merchant_id=other.merchant)).status == 404
    refused = await own.get(PATH, group_by="merchant")
    assert (refused.status, refused.fields) == (400, ["group_by"])
    assert refused.body["errors"][0]["message"] == "merchant: only with a key of the platform"
    assert (await api.as_(None).get(PATH)).status == 401
    assert (await api.as_(await world.key(tried.merchant, Scope.TASKS_READ)).get(PATH)).status == 403


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"from": "2026-03-10", "to": "2026-03-09"}, "from"),
        ({"from": "2025-01-01", "to": "2026-03-09"}, "from"),
        ({"to": "0001-01-05"}, "to"),
        ({"from": "yesterday"}, "from"),
        ({"group_by": "policy_version"}, "group_by"),
        ({"merchant_id": "acct_1"}, "merchant_id"),
        ({"merchant": "x"}, "merchant"),
        ({"bins": "20"}, "bins"),
    ],
)
async def test_a_parameter_that_makes_no_sense_is_named(api: Api, asked: dict[str, str], field: str) -> None:
    refused = await api.get(PATH, **asked)
    assert (refused.status, refused.fields) == (400, [field])
