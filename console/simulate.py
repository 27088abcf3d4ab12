"""`citadel simulate`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from console.evaluation.learning import as_learned, learn
from console.evaluation.report import show
from console.evaluation.seeds import all_as_json, show_all
from console.evaluation.simulate import Simulation
from console.evaluation.simulate import simulate as play_all
from console.evaluation.strategies import Brain, Strategy, common_ladders
from console.terminal import print_json, read_policy_file, terminal
from services.worker.recovery import Policy


def simulate(
    policy: Annotated[Path | None, typer.Option(help="A policy (JSON); by default the default policy.")] = None,
    failures: Annotated[int, typer.Option(min=1, max=10_000_000, help="Failed renewals to play.")] = 100_000,
    seed: Annotated[list[int], typer.Option(help="Other seeds have other customers. Several: means and ranges.")] = [7],  # noqa: B006 - typer copies it
    history: Annotated[
        list[int],
        typer.Option(min=0, max=100_000, help="Failures that the learned timing has learned from; 0: without it."),
    ] = [1_000],  # noqa: B006 - typer copies it
    chart: Annotated[Path | None, typer.Option(help="Draw the comparison into this PNG file, too.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """What a policy would recover of made-up failures, compared with the ladders that others use."""
    draw = _drawing_to(chart) if chart is not None else None
    own = (policy.name, read_policy_file(policy)) if policy is not None else None
    simulations = [
        play_all(strategies, failures=failures, seed=one)
        for one, strategies in _for_each_seed(own, list(dict.fromkeys(seed)), sorted({*history}))
    ]
    if draw is not None:
        draw(simulations)
    if json:
        print_json(all_as_json(simulations))
        return
    console = terminal(120)
    if len(simulations) == 1:
        show(simulations[0], console)
    else:
        show_all(simulations, console)
    if chart is not None:
        console.print(f"\nchart: {chart}", highlight=False, soft_wrap=True)


def _for_each_seed(
    own: tuple[str, Policy] | None, seeds: Sequence[int], histories: Sequence[int]
) -> Iterator[tuple[int, list[Strategy]]]:
    """The strategies of each seed. Learned timing depends on the seed; the other strategies are made once."""
    default = Policy.default()
    by_rules, ladders = Brain("citadel default", default), common_ladders(default)
    given = Brain(*own) if own is not None else None
    for seed in seeds:
        if own is not None and own[1].timing == "learned":
            given = Brain(*own, learn(own[1], max(histories), seed).timing)
        learned = [
            Brain(f"learned after {each:,}", as_learned(default), learn(default, each, seed).timing)
            for each in histories
            if each
        ]
        yield seed, [*([given] if given else []), by_rules, *learned, *ladders]


def _drawing_to(file: Path) -> Callable[[Sequence[Simulation]], None]:
    """A function that draws into the file. If it cannot be written, fails now and not after the simulation."""
    if file.suffix.lower() != ".png":
        raise typer.BadParameter(f"{file} does not end in .png", param_hint="--chart")
    if not file.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {file.parent}", param_hint="--chart")
    try:
        from console.evaluation.chart import draw  # only here, because matplotlib is optional
    except ModuleNotFoundError:
        raise typer.BadParameter(
            "drawing needs matplotlib, which is not installed: `make .venv/bench`, or `pip install 'citadel[bench]'`",
            param_hint="--chart",
        ) from None

    def write(simulations: Sequence[Simulation]) -> None:
        try:
            draw(simulations, file)
        except OSError as error:
            raise typer.BadParameter(f"{file} cannot be written: {error.strerror}", param_hint="--chart") from None

    return write
