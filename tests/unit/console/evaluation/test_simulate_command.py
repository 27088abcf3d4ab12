"""`citadel simulate` as a user types it."""

import re
import sys
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from console.__main__ import app
from console.evaluation.worlds import shipped_names
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
    assert "each of the seeds 1, 2 in the world as_made" in result.stdout
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


def test_the_clairvoyant_and_shares_of_what_could_be_had_are_in_every_comparison() -> None:
    result = run("--history", "0")
    assert "of possible" in result.stdout
    assert re.search(r"clairvoyant +\d\d\.\d% +█+ +100\.0%", result.stdout)
    figures = orjson.loads(run("--json", "--history", "0").stdout)
    possible = figures["strategies"]["clairvoyant"]
    ours = figures["strategies"]["citadel default"]
    assert ours["of_possible"] == pytest.approx(ours["paid"] / possible["paid"], abs=1e-5)
    assert ours["regret"] == pytest.approx(possible["paid_share"] - ours["paid_share"], abs=1e-5)
    assert figures["first_against"]["clairvoyant"]["share"] == pytest.approx(-ours["regret"], abs=1e-5)
    assert all("clairvoyant" in each for each in figures["by_cause"].values())


def test_the_shipped_worlds_are_listed() -> None:
    listed = run("--worlds").stdout
    assert all(name in listed for name in shipped_names())
    assert [each["name"] for each in orjson.loads(run("--worlds", "--json").stdout)] == list(shipped_names())


def test_a_world_is_a_file_or_a_name(tmp_path: Path) -> None:
    file = tmp_path / "later.json"
    file.write_text('{"name": "later", "about": "wages come later", "wages": {"shift_days": 4}}')
    named, read = (
        orjson.loads(run("--json", "--history", "20", "--world", each).stdout)
        for each in ("wages_4_days_later", str(file))
    )
    assert (named["world"], read["world"]) == ("wages_4_days_later", "later")
    assert named["strategies"] == read["strategies"]


def test_several_worlds_have_a_row_each_and_are_summed_up(tmp_path: Path) -> None:
    names = ["--world", "japan", "--world", "velocity", "--history", "0"]
    result = run(*names)
    assert result.exit_code == 0
    assert re.search(r"^japan +\d\d\.\d% +\d\d\.\d% +\d\d\.\d% \w+", result.stdout, re.MULTILINE)
    assert "2 worlds, 300 failed renewals in each" in result.stdout
    figures = orjson.loads(run("--json", *names, "--seed", "1", "--seed", "2").stdout)
    assert list(figures["worlds"]) == ["japan", "velocity"]
    assert figures["worlds"]["japan"]["seeds"] == [1, 2]
    assert figures["strategies"]["clairvoyant"]["of_possible"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "x"}', ["about: Field required", "is no world: 1 problems"]),
        ('{"name": "x", "about": "y", "wages": {"shift_days": 99}}', ["wages.shift_days: Input should be"]),
        ("{", ["wrong.json is no JSON"]),
    ],
)
def test_a_wrong_world_is_refused_with_every_problem(tmp_path: Path, text: str, expected: list[str]) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(text)
    result = run("--world", str(file))
    assert result.exit_code == 2
    assert all(each in result.output for each in expected)


def test_a_world_that_is_not_there_is_said_to_be_missing_with_those_that_are() -> None:
    result = run("--world", "atlantis")
    assert result.exit_code == 2
    assert "no file atlantis, and no shipped world of this name: as_made, " in result.output


def test_random_worlds_are_summed_up_written_and_can_be_played_again(tmp_path: Path) -> None:
    folder = tmp_path / "worlds"
    result = run("--random-worlds", "3", "--seed", "4", "--history", "0", "--worlds-out", str(folder))
    assert result.exit_code == 0, result.output
    assert re.search(r"over all worlds +of possible +worst +regret +worst +lead +worst +below", result.stdout)
    assert "the worst for citadel default:" in result.stdout
    assert re.search(r"random-\d: paid ", result.stdout)
    assert "held out" not in result.stdout
    assert sorted(each.name for each in folder.iterdir()) == ["random-4.json", "random-5.json", "random-6.json"]
    drawn = orjson.loads(run("--random-worlds", "3", "--seed", "4", "--history", "0", "--json").stdout)
    again = run("--world", str(folder / "random-5.json"), "--seed", "5", "--history", "0", "--json")
    assert orjson.loads(again.stdout)["strategies"] == drawn["worlds"]["random-5"]["strategies"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--worlds-out", "x"], "only random worlds are written"),
        (["--random-worlds", "2", "--world", "japan"], "not played together with named ones"),
        (["--random-worlds", "2", "--seed", "1", "--seed", "2"], "give the first seed alone"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], expected: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert expected in " ".join(result.output.replace("│", " ").split())


def test_several_worlds_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="installed by `make .venv/bench`")
    file = tmp_path / "chart.png"
    result = run("--world", "japan", "--world", "brazil", "--history", "0", "--chart", str(file))
    assert result.exit_code == 0, result.output
    assert file.read_bytes().startswith(b"\x89PNG")


def test_who_plays_held_out_worlds_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.simulate.HELD_OUT", range(5, 9))
    result = run("--random-worlds", "2", "--seed", "4", "--history", "0")
    assert "Seeds 5 to 8 are held out" in result.stdout
