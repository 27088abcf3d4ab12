"""Validates a policy document: gives all problems at once, each with its place."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.places import place_in
from shared.policy.document import Policy, PolicyFields


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """`place` is the path to the value (`segments.0.then.window_days`), empty for the document itself."""

    place: str
    message: str


class PolicyRefused(ValueError):
    """The document is not a policy; `problems` lists all reasons."""

    def __init__(self, problems: list[PolicyProblem]) -> None:
        super().__init__("; ".join(f"{each.place or 'the document'}: {each.message}" for each in problems))
        self.problems = problems


def read_policy(document: object) -> Policy:
    """The policy that a JSON document is. Raises PolicyRefused."""
    problems = problems_of(document)
    if problems:
        raise PolicyRefused(problems)
    return Policy.model_validate(document)


def problems_of(document: object) -> list[PolicyProblem]:
    """All problems of a JSON document; empty when it is a policy.

    Contradictions between the valid values are listed even when other values are invalid.
    """
    found: list[PolicyProblem] = []
    try:
        fields = PolicyFields.model_validate(document)
    except ValidationError as error:
        found = [_problem(document, each) for each in error.errors(include_url=False, include_input=False)]
        broken = {each.place.split(".")[0] for each in found}
        if not isinstance(document, Mapping) or "" in broken:
            return found
        fields = PolicyFields.model_validate({name: value for name, value in document.items() if name not in broken})
    return found + [PolicyProblem(each.place, each.message) for each in fields.contradictions()]


def _problem(document: object, error: ErrorDetails) -> PolicyProblem:
    return PolicyProblem(place_in(document, error["loc"]), error["msg"].removeprefix("Value error, "))
