"""Finds any of many texts (needles) in any amount of text, in one pass.

Every needle has at least `SHORTEST` characters. So wherever it occurs, it covers a whole window of `_WINDOW` characters
that begins at a multiple of `_STRIDE`. A table has all such windows of all needles; a text is looked up at every
`_STRIDE`-th place only, and a hit in the table is compared in full.
"""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from html import escape
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST: Final = 8
_WINDOW: Final = 5
_STRIDE: Final = SHORTEST - _WINDOW + 1


class Needles:
    """The values to look for, in all spellings that a log or a column may contain; case does not matter.

    `too_short` are values below `SHORTEST`: they would be found by chance everywhere, and are not looked for.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self.too_short: set[str] = set()
        self._original: dict[str, str] = {}
        self._windows: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        for value in values:
            every = spellings(value)
            if min(map(len, every)) < SHORTEST:
                self.too_short.add(value)
                continue
            for spelling in every:
                if spelling not in self._original:
                    self._original[spelling] = value
                    for offset in range(_STRIDE):
                        self._windows[spelling[offset : offset + _WINDOW]].append((offset, spelling))

    def __len__(self) -> int:
        """How many values are looked for."""
        return len(set(self._original.values()))

    def found_in(self, text: str) -> set[str]:
        """The values that occur in `text`."""
        folded = _folded(text)
        found: set[str] = set()
        for place in range(0, len(folded) - _WINDOW + 1, _STRIDE):
            for offset, spelling in self._windows.get(folded[place : place + _WINDOW], ()):
                if place >= offset and folded.startswith(spelling, place - offset):
                    found.add(self._original[spelling])
        return found


def spellings(value: str) -> set[str]:
    """A value as plain text, and as in JSON, a Python literal, a URL and HTML; all case-folded."""
    plain = unicodedata.normalize("NFC", value)
    every = (plain, json.dumps(plain)[1:-1], ascii(plain)[1:-1], quote(plain), quote_plus(plain), escape(plain))
    return {_folded(each) for each in every}


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
