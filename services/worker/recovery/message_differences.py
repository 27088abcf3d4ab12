"""In which hours a merchant's customers clearly answer more, as a sentence for the merchant."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from services.worker.recovery.belief.differences import About, Difference
from services.worker.recovery.message_answers import HOURS, Written

SPAN: Final = 3
"""So many hours side by side are told of."""
# Told if these hours have at least so many messages, and so have the others; if both halves of the messages say that
# they are answered so many times as often as the others; and if chance explains it once in some thousand times, by the
# normal distribution: three standard deviations, and one more because the best of 24 spans is told.
_LEAST_SENT: Final = 60
_TIMES: Final = 1.2
_SURE: Final = 4.0


def hours_told(written: Sequence[Written]) -> tuple[Difference, ...]:
    """The hours in which customers answer most, if that is clear by first messages of one kind: the commonest."""
    kinds = Counter(each.kind for each in written if each.number == 1)
    firsts = [each for each in written if each.number == 1 and each.kind == max(kinds, key=kinds.__getitem__)]
    halves = firsts[::2], firsts[1::2]
    lead, begins, share, others = max(_lead(firsts, begins) for begins in HOURS)
    if lead < _SURE:
        return ()
    if any((said := _shares(half, begins)) is None or said[0] < _TIMES * said[1] for half in halves):
        return ()
    text = (
        f"Your customers answer most between {begins} and {(begins + SPAN) % 24}, by their clocks "
        f"({share:.0%} pay by a first message sent then; {others:.0%} at other hours)."
    )
    return (Difference(About.MESSAGE_HOURS, text, share, others),)


def _lead(written: Sequence[Written], begins: int) -> tuple[float, int, float, float]:
    """How many standard deviations the hours' share of answers is above the others', and both shares."""
    within = [each.answered for each in written if (each.hour - begins) % 24 < SPAN]
    others = [each.answered for each in written if (each.hour - begins) % 24 >= SPAN]
    if min(len(within), len(others)) < _LEAST_SENT:
        return 0.0, begins, 0.0, 0.0
    share, usual, all_of = (sum(each) / len(each) for each in (within, others, within + others))
    spread = (all_of * (1 - all_of) * (1 / len(within) + 1 / len(others))) ** 0.5
    return (share - usual) / spread if spread else 0.0, begins, share, usual


def _shares(written: Sequence[Written], begins: int) -> tuple[float, float] | None:
    within = [each.answered for each in written if (each.hour - begins) % 24 < SPAN]
    others = [each.answered for each in written if (each.hour - begins) % 24 >= SPAN]
    return (sum(within) / len(within), sum(others) / len(others)) if within and others else None
