"""What becomes of an email that Resend does not take: by the name of its answer, and over all workers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.worker.app import make_email_sender
from services.worker.engine.loop import Engine
from services.worker.errors import Refused, RetryLater
from services.worker.handlers import discover
from services.worker.outside.call_rates import CallRates
from services.worker.outside.circuits import Circuits
from services.worker.outside.email import BAD_RECIPIENT, Email, EmailSender
from services.worker.outside.mail_quota import MailQuota
from services.worker.outside.remote import Outside
from tests.integration.worker.world import PACE, World, worker_settings

EMAIL = Email("payment_failed", "someone@customer.example", "S", "T", "<p>H</p>", "email:1", "1", sender_name="Fjord")
Answerer = Callable[[dict[str, Any]], tuple[int, str, str]]


@asynccontextmanager
async def answering(world: World, answer: Answerer) -> AsyncIterator[tuple[EmailSender, list[dict[str, Any]]]]:
    """A Resend that answers so, and the emails that it was asked to send."""
    asked: list[dict[str, Any]] = []

    async def emails(request: web.Request) -> web.Response:
        asked.append(await request.json())
        status, name, message = answer(asked[-1])
        if status < 300:
            return web.json_response({"id": "sent"})
        return web.json_response({"statusCode": status, "name": name, "message": message}, status=status)

    app = web.Application()
    app.router.add_post("/emails", emails)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        settings = worker_settings(str(server.make_url("")).rstrip("/"))
        yield make_email_sender(settings, session, Circuits(), quota=MailQuota(world.worker)), asked


@pytest.mark.parametrize(
    ("status", "name", "message"),
    [
        (401, "missing_api_key", "Missing API key"),
        (403, "invalid_api_key", "API key is invalid"),
        (401, "validation_error", "API key is invalid"),
        (400, "validation_error", "API key is invalid"),
        (403, "validation_error", "The fjord.example domain is not verified."),
        (422, "invalid_from_address", "Invalid `from` field."),
        (422, "validation_error", "Invalid `from` field."),
        (404, "not_found", "The requested endpoint does not exist."),
    ],
)
async def test_what_only_the_operator_can_set_right_holds_the_email_and_uses_up_no_try(
    world: World, status: int, name: str, message: str
) -> None:
    async with answering(world, lambda _: (status, name, message)) as (sender, _):
        with pytest.raises(RetryLater, match=f"resend: {status} {name}") as held:
            await sender.send(EMAIL)
    assert not held.value.counts


@pytest.mark.parametrize(
    ("status", "name", "message"),
    [
        (422, "missing_required_field", "Missing `subject` field."),
        (400, "validation_error", "We found an error with one or more fields."),
        (422, "invalid_parameter", "Not a valid parameter."),
        (451, "security_error", "We may have found a security issue with the request."),
        (418, "a_name_of_tomorrow", "?"),
    ],
)
async def test_what_no_repeat_can_cure_is_refused_by_its_name(
    world: World, status: int, name: str, message: str
) -> None:
    async with answering(world, lambda _: (status, name, message)) as (sender, asked):
        with pytest.raises(Refused, match=name) as refused:
            await sender.send(EMAIL)
        assert refused.value.code != BAD_RECIPIENT
        assert len(asked) == 1


async def test_a_recipient_that_resend_does_not_take_is_told_apart(world: World) -> None:
    async with answering(world, lambda _: (422, "validation_error", "Invalid `to` field.")) as (sender, asked):
        with pytest.raises(Refused) as refused:
            await sender.send(EMAIL)
        assert refused.value.code == BAD_RECIPIENT
        with pytest.raises(Refused) as refused:
            await sender.send(Email("payment_failed", "no address", "S", "T", "", "email:2", "2"))
        assert refused.value.code == BAD_RECIPIENT
        assert len(asked) == 1, "what is no address is not sent to"


async def test_a_name_that_resend_does_not_take_is_left_out_and_the_email_goes(world: World) -> None:
    def answer(asked: dict[str, Any]) -> tuple[int, str, str]:
        return (422, "validation_error", "Invalid `from` field.") if "Fjord" in asked["from"] else (200, "", "")

    async with answering(world, answer) as (sender, asked):
        assert (await sender.send(EMAIL)).provider_id == "sent"
        assert [each["from"] for each in asked] == ['"Fjord" <billing@example.com>', "Billing <billing@example.com>"]


async def test_the_same_email_under_way_elsewhere_is_waited_for(world: World) -> None:
    async with answering(world, lambda _: (409, "concurrent_idempotent_requests", "In progress")) as (sender, _):
        with pytest.raises(RetryLater) as later:
            await sender.send(EMAIL)
        assert not later.value.counts
    async with answering(world, lambda _: (409, "invalid_idempotent_request", "Another text")) as (sender, _):
        assert not (await sender.send(EMAIL)).printed


# --- A quota ----------------------------------------------------------------------------------------------------------


async def _tasks(world: World) -> list[Any]:
    sql = "SELECT * FROM scheduled_tasks WHERE task_type = 'notify_action_required' ORDER BY id"
    return await world.rows(sql)


async def test_a_quota_that_is_used_up_is_waited_for_and_nothing_is_lost_or_counted(world: World) -> None:
    await world.control.set_resend_limits(daily_quota=1)
    for _ in range(3):
        await world.fail(decline="lost_card")
    await world.work()
    assert len(await world.control.outbox()) == 1
    for day in (1, 2):
        await world.pass_time(days=1)
        await world.work()
        assert len(await world.control.outbox()) == day + 1
    assert {each["attempts"] for each in await _tasks(world) if each["status"] == "pending"} <= {0}
    assert [each for each in await _tasks(world) if each["status"] == "dead"] == []


async def test_while_a_quota_is_used_up_no_worker_reads_anything_for_an_email(world: World) -> None:
    await world.control.set_resend_limits(daily_quota=0)
    await world.fail(decline="lost_card")
    await world.work()
    before = len(await world.control.requests())
    other = await world.fail(decline="insufficient_funds")
    await world.execute("UPDATE scheduled_tasks SET status = 'canceled' WHERE task_type = 'dunning_retry'")
    await world.execute(
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload, recovery_id) VALUES "
        "($1, 'notify_action_required', jsonb_build_object('invoice_id', $2::text), $3)",
        world.merchant_id,
        other.invoice,
        other.recovery_id,
    )
    await world.another_engine().run_due()
    held = (await _tasks(world))[-1]
    assert (held["status"], held["attempts"], held["last_error"]) == (
        "pending",
        0,
        "resend: the quota of emails is used up",
    )
    ours = [each for each in await world.control.requests() if not each["path"].startswith("/_sim")]
    assert len(ours) == before


async def test_a_larger_quota_is_noticed_within_the_hour(world: World) -> None:
    await world.control.set_resend_limits(daily_quota=0)
    await world.fail(decline="lost_card")
    await world.work()
    await world.control.set_resend_limits(daily_quota=None)
    await world.pass_time(minutes=61)
    await world.work()
    assert len(await world.control.outbox()) == 1


# --- Calls a second ---------------------------------------------------------------------------------------------------


async def test_all_workers_together_keep_within_resend_s_calls_a_second(world: World) -> None:
    """Two workers with a slot book each; the simulator refuses what is too much in any second."""
    await world.control.set_resend_limits(rate=10)
    settings = worker_settings(world.control.url)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        engines, booking = [], []
        for name in ("one", "two"):
            rates = CallRates(world.worker, "resend", 8.0)
            booking.append(group.create_task(rates.run()))
            circuits = Circuits()
            sender = make_email_sender(settings, session, circuits, rates, MailQuota(world.worker))
            outside = Outside(world.outside.stripe, sender, world.outside.permission, circuits)
            engines.append(Engine(name, world.worker, discover(), outside, PACE))
        for _ in range(12):
            await world.fail(decline="lost_card")
        while len(await world.control.outbox()) < 12:
            await asyncio.gather(*(engine.run_due() for engine in engines))
            await world.pass_time(seconds=5)
        for each in booking:
            each.cancel()
    answers = [each["status"] for each in await world.control.requests(path="/emails")]
    assert 429 not in answers
