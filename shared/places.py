"""Where in a document a value stands that pydantic refused."""

from collections.abc import Iterator, Mapping, Sequence


def place_in(document: object, loc: Sequence[int | str]) -> str:
    """pydantic's path as a place in the document (`segments.0.then.window_days`), empty for the document itself.

    Without the names of union members, which pydantic's path contains, too.
    """
    return ".".join(_way(document, loc))


def _way(value: object, loc: Sequence[int | str]) -> Iterator[str]:
    for number, part in enumerate(loc):
        if isinstance(value, Mapping) and (part in value or number == len(loc) - 1):
            value = value.get(part)
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        yield str(part)
