"""World documents: every problem with its place, and the shipped ones."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from console.evaluation.population import Population
from console.evaluation.worlds import (
    World,
    WorldRefused,
    as_made,
    json_schema,
    problems_of,
    read_world,
    shipped,
    shipped_names,
)
from console.evaluation.worlds.prior import written

ROOT = Path(__file__).parents[5]
FUNDS = {"kind": "stay", "source": "assumed", "days": 2}


def problems(**given: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in problems_of({"name": "own", "about": "a test"} | given):
        found[each.place] = f"{found.get(each.place, '')}{each.message}; "
    return found


def test_the_schema_is_the_one_in_the_documents() -> None:
    assert json_schema() == orjson.loads((ROOT / "docs" / "world.schema.json").read_bytes())
    assert set(json_schema()["properties"]) == set(World.model_fields)


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_world_is_valid_named_like_its_file_and_has_failures(name: str) -> None:
    world = shipped(name)
    assert world.name == name
    assert next(Population(world, 1)).kind.country in {each.code for each in world.renewals.countries}
    assert read_world(orjson.loads(written(world))) == world


def test_a_dozen_worlds_are_shipped() -> None:
    assert len(shipped_names()) >= 12
    assert shipped_names()[0] == "as_made"
    with pytest.raises(KeyError):
        shipped("nowhere")


def test_what_a_file_leaves_out_is_as_in_as_made() -> None:
    world = read_world({"name": "own", "about": "a test", "wages": {"shift_days": 4}, "funds": FUNDS})
    assert world.wages.shift_days == 4
    assert world.wages.sets == as_made().wages.sets
    assert world.funds.days == 2
    assert (
        world.model_copy(
            update={"name": "as_made", "about": as_made().about, "wages": as_made().wages, "funds": as_made().funds}
        )
        == as_made()
    )


def test_the_example_in_the_readme_is_a_world() -> None:
    readme = (ROOT / "console" / "evaluation" / "README.md").read_text()
    (example,) = [each for each in re.findall(r"```json\n(.+?)```", readme, re.DOTALL) if '"wages"' in each]
    assert read_world(orjson.loads(example)).name == "paid_on_the_25th"


def test_a_name_and_what_it_is_about_are_not_left_out() -> None:
    assert {each.place for each in problems_of({})} == {"name", "about"}
    assert [each.place for each in problems_of([])] == [""]


def test_every_problem_is_listed_with_its_place() -> None:
    found = problems(
        wages={
            "shift_days": 99,
            "sets": [{"source": "assumed", "groups": [{"share": 1, "on": {"rhythm": "weekly", "weekday": "freitag"}}]}],
        },
        banks={"groups": [{"share": 2, "closed": [{"from_hour": 24, "until_hour": 1}]}]},
        funds={"kind": "stay", "source": "I know it", "days": 0},
        unheard_of=1,
        alone={"share": 0.05, "source": "assumed", "when": "later"},
    )
    assert set(found) == {
        "wages.shift_days",
        "wages.sets.0.groups.0.on.weekday",
        "banks.groups.0.share",
        "banks.groups.0.closed.0.from_hour",
        "funds.source",
        "funds.days",
        "unheard_of",
        "alone.when",
    }
    assert "an address" in found["funds.source"]


def test_contradictions_are_listed_even_beside_invalid_values() -> None:
    found = problems(funds=3, renewals={"countries": [{"code": "US", "currency": "usd", "share": 0.5}]})
    assert set(found) == {"funds", "renewals.countries"}
    assert "must add up to 1, not to 0.5" in found["renewals.countries"]


CODE: dict[str, Any] = {"code": "do_not_honor", "share": 1, "clears": 0.5, "approves": 0.9, "responds": 0.1}


@pytest.mark.parametrize(
    ("group", "value", "place", "message"),
    [
        ("renewals", {"run_days": [2, 3]}, "renewals.run_days", "nothing would fail"),
        (
            "renewals",
            {"networks": [{"name": "visa", "share": 0.5}, {"name": "visa", "share": 0.5}]},
            "renewals.networks.1",
            "twice",
        ),
        (
            "causes",
            {"codes": [CODE | {"code": "unheard_of", "clears": 0}]},
            "causes.codes.0.code",
            "no decline code 'unheard_of'",
        ),
        ("causes", {"codes": [CODE]}, "causes.codes.0.ways", "of credit cards must add up to 1"),
        (
            "causes",
            {"codes": [CODE | {"ways": [{"by": "wages", "funding": ["debit"]}]}]},
            "causes.codes.0.ways",
            "of prepaid cards must add up to 1",
        ),
        (
            "wages",
            {
                "sets": [
                    {
                        "countries": ["US"],
                        "source": "assumed",
                        "groups": [{"share": 0.5, "on": {"rhythm": "last_business_day"}}],
                    }
                ]
            },
            "wages.sets.0.groups",
            "must add up to 1",
        ),
        (
            "wages",
            {
                "sets": [
                    {
                        "countries": ["US"],
                        "source": "assumed",
                        "groups": [{"share": 1, "on": {"rhythm": "last_business_day"}}],
                    }
                ]
            },
            "wages.sets",
            "of JP are paid",
        ),
        (
            "banks",
            {"groups": [{"share": 0.7, "closed": [{"from_hour": 1, "until_hour": 2}]}] * 2},
            "banks.groups",
            "more than all",
        ),
        (
            "banks",
            {"groups": [{"share": 0.7, "closed": [{"from_hour": 2, "until_hour": 2}]}]},
            "banks.groups.0.closed.0",
            "no hour would count",
        ),
        (
            "messages",
            {"hours": [{"from_hour": 2, "until_hour": 2, "factor": 1}]},
            "messages.hours.0",
            "no hour would count",
        ),
        ("drift", [{"since": "2026-01-02"}, {"since": "2026-01-01"}], "drift", "must rise"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(group: str, value: Any, place: str, message: str) -> None:
    assert message in problems(**{group: value})[place]
    with pytest.raises(WorldRefused, match=place):
        read_world({"name": "own", "about": "a test", group: value})
