"""The checks: pure functions from a world's evidence to what is wrong with it.

booked     what is booked as recovered is what moved: each charge of ours once, with its amount, and no other
returned   what was refunded, disputed and won back of it is booked, once, with its amount
totals     the book, the days and the totals agree
attempts   each try of ours has one row, which says what the bank says; a charge has one row
charged    nothing was charged that was canceled, paused, taken over, stopped, or declined for good
ends       no end, and no end action, while money is on its way; each end says what is so
alive      every recovery ends or has a next step; no task died; the world comes to rest
opened     each failed renewal that was told of has one recovery, opened once
cards      a good payment method that a customer brought was tried
told       what customers read was true when it was sent, and went to nobody who is left alone
"""

from collections.abc import Callable, Iterable, Mapping

from tests.explorer.check_ends import alive, cards, ends, opened
from tests.explorer.check_letters import told
from tests.explorer.check_money import attempts, booked, charged, returned, totals
from tests.explorer.evidence import Evidence
from tests.explorer.finding import Finding

Check = Callable[[Evidence], Iterable[Finding]]

CHECKS: Mapping[str, Check] = {
    check.__name__: check for check in (booked, returned, totals, attempts, charged, ends, alive, opened, cards, told)
}


def findings(evidence: Evidence) -> list[Finding]:
    """What all checks found, each kind and text once."""
    found = (finding for check in CHECKS.values() for finding in check(evidence))
    return list(dict.fromkeys(found))
