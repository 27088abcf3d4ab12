"""The history file: what is written is read, and everything that is wrong is told with its line."""

from pathlib import Path

import orjson
import pytest

from console.evaluation.history import Header, HistoryRefused, read_history, write_history
from console.evaluation.history.document import MOST_PROBLEMS
from tests.unit.console.evaluation.backtest.synthetic import UNTIL, at, declined, failure, paid

HEADER = {"schema": "citadel-history", "version": 1, "since": at(-9), "until": UNTIL}
ATTEMPT = {"at": at(0), "result": "declined", "decline_code": "do_not_honor"}
LINE = {"invoice": "in_1", "amount": 900, "currency": "usd", "attempts": [ATTEMPT]}


def written(path: Path, *lines: object) -> Path:
    path.write_bytes(b"\n".join(each if isinstance(each, bytes) else orjson.dumps(each) for each in lines) + b"\n")
    return path


def problems(path: Path, *lines: object) -> list[str]:
    with pytest.raises(HistoryRefused) as refused:
        read_history(written(path, *lines))
    return [str(each) for each in refused.value.problems]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    header = Header.of("acct_1", at(-9), UNTIL, {"a reason": 3})
    charge = {"at": at(-3), "amount": 5, "currency": "usd", "result": "succeeded"}
    failures = [
        failure(declined(0), paid(1, by="customer", method="pm_2"), invoice="in_1", elsewhere=[charge]),
        failure(declined(0), invoice="in_3", backups=[{"method": "pm_2", "network": "visa", "exp_year": 2030}]),
        failure(declined(0), invoice="in_2", ending="void", ended_at=at(2), subscribed_at=at(-5), products=["prod_1"]),
    ]
    write_history(tmp_path / "file", header, failures)
    assert read_history(tmp_path / "file") == (header, failures)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_the_smallest_line_that_somebody_else_can_write(tmp_path: Path) -> None:
    _, (only,) = read_history(written(tmp_path / "file", HEADER, LINE))
    assert (only.invoice, only.ending, only.card.network) == ("in_1", "open", None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"amount": 0}, "line 2: amount: Input should be greater than or equal to 1"),
        ({"amount": 9.5}, "line 2: amount: Input should be a valid integer"),
        ({"currency": "USD"}, "line 2: currency: String should match pattern '^[a-z]{3}$'"),
        ({"attempts": []}, "line 2: `attempts` is empty"),
        ({"attempts": [ATTEMPT | {"at": at(0) * 1000}]}, "line 2: attempts.0.at: Input should be less than"),
        ({"attempts": [ATTEMPT | {"result": "failed"}]}, "line 2: attempts.0.result: Input should be 'succeeded'"),
        ({"attempts": [ATTEMPT | {"result": "succeeded"}]}, "line 2: the first attempt succeeded"),
        ({"attempts": [ATTEMPT | {"by": "customer"}]}, "line 2: the first attempt is the renewal"),
        ({"backups": [{"network": "visa"}]}, "line 2: backups.0.method: Field required"),
        ({"backups": [{"method": "pm_2"}] * 2}, "line 2: two of `backups` have the same `method`"),
        ({"attempts": [ATTEMPT, ATTEMPT | {"at": at(-1)}]}, "line 2: the attempts are not in the order of time"),
        (
            {"attempts": [ATTEMPT, ATTEMPT | {"result": "succeeded"}, ATTEMPT]},
            "line 2: an attempt follows on one that succeeded",
        ),
        ({"attempts": [ATTEMPT | {"at": UNTIL}]}, "line 2: attempts: an attempt is not before the header's `until`"),
        ({"ending": "void"}, "line 2: `ended_at` says when it ended"),
        ({"ending": "void", "ended_at": at(-1)}, "line 2: `ended_at` is before the first attempt"),
        ({"email": "a@example.com"}, "line 2: email: Extra inputs are not permitted"),
        ({"card": {"country": "Germany"}}, "line 2: card.country: String should match"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_place(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    (problem,) = problems(tmp_path / "file", HEADER, LINE | change)
    assert problem.startswith(expected)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path / "file", HEADER | {"version": 7}, LINE, b"{torn", LINE, LINE | {"amount": -1})
    assert [each.split(":")[0] for each in found] == ["line 1", "line 3", "line 4", "line 5"]
    assert "in_1 is on line 2, too" in found[2]


def test_thousands_of_problems_are_counted_and_the_first_shown(tmp_path: Path) -> None:
    with pytest.raises(HistoryRefused) as refused:
        read_history(written(tmp_path / "file", HEADER, *([b"no"] * 3_000)))
    assert (refused.value.count, len(refused.value.problems)) == (3_000, MOST_PROBLEMS)


@pytest.mark.parametrize("text", [b"", b"\n", b"invoice,amount\nin_1,900\n", b"\xff\xfe\x00", b"[]\n", b"null\n"])
def test_what_is_no_history_at_all_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "file").write_bytes(text)
    with pytest.raises(HistoryRefused) as refused:
        read_history(tmp_path / "file")
    assert refused.value.problems[0].line == 1
