"""Moods: what worlds have more of, so that a kind of fault is met often."""

from dataclasses import dataclass, field

from tests.explorer.happenings import How

# How often each currency is drawn, beside the others.
CURRENCIES = {"usd": 12, "eur": 6, "gbp": 3, "jpy": 2, "kwd": 1, "isk": 1, "huf": 1, "ugx": 1}


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
