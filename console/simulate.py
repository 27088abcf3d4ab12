"""`citadel simulate`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from console.evaluation.clairvoyant import Clairvoyant
from console.evaluation.learning import learn
from console.evaluation.many_worlds import Played, show_worlds, worlds_as_json
from console.evaluation.remembering import Remembering
from console.evaluation.report import show
from console.evaluation.seeds import all_as_json, show_all
from console.evaluation.simulate import Simulation
from console.evaluation.simulate import simulate as play_all
from console.evaluation.strategies import Strategy, common_ladders
from console.evaluation.worlds import World, WorldRefused, as_made, read_world, shipped, shipped_names
from console.evaluation.worlds.prior import HELD_OUT, random_worlds, written
from console.terminal import print_json, read_json, read_policy_file, refuse, show_problems, terminal
from services.worker.recovery import Policy

FAILURES = 100_000
FAILURES_OF_RANDOM_WORLDS = 3_000
Draw = Callable[[Sequence[Sequence[Simulation]]], None]
Own = tuple[str, Policy] | None


def simulate(
    policy: Annotated[Path | None, typer.Option(help="A policy (JSON); by default the default policy.")] = None,
    failures: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000_000,
            help=f"Failed renewals to play; by default {FAILURES:,}, {FAILURES_OF_RANDOM_WORLDS:,} of a random world.",
        ),
    ] = None,
    seed: Annotated[
        list[int],
        typer.Option(
            help="Other seeds have other customers. Several: means and ranges. Of random worlds: the first one's."
        ),
    ] = [7],  # noqa: B006 - typer copies it
    history: Annotated[
        list[int],
        typer.Option(min=0, max=100_000, help="Failures that the learned timing has learned from; 0: without it."),
    ] = [1_000],  # noqa: B006 - typer copies it
    world: Annotated[
        list[str] | None,
        typer.Option(help="A world: a file (JSON), or the name of a shipped one. Several: all of them."),
    ] = None,
    worlds: Annotated[bool, typer.Option("--worlds", help="List the shipped worlds.")] = False,
    random: Annotated[
        int | None, typer.Option("--random-worlds", min=1, max=1_000, help="Play so many random worlds.")
    ] = None,
    worlds_out: Annotated[
        Path | None, typer.Option(help="Write the random worlds into this folder, as JSON files.")
    ] = None,
    chart: Annotated[Path | None, typer.Option(help="Draw the comparison into this PNG file, too.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """What a policy would recover of made-up failures, compared with the ladders that others use."""
    if worlds:
        _list_worlds(json)
        return
    seeds = list(dict.fromkeys(seed))
    chosen = _chosen_worlds(world, random, seeds, worlds_out)
    draw = _drawing_to(chart) if chart is not None else None
    own: Own = (policy.name, read_policy_file(policy)) if policy is not None else None
    count = failures or (FAILURES if random is None else FAILURES_OF_RANDOM_WORLDS)
    histories = sorted({*history})
    played = [
        Played(each, list(_play(each, of_world, count, _Strategies(own, histories)))) for each, of_world in chosen
    ]
    if draw is not None:
        draw([each.simulations for each in played])
    if json:
        print_json(all_as_json(played[0].simulations) if len(played) == 1 else worlds_as_json(played))
        return
    _show(played, terminal(120), random=random is not None)
    if chart is not None:
        terminal(120).print(f"\nchart: {chart}", highlight=False, soft_wrap=True)


def _play(world: World, seeds: Sequence[int], failures: int, known: "_Strategies") -> Iterator[Simulation]:
    clairvoyant = Clairvoyant(known.policy)
    for seed in seeds:
        strategies = known.of(world, seed)
        yield play_all(strategies, failures=failures, seed=seed, world=world, clairvoyant=clairvoyant)


def _show(played: Sequence[Played], console: Console, *, random: bool) -> None:
    simulations = played[0].simulations
    if len(played) > 1:
        show_worlds(played, console, each_one=not random)
    elif len(simulations) == 1:
        show(simulations[0], console)
    else:
        show_all(simulations, console)
    if random and any(simulation.seed in HELD_OUT for each in played for simulation in each.simulations):
        console.print(
            f"Seeds {HELD_OUT.start} to {HELD_OUT.stop - 1} are held out, for the last measurement; design by others.",
            highlight=False,
        )


# -- strategies ----------------------------------------------------------------------------------------------------


class _Strategies:
    """The strategies of a world's seeds. Learned timing depends on the seed; the others are made once: so they plan a
    kind of failure once. But not once for all worlds: many plans need much memory."""

    def __init__(self, own: Own, histories: Sequence[int]) -> None:
        self._default = Policy.default()
        self._own, self._histories = own, histories
        self._given: Strategy | None = Remembering(*own) if own is not None else None
        self._by_rules = Remembering("citadel default", self._default)
        self._ladders = common_ladders(self._default)

    @property
    def policy(self) -> Policy:
        """Whose rules the clairvoyant keeps: the given policy's, or the default one's."""
        return self._default if self._own is None else self._own[1]

    def of(self, world: World, seed: int) -> list[Strategy]:
        """The first one is compared with the others."""
        own, given = self._own, self._given
        if own is not None and own[1].timing == "learned":
            given = learn(own[1], max(self._histories), seed, world).strategy(*own)
        learned = [
            learn(self._default, each, seed, world).strategy(f"learned after {each:,}", self._default)
            for each in self._histories
            if each
        ]
        return [*([given] if given else []), self._by_rules, *learned, *self._ladders]


# -- worlds --------------------------------------------------------------------------------------------------------


def _chosen_worlds(
    names: Sequence[str] | None, random: int | None, seeds: list[int], out: Path | None
) -> Iterator[tuple[World, list[int]]]:
    """Each world, with the seeds of its customers. Ends the command when one cannot be had."""
    if random is None:
        if out is not None:
            raise typer.BadParameter("only random worlds are written: add --random-worlds", param_hint="--worlds-out")
        chosen = [_world_of(each) for each in dict.fromkeys(names)] if names else [as_made()]
        return iter([(each, seeds) for each in chosen])
    if names:
        raise typer.BadParameter("random worlds are not played together with named ones", param_hint="--world")
    if len(seeds) > 1:
        raise typer.BadParameter("of random worlds give the first seed alone", param_hint="--seed")
    drawn = list(zip(random_worlds(seeds[0], random), range(seeds[0], seeds[0] + random), strict=True))
    if out is not None:
        _write([each for each, _ in drawn], out)
    return iter([(each, [one]) for each, one in drawn])


def _world_of(name: str) -> World:
    if name in shipped_names():
        return shipped(name)
    file = Path(name)
    if not file.exists():
        refuse(f"there is no file {name}, and no shipped world of this name: {', '.join(shipped_names())}")
    try:
        return read_world(read_json(file))
    except WorldRefused as refused:
        show_problems(refused)
        refuse(f"{file} is no world: {len(refused.problems)} problems, listed above")


def _write(worlds: Sequence[World], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in worlds:
            (folder / f"{each.name}.json").write_bytes(written(each))
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be written: {error.strerror}", param_hint="--worlds-out") from None


def _list_worlds(json: bool) -> None:
    found = [shipped(name) for name in shipped_names()]
    if json:
        listed: list[dict[str, Any]] = [{"name": each.name, "about": each.about} for each in found]
        print_json(listed)
        return
    table = Table("world", "what it is", box=None, pad_edge=False)
    for each in found:
        table.add_row(each.name, each.about)
    terminal(120).print(table)


# -- chart ---------------------------------------------------------------------------------------------------------


def _drawing_to(file: Path) -> Draw:
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

    def write(worlds: Sequence[Sequence[Simulation]]) -> None:
        try:
            draw(worlds, file)
        except OSError as error:
            raise typer.BadParameter(f"{file} cannot be written: {error.strerror}", param_hint="--chart") from None

    return write
