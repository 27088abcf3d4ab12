"""What the customer and the merchant are written, when, and what never leaves the house."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from services.worker.app import make_email_sender
from services.worker.engine.loop import Engine
from services.worker.handlers import discover
from services.worker.outside.circuits import Circuits
from services.worker.outside.remote import Outside
from shared import recovery_stops
from shared.money import Money
from shared.queue import tasks
from shared.queue.tasks import NewTask
from shared.recovery_model import EndReason, Entry, EntryKind
from tests.integration.worker.world import PACE, World, worker_settings


async def _kinds(world: World) -> list[str]:
    return [each["message"]["tags"][0]["value"] for each in await world.control.outbox()]


async def test_the_first_message_goes_out_at_once_with_a_link_and_its_headers(world: World) -> None:
    failed = await world.fail(amount=4_200, decline="insufficient_funds")
    await world.work()
    (email,) = await world.control.outbox()
    message = email["message"]
    invoice = await world.control.object(failed.invoice)
    assert message["to"] == [invoice["customer_email"]]
    assert invoice["hosted_invoice_url"] in message["text"]
    assert "$42.00" in message["text"]
    assert "did not have enough funds" in message["html"]
    (task,) = await failed.tasks("succeeded", "notify_action_required")
    assert message["headers"]["X-Entity-Ref-ID"] == str(task["public_id"])
    assert email["idempotency_key"] == f"email:{task['public_id']}"


async def test_messages_follow_the_policy_s_days_and_end_with_the_window(world: World) -> None:
    failed = await world.fail(decline="lost_card")
    for _ in range(30):
        await world.work()
        await world.pass_time(days=1)
    story = await failed.story("messaged")
    opened = (await failed.recovery())["opened_at"]
    assert [round((row["at"] - opened) / timedelta(days=1)) for row in story] == [0, 3, 7, 14, 20]
    assert set(await _kinds(world)) == {"new_method_needed"}
    assert (await failed.booked())["message"] == 5


async def test_a_bank_that_waits_is_told_of_at_once_and_all_else_keeps_a_day_s_distance(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1, needs_3ds=True)
    for _ in range(40):
        await world.work()
        await world.pass_time(hours=6)
    story = await failed.story("messaged")
    kinds = [row["detail"]["kind"] for row in story]
    assert kinds[0] == "payment_failed"
    assert "action_required" in kinds
    first = kinds.index("action_required")
    gaps = [later["at"] - earlier["at"] for earlier, later in pairwise(story)]
    assert all(gap >= timedelta(hours=24) for number, gap in enumerate(gaps, start=1) if number != first)


async def test_a_request_to_authenticate_does_not_wait_a_day_after_another_message(world: World) -> None:
    failed = await world.fail(decline="try_again_later", clears_after=1, needs_3ds=True)
    await world.work()
    await world.pass_time(hours=3)
    await world.work()
    await world.work()
    assert (await failed.recovery())["state"] == "action_required"
    assert await _kinds(world) == ["payment_failed", "action_required"]


async def test_an_invoice_of_the_holdout_is_not_written_about(world: World) -> None:
    await world.execute("UPDATE policies SET document = jsonb_set(document, '{holdout_share}', '0.5')")
    for _ in range(8):
        await world.fail(decline="lost_card")
    await world.work()
    assert 0 < len(await _kinds(world)) < 8


@pytest.mark.parametrize("code", ["fraudulent", "lost_card", "stolen_card", "merchant_blacklist"])
async def test_a_suspected_card_s_holder_is_only_told_declined(world: World, code: str) -> None:
    await world.fail(decline=code)
    await world.work()
    (email,) = await world.control.outbox()
    text = email["message"]["text"].lower()
    assert "it was declined" in text
    assert [word for word in ("fraud", "lost", "stolen", "block", "funds", code) if word in text] == []


async def test_nobody_is_written_after_an_end(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    async with world.worker.transaction() as db:
        await recovery_stops.request_stop(
            db, failed.recovery_id, EndReason.DISPUTED, Entry(EntryKind.CLOSED, "disputed", "Stopped.")
        )
    await world.pass_time(days=25)
    await world.work()
    assert len(await world.control.outbox()) == 1


async def test_nobody_is_written_who_has_paid(world: World) -> None:
    failed = await world.fail(decline="lost_card")
    await world.work()
    await world.control.pay_hosted(failed.invoice)
    await world.pass_time(days=3, hours=1)
    await world.work()
    assert await _kinds(world) == ["new_method_needed", "recovered"]
    assert (await failed.recovery())["recovered_by"] == "message"


async def test_a_campaign_begins_reminds_and_ends(world: World) -> None:
    """Fourteen days in one voice: what is asked never changes, how it is asked does."""
    failed = await world.fail(decline="do_not_honor")
    for _ in range(44):
        await world.work()
        await world.pass_time(hours=12)
    kinds = await _kinds(world)
    assert kinds == ["payment_failed", "reminder", "reminder", "reminder", "last_notice"]
    subjects = [each["message"]["subject"] for each in await world.control.outbox()]
    assert subjects[0].startswith("Your payment to")
    assert subjects[-1].startswith("Last reminder:")
    told = [row["detail"]["message"] for row in await failed.story("messaged")]
    assert told == kinds


async def test_a_request_that_is_repeated_says_so(world: World) -> None:
    await world.fail(decline="lost_card")
    for _ in range(8):
        await world.work()
        await world.pass_time(days=1)
    first, second, third = [each["message"]["subject"] for each in await world.control.outbox()]
    assert second == third == f"Reminder: {first}"


async def test_a_message_names_the_day_of_the_next_attempt(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    await world.work()
    due = (await failed.recovery())["next_attempt_at"]
    (email,) = await world.control.outbox()
    assert f"We will try again on September {due.day}." in email["message"]["text"]


@pytest.mark.parametrize(
    ("locale", "subject"),
    [
        ("de-AT", "Ihre Zahlung an"),
        ("ja", "へのお支払いが完了していません"),
        ("pt-BR", "Seu pagamento a"),
        ("fi-FI", "Your payment to"),
    ],
)
async def test_a_customer_reads_their_own_language(world: World, locale: str, subject: str) -> None:
    failed = await world.fail(decline="insufficient_funds")
    world.simulation.world.accounts[world.account].objects["customer"][failed.customer]["preferred_locales"] = [locale]
    await world.work()
    (email,) = await world.control.outbox()
    assert subject in email["message"]["subject"]


# --- The page for another card ----------------------------------------------------------------------------------------


async def _sessions(world: World) -> list[dict[str, Any]]:
    return list(world.simulation.world.accounts[world.account].objects["billing_portal.session"].values())


async def test_who_needs_another_card_is_led_to_its_form_and_may_pay_at_once(world: World) -> None:
    failed = await world.fail(decline="lost_card")
    await world.work()
    (session,) = await _sessions(world)
    assert session["customer"] == failed.customer
    assert session["flow"]["type"] == "payment_method_update"
    (email,) = await world.control.outbox()
    invoice = await world.control.object(failed.invoice)
    text = email["message"]["text"]
    assert text.index(session["url"]) < text.index(invoice["hosted_invoice_url"])


async def test_the_page_for_another_card_still_opens_days_after_the_email(world: World) -> None:
    """A portal session alone dies within minutes: nobody reads an email that fast."""
    failed = await world.fail(decline="lost_card")
    await world.control.set_reaction(failed.customer, kind="new_card", delay=2 * 86_400)
    await world.work()
    await world.pass_time(days=2, minutes=1)
    customer = await world.control.object(failed.customer)
    assert customer["invoice_settings"]["default_payment_method"] != failed.payment_method


async def test_without_a_portal_the_invoice_is_where_another_card_is_used(world: World) -> None:
    await world.control.change_account(world.account, portal=False)
    failed = await world.fail(decline="lost_card")
    await world.work()
    (email,) = await world.control.outbox()
    invoice = await world.control.object(failed.invoice)
    assert email["message"]["text"].count(invoice["hosted_invoice_url"]) == 1
    assert await _sessions(world) == []


async def test_a_message_that_is_sent_again_has_the_same_page_and_goes_out_once(world: World) -> None:
    await world.fail(decline="lost_card")
    await world.control.add_fault("drop", method="POST", path="/emails", times=1, after_effect=True)
    for _ in range(3):
        await world.work()
        await world.pass_time(minutes=5)
    assert len(await _sessions(world)) == 1
    (email,) = await world.control.outbox()
    assert (await _sessions(world))[0]["url"] in email["message"]["html"]


# --- Thanks -----------------------------------------------------------------------------------------------------------


async def test_who_was_written_to_and_pays_is_thanked_once_a_day_later(world: World) -> None:
    failed = await world.fail(amount=4_200, decline="lost_card")
    await world.work()
    await world.pass_time(hours=2)
    await world.control.pay_hosted(failed.invoice)
    async with world.database.transaction() as db:
        await recovery_stops.settle_paid(db, failed.recovery_id, Money(4_200, "usd"), out_of_band=False, source="test")
    await world.work()
    assert await _kinds(world) == ["new_method_needed"]
    await world.pass_time(hours=22, seconds=1)
    for _ in range(3):
        await world.work()
        await world.pass_time(days=2)
    assert await _kinds(world) == ["new_method_needed", "recovered"]
    text = (await world.control.outbox())[-1]["message"]["text"]
    assert "Your payment of $42.00" in text
    assert "on September 8" in text
    assert (await failed.booked())["message"] == 2
    assert len(await failed.story("thanked")) == 1


async def test_nobody_is_thanked_who_never_heard_of_it(world: World) -> None:
    await world.execute("UPDATE policies SET document = jsonb_set(document, '{message_days}', '[]')")
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    assert (await failed.finish())["state"] == "recovered"
    await world.pass_time(days=3)
    await world.work()
    assert await world.control.outbox() == []


async def test_nobody_is_thanked_who_wants_no_messages(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.work()
    await world.execute(
        "INSERT INTO silenced_customers (merchant_id, customer_id, reason) VALUES ($1, $2, 'complained')",
        world.merchant_id,
        failed.customer,
    )
    assert (await failed.finish())["state"] == "recovered"
    await world.pass_time(days=3)
    await world.work()
    assert await _kinds(world) == ["payment_failed"]
    assert [row["rule"] for row in await failed.story("not_messaged")] == ["complained"]


async def test_a_customer_whose_payment_was_taken_back_is_not_thanked(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    assert (await failed.finish())["state"] == "recovered"
    world.simulation.world.accounts[world.account].objects["invoice"][failed.invoice]["status"] = "void"
    await world.pass_time(days=2)
    await world.work()
    assert "recovered" not in await _kinds(world)
    assert [row["rule"] for row in await failed.story("not_messaged")] == ["not_paid"]


FAULTS: list[dict[str, Any]] = [
    {"kind": "rate_limited"},
    {"kind": "server_error"},
    {"kind": "server_error", "after_effect": True},
    {"kind": "drop"},
    {"kind": "drop", "after_effect": True},
    {"kind": "truncate"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values())))
async def test_a_failing_email_service_delays_one_email_and_nothing_else(world: World, fault: dict[str, Any]) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.control.add_fault(method="POST", path="/emails", times=2, **fault)
    for _ in range(6):
        await world.work()
        await world.pass_time(minutes=5)
    row = await failed.finish()
    assert row["state"] == "recovered"
    outbox = await world.control.outbox()
    keys = [each["idempotency_key"] for each in outbox]
    assert len(keys) == len(set(keys)) == (await failed.booked())["message"]


async def test_an_email_service_that_is_down_for_good_does_not_hold_up_the_money(world: World) -> None:
    failed = await world.fail(decline="do_not_honor", clears_after=1)
    await world.control.add_fault("server_error", method="POST", path="/emails")
    assert (await failed.finish())["recovered_by"] == "retry"


async def test_without_a_key_an_email_is_printed_without_its_address(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    sender = make_email_sender(worker_settings("http://127.0.0.1:9", resend_api_key=None), None, Circuits())  # type: ignore[arg-type]  # no session: it sends nothing
    outside = Outside(world.outside.stripe, sender, world.outside.permission)
    failed = await world.fail(decline="lost_card")
    engine = Engine("printing", world.worker, discover(), outside, PACE)
    for _ in range(3):
        await engine.run_due()
        await world.pass_time(days=2)
    printed = capsys.readouterr().out
    assert "email not sent (CITADEL_RESEND_API_KEY is not set): new_method_needed" in printed
    assert [needle for needle in await world.control.pii() if needle in printed] == []
    assert len(await failed.story("printed")) == 2
    assert "message" not in await failed.booked()
    assert await world.control.outbox() == []


async def test_a_customer_without_an_address_is_told_of_in_the_timeline(world: World) -> None:
    failed = await world.fail(decline="do_not_honor")
    objects = world.simulation.world.accounts[world.account].objects
    objects["customer"][failed.customer]["email"] = None
    objects["invoice"][failed.invoice]["customer_email"] = None
    await world.work()
    assert [row["rule"] for row in await failed.story("not_messaged")] == ["no_address"]
    assert "message" not in await failed.booked()


# --- The weekly digest ------------------------------------------------------------------------------------------------


async def _digest(world: World) -> None:
    async with world.worker.transaction() as db:
        key = f"send_weekly_digest:{world.merchant_id}"
        await tasks.enqueue(db, NewTask(world.merchant_id, "send_weekly_digest", unique_key=key))


async def _digests(world: World, status: str) -> list[Any]:
    sql = "SELECT * FROM scheduled_tasks WHERE task_type = 'send_weekly_digest' AND status = $1 ORDER BY id"
    return await world.rows(sql, status)


async def test_the_digest_tells_the_week_by_currency_and_comes_again(world: World) -> None:
    failed = await world.fail(amount=4_200, decline="do_not_honor", clears_after=1)
    await failed.finish()
    await world.pass_time(days=1)
    await _digest(world)
    await world.work()
    emails = {each["message"]["tags"][0]["value"]: each["message"] for each in await world.control.outbox()}
    email = emails["weekly_digest"]
    account = next(each for each in await world.control.accounts() if each["id"] == world.account)
    assert email["to"] == [world.simulation.world.accounts[account["id"]].resource["email"]]
    assert "$42.00 recovered, from 1 payment\n" in email["text"]
    (ahead,) = await _digests(world, "pending")
    (done,) = await _digests(world, "succeeded")
    assert ahead["run_at"] - done["run_at"] == timedelta(days=7)


async def test_a_week_without_news_is_not_written_about_and_the_next_one_comes(world: World) -> None:
    await _digest(world)
    await world.work()
    assert await world.control.outbox() == []
    assert len(await _digests(world, "pending")) == 1


async def test_a_merchant_that_is_gone_gets_no_more_digests(world: World) -> None:
    await world.execute("UPDATE merchants SET status = 'disconnected'")
    await _digest(world)
    await world.work()
    assert await _digests(world, "pending") == []


# --- Usage ------------------------------------------------------------------------------------------------------------


async def _usage(world: World, **changes: Any) -> None:
    payload = {
        "usage_id": "3f6c1de2-27a3-4a44-9d52-0f3f6a3f9b11",
        "event_name": "api_requests",
        "customer_id": "cus_1",
        "value": 7,
        "timestamp": world.simulation.world.clock.now,
        **changes,
    }
    async with world.worker.transaction() as db:
        await tasks.enqueue(db, NewTask(world.merchant_id, "report_usage", payload, max_tries=5))


async def test_usage_is_reported_once_however_often_it_is_queued(world: World) -> None:
    await _usage(world)
    await _usage(world)
    await world.work()
    (event,) = await world.control.meter_events()
    assert event["identifier"] == "3f6c1de2-27a3-4a44-9d52-0f3f6a3f9b11"
    assert event["payload"] == {"stripe_customer_id": "cus_1", "value": "7"}
    assert event["account"] == world.account
    assert {row["status"] for row in await world.rows("SELECT status FROM scheduled_tasks")} == {"succeeded"}


async def test_usage_outside_stripe_s_window_is_dead_at_once(world: World) -> None:
    await _usage(world, timestamp=world.simulation.world.clock.now - 36 * 86_400)
    await world.work()
    (task,) = await world.rows("SELECT * FROM scheduled_tasks")
    assert (task["status"], task["attempts"]) == ("dead", 1)
    assert "timestamp_too_far_in_past" in task["last_error"]


async def test_usage_is_tried_five_times_five_seconds_apart_and_doubling(world: World) -> None:
    await world.control.add_fault("server_error", method="POST", path="/v1/billing/meter_events")
    await _usage(world)
    for attempt in range(1, 6):
        assert await world.work() == 1
        (task,) = await world.rows("SELECT *, run_at - citadel_now() AS delay FROM scheduled_tasks")
        if attempt < 5:
            assert task["status"] == "pending"
            assert timedelta(seconds=-1) <= task["delay"] <= timedelta(seconds=5 * 2 ** (attempt - 1))
        await world.pass_time(seconds=60)
    assert (task["status"], task["attempts"]) == ("dead", 5)
    assert task["last_error"].startswith("stripe: 500")
