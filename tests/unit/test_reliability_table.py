"""Every promise of docs/reliability.md names tests, and those are there."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "reliability.md"
HEAD = "| promise | tests, below `tests/` |"


def promises() -> dict[str, list[str]]:
    """promise → tests as `path::name`, from the table."""
    table = DOCUMENT.read_text().partition(HEAD)[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (?!-)(.+?) \| (.+?) \|$", table, re.MULTILINE)
    return {promise: re.findall(r"`([^`]+)`", tests) for promise, tests in rows}


def functions(path: str) -> set[str]:
    """The names of a module's functions."""
    return {
        node.name
        for node in ast.parse((TESTS / path).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_promise_names_tests_and_each_of_them_is_there() -> None:
    found = promises()
    assert len(found) > 20
    assert [promise for promise, tests in found.items() if not tests] == []
    named = [test.partition("::") for tests in found.values() for test in tests]
    assert [f"{path}::{name}" for path, _, name in named if name not in functions(path)] == []
    assert all(name.startswith("test_") for _, _, name in named)
