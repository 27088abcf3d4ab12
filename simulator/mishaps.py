"""What befalls the subscribers of a population beside declined cards: bank debits that fail, cards that the networks
renew, charges that are refunded or disputed.

Everything is drawn from randomness of its own, by account or by invoice: whoever collects an invoice, and whenever, its
money goes back or stays. Shares are orders of magnitude for a lively story, not measurements.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.bank_accounts import TAKES_DAYS
from simulator.cards import AUTOMATIC, Cards
from simulator.money_back import MoneyBack
from simulator.shapes import DAY, Json
from simulator.world import Account, Renewal, World

# Share of failing debits by reason, in percent; the reasons are those of `bank_accounts.FAILURES`.
DEBIT_FAILURES: dict[str, float] = {
    "insufficient_funds": 68,
    "account_closed": 9,
    "refer_to_customer": 7,
    "could_not_process": 6,
    "debit_not_authorized": 5,
    "no_account": 3,
    "bank_account_restricted": 2,
}

# reason: (share that clears by itself, first day, last day), counted from the end of the first debit
DEBIT_CLEARING: dict[str, tuple[float, float, float]] = {
    "insufficient_funds": (0.75, 1, 16),
    "could_not_process": (0.9, 0.5, 4),
    "refer_to_customer": (0.3, 1, 12),
}

# Declines after which a bank sends another card, and whether that has another number; else it is another date.
RENEWED_CAUSES: dict[str, bool] = {"expired_card": False, "lost_card": True, "stolen_card": True}


@dataclass(frozen=True, slots=True)
class Back:
    """Shares of an account's charges that are refunded and disputed, and how long `after` the charge; the shares of
    refunds in part, of refunds that fail, and of disputes that are won; how long a dispute, and a refund that fails,
    takes. Times are from and to so many seconds."""

    refunds: float
    disputes: float
    after: tuple[int, int]
    in_part: float = 0.4
    fail: float = 0.1
    won: float = 0.4
    takes: tuple[int, int] = (2 * DAY, 9 * DAY)


def debit_payers(subscriptions: int, troubled: set[int], share: float, rng: random.Random) -> set[int]:
    """Who pays by debit: this share of those whose first payment fails, and of the others."""
    others = [index for index in range(subscriptions) if index not in troubled]
    groups = (sorted(troubled), others)
    return {index for group in groups for index in rng.sample(group, round(len(group) * share))}


def bank_account(kind: str, failures: Mapping[str, float], first_try: int, rng: random.Random, *, fails: bool) -> Json:
    """The description of a bank account, whose first debit fails or not."""
    if not fails:
        return {"type": kind}
    reason = rng.choices(list(failures), list(failures.values()))[0]
    share, first, last = DEBIT_CLEARING.get(reason, (0.0, 0.0, 0.0))
    ends = first_try + TAKES_DAYS[kind] * DAY
    clears = rng.random() < share
    return {"type": kind, "fails": reason, "clears_at": ends + int(rng.uniform(first, last) * DAY) if clears else None}


class Mishaps:
    """Sets the timers of what befalls cards and charges."""

    def __init__(self, world: World, cards: Cards, money_back: MoneyBack) -> None:
        self._world = world
        self._cards = cards
        self._money_back = money_back
        self.back: dict[str, Back] = {}

    def renew_later(self, account: Account, method: Json, at: int) -> None:
        """The card updater renews a failing card at a time that is known from now on."""
        script = account.scripts[method["id"]]
        number = RENEWED_CAUSES[script.decline or ""]
        account.renewals[method["id"]] = Renewal(at, script)

        def due() -> None:
            if method["customer"] is not None:  # else detached meanwhile, and no longer looked after
                self._cards.renew(account, method, {}, number=number, events=(AUTOMATIC,))

        self._world.clock.at(at, due)

    def charged(self, account: Account, invoice: Json, charge: Json) -> None:
        """Money has come in: draws whether it goes back, and when."""
        back = self.back.get(account.id)
        if back is None:
            return
        rng = self._world.rng(f"money that goes back:{invoice['id']}")
        drawn, days = rng.random(), rng.randint(*back.after)
        if drawn < back.refunds:
            part = round(charge["amount"] * rng.uniform(0.2, 0.8)) if rng.random() < back.in_part else None
            fails_in = rng.randint(*back.takes) if rng.random() < back.fail else None
            self._world.clock.after(days, lambda: self._refund(account, charge, part, fails_in))
        elif drawn < back.refunds + back.disputes:
            ends = "won" if rng.random() < back.won else "lost"
            takes = rng.randint(*back.takes)
            self._world.clock.after(days, lambda: self._dispute(account, charge, ends, takes))

    def _refund(self, account: Account, charge: Json, amount: int | None, fails_in: int | None) -> None:
        if _untouched(charge):
            why = None if fails_in is None else "expired_or_canceled_card"
            self._money_back.refund(account, charge, amount, fails=why, takes=fails_in)

    def _dispute(self, account: Account, charge: Json, ends: str, takes: int) -> None:
        if _untouched(charge):
            self._money_back.dispute(account, charge, ends=ends, ends_in=takes)


def _untouched(charge: Json) -> bool:
    """Whether nothing of a charge has gone back meanwhile, by somebody's request."""
    return not charge["amount_refunded"] and not charge["disputed"]
