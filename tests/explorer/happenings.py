"""What may happen in a story beside its renewals, and what may go wrong, each with how often it is drawn."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.explorer.plot import Plot

How = dict[str, Any]
Happening = tuple[int, Callable[["Plot"], None]]
"""How often it is drawn beside the others, and what draws it."""

RENEWALS_OF_CARDS = (
    ["payment_method.automatically_updated"],
    ["payment_method.card_automatically_updated"],
    ["payment_method.updated"],
)
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


def _pays(plot: "Plot") -> None:
    debit = plot.some_debit()
    if debit is not None and plot.one_of((True, False, False)):
        plot.does("pays", debit=debit)
    else:
        plot.does("pays", card=plot.some_card())


def _brings_debit(plot: "Plot") -> None:
    debit = plot.some_debit()
    if debit is not None:
        plot.does("new_debit", debit=debit)


def _part(plot: "Plot") -> None:
    debit = plot.some_debit()
    more: How = {"debit": debit} if debit is not None and plot.one_of((True, False)) else {}
    plot.does("part_payment", share=plot.one_of((0.3, 0.5, 1)), **more)


def _barrier(plot: "Plot") -> None:
    kind = plot.one_of(("permission", "permission", "account_invalid", "wrong_mode", "expired_key", "missing"))
    place = plot.one_of((*PLACES[:4], {"method": "*", "path": "*"}, {"method": "GET", "path": "/v1/customers/*"}))
    more: How = {"code": ""} if kind == "permission" and plot.one_of((True, False)) else {}
    plot.merchant("barrier", kind=kind, **place, hours=plot.one_of((1, 30, 100)), **more)


def _missing_thing(plot: "Plot") -> None:
    """Stripe misses something that is not the invoice."""
    plot.merchant("barrier", kind="missing", method="GET", path="/v1/invoices/*", hours=plot.one_of((1, 30)))


def _refusal(plot: "Plot") -> None:
    codes = ("amount_too_small", "capability_not_active", "payment_intent_unexpected_state", "billing_invalid_mandate")
    plot.merchant("refuses_pay", code=plot.one_of(codes), hours=plot.one_of((1, 40, 600)))


def _pauses(plot: "Plot") -> None:
    behavior = plot.one_of(("keep_as_draft", "mark_uncollectible", "void"))
    plot.for_a_while("pauses", "pauses", {"behavior": behavior}, {"behavior": None})


def _ends_later(plot: "Plot") -> None:
    whens: tuple[How, ...] = ({"at_period_end": True}, {"days": 4}, {"days": 15})
    plot.does("ends_later", **plot.one_of(whens))


def _disputes(plot: "Plot") -> None:
    plot.later("disputes", ends=plot.one_of(("won", "lost", None)), ends_days=plot.one_of((1, 6)))


def _refunds(plot: "Plot") -> None:
    more: How = plot.one_of(({}, {}, {"takes_days": 3}, {"takes_days": 2, "fails": "lost_or_stolen_card"}))
    plot.later("refunds", share=plot.one_of((1, 1, 0.4)), **more)


def _left_alone(plot: "Plot") -> None:
    plot.for_a_while("operator_leaves_alone", "operator_takes_back", plot.one_of(({}, {}, {"days": 4})), {})


def _older_is_left(plot: "Plot") -> None:
    """The next renewal is paid, and the older invoice stays open: its bank goes on saying no."""
    plot.next_renewal(plot.one_of((1, 2, 4)))


def _renewed(plot: "Plot") -> None:
    plot.does("card_renewed", number=plot.one_of((True, False)), events=plot.one_of(RENEWALS_OF_CARDS))


def _replaced(plot: "Plot") -> None:
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


def _fault(plot: "Plot") -> None:
    place, kind = plot.one_of(PLACES), plot.one_of(FAULTS)
    plot.merchant("fault", **kind, **place, times=plot.one_of((1, 1, 2, 6)), skip=plot.one_of((0, 0, 1)))


def _meanwhile(plot: "Plot") -> None:
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


def _outage(plot: "Plot") -> None:
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
