"""`citadel demo`, as a stranger runs it, only smaller."""

import asyncio
import re
import signal
import subprocess

import asyncpg
import psutil
import pytest

from simulator.client import SimulatorClient
from tests.e2e.conftest import Here, Run, Running

pytestmark = pytest.mark.e2e

CHECKS = (
    "What was charged is what the ledger says was recovered",
    "No invoice was charged twice",
    "No personal data of customers in the database or in a log",
)
LADDERS = ("stripe 8 in 14 days", "polar 2-5-7-7", "kill bill 8-8-8")
DEMO_DATABASES = "SELECT count(*) FROM pg_database WHERE datname LIKE 'citadel\\_demo\\_%'"


# What happens beside declined cards, with the numbers that may not be 0.
BESIDE = (
    r"debits +([1-9]\d*) renewals? by bank debit failed days later",
    r"bank debits: [1-9]\d* paid; [1-9]\d* failed",
    r"cards +([1-9]\d*) failing cards? renewed in place by the networks, [1-9]\d* of them charged at once by us",
    r"went back +[1-9]\d* refunds? .* and [1-9]\d* disputes? \([1-9]\d* won, .*; [1-9]\d* of charges that are not ours",
)


def test_a_small_demo_kills_a_worker_and_passes_all_checks(citadel: Run) -> None:
    ended = citadel("demo", "--small")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [check for check in CHECKS if f"✓ {check}" not in ended.stdout] == []
    assert "was killed with SIGKILL" in ended.stdout
    assert [name for name in LADDERS if name not in ended.stdout] == []
    assert re.search(r"^all cards +\d+ +\d+ +\d+% +\d+ +\d+% +\d+ +\d+% +\d+ +\d+%$", ended.stdout, re.MULTILINE)
    assert [line for line in BESIDE if not re.search(line, " ".join(ended.stdout.split()))] == []
    story = ended.stdout.partition("citadel recovery show --brief")[2].partition("✓")[0]
    # It is small: in some runs no attempt of ours has gone through by then, and the story is another's.
    by_retries = re.search(r"(\d+) by our retries", ended.stdout)
    told = ["opened", "decided", "messaged", *(["attempted"] if by_retries and int(by_retries[1]) else []), "closed"]
    assert [kind for kind in told if kind in story] == told
    assert "in_" in story
    assert "\x1b" not in ended.stdout  # a pipe gets plain lines


def test_a_demo_that_is_kept_answers_and_takes_all_its_processes_with_it(running: Running) -> None:
    with running("demo", "--small", "--merchants", "1", "--days", "1", "--keep") as demo:
        demo.line_with("Everything keeps running")
        shown = demo.line_with("/v1/stats")
        asked = subprocess.run(
            ["sh", "-c", shown[shown.index("curl") :]], capture_output=True, text=True, check=True, timeout=30
        )
        children = psutil.Process(demo.process.pid).children(recursive=True)

        assert demo.end(signal.SIGTERM) == 0, "".join(demo.output)

    assert '"money":[{' in asked.stdout
    assert len(children) >= 7  # two workers, three services, a simulator, a PostgreSQL
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_a_demo_whose_check_fails_ends_with_1_and_leaves_nothing_on_a_given_server(
    here: Here, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def with_a_leak(client: SimulatorClient) -> list[str]:
        """The simulator claims that a name is personal which everybody knows to be in the database."""
        return [*await everything(client), "invoice.payment_failed"]

    everything = SimulatorClient.pii
    monkeypatch.setattr(SimulatorClient, "pii", with_a_leak)

    ended = here("demo", "--small", "--merchants", "1", "--days", "1", CITADEL_DATABASE_URL=postgres_url)

    assert ended.returncode == 1
    assert "public.processed_events.event_type" in ended.stdout
    assert "a check of the demo failed" in ended.stderr
    assert asyncio.run(_demo_databases(postgres_url)) == 0


async def _demo_databases(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(DEMO_DATABASES))
    finally:
        await connection.close()
