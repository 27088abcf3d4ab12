"""`citadel simulate`."""

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
from pydantic import ValidationError
from rich.console import Console

from services.evaluation.report import as_json, show
from services.evaluation.simulate import simulate as play_all
from services.evaluation.strategies import Brain, common_ladders
from services.worker.recovery import Policy


def simulate(
    policy: Annotated[Path | None, typer.Option(help="A policy (JSON); by default the default policy.")] = None,
    failures: Annotated[int, typer.Option(min=1, max=10_000_000, help="Failed renewals to play.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Another seed has other customers.")] = 7,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """What a policy would recover of made-up failures, beside the ladders that others use."""
    default = Policy.default()
    strategies = [Brain("citadel default", default), *common_ladders(default)]
    if policy is not None:
        strategies.insert(0, Brain(policy.name, _read(policy)))
    result = play_all(strategies, failures=failures, seed=seed)
    if json:
        sys.stdout.buffer.write(orjson.dumps(as_json(result), option=orjson.OPT_INDENT_2) + b"\n")
    else:
        show(result, Console(width=None if sys.stdout.isatty() else 120))


def _read(path: Path) -> Policy:
    """The policy in a file; a typer error with every problem and its place when it is none."""
    try:
        return Policy.model_validate_json(path.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint="--policy") from None
    except ValidationError as error:
        problems = "".join(
            f"\n  {'.'.join(map(str, each['loc'])) or 'document'}: {each['msg']}" for each in error.errors()
        )
        raise typer.BadParameter(f"{path} is no policy:{problems}", param_hint="--policy") from None
