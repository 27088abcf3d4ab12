"""What happened in the story beside cards that are declined: bank debits, cards renewed in place, money that went back.

Counted from the simulator's side: its attempt log, its book and what it had drawn (`GET /_sim/fates`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from console.demo.checks import OURS

Row = Mapping[str, Any]

AT_ONCE_S: Final = 86_400
"""A step of the story is up to half a day long, and a webhook can be late: less than this is at once."""


@dataclass(frozen=True, slots=True)
class Debits:
    """Renewals by bank debit that failed, and how many of them were recovered; the debits that we or customers began
    afterwards, and how these ended."""

    renewals: int = 0
    recovered: int = 0
    begun: int = 0
    paid: int = 0
    failed: int = 0

    @property
    def under_way(self) -> int:
        """Those whose end is not known when the story ends."""
        return self.begun - self.paid - self.failed


@dataclass(frozen=True, slots=True)
class RenewedCards:
    """Failing cards that the networks renewed under their id while their invoice was unpaid, and how many of them we
    then charged at once."""

    renewed: int = 0
    charged: int = 0


@dataclass(frozen=True, slots=True)
class WentBack:
    """Refunds and disputes of what was recovered; a refund that `failed` came back. `of_others`: of charges that are
    not ours."""

    refunds: int = 0
    in_part: int = 0
    failed: int = 0
    disputes: int = 0
    won: int = 0
    lost: int = 0
    of_others: int = 0

    @property
    def undecided(self) -> int:
        """The disputes without an end when the story ends."""
        return self.disputes - self.won - self.lost


def debits(attempts: Sequence[Row], recovered: Set[str]) -> Debits:
    """`attempts`: the simulator's log. `recovered`: the invoices that are recovered by our rows."""
    renewals = {each["invoice"] for each in attempts if each["source"] == "renewal" and each["outcome"] == "failed"}
    later = [each for each in attempts if each["source"] != "renewal"]
    ends = Counter(each["outcome"] for each in later if each["concludes"] is not None)
    return Debits(
        renewals=len(renewals),
        recovered=len(renewals & recovered),
        begun=sum(each["outcome"] == "processing" for each in later),
        paid=ends["succeeded"],
        failed=ends["failed"],
    )


def renewed_cards(fates: Iterable[Row], attempts: Sequence[Row], now: int) -> RenewedCards:
    """`fates`: the simulator's, which say when a failing card is renewed."""
    paid_at = {each["invoice"]: each["at"] for each in attempts if each["outcome"] == "succeeded"}
    tries = {(each["invoice"], each["payment_method"], each["at"]) for each in attempts if _charged_by_us(each)}
    renewed = [
        fate
        for fate in fates
        if fate["renewed_at"] is not None and fate["renewed_at"] <= min(now, paid_at.get(fate["invoice"], now))
    ]
    charged = [
        fate
        for fate in renewed
        if any(
            (fate["invoice"], fate["payment_method"]) == (invoice, method)
            and fate["renewed_at"] <= at <= fate["renewed_at"] + AT_ONCE_S
            for invoice, method, at in tries
        )
    ]
    return RenewedCards(len(renewed), len(charged))


def _charged_by_us(attempt: Row) -> bool:
    return bool(attempt["source"] == OURS and attempt["outcome"] == "succeeded")


def went_back(movements: Sequence[Row], disputes: Mapping[str, str], ours: Set[str]) -> WentBack:
    """`movements`: the bank's book. `disputes`: the status of each. `ours`: the charges that we recovered."""
    charged = {each["charge"]: each["amount"] for each in movements if each["kind"] == "charge"}
    back = [each for each in movements if each["kind"] in {"refund", "dispute_withdrawn"}]
    refunds = [each for each in back if each["kind"] == "refund" and each["charge"] in ours]
    of_ours = [each for each in back if each["kind"] == "dispute_withdrawn" and each["charge"] in ours]
    ends = Counter(disputes[each["dispute"]] for each in of_ours)
    return WentBack(
        refunds=len(refunds),
        in_part=sum(-each["amount"] < charged[each["charge"]] for each in refunds),
        failed=sum(each["kind"] == "refund_failed" and each["charge"] in ours for each in movements),
        disputes=len(of_ours),
        won=ends["won"],
        lost=ends["lost"],
        of_others=len(back) - len(refunds) - len(of_ours),
    )
