"""The glossary and the code use the same words."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
NOT_USED = "## Words that are not used"
FOREIGN = {"asyncio.gather", "typing.get_type_hints"}


def rows(text: str) -> list[tuple[str, str, str]]:
    """(word, meaning, where) of each row of the tables in a text, their heads left out."""
    found = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    return [row for row in found if row[0] not in {"word", "instead of"}]


WORDS = rows(GLOSSARY.partition(NOT_USED)[0])
LEFT_BEHIND = rows(GLOSSARY.partition(NOT_USED)[2])


def names_in(tree: ast.AST) -> Iterator[str]:
    """Every name that a module defines, assigns or uses, but for those of other libraries."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Name(id=name) | ast.arg(arg=name):
                yield name
            case ast.Attribute() if ast.unparse(node) not in FOREIGN:
                yield node.attr


def parts_of(name: str) -> set[str]:
    """The words of a name: `RenewalAhead` and `_renewal_ahead` have `renewal` and `ahead`."""
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@cache
def words_in_names(folder: str) -> dict[str, str]:
    """word → a place where a name of a module below the folder has it; the modules' own names are among them."""
    found: dict[str, str] = {}
    for module in sorted((ROOT / folder).rglob("*.py")):
        place = str(module.relative_to(ROOT))
        for name in (module.stem, *names_in(ast.parse(module.read_text()))):
            found.update(dict.fromkeys(parts_of(name), f"{place}: {name}"))
    return found


def test_the_tables_are_read() -> None:
    assert len(WORDS) > 70
    assert {"recovery", "task", "tries", "fence", "silence"} <= {word for word, _, _ in WORDS}
    assert "attempts" in {word for word, _, _ in LEFT_BEHIND}


def test_each_word_stands_once() -> None:
    words = [word for entry, _, _ in WORDS for word in entry.split(", ")]
    assert sorted(word for word in set(words) if words.count(word) > 1) == ["retry"]  # of a payment, of a task


@pytest.mark.parametrize(
    ("word", "where"), [(word, where) for word, _, where in WORDS], ids=lambda text: str(text)[:30]
)
def test_what_a_word_names_is_in_the_code(word: str, where: str) -> None:
    path, *names = re.findall(r"`([^`]+)`", where)
    assert names, f"{word}: which name?"
    text = (ROOT / path).read_text()
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)] == []


@pytest.mark.parametrize(("entry", "where"), [(entry, where) for entry, _, where in LEFT_BEHIND])
def test_a_word_that_is_not_used_does_not_come_back(entry: str, where: str) -> None:
    for folder in re.findall(r"`([^`]+)`", where):
        used = words_in_names(folder)
        assert len(used) > 50
        for word in entry.split(", "):
            forms = {word, f"{word}s", f"{word}er"}
            assert {form: used[form] for form in forms if form in used} == {}


def test_a_word_would_be_found_in_each_kind_of_name() -> None:
    source = "class TaskHint: ...\ndef hint(gathered, *, x): x.ahead = asyncio.gather(settled)\n"
    found = {part for name in names_in(ast.parse(source)) for part in parts_of(name)}
    assert {"task", "hint", "gathered", "ahead", "settled"} <= found
    assert "gather" not in found
