"""A module has one subject: it is not long, unless it is a table of data."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("console", "services", "shared", "simulator")
MOST_LINES = 450
DATA: frozenset[str] = frozenset()
"""The modules that may be longer, because they are tables of data. There is none yet."""


def lengths(folder: Path) -> dict[str, int]:
    """How many lines each module below the folder has."""
    return {
        str(module.relative_to(ROOT)): len(module.read_text().splitlines()) for module in sorted(folder.rglob("*.py"))
    }


@pytest.mark.parametrize("name", FOLDERS)
def test_a_module_that_is_no_data_is_not_long(name: str) -> None:
    found = lengths(ROOT / name)
    assert len(found) > 30
    long = {module: lines for module, lines in found.items() if lines > MOST_LINES}
    assert {module: lines for module, lines in long.items() if module not in DATA} == {}


def test_what_is_named_as_long_data_is_long() -> None:
    found = {module: lines for name in FOLDERS for module, lines in lengths(ROOT / name).items()}
    assert {module for module in DATA if found.get(module, 0) <= MOST_LINES} == set()
