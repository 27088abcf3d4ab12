"""One thing that is wrong in a world."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` is what is wrong, without ids and amounts: a shorter story tells the same if it has the same kind."""

    check: str
    kind: str
    text: str

    @property
    def name(self) -> str:
        """`check: kind`."""
        return f"{self.check}: {self.kind}"

    def told(self) -> str:
        """One line."""
        return f"{self.name} ({self.text})"
