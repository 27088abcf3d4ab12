"""`citadel backtest` as a user types it, on a file."""

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from console.__main__ import app
from console.evaluation.history import OnFile, write_history
from services.worker.recovery import Policy
from tests.unit.console.evaluation.backtest.synthetic import ladder, past


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("history") / "past.jsonl"
    header, failures, _ = past(120, 3, ladder("polar"))
    write_history(file, header, failures)
    return file


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["backtest", *(str(word) for word in words)])


def policy(tmp_path: Path, **document: object) -> Path:
    (tmp_path / "new.json").write_bytes(orjson.dumps(document))
    return tmp_path / "new.json"


def test_the_report_can_be_read_by_a_stranger(history: Path, tmp_path: Path) -> None:
    result = run("--from", history, "--policy", policy(tmp_path, driver="citadel", window_days=10, message_days=[0]))
    assert result.exit_code == 0, result.stderr
    for expected in (
        "120 failed renewals of acct_made_up",
        "what happened",
        "new.json",
        "default policy",
        "points of failures paid",
        "saved",
        "added",
        "0 breaches in",
        "What history cannot tell",
        "at a time at which nobody tried",
        "What a message would have done",
        "with so few",
        "What default policy would do without Stripe's retries: its driver is `auto`",
    ):
        assert expected.lower() in " ".join(result.stdout.split()).lower(), expected
    assert "What new.json would do without" not in result.stdout


def test_json_has_the_same_figures_and_repeats(history: Path) -> None:
    first, again = (orjson.loads(run("--from", history, "--driver", "citadel", "--json").stdout) for _ in range(2))
    for each in (first, again):
        del each["replayed_per_second"]
    assert first == again
    assert first["failures"] == 120
    ours = first["outcomes"]["default policy"]
    assert ours["rule_breaches"] == {}
    assert ours["paid_share"]["low_95"] <= ours["paid_share"]["value"] <= ours["paid_share"]["high_95"]
    assert ours["paid"] == pytest.approx(120 * ours["paid_share"]["value"], abs=0.02)
    happened = first["outcomes"]["what happened"]
    change = ours["attempts_added"] - ours["attempts_saved"]
    assert happened["attempts"] + change == pytest.approx(ours["attempts"], abs=0.05)
    assert "messages" not in happened


def test_a_driver_given_here_holds_for_all_policies(history: Path) -> None:
    lines = orjson.loads(run("--from", history, "--driver", "citadel", "--json").stdout)["cannot_tell"]
    assert not any("--driver citadel" in each for each in lines)
    ours = orjson.loads(run("--from", history, "--driver", "stripe", "--json").stdout)["outcomes"]["default policy"]
    assert (ours["attempts_saved"], ours["attempts_added"]) == (0, 0)


def test_what_a_policy_has_that_history_has_not_is_said(history: Path, tmp_path: Path) -> None:
    file = policy(tmp_path, schema_version=4, timing="learned", holdout_share=0.1, backup_methods=True)
    told = orjson.loads(run("--from", history, "--policy", file, "--json").stdout)["cannot_tell"]
    assert sum("which teach it no hours" in each for each in told) == 1
    for expected in ("holdout of new.json", "the history names none"):
        assert sum(expected in each for each in told) == 1
    told = orjson.loads(run("--from", history, "--policy", file, "--driver", "citadel", "--json").stdout)["cannot_tell"]
    assert sum("all hours of a day to be alike" in each for each in told) == 1


def test_what_was_learned_of_customers_is_told(tmp_path: Path) -> None:
    header, failures, _ = past(600, 3, ladder("stripe"))
    write_history(tmp_path / "past.jsonl", header, failures)
    schedules = {"insufficient_funds": {"kind": "likeliest"}}
    words = ("--from", tmp_path / "past.jsonl", "--policy", policy(tmp_path, timing="learned", schedules=schedules))
    found = orjson.loads(run(*words, "--json").stdout)
    assert 300 < found["learned_from"] < 600
    assert any("paid" in each and "half of the money is gone after" in each for each in found["learned"])
    assert sum("gains by learning about customers" in each for each in found["cannot_tell"]) == 2
    text = " ".join(run(*words).stdout.split())
    assert "What was learned of customers by the end" in text
    stripes = run("--from", tmp_path / "past.jsonl", "--driver", "stripe", "--json").stdout
    by_rules = orjson.loads(stripes)  # who leaves the retries to Stripe plans nothing
    assert (by_rules["learned_from"], by_rules["learned"]) == (0, [])


def test_learned_timing_backups_and_the_holdout_have_their_figures(tmp_path: Path) -> None:
    header, failures, _ = past(400, 3, ladder("polar"))
    other = [OnFile(method="pm_2", fingerprint="second", network="visa", country="US")]
    some = [each.model_copy(update={"backups": tuple(other)}) if n % 2 else each for n, each in enumerate(failures)]
    write_history(tmp_path / "past.jsonl", header, some)
    given = {"driver": "citadel", "timing": "learned", "holdout_share": 0.2, "backup_methods": True}
    file = policy(tmp_path, schema_version=4, **given)
    words = ("--from", tmp_path / "past.jsonl", "--policy", file)
    found = orjson.loads(run(*words, "--json").stdout)
    ours = found["outcomes"]["new.json"]
    assert (found["failures_with_backups"], found["backups_tried"], found["backups_worked"]) == (200, 0, 0)
    assert 0 < ours["paid_by_backup_first_tries"] < ours["backup_first_tries"]
    watched, acted_on = ours["holdout"]["watched"], ours["holdout"]["acted_on"]
    assert (watched["attempts"], watched["messages"]) == (0, 0)
    assert watched["failures"] + acted_on["failures"] == 400
    assert ours["learned_timing_moved"] >= 0
    told = " ".join(run(*words).stdout.split())
    for expected in ("watched:", "acted on:", "other cards on file tried first", "guessed at one in two"):
        assert expected in told


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "say whose past"),
        (("--merchant", "acct_1", "--from", "x"), "one of the two"),
        (("--from", "nowhere.jsonl"), "cannot be read"),
        (("--from", "nowhere.jsonl", "--driver", "me"), "expected citadel, auto or stripe"),
        (("--merchant", "cus_1"), "connected account's id"),
        (("--merchant", "acct_1", "--until", "2099-01-01"), "has not come yet"),
        (("--merchant", "acct_1", "--calls-per-second", "1000"), "less than or equal to 25"),
    ],
)
def test_wrong_usage_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: str
) -> None:
    monkeypatch.setenv("CITADEL_STRIPE_SECRET_KEY", "sk_test_nobody")
    result = run(*words)
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.replace("│", "").split())


def test_every_problem_of_a_policy_is_listed(history: Path, tmp_path: Path) -> None:
    result = run("--from", history, "--policy", policy(tmp_path, window_days=0, driver="me"))
    assert result.exit_code == 2
    assert {line.split(":")[0] for line in result.stderr.splitlines()} >= {"window_days", "driver"}
    (tmp_path / "new.json").write_text("{")
    assert "is no JSON" in run("--from", history, "--policy", tmp_path / "new.json").stderr


def test_every_problem_of_a_history_is_listed_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"schema":"citadel-history","version":1,"since":1,"until":2}\n{}\n')
    result = run("--from", tmp_path / "file")
    assert result.exit_code == 2
    assert "line 1: since" in result.stderr
    assert "line 2: invoice: Field required" in result.stderr


def test_a_history_without_failures_says_so(tmp_path: Path) -> None:
    header, _, _ = past(1, 1, ladder())
    write_history(tmp_path / "file", header, [])
    result = run("--from", tmp_path / "file")
    assert (result.exit_code, "no renewal failed" in result.stderr) == (1, True)


def test_without_a_key_of_stripe_the_setting_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CITADEL_STRIPE_SECRET_KEY", raising=False)
    result = run("--merchant", "acct_1")
    assert "CITADEL_STRIPE_SECRET_KEY" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_default_policy_is_always_beside(history: Path, tmp_path: Path) -> None:
    same = policy(tmp_path, **Policy.default().model_dump(mode="json"))
    outcomes = orjson.loads(run("--from", history, "--policy", same, "--json").stdout)["outcomes"]
    assert list(outcomes) == ["what happened", "new.json", "default policy"]
    assert outcomes["new.json"] == outcomes["default policy"]
