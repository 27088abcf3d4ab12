"""Rescued tasks are let in few at a time, and who is not let in waits longer each time."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from services.worker.engine.quarantine import Quarantine
from services.worker.engine.run import Kind, Run
from services.worker.outside.lease import Lease
from shared.ids import MerchantId
from shared.queue.tasks import Task

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def _run(number: int, *, rescues: int = 3, attempt: int = 1) -> Run:
    task = Task(number, uuid4(), MerchantId("m"), "t", {}, None, attempt, 10, 1, NOW, NOW, rescues)
    return Run(task, Kind("t", None), Lease(timedelta(seconds=30)), 0.0)


def test_the_oftener_rescued_the_fewer_at_a_time() -> None:
    for rescues, at_once in ((1, 32), (2, 4), (3, 1), (9, 1)):
        quarantine = Quarantine()
        runs = [_run(number, rescues=rescues) for number in range(40)]
        assert sum(quarantine.admits(run) for run in runs) == at_once


def test_a_task_with_its_last_attempt_is_let_in_alone() -> None:
    quarantine, other = Quarantine(), _run(1, rescues=1)
    assert quarantine.admits(other)
    last = _run(2, rescues=1, attempt=10)
    assert not quarantine.admits(last)
    quarantine.ended(other)
    assert quarantine.admits(last)


def test_who_is_not_let_in_waits_longer_each_time_and_no_longer_than_ten_seconds() -> None:
    quarantine, run = Quarantine(), _run(1)
    delays = [quarantine.delay(run).total_seconds() for _ in range(12)]
    for times, delay in enumerate(delays):
        longest = min(0.5 * 2**times, 10.0)
        assert longest / 2 <= delay <= longest
    assert quarantine.delay(_run(2)).total_seconds() <= 0.5, "each waits for itself"
    assert quarantine.admits(run)
    assert quarantine.delay(run).total_seconds() <= 0.5, "once let in, it begins anew"
