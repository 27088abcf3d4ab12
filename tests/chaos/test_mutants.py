"""Each text that a mutant changes is in the code exactly once."""

from pathlib import Path

import pytest

from tests.chaos.moods import MOODS
from tests.chaos.mutants import MUTANTS, ROOT, Edit, Mutant, Stale


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_fits_the_code(mutant: Mutant, tmp_path: Path) -> None:
    assert mutant.mood in MOODS
    for edit in mutant.edits:
        copy = tmp_path / edit.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / edit.path).read_text())
        edit.apply(tmp_path)
        compile(copy.read_text(), edit.path, "exec")


def test_a_text_that_is_gone_is_said_loudly(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("nothing\n")
    with pytest.raises(Stale, match="0 times"):
        Edit("a.py", "something", "").apply(tmp_path)
