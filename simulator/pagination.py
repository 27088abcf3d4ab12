"""Lists as Stripe pages them: newest first, by cursor."""

from collections.abc import Callable, Iterable

from simulator.errors import bad_request, missing_param
from simulator.resources import listing
from simulator.shapes import Json

Filter = Callable[[Json], bool]


def page(resources: Iterable[Json], params: Json, url: str, *filters: Filter) -> Json:
    """One page of resources (given oldest first) under `limit`, `starting_after`, `ending_before`."""
    limit = params.get("limit", 10)
    if not 1 <= limit <= 100:
        raise bad_request("Invalid integer: limit must be from 1 to 100.", param="limit")
    newest = [item for item in resources if all(accepts(item) for accepts in filters)][::-1]
    after, before = params.get("starting_after"), params.get("ending_before")
    if after and before:
        raise bad_request("You can only specify one of starting_after and ending_before.")
    if after:
        newest = newest[_index(newest, after, "starting_after") + 1 :]
    if before:
        newest = newest[: _index(newest, before, "ending_before")]
        return listing(newest[-limit:], url, has_more=len(newest) > limit)
    return listing(newest[:limit], url, has_more=len(newest) > limit)


def _index(resources: list[Json], ident: str, param: str) -> int:
    for index, resource in enumerate(resources):
        if resource["id"] == ident:
            return index
    raise missing_param("object", ident, param)


def equals(params: Json, *fields: str) -> list[Filter]:
    """A filter for each of the fields that the request asks for."""
    asked = [(field, params[field]) for field in fields if field in params]
    return [lambda item, f=field, v=value: item.get(f) == v for field, value in asked]  # type: ignore[misc]  # mypy cannot type defaults of lambdas


def within(params: Json, field: str = "created") -> list[Filter]:
    """The filter of a range parameter such as `created[gte]`."""
    asked = params.get(field)
    if asked is None:
        return []
    if isinstance(asked, int):
        return [lambda item: item[field] == asked]
    tests: dict[str, Callable[[int, int], bool]] = {
        "gt": int.__gt__,
        "gte": int.__ge__,
        "lt": int.__lt__,
        "lte": int.__le__,
    }
    return [lambda item: all(tests[name](item[field], bound) for name, bound in asked.items())]
