"""What no webhook brought is fetched: every event once, from page to page, over every kind of trouble."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.auth import store as auth_store
from services.worker.catch_up import listing, plan, schedule, store
from services.worker.catch_up.plan import EVENTS_KEPT, RETRIES_END, TYPES_IN_A_LIST
from services.worker.handlers import discover
from services.worker.outside.lease import Lease
from services.worker.outside.remote import Remote
from shared.clock import business_now
from shared.database import Role
from shared.events.incoming import Incoming, read_event
from shared.events.routing import ROUTES
from shared.events.taking import take
from shared.queue import control as task_control
from shared.queue import tasks
from shared.queue.control import Which
from tests.conftest import OpenDatabase
from tests.integration.worker.doomed import rescued, run_until_death
from tests.integration.worker.world import World

PERIOD = timedelta(minutes=30)
NOBODY = "http://127.0.0.1:9/webhooks/stripe"


@pytest.fixture(autouse=True)
async def nothing_is_delivered(world: World) -> None:
    """Stripe's webhooks are lost, and the merchant was up to date until now."""
    await world.control.configure_webhooks(url=NOBODY, drop_share=1.0, types=sorted(ROUTES))
    await world.execute(
        "INSERT INTO catch_ups (merchant_id, events_until, invoices_at) VALUES ($1, citadel_now(), citadel_now())",
        world.merchant_id,
    )


async def _catch_up(world: World, **later: float) -> None:
    """Time passes; whose time has come is caught up, and what follows is done."""
    await world.pass_time(**(later or {"minutes": 31}))
    await _queue(world)
    await world.work()


async def _queue(world: World) -> None:
    async with world.worker.transaction() as db:
        while await schedule.queue_due(db, every=PERIOD):
            pass


async def _fail(world: World, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = await world.control.add_renewal(
        world.account, card={"decline": "insufficient_funds"}, **fields
    )
    return made


async def _recoveries(world: World) -> dict[str, str]:
    """invoice → state."""
    rows = await world.rows("SELECT invoice_id, state FROM recoveries ORDER BY opened_at, invoice_id")
    return {row["invoice_id"]: row["state"] for row in rows}


async def _progress(world: World) -> Any:
    (row,) = await world.rows("SELECT *, citadel_now() AS now FROM catch_ups WHERE merchant_id = $1", world.merchant_id)
    return row


async def _listed(world: World, path: str = "/v1/events") -> list[dict[str, Any]]:
    return [
        each for each in await world.control.requests(path=path) if each["method"] == "GET" and each["path"] == path
    ]


async def _events(world: World, kind: str) -> list[Incoming]:
    """The events of that type as their webhooks would have brought them."""
    client = world.outside.stripe.for_merchant(world.account)
    found = (await client.v1.events.list_async({"type": kind, "limit": 100})).data
    return [read_event(each.to_dict(), listed_for=world.account) for each in found]


async def _comes_by_webhook(open_database: OpenDatabase, event: Incoming) -> bool:
    """The ingress takes the event after all; whether it was a duplicate."""
    async with open_database(Role.INGRESS) as ingress, ingress.transaction() as db:
        return (await take(db, event)).duplicate


async def _booked(world: World) -> int:
    (row,) = await world.rows("SELECT count(*) AS n FROM usage_logs WHERE metric_type = 'recovery_opened'")
    return int(row["n"])


# --- What is found ----------------------------------------------------------------------------------------------------


async def test_a_failure_whose_webhook_was_lost_is_recovered_all_the_same(world: World) -> None:
    made = await _fail(world)
    await _catch_up(world)
    assert await _recoveries(world) == {made["invoice"]["id"]: "waiting"}
    assert await _booked(world) == 1
    (opened,) = await world.rows("SELECT rule, detail FROM recovery_timeline WHERE kind = 'opened'")
    (event,) = await _events(world, "invoice.payment_failed")
    assert (opened["rule"], opened["detail"]["event_id"]) == ("renewal_failed", event.event_id)
    progress = await _progress(world)
    assert progress["finished_at"] is not None
    assert progress["events_found"] >= 1


async def test_a_payment_whose_webhook_was_lost_stops_the_recovery_before_its_next_attempt(world: World) -> None:
    await world.policy(message_days=[])
    made = await _fail(world)
    await _catch_up(world)
    await world.control.pay_hosted(made["invoice"]["id"])
    await _catch_up(world)
    assert await _recoveries(world) == {made["invoice"]["id"]: "stopped"}


async def test_only_what_was_not_delivered_is_listed_and_only_our_types(world: World) -> None:
    await world.control.configure_webhooks(types=["invoice.payment_failed"])  # nobody waits for the others
    await _fail(world)
    await _catch_up(world)
    lists = await _listed(world)
    assert all(asked["params"]["delivery_success"] is False for asked in lists)
    assert [each for asked in lists for each in asked["params"]["types"]] == list(listing.TYPES)
    assert all(len(asked["params"]["types"]) <= TYPES_IN_A_LIST for asked in lists)
    assert {asked["account"] for asked in lists} == {world.account}
    taken = await world.rows("SELECT event_type FROM processed_events")
    assert [row["event_type"] for row in taken] == ["invoice.payment_failed"]


async def test_two_event_ids_for_one_fact_have_one_effect(world: World) -> None:
    made = await _fail(world)
    (failed,) = await _events(world, "invoice.payment_failed")
    await world.control.twin(failed.event_id)
    await _catch_up(world)
    assert len(await world.rows("SELECT FROM processed_events WHERE event_type = 'invoice.payment_failed'")) == 2
    assert await _recoveries(world) == {made["invoice"]["id"]: "waiting"}
    assert await _booked(world) == 1
    assert len(await world.rows("SELECT FROM recovery_timeline WHERE kind = 'opened'")) == 1
    sql = "SELECT FROM scheduled_tasks WHERE task_type = 'dunning_retry' AND status = 'pending'"
    assert len(await world.rows(sql)) == 1


async def test_a_twin_that_comes_by_webhook_later_finds_nothing_left_to_do(
    world: World, open_database: OpenDatabase
) -> None:
    made = await _fail(world)
    (failed,) = await _events(world, "invoice.payment_failed")
    await _catch_up(world)
    twin_id = await world.control.twin(failed.event_id)
    (twin,) = [each for each in await _events(world, "invoice.payment_failed") if each.event_id == twin_id]
    assert not await _comes_by_webhook(open_database, twin)
    assert await _recoveries(world) == {made["invoice"]["id"]: "waiting"}
    assert await _booked(world) == 1


# --- Once, whoever brings it ------------------------------------------------------------------------------------------


async def test_an_event_that_comes_by_webhook_afterwards_is_a_duplicate(
    world: World, open_database: OpenDatabase
) -> None:
    await _fail(world)
    await _catch_up(world)
    (failed,) = await _events(world, "invoice.payment_failed")
    assert await _comes_by_webhook(open_database, failed)
    assert await _booked(world) == 1


async def test_an_event_that_comes_by_webhook_between_the_list_and_the_commit_is_a_duplicate(
    world: World, open_database: OpenDatabase
) -> None:
    await _fail(world)
    await world.pass_time(minutes=31)
    await _queue(world)
    handler = discover()["catch_up"]
    async with world.worker.transaction() as db:
        (claimed,) = await tasks.claim(db, "slow", 10, timedelta(seconds=30))
        job = handler.understand(claimed)
        plan = await handler.load(db, job)
    outcome = await handler.perform(_remote(world), plan)
    (failed,) = await _events(world, "invoice.payment_failed")
    assert not await _comes_by_webhook(open_database, failed)
    async with world.worker.transaction() as db:
        assert await tasks.complete(db, claimed)
        await handler.commit(db, job, outcome)
    assert await _booked(world) == 1
    found = REGISTRY.get_sample_value(
        "citadel_missed_events_total", {"type": "invoice.payment_failed", "outcome": "duplicate"}
    )
    assert found is not None
    assert found >= 1


def _remote(world: World) -> Remote:
    return world.outside.remote(Lease(timedelta(seconds=30)))


async def test_what_was_listed_before_is_a_duplicate_when_lists_overlap(world: World) -> None:
    await _fail(world)
    await _catch_up(world, minutes=31)
    first = (await _progress(world))["events_found"]
    await _catch_up(world, minutes=3)
    await world.execute("UPDATE catch_ups SET next_at = citadel_now(), events_until = citadel_now() - interval '1 day'")
    await _catch_up(world, minutes=3)
    assert (await _progress(world))["events_found"] == first
    assert await _booked(world) == 1


# --- From page to page ------------------------------------------------------------------------------------------------


async def test_more_than_one_page_is_taken_to_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 3)
    made = [await _fail(world) for _ in range(4)]
    await _catch_up(world)
    assert set(await _recoveries(world)) == {each["invoice"]["id"] for each in made}
    asked = await _listed(world)
    assert len(asked) >= 4
    assert len({each["params"]["created"]["lte"] for each in asked}) == 1, "one list, whatever happens meanwhile"
    assert (await _progress(world))["page_after"] is None


async def test_a_page_that_fails_to_commit_is_taken_again_as_a_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 3)
    made = [await _fail(world) for _ in range(4)]
    saved: list[Any] = []
    save = store.save

    async def fails_once(*given: Any, **named: Any) -> None:
        saved.append(given)
        if len(saved) == 2:
            raise RuntimeError("the second page's progress cannot be written")
        await save(*given, **named)

    monkeypatch.setattr(store, "save", fails_once)
    await _catch_up(world)
    (row,) = await world.rows("SELECT * FROM scheduled_tasks WHERE task_type = 'catch_up' AND status = 'pending'")
    assert (await _progress(world))["page_after"] == saved[0][2].page_after, "the first page's place"
    in_hand = len(await _recoveries(world))
    assert in_hand < 4
    await world.to(row["run_at"])
    await world.work()
    assert set(await _recoveries(world)) == {each["invoice"]["id"] for each in made}
    assert await _booked(world) == 4


async def test_a_page_whose_place_stripe_has_forgotten_begins_the_list_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await _fail(world)
    await world.pass_time(minutes=31)
    await world.execute(
        "UPDATE catch_ups SET window_until = citadel_now() - interval '2 minutes', page_after = 'evt_forgotten',"
        " types_listed = $1",
        list(listing.TYPES[:TYPES_IN_A_LIST]),
    )
    await _queue(world)
    await world.work()
    assert set(await _recoveries(world)) == {made["invoice"]["id"]}
    assert (await _progress(world))["window_until"] is None


async def test_killed_anywhere_every_event_is_taken_once(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 4)
    await world.policy(message_days=[])
    at, died, made = 1, True, 0
    while died:
        await _fail(world)
        made += 1
        await world.pass_time(minutes=31)
        await _queue(world)
        async with run_until_death(world, database_url, at) as process:
            died = process.dead.is_set()
            await rescued(world)
            await world.pass_time(seconds=30)
            await world.work()
            assert len(await _recoveries(world)) == made
            assert await _booked(world) == made
        # A dead worker may have been at the recovery, too: that is told elsewhere.
        await world.execute(
            "UPDATE scheduled_tasks SET run_at = run_at + interval '60 days' WHERE task_type <> 'catch_up'"
        )
        at += 4
    assert at > 30, "the run was stepped through"


# --- Trouble ----------------------------------------------------------------------------------------------------------


async def test_stripe_may_say_that_there_were_too_many_calls(world: World) -> None:
    made = await _fail(world)
    await world.control.add_fault("rate_limited", path="/v1/events", times=3, reason="global-rate")
    await _catch_up(world)
    for _ in range(3):
        await world.pass_time(minutes=1)
        await world.work()
    assert set(await _recoveries(world)) == {made["invoice"]["id"]}
    done = await world.rows("SELECT attempts, status FROM scheduled_tasks WHERE task_type = 'catch_up'")
    assert [(row["attempts"], row["status"]) for row in done] == [(1, "succeeded")], "no attempt is used up"


async def test_a_merchant_that_left_is_not_caught_up(world: World) -> None:
    await _fail(world)
    await world.execute("UPDATE merchants SET status = 'disconnected'")
    await _catch_up(world)
    assert await _listed(world) == []
    assert await world.rows("SELECT FROM scheduled_tasks WHERE task_type = 'catch_up'") == []


async def test_a_merchant_that_leaves_while_its_events_are_listed_gets_nothing(world: World) -> None:
    await _fail(world)
    await world.pass_time(minutes=31)
    await _queue(world)
    handler = discover()["catch_up"]
    async with world.worker.transaction() as db:
        (claimed,) = await tasks.claim(db, "slow", 10, timedelta(seconds=30))
        job = handler.understand(claimed)
        plan = await handler.load(db, job)
    outcome = await handler.perform(_remote(world), plan)
    await world.execute("UPDATE merchants SET status = 'deauthorized'")
    async with world.worker.transaction() as db:
        assert await tasks.complete(db, claimed)
        await handler.commit(db, job, outcome)
    assert await _recoveries(world) == {}
    assert await world.rows("SELECT FROM processed_events") == []


async def test_an_account_that_lets_nobody_in_is_left_alone_for_a_day(world: World) -> None:
    await world.control.change_account(world.account, connected=False)
    await _catch_up(world)
    progress = await _progress(world)
    assert progress["next_at"] - progress["now"] > timedelta(hours=23)
    dead = await world.rows("SELECT FROM scheduled_tasks WHERE status IN ('dead', 'pending')")
    assert dead == []


async def test_a_paused_merchant_waits_and_is_caught_up_afterwards(world: World) -> None:
    made = await _fail(world)
    which = Which(world.merchant_id)
    async with world.database.transaction() as db:
        await task_control.pause(db, which, "maintenance")
    await _catch_up(world)
    await _catch_up(world)
    assert await _listed(world) == []
    async with world.database.transaction() as db:
        await task_control.resume(db, which)
        await task_control.unpark(db)
    await world.work()
    assert set(await _recoveries(world)) == {made["invoice"]["id"]}


# --- Open invoices ----------------------------------------------------------------------------------------------------


async def test_after_an_outage_longer_than_stripes_retries_open_invoices_are_found(world: World) -> None:
    """The endpoint was disabled: Stripe tries nothing, and lists nothing as undelivered."""
    await world.control.configure_webhooks(url=None)
    made = await _fail(world)
    good = await world.control.add_renewal(world.account, card={})
    await _catch_up(world)
    assert await _recoveries(world) == {}
    await _catch_up(world, days=RETRIES_END.days)
    assert await _recoveries(world) == {made["invoice"]["id"]: "waiting"}
    assert good["invoice"]["status"] == "paid"
    (opened,) = await world.rows("SELECT * FROM recovery_timeline WHERE kind = 'opened'")
    assert opened["rule"] == "found_open"
    assert await _booked(world) == 1
    assert (await _progress(world))["recoveries_found"] == 1


async def test_what_a_recovery_is_about_already_is_not_read_again_by_the_list(world: World) -> None:
    failed = await world.fail(decline="insufficient_funds")
    await world.work()
    await world.execute(
        "UPDATE scheduled_tasks SET run_at = run_at + interval '60 days' WHERE task_type = 'dunning_retry'"
    )
    reads = len(await _listed(world, f"/v1/invoices/{failed.invoice}"))
    await world.execute("UPDATE catch_ups SET invoices_at = NULL")
    await _catch_up(world)
    assert len(await _listed(world, "/v1/invoices")) == 1
    assert len(await _listed(world, f"/v1/invoices/{failed.invoice}")) == reads
    assert await _booked(world) == 1


async def test_after_a_long_outage_every_recovery_that_waits_is_looked_at_within_the_hour(world: World) -> None:
    await world.policy(message_days=[])
    failed = await world.fail(decline="insufficient_funds")
    await world.work()
    await world.control.configure_webhooks(url=None)
    await world.control.pay_hosted(failed.invoice)
    await world.execute("UPDATE catch_ups SET invoices_at = NULL")
    await _catch_up(world)
    assert (await failed.recovery())["state"] == "waiting", "nobody has told"
    await world.pass_time(hours=1)
    await world.work()
    assert (await failed.recovery())["end_reason"] == "paid_elsewhere"


async def test_looking_again_changes_no_plan(world: World) -> None:
    failed = await world.fail(decline="insufficient_funds")
    await world.work()
    planned, told = (await failed.recovery())["next_attempt_at"], len(await failed.story())
    await world.execute("UPDATE catch_ups SET invoices_at = NULL")
    await _catch_up(world)
    await world.pass_time(hours=1)
    await world.work()
    (task,) = await failed.tasks()
    assert (await failed.recovery())["next_attempt_at"] == planned == task["run_at"]
    assert len(await failed.story()) == told


async def test_a_payment_under_way_is_no_failure(world: World) -> None:
    made = await _fail(world)
    world.simulation.world.accounts[world.account].objects["payment_intent"][made["payment_intent"]["id"]]["status"] = (
        "processing"
    )
    await world.control.configure_webhooks(url=None)
    await world.execute("UPDATE catch_ups SET events_until = citadel_now() + interval '1 hour', invoices_at = NULL")
    await _catch_up(world)
    assert await _recoveries(world) == {}


async def test_an_invoice_from_before_the_list_of_events_is_left_alone(world: World) -> None:
    await world.control.configure_webhooks(url=None)
    await _fail(world)
    await world.pass_time(days=EVENTS_KEPT.days, minutes=1)
    await world.execute("UPDATE catch_ups SET invoices_at = NULL")
    await _catch_up(world)
    assert await _recoveries(world) == {}


async def test_many_open_invoices_are_found_over_pages_and_read_in_small_numbers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 3)
    monkeypatch.setattr(listing, "READ_AT_ONCE", 2)
    await world.control.configure_webhooks(url=None)
    made = [await _fail(world) for _ in range(7)]
    await world.execute("UPDATE catch_ups SET invoices_at = NULL")
    await _catch_up(world)
    assert set(await _recoveries(world)) == {each["invoice"]["id"] for each in made}
    assert await _booked(world) == 7
    progress = await _progress(world)
    assert (progress["to_read"], progress["invoices_from"], progress["invoices_after"]) == ([], None, None)


# --- The schedule -----------------------------------------------------------------------------------------------------


async def test_an_idle_merchant_costs_a_call_for_each_list_and_leaves_no_task_behind(world: World) -> None:
    for _ in range(3):
        await _catch_up(world)
    assert len(await _listed(world)) == 3 * math.ceil(len(listing.TYPES) / TYPES_IN_A_LIST)
    assert await _listed(world, "/v1/invoices") == []
    assert await world.rows("SELECT FROM scheduled_tasks WHERE task_type = 'catch_up'") == []


async def _many(world: World, count: int) -> Sequence[str]:
    rows = await world.rows(
        "INSERT INTO merchants (stripe_connect_id) SELECT 'acct_' || n FROM generate_series(1, $1) AS n "
        "RETURNING id::text",
        count,
    )
    return [row["id"] for row in rows]


async def test_merchants_without_a_row_get_one_and_are_spread_over_the_period(world: World) -> None:
    await _many(world, 600)
    before = (await world.rows("SELECT citadel_now() AS now"))[0]["now"]
    async with world.worker.transaction() as db:
        assert await schedule.sweep(db, every=PERIOD), "more than one run may do"
        assert not await schedule.sweep(db, every=PERIOD)
        took = await business_now(db) - before
    rows = await world.rows("SELECT next_at - $1 AS wait FROM catch_ups WHERE next_at > $1", before)
    thirds = [0, 0, 0]
    for row in rows:
        assert timedelta(0) < row["wait"] <= PERIOD + took
        thirds[min(2, int(row["wait"] / PERIOD * 3))] += 1
    assert len(rows) == 600
    assert min(thirds) > 140, "evenly"


async def test_a_merchant_has_its_own_minute_in_every_period(world: World) -> None:
    places = []
    for _ in range(3):
        await _catch_up(world)
        next_at = (await _progress(world))["next_at"]
        places.append(timedelta(seconds=next_at.timestamp() % PERIOD.total_seconds()))
    assert max(places) - min(places) < timedelta(milliseconds=1)


async def test_what_is_due_is_queued_once_and_in_bounded_numbers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "AT_ONCE", 10)
    await _many(world, 24)
    await world.execute(
        "INSERT INTO catch_ups (merchant_id, next_at, events_until) "
        "SELECT id::text, citadel_now(), citadel_now() FROM merchants WHERE stripe_connect_id LIKE 'acct_%' "
        "ON CONFLICT DO NOTHING"
    )
    async with world.worker.transaction() as db:
        assert [await schedule.queue_due(db, every=PERIOD) for _ in range(3)] == [True, True, False]
        assert not await schedule.queue_due(db, every=PERIOD)
    rows = await world.rows("SELECT merchant_id FROM scheduled_tasks WHERE task_type = 'catch_up'")
    assert len(rows) == len({row["merchant_id"] for row in rows}) == 25


async def test_a_dead_catch_up_is_not_replaced_before_somebody_has_looked_at_it(world: World) -> None:
    await world.execute(
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status, finished_at) "
        "VALUES ($1, 'catch_up', '{}', 'dead', citadel_now())",
        world.merchant_id,
    )
    await _catch_up(world)
    assert await _listed(world) == []


async def test_every_type_is_listed_in_as_many_lists_as_are_needed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "TYPES_IN_A_LIST", 4)
    made = await _fail(world)
    await world.control.cancel_subscription(made["subscription"]["id"])
    await _catch_up(world)
    asked = [each["params"]["types"] for each in await _listed(world)]
    assert [kind for types in asked for kind in types] == list(listing.TYPES)
    assert {len(types) for types in asked[:-1]} == {4}
    assert await _recoveries(world) == {made["invoice"]["id"]: "stopped"}, "each list brought an event"
    progress = await _progress(world)
    assert (progress["types_listed"], progress["types_done"], progress["window_until"]) == ([], [], None)


async def test_killed_at_every_await_each_list_is_taken_to_its_end(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "TYPES_IN_A_LIST", 4)
    monkeypatch.setattr(listing, "PAGE", 2)
    at, died = 1, True
    while died:
        made = await _fail(world)
        await world.control.cancel_subscription(made["subscription"]["id"])
        await world.pass_time(minutes=31)
        await _queue(world)
        async with run_until_death(world, database_url, at) as process:
            died = process.dead.is_set()
            await rescued(world)
            await world.pass_time(seconds=30)
            await world.work()
        assert (await _recoveries(world))[made["invoice"]["id"]] == "stopped"
        at += 23
    progress = await _progress(world)
    assert (progress["types_listed"], progress["types_done"], progress["page_after"]) == ([], [], None)


async def test_auth_may_have_a_merchant_looked_through_and_nothing_more(
    world: World, open_database: OpenDatabase
) -> None:
    await world.execute("UPDATE catch_ups SET events_until = '2026-01-01', next_at = citadel_now() + interval '1 day'")
    async with open_database(Role.AUTH) as auth, auth.transaction() as db:
        await auth_store.catch_up_from_now(db, world.merchant_id)
    progress = await _progress(world)
    assert progress["invoices_at"] is None
    assert progress["next_at"] <= progress["now"]
    assert progress["events_until"] == datetime(2026, 1, 1, tzinfo=UTC)
