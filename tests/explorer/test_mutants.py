"""Each text that a broken build changes is in the code exactly once, and each kind of fault has one."""

from pathlib import Path

import pytest

from tests.chaos.mutants import ROOT
from tests.explorer.checks import CHECKS
from tests.explorer.moods import MOODS
from tests.explorer.mutants import MUTANTS, Mutant

KINDS = range(1, 11)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_fits_the_code(mutant: Mutant, tmp_path: Path) -> None:
    assert mutant.mood in MOODS
    assert {finding.split(":")[0] for finding in mutant.findings} <= set(CHECKS)
    for edit in mutant.edits:
        copy = tmp_path / edit.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            copy.write_text((ROOT / edit.path).read_text())
        edit.apply(tmp_path)
        compile(copy.read_text(), edit.path, "exec")


def test_every_kind_of_fault_has_a_mutant() -> None:
    assert {mutant.kind for mutant in MUTANTS} == set(KINDS)
