"""The pages read so far: kept whole, found again, and refused when they are about something else."""

from pathlib import Path

import pytest

from console.evaluation.history.journal import Journal, JournalRefused, Window
from shared.ids import AccountId

ACCOUNT = AccountId("acct_1")
WINDOW = Window(ACCOUNT, 1_700_000_000, 1_700_864_000)


def begun(path: Path) -> Journal:
    journal = Journal.open(path, WINDOW, days_given=False)
    journal.add("charges", [{"id": "ch_2"}, {"id": "ch_1"}], "ch_1", last=False)
    journal.add("charges", [], "ch_0", last=True)
    journal.add("invoices", [{"id": "in_9"}], "in_9", last=False)
    return journal


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    begun(tmp_path / "file").close()
    found = Journal.open(tmp_path / "file", Window(ACCOUNT, 5, 9), days_given=False)
    assert found.window == WINDOW
    assert found.rows == {"charges": [{"id": "ch_2"}, {"id": "ch_1"}], "invoices": [{"id": "in_9"}]}
    assert (found.cursors, found.done) == ({"charges": "ch_0", "invoices": "in_9"}, {"charges"})
    found.remove()
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("left", range(1, 60, 7))
def test_a_torn_line_is_dropped_and_written_anew(tmp_path: Path, left: int) -> None:
    begun(tmp_path / "file").close()
    whole = (tmp_path / "file").read_bytes()
    cut = whole.rindex(b"\n", 0, -1) + 1
    (tmp_path / "file").write_bytes(whole[: cut + left])
    found = Journal.open(tmp_path / "file", WINDOW, days_given=False)
    assert "invoices" not in found.rows
    found.add("invoices", [{"id": "in_9"}], "in_9", last=False)
    found.close()
    assert (tmp_path / "file").read_bytes() == whole


def test_one_whose_first_line_was_torn_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'{"journal":1,"mer')
    Journal.open(tmp_path / "file", WINDOW, days_given=True).close()
    again = Journal.open(tmp_path / "file", WINDOW, days_given=True)
    again.close()
    assert again.window == WINDOW


def refusal(path: Path, window: Window = WINDOW, *, days_given: bool = False) -> str:
    with pytest.raises(JournalRefused) as refused:
        Journal.open(path, window, days_given=days_given)
    return str(refused.value)


def test_what_is_about_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    begun(file).close()
    before = file.read_bytes()
    assert "is about acct_1" in refusal(file, Window(AccountId("acct_2"), 0, 9))
    assert "was begun with 10 days" in refusal(file, Window(ACCOUNT, 0, 86_400), days_given=True)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("precious notes\n", "no journal"),
        ('{"journal":2}\n', "another version"),
        ('{"journal":1,"merchant":"acct_1","since":1,"until":2}\nnonsense\n', "line 2, is damaged"),
        ('{"journal":1,"merchant":"acct_1","since":1,"until":2}\n[]\n', "line 2, is damaged"),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "file").write_text(text)
    assert expected in refusal(tmp_path / "file")


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    first = begun(tmp_path / "file")
    assert "another run" in refusal(tmp_path / "file")
    first.close()
    Journal.open(tmp_path / "file", WINDOW, days_given=False).close()
