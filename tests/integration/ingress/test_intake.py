"""Exactly once: an event and its effects commit together, however often and in whatever order it comes."""

import asyncio

import asyncpg
import orjson
import pytest

from shared.database import Database, Role
from shared.recovery_model import RecoveryState
from tests.conftest import OpenDatabase
from tests.integration.ingress.world import ACCOUNT, World, new_id
from tests.unit.shared.events.examples import NAMES, event_of, example, invoice

DEADLOCKS = "citadel_deadlocks_total"

REFUSE_TASKS = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused by a test'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON scheduled_tasks FOR EACH ROW EXECUTE FUNCTION refuse();
"""


OPENED = """
INSERT INTO recoveries (id, merchant_id, invoice_id, customer_id, amount_due, currency, policy_id)
SELECT $1::text::uuid, $2, $3, $4, 2000, $5, id FROM policies WHERE active
"""


async def test_a_failed_renewal_opens_one_recovery_with_its_task_and_its_story(world: World) -> None:
    event_id = await world.happen("invoice.payment_failed", invoice(), api_version="2026-05-27.dahlia")
    recovery = await world.recovery()
    assert (recovery["state"], recovery["amount_due"], recovery["currency"]) == ("open", 2000, "usd")
    assert (recovery["subscription_id"], recovery["customer_id"]) == ("sub_1", "cus_1")
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    assert await world.story() == ["renewal_failed"]
    (event,) = await world.rows("SELECT * FROM processed_events")
    assert (event["event_id"], event["event_type"]) == (event_id, "invoice.payment_failed")
    assert (event["stripe_account"], event["merchant_id"]) == (ACCOUNT, world.merchant_id)
    assert (event["object_id"], event["api_version"], event["outcome"]) == ("in_1", "2026-05-27.dahlia", "routed")
    assert event["event_created_at"].timestamp() == 1_790_000_000


async def test_a_duplicate_is_a_200_that_does_nothing(world: World) -> None:
    event = event_of("invoice.payment_failed", invoice(), id=new_id())
    assert await world.post(event) == {"received": True}
    assert await world.post(event) == {"received": True, "duplicate": True}
    assert await world.story() == ["renewal_failed"]
    assert await world.value("SELECT count(*) FROM processed_events") == 1


async def test_twenty_posts_of_one_event_at_once_have_one_effect(world: World) -> None:
    event = event_of("invoice.payment_failed", invoice(), id=new_id())
    answers = await asyncio.gather(*(world.post(event) for _ in range(20)))
    assert sorted(answers, key=len) == [{"received": True}] + [{"received": True, "duplicate": True}] * 19
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    assert await world.story() == ["renewal_failed"]
    assert await world.value("SELECT failed_count FROM merchant_totals") == 1


async def test_twenty_event_ids_about_one_failure_have_one_effect(world: World) -> None:
    kinds = ["invoice.payment_failed", "invoice.payment_action_required"] * 10
    await asyncio.gather(*(world.happen(kind, invoice()) for kind in kinds))
    assert await world.value("SELECT count(*) FROM processed_events WHERE outcome = 'routed'") == 20
    assert await world.tasks() == [("dunning_retry", "pending", True)]
    assert await world.story() == ["renewal_failed"]
    assert await world.value("SELECT failed_cents FROM merchant_totals") == 2000


async def test_an_effect_that_fails_takes_the_event_with_it_and_the_next_delivery_works(world: World) -> None:
    await world.execute(REFUSE_TASKS)
    event = event_of("invoice.payment_failed", invoice(), id=new_id())
    response = await world.send(orjson.dumps(event))
    assert response.status == 500
    assert await world.outcome(event["id"]) is None
    for table in ("processed_events", "recoveries", "recovery_timeline", "usage_logs", "merchant_totals"):
        assert await world.value(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - names of this test's own
    await world.execute("DROP TRIGGER refuse ON scheduled_tasks")
    assert await world.post(event) == {"received": True}
    assert await world.tasks() == [("dunning_retry", "pending", True)]


async def test_a_deauthorization_that_fails_half_way_changes_nothing(world: World) -> None:
    await world.fail("in_1")
    await world.fail("in_2", currency="eur")
    await world.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON recoveries FOR EACH ROW WHEN (NEW.invoice_id = 'in_1')
        EXECUTE FUNCTION refuse();
        """
    )
    event = event_of("account.application.deauthorized", {"id": "ca_1"}, id=new_id())
    assert (await world.send(orjson.dumps(event))).status == 500
    assert await world.outcome(event["id"]) is None
    (merchant,) = await world.rows("SELECT status, access_token FROM merchants")
    assert (merchant["status"], merchant["access_token"]) == ("active", "sealed-access")
    assert (await world.recovery("in_2"))["state"] == "open"
    await world.execute("DROP TRIGGER refuse ON recoveries")
    await world.post(event)
    assert {(await world.recovery(name))["state"] for name in ("in_1", "in_2")} == {"stopped"}


@pytest.mark.parametrize(
    ("account", "kind", "outcome"),
    [
        ("acct_stranger", "invoice.payment_failed", "unknown_account"),
        ("acct_stranger", "account.application.deauthorized", "unknown_account"),
        (None, "invoice.payment_failed", "platform"),
        (ACCOUNT, "radar.early_fraud_warning.created", "ignored"),
        (ACCOUNT, "invoice.updated", "ignored"),
    ],
)
async def test_what_is_not_ours_to_act_on_is_recorded_and_left_alone(
    world: World, account: str | None, kind: str, outcome: str
) -> None:
    event_id = await world.happen(kind, invoice(), account=account)
    assert await world.outcome(event_id) == outcome
    assert await world.value("SELECT count(*) FROM recoveries") == 0
    assert await world.value("SELECT status FROM merchants") == "active"


@pytest.mark.parametrize("status", ["disconnected", "deauthorized"])
async def test_a_merchant_that_is_gone_gets_no_recovery(world: World, status: str) -> None:
    await world.execute("UPDATE merchants SET status = $1, access_token = NULL, refresh_token = NULL", status)
    event_id = await world.happen("invoice.payment_failed", invoice())
    assert await world.outcome(event_id) == "ignored"
    assert await world.value("SELECT count(*) FROM recoveries") == 0


async def test_a_test_event_of_a_live_account_is_ignored(world: World) -> None:
    await world.execute("UPDATE merchants SET livemode = true")
    assert await world.outcome(await world.happen("invoice.payment_failed", invoice(), livemode=False)) == "ignored"
    assert await world.outcome(await world.happen("invoice.payment_failed", invoice(), livemode=True)) == "routed"


async def test_every_stored_example_is_taken(world: World) -> None:
    await world.connect(example("invoice.paid")["account"])
    for name in NAMES:
        event = {**example(name), "id": new_id()}
        assert await world.post(event) == {"received": True}
        assert await world.outcome(event["id"]) in {"routed", "ignored", "platform"}


async def test_an_event_never_reaches_another_merchants_recovery(world: World) -> None:
    await world.connect("acct_2")
    recovery_id = await world.fail()
    await world.wait(recovery_id)
    for kind, resource in (
        ("invoice.voided", invoice()),
        ("invoice.payment_succeeded", invoice(amount_paid=2000)),
        ("customer.subscription.deleted", {"id": "sub_1"}),
        ("customer.deleted", {"id": "cus_1"}),
        ("charge.refunded", {"id": "ch_1", "invoice": "in_1"}),
        ("payment_method.attached", {"id": "pm_1", "customer": "cus_1"}),
        ("account.application.deauthorized", {"id": "ca_1"}),
    ):
        assert await world.outcome(await world.happen(kind, resource, account="acct_2")) == "routed"
    assert (await world.recovery())["state"] == "waiting"
    assert await world.tasks() == [("dunning_retry", "pending", False)]


# -- at the same time -------------------------------------------------------------------------------------------------


async def test_a_renewal_that_fails_while_its_merchant_leaves_opens_nothing(world: World) -> None:
    async with world.database.transaction() as leaving:
        await leaving.execute("UPDATE merchants SET status = 'disconnected', access_token = NULL, refresh_token = NULL")
        failing = asyncio.create_task(world.happen("invoice.payment_failed", invoice()))
        await world.until_someone_waits_for_a_lock()
    assert await world.outcome(await failing) == "ignored"
    assert await world.value("SELECT count(*) FROM recoveries") == 0


async def test_a_duplicate_waits_for_the_first_ones_commit_and_works_when_that_fails(world: World) -> None:
    event = event_of("invoice.payment_failed", invoice(), id=new_id())
    first = world.database.transaction()
    db = await first.__aenter__()
    await db.execute("INSERT INTO processed_events (event_id) VALUES ($1)", event["id"])
    second = asyncio.create_task(world.post(event))
    await world.until_someone_waits_for_a_lock()
    assert not second.done()
    await first.__aexit__(RuntimeError, RuntimeError("rolled back"), None)
    assert await second == {"received": True}
    assert await world.tasks() == [("dunning_retry", "pending", True)]


async def test_the_loser_of_a_deadlock_with_another_service_is_run_again(world: World) -> None:
    """The other holds the recovery's task and wants the recovery; the event holds the recovery and wants the task."""
    recovery_id = await world.fail()
    before = await world.metric(DEADLOCKS)
    async with world.database.transaction() as other:
        await other.execute("SET LOCAL deadlock_timeout = '60s'")  # the ingress notices first, and gives way
        await other.execute("UPDATE scheduled_tasks SET max_attempts = 9 WHERE recovery_id = $1", recovery_id)
        stopping = asyncio.create_task(world.happen("invoice.voided", invoice()))
        await world.until_someone_waits_for_a_lock()
        await other.execute("UPDATE recoveries SET updated_at = now() WHERE id = $1", recovery_id)
    assert await world.outcome(await stopping) == "routed"
    assert (await world.recovery())["state"] == "stopped"
    assert await world.story() == ["renewal_failed", "voided"]
    assert await world.metric(DEADLOCKS) == before + 1


async def test_a_storm_of_events_about_the_same_objects_ends_without_a_deadlock(world: World) -> None:
    """Every event touches several recoveries in two currencies of two merchants, in every order at once."""
    await world.connect("acct_2")
    before = await world.metric(DEADLOCKS)
    for account in (ACCOUNT, "acct_2"):
        for number in range(8):
            failed = invoice(id=f"in_{account}_{number}", currency=("usd", "eur")[number % 2])
            await world.happen("invoice.payment_failed", failed, account=account)
    await world.execute("UPDATE scheduled_tasks SET run_at = citadel_now() + interval '1 day'")
    await world.execute("UPDATE recoveries SET state = 'waiting'")
    storm = []
    for account in ("acct_2", ACCOUNT):
        storm.append(world.happen("payment_method.attached", {"id": "pm_1", "customer": "cus_1"}, account=account))
        storm.append(world.happen("customer.subscription.deleted", {"id": "sub_1"}, account=account))
        storm.append(world.happen("customer.deleted", {"id": "cus_1"}, account=account))
        storm.append(world.happen("account.application.deauthorized", {"id": "ca_1"}, account=account))
        for number in reversed(range(8)):
            paid = invoice(id=f"in_{account}_{number}", amount_paid=2000)
            storm.append(world.happen("invoice.payment_succeeded", paid, account=account))
            storm.append(world.happen("invoice.payment_failed", invoice(id=f"in_new_{number}"), account=account))
    await asyncio.gather(*storm)
    assert await world.value("SELECT count(*) FROM recoveries WHERE closed_at IS NULL") == 0
    # What is left reads whose the money is that came after an end.
    left = "SELECT count(*) FROM scheduled_tasks WHERE status = 'pending' AND task_type <> 'dunning_retry'"
    assert await world.value(left) == 0
    ends = "SELECT count(*) FROM usage_logs WHERE metric_type IN ('recovery_stopped', 'recovery_recovered')"
    assert await world.value(ends) == await world.value("SELECT count(*) FROM recoveries")
    assert await world.metric(DEADLOCKS) == before


async def test_two_customers_with_two_currencies_stop_at_once_without_a_deadlock(world: World) -> None:
    """By id their recoveries are in opposite orders of currency; both end in the merchant's two totals."""
    for customer, currencies in (("cus_1", ("usd", "eur")), ("cus_2", ("eur", "usd"))):
        for number, currency in enumerate(currencies):
            recovery_id = f"{number}0000000-0000-4000-8000-00000000000{customer[-1]}"
            await world.execute(OPENED, recovery_id, world.merchant_id, f"in_{customer}_{currency}", customer, currency)
    await world.fail("in_0", currency="eur", customer="cus_0")  # now there is a row of totals to wait for
    await world.happen("invoice.voided", invoice(id="in_0"))
    before = await world.metric(DEADLOCKS)
    async with world.database.transaction() as other:
        await other.execute("SELECT FROM daily_metrics WHERE currency = 'eur' FOR UPDATE")
        second = asyncio.create_task(world.happen("customer.deleted", {"id": "cus_2"}))
        await world.until_someone_waits_for_a_lock()
        first = asyncio.create_task(world.happen("customer.deleted", {"id": "cus_1"}))
        await world.until_someone_waits_for_a_lock(2)
    await asyncio.gather(first, second)
    assert await world.metric(DEADLOCKS) == before
    assert await world.value("SELECT count(*) FROM recoveries WHERE closed_at IS NULL") == 0


# -- privacy ----------------------------------------------------------------------------------------------------------

CANARY = "zqxjk"


def poisoned(value: object) -> object:
    """The same JSON with the canary in every text that is not an id, a code or a currency."""
    match value:
        case dict():
            return {key: poisoned(item) for key, item in value.items()} | {f"{CANARY}_key": f"{CANARY}@example.com"}
        case list():
            return [poisoned(item) for item in value]
        case str() if "_" not in value and value != "usd":
            return f"Jane {CANARY} <{CANARY}@example.com>"
        case None:
            return f"{CANARY}, 1 Main Street"
        case _:
            return value


async def all_text(database: Database) -> str:
    async with database.transaction() as db:
        tables = await db.fetch("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        rows = [await db.fetch(f"SELECT to_jsonb(t)::text FROM {name} AS t") for (name,) in tables]  # noqa: S608 - from the catalogue
    return "\n".join(row[0] for table in rows for row in table)


async def test_nothing_personal_in_an_event_reaches_a_table_or_the_log(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    await world.connect("acct_1032D82eZvKYlo2C")
    opened = 0
    for name in ["invoice.payment_failed.subscription_cycle", *NAMES]:
        event = example(name)
        event["data"] = poisoned(event["data"])
        event["id"] = new_id()
        event["request"] = poisoned({"id": None})
        await world.post(event)
        opened = max(opened, await world.value("SELECT count(*) FROM recoveries"))
    assert opened == 1, "the events must do something, or this test proves nothing"
    text = await all_text(world.database)
    assert "in_1Pgc6tB7WZ01zgkWu9fdqL6I" in text
    assert CANARY not in text
    captured = capfd.readouterr()
    assert CANARY not in captured.out + captured.err


@pytest.mark.parametrize("column", ["access_token", "refresh_token"])
async def test_the_ingress_cannot_read_a_token(open_database: OpenDatabase, column: str) -> None:
    async with open_database(Role.INGRESS) as ingress, ingress.transaction() as db:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.fetch(f"SELECT {column} FROM merchants")  # noqa: S608 - names of this test's own


async def test_an_outcome_is_recorded_for_a_recovery_that_has_ended_before(world: World) -> None:
    recovery_id = await world.fail()
    await world.move(recovery_id, RecoveryState.WAITING)
    await world.happen("invoice.voided", invoice())
    late = await world.happen("invoice.payment_failed", invoice())
    assert await world.outcome(late) == "routed"
    assert await world.story() == ["renewal_failed", "voided"]
    assert await world.tasks() == [("dunning_retry", "canceled", True)]
