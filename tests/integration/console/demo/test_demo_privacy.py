"""The privacy check finds a canary in any kind of column and in a log, and admits when it was blind."""

from pathlib import Path

import pytest

from console.demo.checks import check_privacy
from shared.database import Database

CANARY = "Björn Nightingale-Łukasiewicz"
EMAIL = "bjorn.12345@customer.example"
ACCOUNT = "acct_1ControlValue"

MERCHANT = "INSERT INTO merchants (stripe_connect_id) VALUES ($1)"

PLANTS = {
    "a text column": "UPDATE merchants SET stripe_user_id = 'note: ' || $1",
    "jsonb, as a value": "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) "
    "VALUES ('m', 't', jsonb_build_object('deep', jsonb_build_array(jsonb_build_object('name', $1::text))))",
    "jsonb, as a key": "INSERT INTO scheduled_tasks (merchant_id, task_type, payload) "
    "VALUES ('m', 't', jsonb_build_object($1::text, 1))",
    "an array of texts": "INSERT INTO api_keys (name, key_hash, scopes) VALUES ('k', 'x', ARRAY['a', $1::text])",
    "bytes": "INSERT INTO api_keys (name, key_hash, scopes) VALUES ('k', convert_to($1::text, 'UTF8'), ARRAY['a'])",
    "a domain's type": "INSERT INTO canary.strange (value) VALUES ($1::text)",
}
STRANGE = """
CREATE SCHEMA canary;
CREATE DOMAIN canary.label AS varchar(100);
CREATE TABLE canary.strange (id int GENERATED ALWAYS AS IDENTITY, value canary.label);
"""


@pytest.fixture
async def world(database: Database) -> Database:
    async with database.transaction() as db:
        await db.execute(MERCHANT, ACCOUNT)
        await db.execute(STRANGE)
    return database


def log_with(folder: Path, text: str) -> Path:
    file = folder / "ingress-1.log"
    file.write_text(f'{{"event":"listening"}}\n{{"event":"request","detail":"{text}"}}\n')
    return file


async def test_nothing_personal_anywhere_holds(world: Database, tmp_path: Path) -> None:
    verdict = await check_privacy(world, [log_with(tmp_path, "in_123")], [CANARY, EMAIL], [ACCOUNT])

    assert verdict.holds, verdict.problems


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS.keys())
@pytest.mark.parametrize("value", [CANARY, EMAIL], ids=["name", "email"])
async def test_a_canary_in_a_column_is_caught(world: Database, tmp_path: Path, plant: str, value: str) -> None:
    async with world.transaction() as db:
        await db.execute(plant, value)

    verdict = await check_privacy(world, [log_with(tmp_path, "in_123")], [CANARY, EMAIL], [ACCOUNT])

    assert len(verdict.problems) == 1
    assert value not in verdict.problems[0]  # the place is told, the value is not


async def test_a_canary_in_a_log_is_caught(world: Database, tmp_path: Path) -> None:
    file = log_with(tmp_path, f"sent to {EMAIL}")

    verdict = await check_privacy(world, [file], [CANARY, EMAIL], [ACCOUNT])

    assert [problem for problem in verdict.problems if file.name in problem]


async def test_a_scan_that_does_not_find_what_is_there_proves_nothing(world: Database, tmp_path: Path) -> None:
    verdict = await check_privacy(world, [log_with(tmp_path, "")], [CANARY], [ACCOUNT, "acct_1NeverConnected"])

    assert not verdict.holds


async def test_a_scan_for_nothing_proves_nothing(world: Database, tmp_path: Path) -> None:
    verdict = await check_privacy(world, [log_with(tmp_path, "")], ["Bo Li"], [ACCOUNT])

    assert not verdict.holds


async def test_a_log_that_is_missing_is_no_clean_log(world: Database, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await check_privacy(world, [tmp_path / "worker-1.log"], [CANARY], [ACCOUNT])
