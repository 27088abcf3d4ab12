"""What commands share: how they print, read files and refuse."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

import orjson
from pydantic import BaseModel
from rich.console import Console

from shared.policy import Policy, PolicyRefused, read_policy

WRONG_USAGE = 2


def refuse(message: str, status: int = WRONG_USAGE) -> NoReturn:
    """End the command with one line and an exit status."""
    print(f"citadel: {message}", file=sys.stderr)
    sys.exit(status)


def terminal(columns_in_a_pipe: int = 96) -> Console:
    """A console as wide as the terminal; in a pipe, with so many columns."""
    return Console(width=None if sys.stdout.isatty() else columns_in_a_pipe, highlight=False)


def print_json(value: object) -> None:
    """Print a value, or a model as the API shows it, as indented JSON."""
    if isinstance(value, BaseModel):
        sys.stdout.buffer.write(value.model_dump_json(indent=2, by_alias=True).encode() + b"\n")
    else:
        sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")


def read_json(file: Path) -> Any:
    """The content of a JSON file; `-` is the standard input. Ends the command when it cannot be read."""
    try:
        return orjson.loads(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    except OSError as error:
        refuse(f"{file} cannot be read: {error.strerror}")
    except orjson.JSONDecodeError as error:
        refuse(f"{file} is no JSON: {error}")


def read_policy_file(file: Path) -> Policy:
    """The policy in a file. Ends the command, with every problem and its place, when it is not valid."""
    try:
        return read_policy(read_json(file))
    except PolicyRefused as refused:
        show_problems(refused)
        refuse(f"{file} is no policy: {len(refused.problems)} problems, listed above")


class Problem(Protocol):
    """What is wrong with a document, and where."""

    @property
    def place(self) -> str:
        """The path to the value; empty for the document itself."""

    @property
    def message(self) -> str:
        """What is wrong."""


class Refused(Protocol):
    """A document that was refused."""

    @property
    def problems(self) -> Sequence[Problem]:
        """All of them."""


def show_problems(refused: Refused) -> None:
    """Print the problems of a document, one place a line."""
    for each in refused.problems:
        print(f"{each.place or '(the document)'}: {each.message}", file=sys.stderr)
