"""What was measured, as tables and as JSON."""

from typing import Any, Final

from rich.console import Console
from rich.table import Table

from console.evaluation.bound.measure import Bounds, Choices, Compared
from console.evaluation.bound.strategies import Reached, Small

WORST: Final = 5
ABOUT: Final = (
    "A price is of an attempt, in payments. Of possible: of what the clairvoyant collects, the mean over the worlds\n"
    "and the worst; attempts: for each failure, and for each payment that is possible. All by the law of the\n"
    "customers, not by samples of them."
)


def as_json(bounds: Bounds) -> dict[str, Any]:
    """The figures as plain values."""
    found = {"unseen": _compared_as_json(bounds.unseen) | {"choices": _choices_as_json(bounds.unseen_choices)}}
    if bounds.learned is not None and bounds.learned_choices is not None:
        choices = {"failures": bounds.failures, "choices": _choices_as_json(bounds.learned_choices)}
        found["learned"] = _compared_as_json(bounds.learned) | choices
    return found


def show(bounds: Bounds, console: Console) -> None:
    """The tables, and what follows."""
    unseen, learned = bounds.unseen, bounds.learned
    console.print(f"\n{len(unseen.worlds)} small worlds, of {_seeds(unseen)}: before anything was seen\n")
    _show(unseen, console)
    console.print(
        "\nWith as many attempts nobody who does not know the world collects more than"
        f" {unseen.at_most:.1%} on average;\nwith {bounds.most} attempts, whatever they cost, in each of these worlds"
        f" nobody more than {unseen.sure:.1%}."
        f"\nOur planner has {unseen.planner.of_possible:.1%}, and {unseen.planner.worst:.1%} in the worst."
    )
    _show_choices(bounds.unseen_choices, console)
    if learned is not None and bounds.learned_choices is not None:
        console.print(f"\nafter {bounds.failures:,} failures, in {len(learned.worlds)} of these worlds\n")
        _show(learned, console)
        console.print(
            "\nWith as many attempts nobody who does not know the customer collects more than"
            f" {learned.at_most:.1%} on average.\nOur planner has {learned.planner.of_possible:.1%}; the worst:\n"
        )
        _show_worst(learned, console)
        _show_choices(bounds.learned_choices, console)
    console.print(f"\n{ABOUT}", style="dim")


def _show(compared: Compared, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("who", no_wrap=True)
    for column in ("price", "of possible", "worst", "attempts", "a payment"):
        table.add_column(column, justify="right")
    for each in (compared.planner, *compared.rows):
        table.add_row(
            each.name,
            "" if each.price is None else f"{each.price:.1%}",
            f"{each.of_possible:.1%}",
            f"{each.worst:.1%}",
            f"{each.attempts:.2f}",
            f"{each.a_payment:.2f}",
        )
    console.print(table)


def _show_worst(compared: Compared, console: Console) -> None:
    for number in _worst(compared.planner):
        world, here = compared.worlds[number], compared.planner.worlds[number]
        console.print(f"  {world.world.name}, {here.of_possible:.1%}: {world.world.about}", soft_wrap=True)


def _worst(reached: Reached) -> list[int]:
    return sorted(range(len(reached.worlds)), key=lambda number: reached.worlds[number].of_possible)[:WORST]


def _show_choices(choices: Choices, console: Console) -> None:
    console.print(
        f"\nWhat it believes, its choice one by one is worth {choices.of_best:.1%} of the best ({choices.worst:.1%} at"
        f" worst), in the {choices.single:.0%} of its\nstories with one span of money; in all of them"
        f" {choices.of_all:.1%} or more."
    )


def _seeds(compared: Compared) -> str:
    seeds = [each.seed for each in compared.worlds]
    return f"the seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"


def _compared_as_json(compared: Compared) -> dict[str, Any]:
    return {
        "at_most": round(compared.at_most, 5),
        "sure": round(compared.sure, 5),
        "planner": _row_as_json(compared.planner),
        "strategies": [_row_as_json(each) for each in compared.rows],
        "worlds": [
            {"seed": world.seed, "about": world.world.about, **_world_as_json(world, compared, number)}
            for number, world in enumerate(compared.worlds)
        ],
    }


def _world_as_json(world: Small, compared: Compared, number: int) -> dict[str, float]:
    here = compared.planner.worlds[number]
    figures = {"possible": world.possible, "of_possible": here.of_possible, "attempts": here.attempts}
    return {name: round(value, 5) for name, value in figures.items()}


def _row_as_json(row: Reached) -> dict[str, Any]:
    figures = {
        "of_possible": row.of_possible,
        "worst": row.worst,
        "attempts": row.attempts,
        "attempts_a_payment": row.a_payment,
    }
    return {"name": row.name, "price": row.price} | {name: round(value, 5) for name, value in figures.items()}


def _choices_as_json(choices: Choices) -> dict[str, float]:
    return {name: round(getattr(choices, name), 5) for name in choices.__slots__}
