"""What dashboards read: numbers, recoveries, activity, merchants."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from shared.clock import travel_to
from shared.recovery_model import RecoveryState
from tests.integration.ledger.api import Api
from tests.integration.ledger.world import World


async def test_stats_are_the_sums_per_currency_and_what_is_still_at_risk(api: Api, world: World) -> None:
    merchant = await world.connect()
    await world.recovered(await world.recovery(merchant, 700), 700)
    await world.ended(await world.recovery(merchant, 200), RecoveryState.EXHAUSTED)
    await world.ended(await world.recovery(merchant, 60), RecoveryState.STOPPED)
    await world.recovery(merchant, 40)
    await world.recovery(merchant, 5000, "jpy")

    stats = (await api.get("/v1/stats", merchant_id=merchant)).body

    jpy, usd = stats["money"]
    assert usd == {
        "currency": "usd",
        "failed": {"amount": 1000, "count": 4},
        "recovered": {"amount": 700, "count": 1},
        "refunded": 0,
        "disputed": 0,
        "won_back": 0,
        "exhausted": {"amount": 200, "count": 1},
        "stopped": {"amount": 60, "count": 1},
        "at_risk": {"amount": 40, "count": 1},
        "recovery_rate": 0.7,
        "attempts": 0,
        "messages": 0,
    }
    assert jpy["currency"] == "jpy"
    assert jpy["at_risk"] == {"amount": 5000, "count": 1}
    assert jpy["recovery_rate"] == 0


async def test_a_platform_key_sees_the_sum_of_all_merchants_and_a_merchants_key_its_own(api: Api, world: World) -> None:
    one, other = await world.connect(), await world.connect()
    await world.recovery(one, 100)
    await world.recovery(other, 20)

    own = await api.as_(await world.key(one)).get("/v1/stats")

    assert (await api.get("/v1/stats")).body["money"][0]["failed"] == {"amount": 120, "count": 2}
    assert own.body["money"][0]["failed"] == {"amount": 100, "count": 1}
    assert own.body["merchant_id"] == one


async def test_the_queues_health_counts_what_is_due_pending_running_and_dead(api: Api, world: World) -> None:
    merchant, other = await world.connect(), await world.connect()
    late = await world.task(merchant)
    soon = await world.task(merchant)
    for status in ("running", "dead", "succeeded", "canceled"):
        await world.task(merchant, status)
    await world.task(other)
    await world.execute("UPDATE scheduled_tasks SET run_at = now() - interval '90 s' WHERE public_id = $1", late)
    await world.execute("UPDATE scheduled_tasks SET run_at = now() + interval '1 day' WHERE public_id = $1", soon)

    queue = (await api.get("/v1/stats", merchant_id=merchant)).body["queue"]

    assert {name: queue[name]["count"] for name in ("due", "pending", "running", "dead")} == {
        "due": 1,
        "pending": 2,
        "running": 1,
        "dead": 1,
    }
    assert 90 <= queue["oldest_due_seconds"] < 150
    assert (await api.get("/v1/stats")).body["queue"]["pending"] == {"count": 3, "more": False}


async def test_an_empty_queue_has_waited_for_nothing(api: Api) -> None:
    stats = (await api.get("/v1/stats")).body
    assert stats["money"] == []
    assert stats["queue"]["oldest_due_seconds"] is None


async def test_a_count_stops_at_ten_thousand_and_says_so(api: Api, world: World) -> None:
    merchant = await world.connect()
    await world.execute(
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) SELECT $1, 'job', '{}' "
        "FROM generate_series(1, 10050)",
        merchant,
    )
    queue = (await api.get("/v1/stats")).body["queue"]
    assert queue["due"] == queue["pending"] == {"count": 10_000, "more": True}
    assert queue["dead"] == {"count": 0, "more": False}


async def test_daily_metrics_are_per_day_in_utc_and_by_default_of_the_last_30_days(api: Api, world: World) -> None:
    merchant = await world.connect()
    async with world.database.transaction() as db:
        await travel_to(db, datetime(2031, 3, 1, 23, 30, tzinfo=UTC))
    await world.recovery(merchant, 10)
    async with world.database.transaction() as db:
        await travel_to(db, datetime(2031, 3, 2, 0, 30, tzinfo=UTC))
    await world.recovery(merchant, 5)

    whole = (await api.get("/v1/metrics/daily", merchant_id=merchant)).body
    first = (await api.get("/v1/metrics/daily", **{"from": "2031-03-01", "to": "2031-03-01"})).body

    assert (whole["from"], whole["to"]) == ("2031-02-01", "2031-03-02")
    assert [(day["date"], day["failed"]["amount"]) for day in whole["data"]] == [("2031-03-01", 10), ("2031-03-02", 5)]
    assert [day["failed"]["count"] for day in first["data"]] == [1]


async def test_daily_metrics_of_one_currency_leave_the_others_out(api: Api, world: World) -> None:
    merchant = await world.connect()
    await world.recovery(merchant, 10, "eur")
    await world.recovery(merchant, 10, "usd")
    days = (await api.get("/v1/metrics/daily", currency="eur")).body["data"]
    assert [day["currency"] for day in days] == ["eur"]


@pytest.mark.parametrize(
    ("first", "last"),
    [("2026-01-02", "2026-01-01"), ("2025-01-01", "2026-01-02"), ("2026-02-30", "2026-03-01"), ("1", "2026-01-01")],
)
async def test_a_range_that_is_backwards_too_long_or_no_range_is_refused(api: Api, first: str, last: str) -> None:
    assert (await api.get("/v1/metrics/daily", **{"from": first, "to": last})).status == 400


async def test_366_days_are_one_range(api: Api) -> None:
    assert (await api.get("/v1/metrics/daily", **{"from": "2024-01-01", "to": "2024-12-31"})).status == 200


async def test_the_first_days_of_the_calendar_have_no_30_days_before_them(api: Api) -> None:
    reply = await api.get("/v1/metrics/daily", to="0001-01-05")
    assert (reply.status, reply.fields) == (400, ["to"])


async def test_a_recovery_is_shown_with_its_attempts_and_its_whole_timeline(api: Api, world: World) -> None:
    merchant = await world.connect()
    recovery = await world.recovery(merchant)
    await world.execute(
        "INSERT INTO attempts (recovery_id, merchant_id, origin, number, idempotency_key, result, amount, currency, "
        "decline_code, predicted_chance, after_cause) "
        "VALUES ($1, $2, 'citadel', 1, 'k', 'declined', 1000, 'usd', 'insufficient_funds', 0.375, 'do_not_honor')",
        recovery,
        merchant,
    )
    await world.recovered(recovery)

    story = (await api.get(f"/v1/recoveries/{recovery}")).body

    assert (story["state"], story["amount_recovered"], story["recovered_by"]) == ("recovered", 1000, "retry")
    assert [attempt["decline_code"] for attempt in story["attempts"]] == ["insufficient_funds"]
    assert [entry["rule"] for entry in story["timeline"]] == ["renewal_failed", "paid_by_retry"]
    assert story["timeline"][1]["from_state"] == "open"
    (attempt,) = story["attempts"]
    assert (attempt["predicted_chance"], attempt["after_cause"]) == (0.375, "do_not_honor")
    assert "idempotency_key" not in attempt


async def test_recoveries_are_found_by_each_filter(api: Api, world: World) -> None:
    merchant = await world.connect()
    wanted = await world.recovery(merchant, 10, "eur")
    await world.recovered(wanted, 10, "eur")
    await world.recovery(await world.connect())
    one = (await api.get(f"/v1/recoveries/{wanted}")).body

    filters = {
        "merchant_id": merchant,
        "state": "recovered",
        "currency": "eur",
        "invoice_id": one["invoice_id"],
        "subscription_id": one["subscription_id"],
        "customer_id": one["customer_id"],
    }
    for name, value in filters.items():
        found = (await api.get("/v1/recoveries", **{name: value})).body["data"]
        assert [item["id"] for item in found] == [str(wanted)], name
    assert len((await api.get("/v1/recoveries", **filters)).body["data"]) == 1


async def test_a_recovery_with_a_task_that_died_says_so_until_a_newer_one_replaces_it(api: Api, world: World) -> None:
    dead, alive = await world.recovery(await world.connect()), await world.recovery(await world.connect())
    task = (
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status, recovery_id, finished_at) "
        "SELECT merchant_id, 'dunning_retry', '{}', $2, id, citadel_now() FROM recoveries WHERE id = $1"
    )

    async def found(**wanted: str) -> set[str]:
        return {item["id"] for item in (await api.get("/v1/recoveries", **wanted)).body["data"]}

    await world.execute(task, dead, "dead")
    await world.execute(task, alive, "succeeded")
    assert (await api.get(f"/v1/recoveries/{dead}")).body["attention"] == "dunning_retry"
    assert (await api.get(f"/v1/recoveries/{alive}")).body["attention"] is None
    assert await found(attention="true") == {str(dead)}
    assert await found(attention="false") == {str(alive)}
    assert await found() == {str(dead), str(alive)}
    await world.execute(task, dead, "succeeded")
    assert (await api.get(f"/v1/recoveries/{dead}")).body["attention"] is None
    assert await found(attention="true") == set()
    await world.execute(
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload, recovery_id, held_for, held_since) "
        "SELECT merchant_id, 'dunning_retry', '{}', id, 'no_permission', now() FROM recoveries WHERE id = $1",
        alive,
    )
    assert (await api.get(f"/v1/recoveries/{alive}")).body["attention"] == "no_permission"
    assert await found(attention="true") == {str(alive)}
    assert await found(attention="false") == {str(dead)}


async def test_recoveries_opened_from_is_included_and_opened_to_is_not(api: Api, world: World) -> None:
    recovery = await world.recovery(await world.connect())
    opened = datetime.fromisoformat((await api.get(f"/v1/recoveries/{recovery}")).body["opened_at"])
    after = opened + timedelta(microseconds=1)

    async def count(**window: datetime) -> int:
        shown = {name: value.isoformat() for name, value in window.items()}
        return len((await api.get("/v1/recoveries", **shown)).body["data"])

    assert await count(opened_from=opened) == 1
    assert await count(opened_from=after) == 0
    assert await count(opened_to=opened) == 0
    assert await count(opened_to=after) == 1


async def test_activity_is_the_newest_line_of_any_timeline_first(api: Api, world: World) -> None:
    first = await world.recovery(await world.connect())
    second = await world.recovery(await world.connect())
    await world.recovered(first)
    activity = (await api.get("/v1/activity")).body["data"]
    assert [(line["recovery_id"], line["kind"]) for line in activity] == [
        (str(first), "closed"),
        (str(second), "opened"),
        (str(first), "opened"),
    ]


async def test_a_merchant_is_shown_without_its_tokens(api: Api, world: World) -> None:
    merchant = await world.connect()
    shown = (await api.get(f"/v1/merchants/{merchant}")).body
    assert (shown["id"], shown["status"], shown["tier"]) == (merchant, "active", "FREE")
    assert not [name for name in shown if "token" in name]
    assert "sealed" not in str(shown)


async def test_a_merchant_shows_when_it_was_caught_up_and_what_was_missed(api: Api, world: World) -> None:
    merchant = await world.connect()
    new = (await api.get(f"/v1/merchants/{merchant}")).body
    assert (new["caught_up_at"], new["missed_events"], new["missed_recoveries"]) == (None, 0, 0)
    await world.execute(
        "INSERT INTO catch_ups (merchant_id, events_until, finished_at, events_found, recoveries_found) "
        "VALUES ($1, now(), '2026-03-01T12:00:00Z', 7, 2)",
        merchant,
    )
    shown = (await api.get(f"/v1/merchants/{merchant}")).body
    assert datetime.fromisoformat(shown["caught_up_at"]) == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (shown["missed_events"], shown["missed_recoveries"]) == (7, 2)
    assert shown["attention"] == []


async def test_a_merchant_shows_why_its_tasks_are_held(api: Api, world: World) -> None:
    merchant, other = await world.connect(), await world.connect()
    for reason, since in (("no_permission", 2), ("no_permission", 5), ("no_access", 1)):
        await world.execute(
            "INSERT INTO scheduled_tasks (merchant_id, task_type, payload, held_for, held_since) "
            "VALUES ($1, 'dunning_retry', '{}', $2, timestamptz '2026-03-10T12:00:00Z' - make_interval(days => $3))",
            merchant,
            reason,
            since,
        )
    await world.execute(
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status, finished_at, held_for, held_since) "
        "VALUES ($1, 'dunning_retry', '{}', 'succeeded', now(), 'no_access', now())",
        other,
    )
    shown = (await api.get(f"/v1/merchants/{merchant}")).body["attention"]
    assert [(each["reason"], each["since"][:10], each["tasks"]) for each in shown] == [
        ("no_permission", "2026-03-05", 2),
        ("no_access", "2026-03-09", 1),
    ]
    assert (await api.get(f"/v1/merchants/{other}")).body["attention"] == []
    tasks = (await api.get("/v1/tasks", merchant_id=merchant)).body["data"]
    assert {(each["held_for"], each["held_since"] is not None) for each in tasks} == {
        ("no_permission", True),
        ("no_access", True),
    }


@pytest.mark.parametrize("path", ["/v1/recoveries", "/v1/tasks", "/v1/activity", "/v1/merchants"])
async def test_pages_show_every_row_once_while_new_ones_come_in(api: Api, world: World, path: str) -> None:
    for _ in range(7):
        await world.recovery(await world.connect())
    seen: list[str] = []
    cursor: dict[str, str] = {}
    pages = 0
    while True:
        page = (await api.get(path, limit=3, **cursor)).body
        seen += [row["id"] for row in page["data"]]
        pages += 1
        await world.recovery(await world.connect())  # newer than the page's end: belongs to no page that follows
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == 3
    assert len(seen) == len(set(seen)) == 7


async def test_rows_of_the_same_instant_are_told_apart_by_their_id(api: Api, world: World) -> None:
    merchant = await world.connect()
    for _ in range(5):
        await world.recovery(merchant)
    await world.execute("UPDATE recoveries SET opened_at = '2026-01-01T00:00:00.123456Z'")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(5):
        page = (await api.get("/v1/recoveries", limit=1, **cursor)).body
        seen += [row["id"] for row in page["data"]]
        cursor = {"cursor": page["next_cursor"]}
    assert cursor == {"cursor": None}
    assert len(set(seen)) == 5


async def test_a_cursor_of_another_list_is_refused(api: Api, world: World) -> None:
    for _ in range(2):
        await world.recovery(await world.connect())
    cursor = (await api.get("/v1/tasks", limit=1)).body["next_cursor"]
    for path in ("/v1/activity", "/v1/recoveries", "/v1/merchants"):
        reply = await api.get(path, cursor=cursor)
        assert (reply.status, reply.fields) == (400, ["cursor"])


async def test_another_tenants_rows_do_not_exist(api: Api, world: World) -> None:
    merchant, other = await world.connect(), await world.connect()
    recovery, task = await world.recovery(other), await world.task(other, "dead")
    stranger = api.as_(await world.key(merchant))

    for path in ("/v1/recoveries", "/v1/tasks", "/v1/activity"):
        assert (await stranger.get(path)).body == {"data": [], "next_cursor": None}
    assert [row["id"] for row in (await stranger.get("/v1/merchants")).body["data"]] == [merchant]
    for path in (f"/v1/recoveries/{recovery}", f"/v1/tasks/{task}", f"/v1/merchants/{other}"):
        assert (await stranger.get(path)).status == 404
    for path in ("/v1/recoveries", "/v1/tasks", "/v1/activity", "/v1/stats", "/v1/metrics/daily"):
        assert (await stranger.get(path, merchant_id=other)).status == 404
    assert (await stranger.post(f"/v1/tasks/{task}/retry")).status == 404
    assert (await stranger.delete(f"/v1/tasks/{task}")).status == 404
    assert await world.value("SELECT status FROM scheduled_tasks WHERE public_id = $1", task) == "dead"


async def test_another_tenants_merchant_looks_like_one_that_never_was(api: Api, world: World) -> None:
    stranger = api.as_(await world.key(await world.connect()))
    theirs = await stranger.get("/v1/stats", merchant_id=await world.connect())
    nobodys = await stranger.get("/v1/stats", merchant_id=uuid4())
    assert theirs.body["detail"] == nobodys.body["detail"]
    assert (await api.get("/v1/stats", merchant_id=uuid4())).status == 404
