"""How often a task is tried is decided in one place, and every task type that is named there has a handler."""

import ast
from pathlib import Path

from services.worker.handlers import discover
from shared.queue.tries import TRIES, TRIES_OF, tries_of

ROOT = Path(__file__).parents[3]


def test_each_type_that_is_named_has_a_handler() -> None:
    assert set(TRIES_OF) <= set(discover())
    assert tries_of("dunning_retry") == 15
    assert tries_of("nobody_knows_it") == TRIES


def test_nobody_else_says_how_often_a_task_is_tried() -> None:
    """`max_tries=` is for tests: services and what they share queue by the type."""
    files = [file for top in ("services", "shared", "console") for file in (ROOT / top).rglob("*.py")]
    said = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and any(each.arg == "max_tries" for each in node.keywords)
    ]
    assert said == []
