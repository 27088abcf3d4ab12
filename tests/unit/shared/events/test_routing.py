"""What each event means: Stripe's examples one by one, every shape of the last ten years, and any JSON at all."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events.intents import (
    AddressChanged,
    CardChanged,
    Ignored,
    Intent,
    InvoiceChanged,
    InvoicePaid,
    MerchantGone,
    OpenRecovery,
    PaymentNews,
    RenewalAhead,
    StopCustomer,
    StopInvoice,
    StopSubscription,
    SubscriptionChanged,
)
from shared.events.routing import LEFT_ALONE, ROUTES, route, route_open_invoice
from shared.ids import ChargeId, CustomerId, InvoiceId, PaymentIntentId, PaymentMethodId, SubscriptionId
from shared.money import Money
from shared.recovery_model import BillingReason, EndReason
from tests.unit.shared.events.examples import (
    NAMES,
    event_of,
    example,
    intent,
    invoice,
    invoice_of_2014,
    invoice_of_2019,
)

INVOICE = InvoiceId("in_1Pgc6tB7WZ01zgkWu9fdqL6I")
SUBSCRIPTION = SubscriptionId("sub_1Pgc6rB7WZ01zgkWNy0Cn5nw")
DUE = Money(2000, "usd")
OPENED = OpenRecovery(INVOICE, SubscriptionId("sub_1Pgc6q2eZvKYlo2C"), CustomerId("cus_QXg1o8vcGmoR32"), DUE)
# The ids of `examples.invoice`, and of what belongs to it.
IN_1, SUB_1, CUS_1 = InvoiceId("in_1"), SubscriptionId("sub_1"), CustomerId("cus_1")
CH_1, PI_1, PM_1 = ChargeId("ch_1"), PaymentIntentId("pi_1"), PaymentMethodId("pm_1")
TOLD_BY_INVOICE = Ignored("told_by_its_invoice")

EXPECTED: Mapping[str, Intent] = {
    "account.application.deauthorized": MerchantGone(),
    "charge.failed.authentication_required": TOLD_BY_INVOICE,
    "charge.failed.do_not_honor": TOLD_BY_INVOICE,
    "charge.failed.expired_card": TOLD_BY_INVOICE,
    "charge.failed.generic_decline": TOLD_BY_INVOICE,
    "charge.failed.highest_risk_level": TOLD_BY_INVOICE,
    "charge.failed.insufficient_funds": TOLD_BY_INVOICE,
    "charge.failed.lost_card": TOLD_BY_INVOICE,
    "charge.failed.processing_error": TOLD_BY_INVOICE,
    "charge.failed.stolen_card": TOLD_BY_INVOICE,
    "checkout.session.completed.subscription": Ignored("not_a_failure"),
    "customer.subscription.deleted.cancellation_requested": StopSubscription(
        SUBSCRIPTION, EndReason.SUBSCRIPTION_CANCELED
    ),
    "customer.subscription.deleted.payment_failed": StopSubscription(SUBSCRIPTION, EndReason.SUBSCRIPTION_CANCELED),
    "customer.subscription.updated.cancel_at_period_end": SubscriptionChanged(
        SUBSCRIPTION, ("cancel_at", "cancel_at_period_end")
    ),
    "customer.subscription.updated.past_due": Ignored("no_card_changed"),
    "customer.subscription.updated.recovered": Ignored("no_card_changed"),
    "customer.subscription.updated.unpaid": Ignored("no_card_changed"),
    "invoice.marked_uncollectible": StopInvoice(INVOICE, EndReason.MARKED_UNCOLLECTIBLE),
    "invoice.overdue": Ignored("collected_by_hand"),
    "invoice.paid": InvoicePaid(INVOICE, DUE, out_of_band=False, attempt_count=1),
    "invoice.paid.out_of_band": InvoicePaid(INVOICE, Money(0, "usd"), out_of_band=True, attempt_count=0),
    "invoice.payment_action_required": OPENED,
    "invoice.payment_failed.final_attempt": OPENED,
    "invoice.payment_failed.manual": Ignored("billing_reason:manual"),
    "invoice.payment_failed.send_invoice": Ignored("collected_by_hand"),
    "invoice.payment_failed.subscription_create": Ignored("billing_reason:subscription_create"),
    "invoice.payment_failed.subscription_cycle": OPENED,
    "invoice.payment_failed.subscription_threshold": replace(OPENED, billing_reason=BillingReason.THRESHOLD),
    "invoice.payment_failed.subscription_update": Ignored("billing_reason:subscription_update"),
    "invoice.payment_succeeded": InvoicePaid(INVOICE, DUE, out_of_band=False, attempt_count=1),
    "invoice.voided": StopInvoice(INVOICE, EndReason.VOIDED),
    "payment_intent.payment_failed": TOLD_BY_INVOICE,
}


def test_every_stored_example_has_an_expected_intent() -> None:
    assert sorted(EXPECTED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_stripes_example_is_routed_by_the_table(name: str) -> None:
    assert route(example(name)).intent == EXPECTED[name]


def test_no_type_is_in_both_tables() -> None:
    assert ROUTES.keys().isdisjoint(LEFT_ALONE)


def test_what_is_kept_of_an_event_are_ids_codes_and_times() -> None:
    routed = route(example("invoice.payment_failed.subscription_cycle"))
    assert routed.object_id == INVOICE
    assert routed.api_version == "2026-05-27.dahlia"
    assert routed.created == datetime(2026, 9, 21, 14, 14, 20, tzinfo=UTC)
    assert routed.livemode is False


# -- shapes -----------------------------------------------------------------------------------------------------------

Shape = Callable[..., dict[str, Any]]
SHAPES: list[Shape] = [invoice, invoice_of_2019, invoice_of_2014]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["invoice.payment_failed", "invoice.payment_action_required"])
def test_a_failed_renewal_opens_a_recovery_in_every_shape(shape: Shape, kind: str) -> None:
    assert intent(kind, shape()) == OpenRecovery(IN_1, SUB_1, CUS_1, DUE)


@pytest.mark.parametrize("shape", SHAPES)
def test_expanded_objects_are_read_by_their_ids(shape: Shape) -> None:
    expanded = shape(customer={"id": "cus_1", "email": "jane@example.com"})
    if "subscription" in expanded:
        expanded["subscription"] = {"id": "sub_1"}
    assert intent("invoice.payment_failed", expanded) == OpenRecovery(IN_1, SUB_1, CUS_1, DUE)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["invoice.voided", "invoice.marked_uncollectible"])
def test_an_invoice_that_is_given_up_stops_in_every_shape(shape: Shape, kind: str) -> None:
    assert intent(kind, shape()) == StopInvoice(IN_1, EndReason(kind.removeprefix("invoice.")))


def test_the_remaining_amount_is_recovered_and_not_what_was_due_at_first() -> None:
    opened = intent("invoice.payment_failed", invoice(amount_remaining=500))
    assert isinstance(opened, OpenRecovery)
    assert opened.amount == Money(500, "usd")


@pytest.mark.parametrize(
    ("paid", "out_of_band"),
    [
        # Before basil the invoice says it itself.
        (invoice_of_2019(amount_paid=2000, paid=True, paid_out_of_band=False), False),
        (invoice_of_2019(amount_paid=2000, paid=True, paid_out_of_band=True), True),
        # Since basil only an expanded field does, which Stripe's own events do not carry.
        (invoice(amount_paid=2000, amount_paid_off_stripe=0), False),
        (invoice(amount_paid=2000, amount_paid_off_stripe=2000), True),
        (invoice(amount_paid=2000, amount_paid_off_stripe=1), None),
        (invoice(amount_paid=2000), None),
        # Nothing was paid at Stripe: a credit, or money that went another way.
        (invoice(amount_paid=0), True),
        (invoice(amount_paid=0, amount_due=0), False),
        (invoice_of_2014(paid=True), None),
    ],
)
def test_whether_stripe_moved_the_money_is_only_said_when_the_event_tells(
    paid: dict[str, Any], out_of_band: bool | None
) -> None:
    routed = intent("invoice.paid", paid)
    assert isinstance(routed, InvoicePaid)
    assert routed.out_of_band is out_of_band


def test_a_succeeded_payment_was_made_at_stripe_unless_the_invoice_speaks_against_it() -> None:
    assert intent("invoice.payment_succeeded", invoice(amount_paid=2000)) == InvoicePaid(IN_1, DUE, False)
    assert intent("invoice.payment_succeeded", invoice_of_2014(paid=True)) == InvoicePaid(IN_1, None, None)
    outside = invoice(amount_paid=2000, amount_paid_off_stripe=2000)
    assert intent("invoice.payment_succeeded", outside) == InvoicePaid(IN_1, DUE, True)


def test_what_was_paid_is_never_taken_from_another_field_than_its_own() -> None:
    for broken in ({"currency": None}, {"currency": "$$$"}, {"amount_paid": "2000"}, {"amount_paid": None}):
        assert intent("invoice.payment_succeeded", invoice(**broken)) == InvoicePaid(IN_1, None, None)


def test_what_was_paid_before_the_failure_is_known_from_the_beginning() -> None:
    opened = intent("invoice.payment_failed", invoice(amount_due=5000, amount_paid=3000, amount_remaining=2000))
    assert opened == OpenRecovery(IN_1, SUB_1, CUS_1, DUE, paid_before=3000)


# -- an invoice that is to be collected otherwise ----------------------------------------------------------------------

AT = 1_790_000_000


@pytest.mark.parametrize(
    ("previous", "changed"),
    [
        ({"next_payment_attempt": None}, ("next_payment_attempt",)),
        ({"next_payment_attempt": AT - 60, "attempt_count": 1}, ("next_payment_attempt",)),
        ({"amount_due": 3000, "amount_remaining": 3000}, ("amount_due", "amount_remaining")),
        ({"collection_method": "send_invoice"}, ("collection_method",)),
        ({"billing": "send_invoice"}, ("billing",)),
        ({"default_payment_method": None}, ("default_payment_method",)),
        ({"default_source": "card_1"}, ("default_source",)),
    ],
)
def test_an_open_invoice_that_is_to_be_collected_otherwise_says_how(
    previous: dict[str, Any], changed: tuple[str, ...]
) -> None:
    updated = intent("invoice.updated", invoice(next_payment_attempt=AT), previous)
    assert updated == InvoiceChanged(IN_1, datetime.fromtimestamp(AT, UTC), changed)


@pytest.mark.parametrize("shape", SHAPES)
def test_stripes_next_attempt_is_read_in_every_shape(shape: Shape) -> None:
    updated = intent("invoice.updated", shape(next_payment_attempt=AT), {"next_payment_attempt": None})
    assert updated == InvoiceChanged(IN_1, datetime.fromtimestamp(AT, UTC), ("next_payment_attempt",))


@pytest.mark.parametrize("strange", ["soon", -1, True, 10**18, None, {"at": AT}])
def test_a_next_attempt_that_is_no_time_is_none(strange: object) -> None:
    updated = intent("invoice.updated", invoice(next_payment_attempt=strange), {"next_payment_attempt": AT})
    assert updated == InvoiceChanged(IN_1, None, ("next_payment_attempt",))


@pytest.mark.parametrize(
    "previous",
    [
        {},
        {"attempt_count": 1, "attempted": False},  # our own attempt, declined
        {"metadata": {"note": "call Jane"}},
        {"hosted_invoice_url": None, "webhooks_delivered_at": None},
    ],
)
def test_an_update_that_changes_nothing_about_the_collection_is_left_alone(previous: dict[str, Any]) -> None:
    assert intent("invoice.updated", invoice(next_payment_attempt=AT), previous) == Ignored("collected_as_before")


@pytest.mark.parametrize("closed", [{"status": "paid"}, {"status": "void"}, {"status": "draft"}, {"paid": True}])
def test_an_update_of_an_invoice_that_is_not_open_is_told_by_another_event(closed: dict[str, Any]) -> None:
    updated = intent("invoice.updated", invoice(**closed), {"amount_remaining": 2000, "next_payment_attempt": AT})
    assert updated == Ignored("told_by_its_own_event")


# -- an open invoice, without any event --------------------------------------------------------------------------------


def _paid_by(status: str) -> dict[str, Any]:
    return {"data": [{"payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1", "status": status}}}]}


def test_an_open_invoice_that_was_attempted_is_a_failed_renewal() -> None:
    assert route_open_invoice(invoice(attempted=True)) == OpenRecovery(IN_1, SUB_1, CUS_1, DUE)
    for failed in ("requires_payment_method", "requires_action", "canceled"):
        found = route_open_invoice(invoice(attempted=True, payments=_paid_by(failed)))
        assert found == OpenRecovery(IN_1, SUB_1, CUS_1, DUE)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"attempted": False}, "not_attempted"),
        ({"attempted": None}, "not_attempted"),
        ({"attempted": True, "status": "paid"}, "not_open"),
        ({"attempted": True, "status": None}, "not_open"),
        ({"attempted": True, "billing_reason": "manual"}, "billing_reason:manual"),
        ({"attempted": True, "collection_method": "send_invoice"}, "collected_by_hand"),
        ({"attempted": True, "amount_remaining": 0}, "nothing_due"),
        ({"attempted": True, "payments": _paid_by("processing")}, "payment_under_way"),
        ({"attempted": True, "payments": _paid_by("succeeded")}, "payment_under_way"),
        ({"attempted": True, "payments": _paid_by("requires_capture")}, "payment_under_way"),
    ],
)
def test_any_other_open_invoice_is_left_alone(fields: dict[str, Any], why: str) -> None:
    assert route_open_invoice(invoice(**fields)) == Ignored(why)


# -- failed invoices that are left alone ------------------------------------------------------------------------------


# Every billing reason of Stripe's OpenAPI document that is somebody's action.
OTHER_REASONS = [
    "manual",
    "quote_accept",
    "subscription",
    "subscription_create",
    "subscription_update",
    "upcoming",
]


@pytest.mark.parametrize("reason", OTHER_REASONS)
def test_an_invoice_by_somebodys_action_opens_no_recovery(reason: str) -> None:
    assert intent("invoice.payment_failed", invoice(billing_reason=reason)) == Ignored(f"billing_reason:{reason}")


@pytest.mark.parametrize("reason", BillingReason)
def test_an_invoice_that_stripe_makes_by_itself_opens_a_recovery(reason: BillingReason) -> None:
    found = intent("invoice.payment_failed", invoice(billing_reason=reason.value))
    assert isinstance(found, OpenRecovery)
    assert found.billing_reason is reason


def test_a_missing_or_strange_billing_reason_opens_nothing() -> None:
    for reason in (None, 1, ["subscription_cycle"], "Jane Roe, 1 Main Street"):
        assert intent("invoice.payment_failed", invoice(billing_reason=reason)) == Ignored("billing_reason:unknown")


def test_an_invoice_that_is_sent_to_the_customer_is_left_alone_under_both_names_of_the_field() -> None:
    assert intent("invoice.payment_failed", invoice(collection_method="send_invoice")) == Ignored("collected_by_hand")
    assert intent("invoice.payment_failed", invoice_of_2019(billing="send_invoice")) == Ignored("collected_by_hand")


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"amount_remaining": 0}, "nothing_due"),
        ({"amount_remaining": True, "amount_due": None}, "unreadable"),
        ({"amount_remaining": -5, "amount_due": None}, "unreadable"),
        ({"amount_remaining": 2**64 - 1, "amount_due": None}, "unreadable"),
        ({"amount_remaining": 20.0, "amount_due": None}, "unreadable"),
        ({"currency": "USD"}, "unreadable"),
        ({"currency": "us\u0000"}, "unreadable"),
        ({"id": None}, "unreadable"),
        ({"id": "in_\u0000"}, "unreadable"),
        ({"id": "in 1"}, "unreadable"),
        ({"id": "i" * 256}, "unreadable"),
    ],
)
def test_an_invoice_that_cannot_be_read_opens_nothing(broken: dict[str, Any], why: str) -> None:
    assert intent("invoice.payment_failed", invoice(**broken)) == Ignored(why)


def test_a_customer_id_that_is_no_id_is_dropped() -> None:
    opened = intent("invoice.payment_failed", invoice(customer="jane.roe@example.com"))
    assert opened == OpenRecovery(IN_1, SUB_1, None, DUE)


def test_a_part_that_was_paid_is_no_payment_under_way() -> None:
    paid = _paid_by("succeeded")
    paid["data"][0]["status"] = "paid"
    assert route_open_invoice(invoice(attempted=True, payments=paid)) == OpenRecovery(IN_1, SUB_1, CUS_1, DUE)


# -- cards, customers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "resource", "previous", "expected"),
    [
        ("payment_method.attached", {"id": "pm_1", "customer": "cus_1"}, None, CardChanged(CUS_1, None, added=PM_1)),
        ("payment_method.automatically_updated", {"id": "pm_1", "customer": "cus_1"}, {}, CardChanged(CUS_1, None)),
        ("payment_method.automatically_updated", {"id": "pm_1", "customer": None}, {}, Ignored("unreadable")),
        (
            "customer.source.created",
            {"id": "card_1", "customer": "cus_1"},
            None,
            CardChanged(CUS_1, None, added=PaymentMethodId("card_1")),
        ),
        (
            "customer.updated",
            {"id": "cus_1", "invoice_settings": {"default_payment_method": "pm_1"}},
            {"invoice_settings": {"default_payment_method": "pm_0"}},
            CardChanged(CUS_1, None, made_default=PM_1),
        ),
        (
            "customer.updated",
            {"id": "cus_1", "default_source": {"id": "card_1"}, "invoice_settings": {"default_payment_method": "pm_0"}},
            {"default_source": "card_0"},
            CardChanged(CUS_1, None, made_default=PaymentMethodId("card_1")),
        ),
        (
            "customer.updated",
            {"id": "cus_1"},
            {"invoice_settings": {"default_payment_method": None}},
            CardChanged(CUS_1, None),
        ),
        ("customer.updated", {"id": "cus_1"}, {"default_source": "card_0"}, CardChanged(CUS_1, None)),
        ("customer.updated", {"id": "cus_1"}, {"default_card": "card_0"}, CardChanged(CUS_1, None)),
        ("customer.updated", {"id": "cus_1"}, {"invoice_settings": {"footer": None}}, Ignored("no_card_changed")),
        ("customer.updated", {"id": "cus_1"}, {"email": "old@example.com"}, AddressChanged(CUS_1)),
        ("customer.updated", {"id": "cus_1", "email": "a@b.example"}, {"email": None}, AddressChanged(CUS_1)),
        ("customer.updated", {"id": "cus_1", "email": None}, {"email": "a@b.example"}, Ignored("no_card_changed")),
        ("customer.updated", {"id": None}, {"email": None}, Ignored("unreadable")),
        (
            "customer.updated",
            {"id": "cus_1"},
            {"email": "old@example.com", "default_source": "card_0"},
            AddressChanged(CUS_1, CardChanged(CUS_1, None)),
        ),
        ("customer.updated", {"id": "cus_1"}, None, Ignored("no_card_changed")),
        (
            "customer.subscription.updated",
            {"id": "sub_1", "customer": "cus_1"},
            {"default_payment_method": None},
            CardChanged(CUS_1, SUB_1),
        ),
        (
            "customer.subscription.updated",
            {"id": "sub_1", "customer": "cus_1"},
            {"default_source": None},
            CardChanged(CUS_1, SUB_1),
        ),
        ("customer.deleted", {"id": "cus_1"}, None, StopCustomer(CUS_1, EndReason.CUSTOMER_DELETED)),
    ],
)
def test_a_customers_event_is_read_by_what_changed(
    kind: str, resource: dict[str, Any], previous: dict[str, Any] | None, expected: Intent
) -> None:
    assert intent(kind, resource, previous) == expected


UPDATES = [
    "payment_method.updated",
    "payment_method.automatically_updated",
    "payment_method.card_automatically_updated",
    "customer.source.updated",
    "customer.card.updated",
]
OF_CARDS = [{"exp_month": 3}, {"exp_year": 2027}, {"fingerprint": "fp_0"}, {"last4": "4242", "brand": "visa"}]


@pytest.mark.parametrize("kind", UPDATES)
@pytest.mark.parametrize("changed", OF_CARDS)
def test_a_card_that_changed_under_its_id_is_another_card(kind: str, changed: dict[str, Any]) -> None:
    method = {"id": "pm_1", "type": "card", "customer": "cus_1"}
    assert intent(kind, method, {"card": changed}) == CardChanged(CUS_1, None)
    card = {"id": "card_1", "object": "card", "customer": "cus_1"}
    assert intent(kind, card, changed) == CardChanged(CUS_1, None)


@pytest.mark.parametrize("kind", UPDATES)
@pytest.mark.parametrize(
    "changed",
    [
        {"billing_details": {"address": {"city": "Oslo"}}},
        {"metadata": {"a": None}},
        {"card": {"checks": {"cvc_check": "pass"}}},
        {"address_zip": "0150", "name": None},
        {"allow_redisplay": "limited"},
    ],
)
def test_an_address_or_a_name_makes_no_other_card(kind: str, changed: dict[str, Any]) -> None:
    method = {"id": "pm_1", "type": "card", "customer": "cus_1"}
    assert intent(kind, method, changed) == Ignored("no_card_changed")


@pytest.mark.parametrize("kind", UPDATES)
@pytest.mark.parametrize("previous", [None, {}])
def test_an_update_that_does_not_say_what_changed_may_be_another_card(
    kind: str, previous: dict[str, Any] | None
) -> None:
    assert intent(kind, {"id": "pm_1", "type": "card", "customer": "cus_1"}, previous) == CardChanged(CUS_1, None)


def test_another_bank_account_under_the_same_id_is_another_method() -> None:
    method = {"id": "pm_1", "type": "us_bank_account", "customer": "cus_1"}
    assert intent("payment_method.updated", method, {"us_bank_account": {"last4": "6789"}}) == CardChanged(CUS_1, None)
    assert intent("payment_method.updated", method, {"us_bank_account": {"networks": {}}}) == Ignored("no_card_changed")


@pytest.mark.parametrize(
    ("preview", "expected"),
    [
        (invoice(id=None, billing_reason="upcoming"), RenewalAhead(CUS_1, SUB_1)),
        (invoice_of_2019(id=None, billing_reason="upcoming"), RenewalAhead(CUS_1, SUB_1)),
        (invoice(collection_method="send_invoice"), Ignored("collected_by_hand")),
        (invoice(parent=None), Ignored("no_subscription")),
        (invoice(customer=None), Ignored("no_subscription")),
    ],
)
def test_a_renewal_that_is_ahead_names_its_subscription(preview: dict[str, Any], expected: Intent) -> None:
    assert intent("invoice.upcoming", preview) == expected


def test_an_unknown_type_is_left_alone() -> None:
    assert intent("radar.early_fraud_warning.created", {"id": "issfr_1"}) == Ignored("unknown_type")


# -- anything at all --------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "id",
        "object",
        "customer",
        "subscription",
        "parent",
        "subscription_details",
        "billing_reason",
        "currency",
        "collection_method",
        "billing",
        "amount_due",
        "amount_paid",
        "amount_remaining",
        "amount_paid_off_stripe",
        "paid",
        "paid_out_of_band",
        "charge",
        "payment_intent",
        "invoice",
        "invoice_settings",
        "default_source",
        "default_payment_method",
    ]
)
VALUES = JSON | st.sampled_from(["subscription_cycle", "charge_automatically", "usd", "in_1", "cus_1", {"id": "in_1"}])
RESOURCES = st.dictionaries(FIELDS, VALUES) | JSON
KINDS = st.sampled_from([*ROUTES, *LEFT_ALONE]) | JSON
DATA = st.fixed_dictionaries({}, optional={"object": RESOURCES, "previous_attributes": RESOURCES}) | JSON
EVENTS = st.fixed_dictionaries(
    {}, optional={"type": KINDS, "data": DATA, "created": JSON, "api_version": JSON, "livemode": JSON}
)


# How long drawing takes depends on what else the machine does, and says nothing about the routing.
@given(EVENTS)
def test_any_json_object_is_routed_and_always_to_the_same_intent(event: dict[str, Any]) -> None:
    first = route(event)
    assert isinstance(first.intent, get_args(Intent))
    assert route(event) == first


def texts(value: object) -> set[str]:
    match value:
        case str():
            return {value}
        case dict():
            return set().union(*(texts(item) for item in value.values()))
        case list():
            return set().union(*(texts(item) for item in value))
        case _:
            return set()


@given(st.sampled_from(NAMES), st.sampled_from(["Jane Roe", "jane@example.com", "1 Main St.", "a\u0000b", "né"]))
def test_no_text_that_is_not_an_id_gets_through(name: str, canary: str) -> None:
    event = example(name)
    resource = event["data"]["object"]
    event["data"]["object"] = {key: canary if isinstance(item, str) else item for key, item in resource.items()}
    event["api_version"] = canary
    assert canary not in repr(route(event))


@given(invoice=st.dictionaries(st.text(), JSON) | st.builds(invoice, attempted=st.just(True), payments=JSON))
def test_any_json_object_is_an_open_invoice_or_is_not(invoice: dict[str, Any]) -> None:
    assert isinstance(route_open_invoice(invoice), OpenRecovery | Ignored)


# -- payments that take days ------------------------------------------------------------------------------------------


def test_a_payment_that_takes_days_is_news_when_it_begins() -> None:
    begun = {"id": "pi_1", "object": "payment_intent", "customer": "cus_1", "latest_charge": "ch_1"}
    assert intent("payment_intent.processing", begun) == PaymentNews(CH_1, PI_1, CUS_1)
    assert intent("payment_intent.processing", {"id": None}) == Ignored("unreadable")


@pytest.mark.parametrize("kind", ["us_bank_account", "sepa_debit", "bacs_debit", "acss_debit"])
def test_the_failure_of_a_debit_is_news_and_that_of_a_card_is_told_by_its_invoice(kind: str) -> None:
    charge = {"id": "ch_1", "payment_intent": "pi_1", "customer": "cus_1"}
    assert intent("charge.failed", {**charge, "payment_method_details": {"type": kind}}) == PaymentNews(
        CH_1, PI_1, CUS_1
    )
    assert intent("charge.failed", {**charge, "payment_method_details": {"type": "card"}}) == TOLD_BY_INVOICE
    assert intent("charge.failed", charge) == TOLD_BY_INVOICE


@pytest.mark.parametrize(
    ("now", "previous", "collects"),
    [
        (False, {"auto_advance": True, "next_payment_attempt": 1}, False),
        (False, {"auto_advance": True}, False),
        (True, {"auto_advance": False}, True),
        (False, {"auto_advance": True, "attempt_count": 3, "next_payment_attempt": 1}, None),
        (False, {"auto_advance": True, "attempted": False, "next_payment_attempt": 1}, None),
        (False, {"next_payment_attempt": 1}, None),
        (None, {"auto_advance": True, "next_payment_attempt": 1}, None),
    ],
)
def test_who_turns_collection_off_without_an_attempt_is_the_merchant(
    now: bool | None, previous: dict[str, Any], collects: bool | None
) -> None:
    updated = invoice(id="in_1", status="open", auto_advance=now, attempt_count=3, next_payment_attempt=None)
    intent = route(event_of("invoice.updated", updated, previous)).intent
    assert isinstance(intent, InvoiceChanged)
    assert intent.collects is collects
    assert ("auto_advance" in intent.changed) == (collects is not None)


@pytest.mark.parametrize("collects", [True, False])
def test_what_is_turned_off_while_it_is_a_draft_is_noted_and_nothing_else_of_a_draft(collects: bool) -> None:
    draft = invoice(id="in_1", status="draft", auto_advance=collects, next_payment_attempt=None)
    previous = {"auto_advance": not collects, "amount_due": 1, "next_payment_attempt": 1}
    intent = route(event_of("invoice.updated", draft, previous)).intent
    assert intent == InvoiceChanged(InvoiceId("in_1"), None, ("auto_advance",), collects)
    unturned = route(event_of("invoice.updated", draft, {"amount_due": 1, "next_payment_attempt": 1})).intent
    assert unturned == Ignored("told_by_its_own_event")


def test_stripes_last_retry_alone_changes_nothing_about_who_collects() -> None:
    updated = invoice(id="in_1", status="open", auto_advance=False)
    intent = route(event_of("invoice.updated", updated, {"auto_advance": True, "attempt_count": 3})).intent
    assert intent == Ignored("collected_as_before")


@pytest.mark.parametrize(
    "name", ["pause_collection", "cancel_at", "cancel_at_period_end", "collection_method", "billing"]
)
def test_what_says_whether_a_subscription_is_collected_has_its_recoveries_decided_anew(name: str) -> None:
    subscription = {"id": "sub_1", "customer": "cus_1"}
    changed = route(event_of("customer.subscription.updated", subscription, {name: None})).intent
    assert changed == SubscriptionChanged(SUB_1, (name,))
    card = route(event_of("customer.subscription.updated", subscription, {name: None, "default_source": None})).intent
    assert card == CardChanged(CUS_1, SUB_1)
    other = route(event_of("customer.subscription.updated", subscription, {"metadata": {}})).intent
    assert other == Ignored("no_card_changed")
