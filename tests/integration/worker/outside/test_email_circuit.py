"""The circuit of the email service: an outage is waited out, and the tasks that need it burn no attempts meanwhile."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from services.worker.app import make_email_sender
from services.worker.engine.loop import Engine
from services.worker.errors import Refused, RetryLater
from services.worker.handlers import discover
from services.worker.outside.circuits import CircuitOpen, Circuits
from services.worker.outside.email import Email, EmailSender
from services.worker.outside.remote import Outside
from tests.integration.worker.world import PACE, World, worker_settings
from tests.unit.worker.outside.test_circuits import Clock

EMAIL = Email("payment_failed", "someone@customer.example", "S", "T", "<p>H</p>", "email:1", "1")
OUTAGES: tuple[dict[str, Any], ...] = ({"kind": "server_error"}, {"kind": "drop"}, {"kind": "truncate"})
WAITING = """
SELECT attempts, run_at - citadel_now() > interval '50 seconds' AS later, last_error
FROM scheduled_tasks
WHERE status = 'pending' AND task_type = $1
"""


@pytest.fixture
def clock() -> Clock:
    """The circuits' clock, set by hand."""
    return Clock()


@pytest.fixture
async def outside(world: World, clock: Clock) -> AsyncIterator[Outside]:
    """The ways out of a worker whose circuits go by that clock."""
    circuits = Circuits(clock)
    settings = worker_settings(world.control.url, resend_timeout_seconds=1.0)
    async with aiohttp.ClientSession() as session:
        sender = make_email_sender(settings, session, circuits)
        yield Outside(world.outside.stripe, sender, world.outside.permission, circuits)


async def _break(world: World, sender: EmailSender, times: int = 5, **fault: Any) -> None:
    await world.control.add_fault(method="POST", path="/emails", times=times, **fault)
    for _ in range(times):
        with pytest.raises(RetryLater) as later:
            await sender.send(EMAIL)
        assert not isinstance(later.value, CircuitOpen)


async def _calls(world: World) -> int:
    hits: list[int] = [rule["hits"] for rule in await world.control.faults()]
    return sum(hits) + len(await world.control.outbox())


@pytest.mark.parametrize("fault", OUTAGES, ids=lambda fault: fault["kind"])
async def test_five_failures_in_a_row_open_it_and_no_call_is_made(
    world: World, outside: Outside, fault: dict[str, Any]
) -> None:
    await _break(world, outside.email, **fault)
    calls = await _calls(world)
    with pytest.raises(CircuitOpen, match="resend: circuit open") as opened:
        await outside.email.send(EMAIL)
    assert not opened.value.counts
    assert await _calls(world) == calls >= 5
    outside.circuits.check("stripe")


async def test_after_a_minute_one_email_tries_and_its_success_closes_it(
    world: World, outside: Outside, clock: Clock
) -> None:
    await _break(world, outside.email, kind="server_error")
    clock.now = 59.9
    with pytest.raises(CircuitOpen):
        await outside.email.send(EMAIL)
    clock.now = 60.0
    assert (await outside.email.send(EMAIL)).provider_id
    await _break(world, outside.email, times=4, kind="server_error")  # it is closed: the count began anew
    assert len(await world.control.outbox()) == 1


async def test_a_try_that_fails_keeps_it_open_for_another_minute(world: World, outside: Outside, clock: Clock) -> None:
    await _break(world, outside.email, kind="server_error")
    clock.now = 60.0
    await _break(world, outside.email, times=1, kind="drop")
    clock.now = 119.9
    with pytest.raises(CircuitOpen):
        await outside.email.send(EMAIL)
    assert await world.control.outbox() == []


async def test_refusals_and_rate_limits_are_no_outage(world: World, outside: Outside) -> None:
    await _break(world, outside.email, times=4, kind="server_error")
    await world.control.add_fault("rate_limited", method="POST", path="/emails", times=1)
    with pytest.raises((RetryLater, Refused)):
        await outside.email.send(EMAIL)
    await _break(world, outside.email, times=4, kind="server_error")
    await outside.email.send(EMAIL)


async def test_a_call_that_is_broken_off_from_here_is_no_failure_of_the_service(
    world: World, outside: Outside, clock: Clock
) -> None:
    await _break(world, outside.email, kind="server_error")
    clock.now = 60.0
    await outside.email._session.close()  # type: ignore[attr-defined]  # the sender's: a call cannot even begin
    with pytest.raises(RuntimeError, match="closed"):
        await outside.email.send(EMAIL)
    outside.circuits.enter("resend")  # the place of the one that tries is free again


@pytest.mark.parametrize("task_type", ["notify_action_required", "send_weekly_digest"])
async def test_while_it_is_open_what_writes_emails_waits_and_burns_no_attempt(
    world: World, outside: Outside, clock: Clock, task_type: str
) -> None:
    """The money goes on: the evaluation that queues the message runs as ever."""
    for _ in range(5):
        outside.circuits.left("resend", failed=True)
    failed = await world.fail(decline="lost_card")
    await world.execute(
        "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) VALUES ($1, 'send_weekly_digest', '{}')",
        world.merchant_id,
    )
    engine = Engine("w", world.worker, discover(), outside, PACE)
    await engine.run_due()
    assert (await failed.recovery())["state"] == "needs_new_method"
    (row,) = await world.rows(WAITING, task_type)
    assert tuple(row) == (0, True, "resend: circuit open")
    assert await world.control.outbox() == []
    clock.now = 60.0
    await world.pass_time(seconds=80)
    await engine.run_due()
    assert task_type in {row["task_type"] for row in await world.rows(SUCCEEDED)}


SUCCEEDED = "SELECT task_type FROM scheduled_tasks WHERE status = 'succeeded'"


@pytest.mark.parametrize(
    "task_type",
    [
        "notify_action_required",
        "send_weekly_digest",
        "tell_ended",
        "tell_merchant_ended",
        "thank_customer",
        "warn_card_expiring",
    ],
)
def test_every_task_that_writes_emails_names_the_email_service(task_type: str) -> None:
    assert discover()[task_type].calls == ("stripe", "resend")
