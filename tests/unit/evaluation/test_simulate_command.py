"""`citadel simulate` as a user types it."""

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from services.cli import app
from services.worker.recovery import Policy


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", "--failures", "300", *arguments])


def test_the_tables_show_every_strategy_and_what_they_are_not() -> None:
    result = run()
    assert result.exit_code == 0
    for expected in ("citadel default", "stripe 8 in 14 days", "polar 2-5-7-7", "kill bill 8-8-8", "95 % interval"):
        assert expected in result.stdout
    assert "does not foretell" in result.stdout


def test_json_is_the_same_for_the_same_seed() -> None:
    first, second = (orjson.loads(run("--json", "--seed", "3").stdout) for _ in range(2))
    for each in (first, second):
        del each["recoveries_per_second"]
    assert first == second
    assert first["strategies"]["citadel default"]["failures"] == 300


def test_a_policy_from_a_file_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "eager.json"
    file.write_text(Policy.default().model_copy(update={"max_attempts": 1}).model_dump_json())
    figures = orjson.loads(run("--json", "--policy", str(file)).stdout)
    assert next(iter(figures["strategies"])) == "eager.json"
    assert figures["strategies"]["eager.json"]["attempts_per_failure"] <= 1
    assert "citadel default" in figures["first_against"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"max_attempts": 0, "window_days": "x"}', ["max_attempts", "window_days"]),
        ("{", ["document"]),
        ('{"unheard_of": 1}', ["unheard_of"]),
    ],
)
def test_a_wrong_policy_is_refused_with_every_problem(tmp_path: Path, text: str, expected: list[str]) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(text)
    result = run("--policy", str(file))
    assert result.exit_code == 2
    assert all(each in result.output for each in expected)


def test_a_policy_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    result = run("--policy", str(tmp_path / "nowhere.json"))
    assert result.exit_code == 2
    assert "cannot be read" in result.output
