"""Draws a story from a seed: who renews, and what happens to them in the weeks after that.

The same seed draws the same story as long as this file, `happenings` and `moods` are the same. Most acts are about the
first weeks after a failed renewal, because that is when the product is at work.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, TypeVar

from tests.explorer.happenings import HAPPENINGS, TROUBLES, Happening, How
from tests.explorer.moods import MOODS, Mood
from tests.explorer.story import DAY, HOUR, MERCHANT, Act, Story

T = TypeVar("T")

FIRST_DAY = int(datetime(2026, 9, 1, tzinfo=UTC).timestamp())
DEBITS = {"usd": "us_bank_account", "eur": "sepa_debit", "gbp": "bacs_debit"}
# Where English is written to whoever has not said another language: the checks read English.
COUNTRIES = {"usd": "US", "eur": "IE", "gbp": "GB", "jpy": "US", "kwd": "AE", "isk": "GB", "huf": "GB", "ugx": "US"}
LABELS = "abcdefgh"

# How often each decline and so on is drawn, beside the others.
DECLINES = {
    "insufficient_funds": 8,
    "do_not_honor": 6,
    "generic_decline": 3,
    "lost_card": 3,
    "expired_card": 3,
    "try_again_later": 2,
    "processing_error": 1,
    "card_velocity_exceeded": 1,
    "fraudulent": 1,
    "authentication_required": 2,
    "highest_risk_level": 1,
    "rule": 1,
    "blocked": 1,
    "transaction_not_allowed": 1,
    "incorrect_number": 1,
    "card_decline_rate_limit_exceeded": 1,
    "payment_intent_authentication_failure": 1,
}
DEBIT_FAILURES = {
    "insufficient_funds": 6,
    "account_closed": 1,
    "no_account": 1,
    "debit_not_authorized": 1,
    "account_frozen": 1,
    "could_not_process": 1,
    "bank_account_unusable": 1,
    "refer_to_customer": 1,
}
EMPTY: How = {
    "card": {"decline": "insufficient_funds"},
    "debit": {"fails": "insufficient_funds", "takes_days": 1},
}
"""What a bank decides, of a card or of a debit, about an account that has no money for weeks."""


class Plot:
    """Draws one story."""

    def __init__(self, seed: int, mood: Mood | None = None) -> None:
        self._mood = Mood() if mood is None else mood
        self._rng = Random(f"explorer:{seed}")  # noqa: S311 - a story, not a secret
        self._seed = seed
        self._acts: list[Act] = []
        self._labels: list[str] = []
        self.currency = self._of(self._mood.currencies)

    def draw(self) -> Story:
        """The story."""
        rng = self._rng
        policy = self.some_policy()
        shop = self._shop()
        self._first()
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
            self._someone_more()
        for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 5, 7))):
            self._something()
        if rng.random() < self._mood.trouble:
            self._trouble()
        acts = tuple(sorted(self._acts, key=lambda act: act.at))
        last = max(act.at for act in acts) // DAY
        days = last + int(policy.get("window_days", 21)) + 12
        start = FIRST_DAY + rng.randrange(45) * DAY + rng.randrange(24) * HOUR + rng.randrange(3600)
        return Story(self._seed, start, days, shop, policy, acts)

    # -- the frame -------------------------------------------------------------------------------

    def some_policy(self) -> How:
        """A policy document: what differs from the default."""
        rng = self._rng
        made: How = {}
        if rng.random() < 0.5:
            made["window_days"] = rng.choice((5, 10, 14))
            made["message_days"] = rng.choice(([], [0], [0, 2], [0, 3]))
        if rng.random() < 0.4:
            made["end_action"] = rng.choice(("cancel", "cancel", "pause", "mark_uncollectible"))
        if rng.random() < 0.25:
            made["driver"] = rng.choice(("citadel", "stripe"))
        if rng.random() < 0.15:
            made["backup_methods"] = True
        if rng.random() < 0.1:
            made["max_attempts"] = rng.choice((1, 2, 3))
        return {**made, **self._mood.policy} if rng.random() < 0.7 else made

    def _shop(self) -> How:
        rng = self._rng
        made: How = {"currency": self.currency}
        if self.currency in COUNTRIES:
            made["country"] = COUNTRIES[self.currency]
        if rng.random() < 0.4:
            made["stripe_retries"] = rng.choice(([3, 5, 7], [1, 2], [4]))
            made["after_retries"] = rng.choice(("past_due", "past_due", "unpaid", "cancel"))
        if rng.random() < 0.1:
            made["portal"] = False
        return {**made, **self._mood.shop}

    # -- renewals --------------------------------------------------------------------------------

    def _first(self) -> None:
        self._renewal(0)

    def _renewal(self, at: int) -> None:
        rng = self._rng
        how: How = {"amount": self._amount()}
        kind = rng.random()
        if kind < self._mood.debits and self.currency in DEBITS:
            how["debit"] = self._debit()
        elif kind < self._mood.debits + 0.05:
            how["source"] = self._bad_card()
            how["prefix"] = rng.choice(("card", "src"))
        elif kind < self._mood.debits + 0.08:
            pass  # nothing to charge
        else:
            how["card"] = self._bad_card()
        if "card" in how or "debit" in how:
            if rng.random() < 0.3:
                how["own_method"] = True
            if rng.random() < 0.06:
                how["paid_before"] = max(1, how["amount"] // 3)
        if rng.random() < 0.06:
            how["balance"] = rng.choice((-1, 1)) * how["amount"] // 2
        if rng.random() < 0.4:
            how["reaction"] = {
                "kind": rng.choice(("pay", "pay", "authenticate", "new_card", "ignore")),
                "delay": rng.choice((600, 7_200, 2 * DAY)),
                "on_email": rng.choice((1, 1, 2, 3)),
            }
        if rng.random() < self._mood.addressless:
            how["person"] = {"email": None}
            if rng.random() < 0.6:
                self._add(
                    at + rng.choice((1, 2, 5)) * DAY, "address", LABELS[len(self._labels)], email="one@example.com"
                )
        self._add(at, "renewal", self._label(), **how)

    def _someone_more(self) -> None:
        rng = self._rng
        at = rng.choice((60, HOUR, 2 * DAY, 9 * DAY, 20 * DAY))
        match rng.choice(("renewal", "another_subscription", "another_invoice")):
            case "renewal":
                self._renewal(at)
            case "another_subscription":
                whose = self._labels[0]
                self._add(at, "another_subscription", whose, amount=self._amount(), **{"as": self._label()})
            case _:
                reason = rng.choice(("subscription_cycle", "subscription_threshold", "manual"))
                whose = self._labels[0]
                self._add(at, "another_invoice", whose, reason=reason, amount=self._amount(), **{"as": self._label()})

    # -- what happens then -----------------------------------------------------------------------

    def _something(self) -> None:
        self._one_of_all(HAPPENINGS, self._mood.happenings)

    def _trouble(self) -> None:
        for _ in range(self._rng.choice((1, 1, 2, 3))):
            self._one_of_all(TROUBLES, self._mood.troubles)

    def _one_of_all(self, all_of_them: dict[str, Happening], favoured: tuple[str, ...]) -> None:
        if favoured and self._rng.random() < 0.5:
            name = self._rng.choice(favoured)
        else:
            name = self._of({each: weight for each, (weight, _) in all_of_them.items()})
        all_of_them[name][1](self)

    def does(self, what: str, **how: Any) -> None:
        """Some act about somebody, at some time of the first weeks."""
        self._add(self._when(), what, self._somebody(), **how)

    def later(self, what: str, **how: Any) -> None:
        """Some act about somebody that needs that money has moved."""
        self._add(self._when() + self._rng.choice((2, 5, 9, 16)) * DAY, what, self._somebody(), **how)

    def merchant(self, what: str, **how: Any) -> None:
        """Some act of the merchant's or the operator's."""
        self._add(self._when(), what, MERCHANT, **how)

    def for_a_while(self, first: str, then: str, how: How, back: How) -> None:
        """Something that is taken back some days later."""
        at, who = self._when(), self._somebody()
        who = MERCHANT if first in {"deauthorize", "restricted", "operator_pauses"} else who
        self._add(at, first, who, **how)
        if self._rng.random() < 0.7:
            self._add(at + self._rng.choice((1, 3, 8)) * DAY, then, who, **back)

    # -- draws -----------------------------------------------------------------------------------

    def _add(self, at: int, what: str, who: str, **how: Any) -> None:
        self._acts.append(Act(at, what, who, how))

    def next_renewal(self, days: int) -> None:
        """The first subscription renews again, and that payment alone goes through."""
        if len(self._labels) == len(LABELS):
            return
        whose, newer = self._labels[0], self._label()
        self._add(HOUR, "bank_decides", whose, **EMPTY)
        for what, how in (
            ("bank_decides", {}),
            ("another_invoice", {"reason": "subscription_cycle", "as": newer}),
            ("bank_decides", EMPTY),
        ):
            self._add(days * DAY, what, whose, **how)

    def renews_again(self) -> None:
        """A subscription renews again; Stripe leaves the invoice a draft where the shop's unpaid ones wait so."""
        if len(self._labels) < len(LABELS):
            how = {"reason": "subscription_cycle", "as": self._label()}
            self._add(self._when(), "another_invoice", self._somebody(), **how)

    def stays_empty(self) -> None:
        """The account behind a renewal's card or debit has no money for weeks."""
        self._add(HOUR, "bank_decides", self._somebody(), **EMPTY)

    def replaces(self, events: list[str]) -> None:
        """A card is reported lost, and some days later its bank replaces it under its own id."""
        whose = self._somebody()
        self._add(HOUR, "bank_decides", whose, card={"decline": "lost_card"})
        self._add(5 * DAY, "card_renewed", whose, number=True, events=events)

    def another_default(self) -> None:
        """A subscription's own card is lost, and the customer gives a good one in the merchant's form."""
        whose = self._somebody()
        self._add(60, "pins", whose)
        self._add(HOUR, "bank_decides", whose, card={"decline": "lost_card"}, debit={"fails": "account_closed"})
        self._add(self._rng.choice((1, 2, 3)) * DAY, "new_card_by_form", whose, card={})

    def on_a_clock(self, days: int) -> None:
        """The first customer lives on a test clock, as Stripe has it: from the beginning."""
        self._add(0, "test_clock", self._labels[0], days=days)

    def sleeps_through(self) -> None:
        """No worker runs for as long as a window may be, and the bank says no before and after that."""
        self._add(HOUR, "bank_decides", self._labels[0], **EMPTY)
        self._add(self._rng.choice((2, 20, 40)) * HOUR, "worker_away", MERCHANT, days=self._rng.choice((8, 22)))

    def _label(self) -> str:
        label = LABELS[len(self._labels)]
        self._labels.append(label)
        return label

    def _somebody(self) -> str:
        return self._rng.choice(self._labels[:2] if self._rng.random() < 0.7 else self._labels)

    def _when(self) -> int:
        rng = self._rng
        day = rng.choice((0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17))
        return day * DAY + rng.randrange(1, 24) * HOUR + rng.randrange(3_600)

    def _of(self, weights: dict[T, int]) -> T:
        return self._rng.choices(list(weights), list(weights.values()))[0]

    def one_of(self, choices: Sequence[T]) -> T:
        """One of them."""
        return self._rng.choice(choices)

    def _amount(self) -> int:
        amount: int = self._rng.choice((40, 900, 2_000, 4_200, 150_050)) if self.currency != "huf" else 1_999_000
        return amount * 10 if self.currency == "kwd" else amount * 100 if self.currency in {"isk", "ugx"} else amount

    def _bad_card(self) -> How:
        rng = self._rng
        card: How = {"decline": self._of(DECLINES)}
        clears = rng.random()
        if clears < 0.35:
            card["clears_after"] = rng.choice((1, 1, 2, 3))
        elif clears < 0.5:
            card["clears_in"] = rng.choice((HOUR, 3 * DAY, 8 * DAY))
        if rng.random() < 0.12:
            card["without_charge"] = True
        if rng.random() < 0.1:
            card = {"needs_3ds": True}
        card["brand"] = rng.choice(("visa", "visa", "mastercard", "amex"))
        if rng.random() < 0.1:
            card["country"] = rng.choice(("IN", "BR", "JP"))
        return card

    def _debit(self) -> How:
        rng = self._rng
        made: How = {"type": DEBITS[self.currency]}
        if rng.random() < 0.75:
            made["fails"] = self._of(DEBIT_FAILURES)
            if rng.random() < 0.7:
                made["clears_after"] = rng.choice((1, 1, 2))
        if rng.random() < 0.15:
            made["returns"] = "insufficient_funds"
        if rng.random() < 0.5:
            made["takes_days"] = rng.choice((1, 4, 9))
        return made

    def some_card(self) -> How:
        """A card that somebody brings: mostly a good one."""
        return {} if self._rng.random() < 0.8 else self._bad_card()

    def some_debit(self) -> How | None:
        """A bank account that somebody brings; None where the currency has none."""
        return self._debit() if self.currency in DEBITS else None


def draw(seed: int, mood: str = "everything") -> Story:
    """The story of this seed, in this mood."""
    return Plot(seed, MOODS[mood]).draw()
