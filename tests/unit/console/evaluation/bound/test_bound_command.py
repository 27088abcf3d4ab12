"""`citadel bound` as a user types it."""

import re

import orjson
import pytest
from typer.testing import CliRunner, Result

from console.__main__ import app

FEW = ("--worlds", "3", "--learned", "1", "--history", "40", "--price", "0.01", "--price", "0.001")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bound", *arguments], env={"COLUMNS": "200"})


def test_the_tables_say_what_nobody_can_exceed_and_what_ours_reaches() -> None:
    result = run(*FEW)
    assert result.exit_code == 0
    assert re.search(r"3 small worlds, of the seeds 0 to \d", result.stdout)
    for expected in ("our planner, unseen", "knows the generator", "knows the world", "our planner after 40"):
        assert expected in result.stdout
    assert re.search(r"nobody who does not know the world collects more than \d\d\.\d% on average", result.stdout)
    assert re.search(r"nobody who does not know the customer collects more than \d+\.\d% on average", result.stdout)
    assert re.search(r"small-0, \d\d\.\d%: paid on", result.stdout)


def test_json_has_every_figure() -> None:
    figures = orjson.loads(run(*FEW, "--json", "--seed", "40").stdout)
    assert figures["prices"] == [0.01, 0.001]
    for part in ("unseen", "learned"):
        found = figures[part]
        assert found["planner"]["of_possible"] <= found["at_most"] <= 1
        assert all(row["of_possible"] <= 1 for row in found["strategies"])
        assert found["choices"]["of_best"] <= 1
    assert figures["unseen"]["worlds"][0]["seed"] == 40
    assert figures["learned"]["failures"] == 40


def test_without_learning_there_is_one_table_and_the_same_for_the_same_seed() -> None:
    first, second = (run("--worlds", "2", "--learned", "0", "--price", "0.01").stdout for _ in range(2))
    assert first == second
    assert "small worlds" in first
    assert "after" not in first


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--seed", "2000"), "2000 is held out"),
        (("--seed", "5000"), "5000 is no seed to design by"),
        (("--seed", "-1"), "-1 is no seed to design by"),
        (("--seed", "995", "--worlds", "50"), "small worlds, not 50"),
        (("--worlds", "0"), "greater than or equal to 1"),
        (("--price", "-0.1"), "greater than or equal to 0"),
        (("--price", "much"), "valid number"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(arguments: tuple[str, ...], why: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert why in " ".join(result.output.split())
