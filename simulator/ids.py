"""Identifiers that look like Stripe's and depend on nothing but the seed and how many came before."""

from collections import Counter
from hashlib import blake2b

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Ids:
    """Makes ids such as `in_1Sim…`; two instances with one seed give the same ids in the same order.

    Counters are kept per scope (an account), so that what happens in one account does not move
    the ids of another.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._counts: Counter[tuple[str, str]] = Counter()

    def new(self, prefix: str, scope: str = "") -> str:
        """The next id with this prefix: `<prefix>_1` and 20 letters or digits."""
        return f"{prefix}_1{self.token(prefix, scope, 20)}"

    def token(self, kind: str, scope: str = "", length: int = 24) -> str:
        """The next opaque string of this kind."""
        self._counts[kind, scope] += 1
        text = f"{self._seed}:{scope}:{kind}:{self._counts[kind, scope]}"
        number = int.from_bytes(blake2b(text.encode(), digest_size=32).digest())
        letters = []
        for _ in range(length):
            number, index = divmod(number, 62)
            letters.append(ALPHABET[index])
        return "".join(letters)
