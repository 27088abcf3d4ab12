"""Draws a story from a seed: who renews, and what happens to them in the weeks after that.

The same seed draws the same story as long as this file is the same. Most acts are about the first weeks after a failed
renewal, because that is when the product is at work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, TypeVar

from tests.explorer.story import DAY, HOUR, MERCHANT, Act, Story

T = TypeVar("T")
How = dict[str, Any]

FIRST_DAY = int(datetime(2026, 9, 1, tzinfo=UTC).timestamp())
DEBITS = {"usd": "us_bank_account", "eur": "sepa_debit", "gbp": "bacs_debit"}
# Where English is written to whoever has not said another language: the checks read English.
COUNTRIES = {"usd": "US", "eur": "IE", "gbp": "GB", "jpy": "US", "kwd": "AE", "isk": "GB", "huf": "GB", "ugx": "US"}
Happening = tuple[int, Callable[["Plot"], None]]
"""How often it is drawn beside the others, and what draws it."""
LABELS = "abcdefgh"

# How often each currency, decline and so on is drawn, beside the others.
CURRENCIES = {"usd": 12, "eur": 6, "gbp": 3, "jpy": 2, "kwd": 1, "isk": 1, "huf": 1, "ugx": 1}
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
RENEWALS_OF_CARDS = (
    ["payment_method.automatically_updated"],
    ["payment_method.card_automatically_updated"],
    ["payment_method.updated"],
)
EMPTY: How = {
    "card": {"decline": "insufficient_funds"},
    "debit": {"fails": "insufficient_funds", "takes_days": 1},
}
"""What a bank decides, of a card or of a debit, about an account that has no money for weeks."""
FAULTS: tuple[How, ...] = (
    {"kind": "server_error"},
    {"kind": "server_error", "after_effect": True},
    {"kind": "lock_timeout", "status": 429},
    {"kind": "lock_timeout"},
    {"kind": "rate_limited"},
    {"kind": "timeout"},
    {"kind": "timeout", "after_effect": True},
    {"kind": "drop"},
    {"kind": "drop", "after_effect": True},
    {"kind": "truncate"},
)
PLACES: tuple[How, ...] = (
    {"method": "POST", "path": "/v1/invoices/*/pay"},
    {"method": "GET", "path": "/v1/invoices/*"},
    {"method": "GET", "path": "/v1/charges"},
    {"method": "GET", "path": "/v1/account"},
    {"method": "POST", "path": "/emails"},
    {"method": "*", "path": "*"},
)


class Plot:
    """Draws one story."""

    def __init__(self, seed: int, mood: "Mood | None" = None) -> None:
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

    def _one_of_all(self, all_of_them: "dict[str, Happening]", favoured: tuple[str, ...]) -> None:
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


def _pays(plot: Plot) -> None:
    debit = plot.some_debit()
    if debit is not None and plot.one_of((True, False, False)):
        plot.does("pays", debit=debit)
    else:
        plot.does("pays", card=plot.some_card())


def _brings_debit(plot: Plot) -> None:
    debit = plot.some_debit()
    if debit is not None:
        plot.does("new_debit", debit=debit)


def _part(plot: Plot) -> None:
    debit = plot.some_debit()
    more: How = {"debit": debit} if debit is not None and plot.one_of((True, False)) else {}
    plot.does("part_payment", share=plot.one_of((0.3, 0.5, 1)), **more)


def _barrier(plot: Plot) -> None:
    kind = plot.one_of(("permission", "permission", "account_invalid", "wrong_mode", "expired_key", "missing"))
    place = plot.one_of((*PLACES[:4], {"method": "*", "path": "*"}, {"method": "GET", "path": "/v1/customers/*"}))
    more: How = {"code": ""} if kind == "permission" and plot.one_of((True, False)) else {}
    plot.merchant("barrier", kind=kind, **place, hours=plot.one_of((1, 30, 100)), **more)


def _missing_thing(plot: Plot) -> None:
    """Stripe misses something that is not the invoice."""
    plot.merchant("barrier", kind="missing", method="GET", path="/v1/invoices/*", hours=plot.one_of((1, 30)))


def _refusal(plot: Plot) -> None:
    codes = ("amount_too_small", "capability_not_active", "payment_intent_unexpected_state", "billing_invalid_mandate")
    plot.merchant("refuses_pay", code=plot.one_of(codes), hours=plot.one_of((1, 40, 600)))


def _pauses(plot: Plot) -> None:
    behavior = plot.one_of(("keep_as_draft", "mark_uncollectible", "void"))
    plot.for_a_while("pauses", "pauses", {"behavior": behavior}, {"behavior": None})


def _ends_later(plot: Plot) -> None:
    whens: tuple[How, ...] = ({"at_period_end": True}, {"days": 4}, {"days": 15})
    plot.does("ends_later", **plot.one_of(whens))


def _disputes(plot: Plot) -> None:
    plot.later("disputes", ends=plot.one_of(("won", "lost", None)), ends_days=plot.one_of((1, 6)))


def _refunds(plot: Plot) -> None:
    more: How = plot.one_of(({}, {}, {"takes_days": 3}, {"takes_days": 2, "fails": "lost_or_stolen_card"}))
    plot.later("refunds", share=plot.one_of((1, 1, 0.4)), **more)


def _left_alone(plot: Plot) -> None:
    plot.for_a_while("operator_leaves_alone", "operator_takes_back", plot.one_of(({}, {}, {"days": 4})), {})


def _older_is_left(plot: Plot) -> None:
    """The next renewal is paid, and the older invoice stays open: its bank goes on saying no."""
    plot.next_renewal(plot.one_of((1, 2, 4)))


def _renewed(plot: Plot) -> None:
    plot.does("card_renewed", number=plot.one_of((True, False)), events=plot.one_of(RENEWALS_OF_CARDS))


def _replaced(plot: Plot) -> None:
    plot.replaces(plot.one_of(RENEWALS_OF_CARDS))


_RETRIES = {"task_type": "dunning_retry"}

HAPPENINGS: dict[str, Happening] = {
    "pays": (5, _pays),
    "authenticates": (2, lambda plot: plot.does("authenticates")),
    "new_card": (4, lambda plot: plot.does("new_card", card=plot.some_card())),
    "spare_card": (1, lambda plot: plot.does("new_card", card=plot.some_card(), default=False)),
    "new_card_by_form": (4, lambda plot: plot.does("new_card_by_form", card=plot.some_card())),
    "new_debit": (3, _brings_debit),
    "card_renewed": (4, _renewed),
    "bank_decides": (3, lambda plot: plot.does("bank_decides", card=plot.some_card())),
    "pins": (1, lambda plot: plot.does("pins")),
    "credit_note": (4, lambda plot: plot.does("credit_note", share=plot.one_of((0.3, 0.7, 1)))),
    "balance": (1, lambda plot: plot.does("balance", amount=plot.one_of((-5_000, 900)))),
    "part_payment": (3, _part),
    "paid_outside": (1, lambda plot: plot.does("paid_outside")),
    "voids": (1, lambda plot: plot.does("voids")),
    "writes_off": (1, lambda plot: plot.does("writes_off")),
    "collection": (2, lambda plot: plot.for_a_while("collection", "collection", {"on": False}, {"on": True})),
    "sends_invoice": (1, lambda plot: plot.does("sends_invoice")),
    "pauses": (2, _pauses),
    "ends_later": (2, _ends_later),
    "cancels": (2, lambda plot: plot.does("cancels")),
    "deleted": (1, lambda plot: plot.does("deleted")),
    "status": (1, lambda plot: plot.does("status", status=plot.one_of(("unpaid", "active")))),
    "refunds": (4, _refunds),
    "disputes": (3, _disputes),
    "debit_ends": (2, lambda plot: plot.does("debit_ends", fails=plot.one_of((None, "insufficient_funds")))),
    "debit_returned": (1, lambda plot: plot.later("debit_returned")),
    "deauthorize": (2, lambda plot: plot.for_a_while("deauthorize", "reconnect", {}, {})),
    "restricted": (
        1,
        lambda plot: plot.for_a_while("restricted", "restricted", {"charges": False}, {"charges": True}),
    ),
    "stripe_tries": (3, lambda plot: plot.does("stripe_tries")),
    "asks_for_attempt": (1, lambda plot: plot.does("asks_for_attempt")),
    "barrier": (3, _barrier),
    "refuses_pay": (2, _refusal),
    "address": (2, lambda plot: plot.does("address", email="anew@example.com")),
    "mailbox": (2, lambda plot: plot.does("mailbox", outcome=plot.one_of(("bounces", "complains", "delivers")))),
    "unsubscribes": (1, lambda plot: plot.does("unsubscribes")),
    "operator_cancels_retry": (2, lambda plot: plot.does("operator_cancels_retry")),
    "operator_cancels_retries": (1, lambda plot: plot.merchant("operator_cancels_retries")),
    "operator_stops": (2, lambda plot: plot.does("operator_stops")),
    "operator_leaves_alone": (2, _left_alone),
    "operator_pauses": (
        1,
        lambda plot: plot.for_a_while("operator_pauses", "operator_resumes", _RETRIES, _RETRIES),
    ),
    "operator_retries_dead": (1, lambda plot: plot.merchant("operator_retries_dead")),
    "operator_silences": (2, lambda plot: plot.for_a_while("operator_silences", "operator_lifts_silence", {}, {})),
    "policy": (1, lambda plot: plot.merchant("policy", document=plot.some_policy())),
    "test_clock": (1, lambda plot: plot.on_a_clock(plot.one_of((40, -40)))),
    "as_account": (1, lambda plot: plot.does("as_account")),
    # With 0, only moods draw them: they are made of others, which come together too seldom.
    "older_is_left": (0, _older_is_left),
    "stays_empty": (0, lambda plot: plot.stays_empty()),
    "renews_again": (0, lambda plot: plot.renews_again()),
    "replaced": (0, _replaced),
    "another_default": (0, lambda plot: plot.another_default()),
    "missing_thing": (0, _missing_thing),
}


def _fault(plot: Plot) -> None:
    place, kind = plot.one_of(PLACES), plot.one_of(FAULTS)
    plot.merchant("fault", **kind, **place, times=plot.one_of((1, 1, 2, 6)), skip=plot.one_of((0, 0, 1)))


def _meanwhile(plot: Plot) -> None:
    place = plot.one_of(({"method": "POST", "path": "/v1/invoices/*/pay"}, {"method": "GET", "path": "/v1/invoices/*"}))
    acts: tuple[How, ...] = (
        {"does": "pays"},
        {"does": "new_card"},
        {"does": "new_card_by_form"},
        {"does": "cancels"},
        {"does": "voids"},
        {"does": "credit_note", "how": {"share": 0.5}},
        {"does": "stripe_tries"},
        {"does": "deauthorize"},
        {"does": "operator_silences"},
        {"does": "operator_stops"},
    )
    plot.does("meanwhile", **place, **plot.one_of(acts), before=plot.one_of((True, False)), nth=plot.one_of((1, 1, 2)))


def _outage(plot: Plot) -> None:
    """Stripe gives no invoice for so long that an evaluation's tries are used up."""
    plot.merchant("outage", days=plot.one_of((2, 3)))


TROUBLES: dict[str, Happening] = {
    "worker_dies": (5, lambda plot: plot.merchant("worker_dies", **{"await": plot.one_of(range(1, 90))})),
    "database_breaks": (2, lambda plot: plot.merchant("database_breaks", request=plot.one_of((1, 2, 3)))),
    "fault": (5, _fault),
    "meanwhile": (4, _meanwhile),
    "worker_away": (1, lambda plot: plot.merchant("worker_away", days=plot.one_of((1, 6, 22)))),
    "webhooks_lost": (2, lambda plot: plot.merchant("webhooks_lost", hours=plot.one_of((2, 30, 90)))),
    "webhooks_late": (
        2,
        lambda plot: plot.merchant("webhooks_late", hours=plot.one_of((24, 200)), by=plot.one_of((2, 50))),
    ),
    "webhooks_twice": (1, lambda plot: plot.merchant("webhooks_twice", hours=400)),
    "webhooks_twin": (1, lambda plot: plot.merchant("webhooks_twin", hours=400)),
    "webhooks_backwards": (2, lambda plot: plot.merchant("webhooks_backwards", hours=400)),
    "webhooks_old": (1, lambda plot: plot.merchant("webhooks_old", hours=400)),
    "events_again": (1, lambda plot: plot.merchant("events_again", last=12)),
    # With 0, only moods draw them: the first is made of others, and all other worlds are looked at for dead tasks.
    "sleeps_through": (0, lambda plot: plot.sleeps_through()),
    "outage": (0, _outage),
}


@dataclass(frozen=True, slots=True)
class Mood:
    """What worlds have more of: half of what happens is of these happenings and troubles; policies, shops, debits."""

    happenings: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    policy: How = field(default_factory=dict)
    shop: How = field(default_factory=dict)
    debits: float = 0.22
    currencies: dict[str, int] = field(default_factory=lambda: CURRENCIES)
    trouble: float = 0.35
    addressless: float = 0.08


MOODS: dict[str, Mood] = {
    "everything": Mood(),
    "debits": Mood(
        ("debit_ends", "new_debit", "pays", "stays_empty"), debits=0.95, currencies={"usd": 2, "eur": 1, "gbp": 1}
    ),
    "currencies": Mood(("pays", "credit_note"), currencies=dict.fromkeys(("jpy", "kwd", "isk", "huf", "ugx"), 1)),
    "methods": Mood(
        (
            "new_card",
            "new_card_by_form",
            "card_renewed",
            "replaced",
            "another_default",
            "another_default",
            "new_debit",
            "pins",
        ),
        ("meanwhile",),
    ),
    "amounts": Mood(("credit_note", "part_payment", "balance", "pays")),
    "money_back": Mood(("refunds", "disputes", "debit_returned")),
    "ends": Mood(
        ("barrier", "deauthorize", "pays", "cancels", "older_is_left"),
        ("worker_away", "sleeps_through"),
        {"end_action": "cancel"},
    ),
    "unpaid": Mood(
        ("renews_again", "stays_empty"),
        (),
        {"end_action": "cancel"},
        {"after_retries": "unpaid", "stripe_retries": []},
    ),
    "moments": Mood(
        ("stays_empty",), ("meanwhile",), {"message_days": [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 17, 21]}, trouble=0.9
    ),
    "people": Mood(
        (
            "operator_cancels_retry",
            "operator_stops",
            "operator_leaves_alone",
            "operator_silences",
            "unsubscribes",
            "collection",
            "pauses",
            "ends_later",
        )
    ),
    "errors": Mood(("refuses_pay", "barrier", "missing_thing", "restricted"), ("fault", "outage"), trouble=0.6),
    "letters": Mood(
        ("address", "mailbox", "unsubscribes", "stays_empty", "stays_empty"),
        (),
        {"end_action": "cancel"},
        addressless=0.4,
    ),
}


def draw(seed: int, mood: str = "everything") -> Story:
    """The story of this seed, in this mood."""
    return Plot(seed, MOODS[mood]).draw()
