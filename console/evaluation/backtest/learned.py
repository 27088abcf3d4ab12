"""What was learned of a merchant's customers, in sentences for the report."""

from collections.abc import Sequence
from math import exp, log
from typing import Final

from services.worker.recovery.belief.beliefs import Learned
from services.worker.recovery.belief.groups import Trait
from services.worker.recovery.belief.parts import BANKS, STAYS, Belief
from services.worker.recovery.belief.paydays import RULES

_KNOWN: Final = {
    Trait.COUNTRY: "in {}",
    Trait.FUNDING: "{} cards",
    Trait.AMOUNT: "{} amounts",
    Trait.NETWORK: "{}",
}
_UNKNOWN: Final = {
    Trait.COUNTRY: "in an unknown country",
    Trait.FUNDING: "cards of unknown funding",
    Trait.AMOUNT: "unknown amounts",
    Trait.NETWORK: "an unknown network",
}
_MOST: Final = 3
_LEAST: Final = 0.05


def told(learned: Learned | None) -> Sequence[str]:
    """The paydays that most are believed to have, how long money stays, and when banks decline; nothing for None."""
    if learned is None:
        return ()
    return tuple([_told(group.belief, _where(path)) for path, group in learned.root.each()])


def _where(path: Sequence[tuple[Trait, str]]) -> str:
    """Whom a group is of: `in DE, prepaid cards, small amounts: `; empty for all."""
    said = [_KNOWN[trait].format(value) if value else _UNKNOWN[trait] for trait, value in path]
    return f"{', '.join(said)}: " if said else ""


def _told(belief: Belief, where: str) -> str:
    by_share = sorted(belief.paydays.items(), key=lambda each: -each[1])
    paid = [f"{RULES[name].name} ({share:.0%})" for name, share in by_share[:_MOST] if share >= _LEAST]
    paydays = f"paid {', '.join(paid)}" if paid else "no payday stands out"
    hours = sum(share for bank, share in zip(BANKS, belief.banks, strict=True) if isinstance(bank, tuple))
    return (
        f"{where}{paydays}; half of the money is gone after {_half_gone(belief):,.0f} hours; "
        f"{hours:.0%} are at banks that decline at some hours"
    )


def _half_gone(belief: Belief) -> float:
    """After how many hours half of the money is gone; within a span, evenly on a logarithmic scale."""
    below = 0.0
    for (begins, ends), share in zip(STAYS, belief.stays, strict=True):
        if below + share >= 1 / 2 and share:
            return exp(log(begins) + (log(ends) - log(begins)) * (1 / 2 - below) / share)
        below += share
    return STAYS[-1][1]
