"""Worlds: who fails to pay, and what their banks and they themselves would do, as documents.

    document.py     the document; base.py and wages.py are parts of it
    validation.py   reading one, every problem with its place; the shipped ones by name
    shipped/        the worlds that are shipped, as JSON
    calendars.py    when wages arrive and limits are reset, by country
    funds.py        when there is enough money
    banks.py        when a bank declines whatever the cause, and when it wants rest
    prior.py        random worlds, and which of their seeds are held out

`console/evaluation/README.md` says what of them is published and what is assumed.
"""

from console.evaluation.worlds.document import World, json_schema
from console.evaluation.worlds.validation import (
    WorldProblem,
    WorldRefused,
    as_made,
    problems_of,
    read_world,
    shipped,
    shipped_names,
)

__all__ = [
    "World",
    "WorldProblem",
    "WorldRefused",
    "as_made",
    "json_schema",
    "problems_of",
    "read_world",
    "shipped",
    "shipped_names",
]
