"""`citadel simulate` as a user types it."""

import re
import sys
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from console.__main__ import app
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


def test_several_seeds_are_shown_as_means_and_ranges() -> None:
    result = run("--seed", "1", "--seed", "2", "--seed", "2", "--history", "0")
    assert result.exit_code == 0
    assert "each of the seeds 1, 2," in result.stdout
    assert re.search(r"kill bill 8-8-8 +\d\d\.\d% +█+ +\d\d\.\d% to \d\d\.\d%", result.stdout)
    assert "learned after" not in result.stdout
    assert "does not foretell" in result.stdout


def test_several_seeds_as_json_hold_each_and_the_ranges_over_them() -> None:
    figures = orjson.loads(run("--json", "--seed", "1", "--seed", "2", "--history", "20").stdout)
    alone = orjson.loads(run("--json", "--seed", "2", "--history", "20").stdout)
    shares = [each["strategies"]["citadel default"]["paid_share"] for each in figures["simulations"]]
    paid = figures["strategies"]["citadel default"]["paid_share"]
    assert figures["seeds"] == [1, 2]
    assert (paid["lowest"], paid["highest"]) == (min(shares), max(shares))
    assert paid["mean"] == pytest.approx(sum(shares) / 2, abs=1e-4)
    assert figures["simulations"][1]["strategies"] == alone["strategies"]  # one seed does not disturb another


def test_a_policy_whose_timing_is_learned_learns_from_the_longest_past(tmp_path: Path) -> None:
    file = tmp_path / "learned.json"
    file.write_text(Policy(timing="learned").model_dump_json())
    figures = orjson.loads(run("--json", "--policy", str(file), "--history", "10", "--history", "30").stdout)
    strategies = figures["strategies"]
    assert list(strategies)[:4] == ["learned.json", "citadel default", "learned after 10", "learned after 30"]
    assert strategies["learned.json"] == strategies["learned after 30"]


@pytest.mark.parametrize(
    ("file", "expected"), [("chart.svg", "does not end in .png"), ("nowhere/chart.png", "there is no folder")]
)
def test_a_chart_that_cannot_be_is_refused_before_anything_is_played(tmp_path: Path, file: str, expected: str) -> None:
    result = run("--chart", str(tmp_path / file))
    assert result.exit_code == 2
    assert expected in " ".join(result.output.replace("│", " ").split())


def test_without_matplotlib_a_chart_names_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "console.evaluation.chart", raising=False)
    result = run("--chart", str(tmp_path / "chart.png"))
    assert result.exit_code == 2
    assert "make .venv/bench" in " ".join(result.output.replace("│", " ").split())


def test_a_chart_is_a_png_with_a_panel_for_each_cause(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="installed by `make .venv/bench`")
    file = tmp_path / "chart.png"
    result = run("--seed", "1", "--seed", "2", "--history", "0", "--chart", str(file))
    assert result.exit_code == 0, result.output
    assert file.read_bytes().startswith(b"\x89PNG")
    assert f"chart: {file}" in result.stdout


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
        ("{", ["wrong.json is no JSON"]),
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
