"""What documents, docstrings and comments name is there: files, folders, modules, links."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "console", "deploy", "docs", "requirements", "services", "shared", "simulator", "tests")
MADE_LATER = {"deploy/compose/secrets"}  # by `make up`
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*.md"))])
SOURCES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))

WITH_FOLDER = re.compile(
    rf"(?<![\w/:.@}}-])(?:\.\./)*(?:(?:{'|'.join(FOLDERS)})/|[\w*-]+(?:/[\w*-]+)*/(?=[\w*.-]+\.py))[\w*./-]*"
)
ALONE = re.compile(r"(?<![\w/.*<-])([\w-]+\.(?:py|sql|toml|mjml))\b(?!/)")
MODULE = re.compile(rf"`((?:{'|'.join(FOLDERS)})(?:\.\w+)+)")
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(#[^)\s]*)?\)")


@cache
def names_of_files() -> frozenset[str]:
    return frozenset(
        path.name for name in (*FOLDERS, ".") for path in (ROOT / name).glob("**/*" if name != "." else "*")
    )


def places(text: str) -> Iterator[str]:
    """The paths that a text names. `<task_type>.py` and the like is a placeholder, an address is none."""
    for found in WITH_FOLDER.finditer(text):
        if text[found.end() : found.end() + 1] not in {"<", "{"}:
            yield found.group().rstrip("./")


def is_there(place: str, named_in: Path) -> bool:
    """From the project's folder, from the document's, or from one between them."""
    bases = [ROOT, *(folder for folder in named_in.parents if folder.is_relative_to(ROOT)), ROOT / "tests"]
    if "*" in place:
        return any(any(base.glob(place)) for base in bases)
    return place in MADE_LATER or any((base / place).exists() for base in bases)


@cache
def prose(source: Path) -> str:
    """A module's comments and docstrings."""
    text = source.read_text()
    said = [
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
    ]
    nodes = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    said += [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return "\n".join(said)


def module_is_there(dotted: str) -> bool:
    """A package or a module, or a name that a module assigns, defines or imports."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:count])
        module = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if module.exists() or (base.is_dir() and count == len(parts)):
            return count == len(parts) or re.search(rf"\b{parts[count]}\b", module.read_text()) is not None
    return False


def of_today(document: Path) -> str:
    """A document's text; of a decision its head, which names where it is in force: the rest tells how things were."""
    text = document.read_text()
    return text.partition("\n## ")[0] if document.parent.name == "decisions" else text


def anchor_of(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_place_that_a_document_names_exists(document: Path) -> None:
    assert [place for place in places(of_today(document)) if not is_there(place, document)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_without_its_folder_exists(document: Path) -> None:
    text = of_today(document)
    known = names_of_files()
    if document.name == "README.md" and document.parent != ROOT:  # one of its own folder, or of a folder that it names
        near = [document.parent, *(ROOT / place for place in places(text) if (ROOT / place).is_dir())]
        known = frozenset(path.name for folder in near for path in folder.rglob("*"))
    here = {path.name for path in ROOT.iterdir()}
    assert [name for name in ALONE.findall(text) if name not in known | here] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    broken = []
    for path, anchor in LINK.findall(document.read_text()):
        target = (document.parent / path).resolve() if path else document
        if not target.exists():
            broken.append(path)
        elif anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            if anchor[1:] not in {anchor_of(heading) for heading in headings}:
                broken.append(path + anchor)
    assert broken == []


def test_every_place_that_a_docstring_or_a_comment_names_exists() -> None:
    missing = {
        f"{source.relative_to(ROOT)}: {place}"
        for source in SOURCES
        for place in places(prose(source))
        if not is_there(place, source)
    }
    assert missing == set()


def test_every_module_that_is_named_exists() -> None:
    said = {path: prose(path) for path in SOURCES} | {path: of_today(path) for path in DOCUMENTS}
    missing = {
        f"{path.relative_to(ROOT)}: {module}"
        for path, text in said.items()
        for module in MODULE.findall(text)
        if not module_is_there(module)
    }
    assert missing == set()


def test_a_place_that_is_gone_would_be_found() -> None:
    gone = "see `services/worker/ahead.py`, `tests/unit/*.nothing` and shared/tasks.py"
    assert [place for place in places(gone) if not is_there(place, ROOT / "README.md")] == [
        "services/worker/ahead.py",
        "tests/unit/*.nothing",
        "shared/tasks.py",
    ]
    assert list(places("https://docs.stripe.com/docs/webhooks, services/worker/handlers/<task_type>.py")) == []
    assert not module_is_there("shared.tasks")
    assert not module_is_there("shared.queue.tasks.settle")
    assert module_is_there("shared.queue.tasks.claim")
