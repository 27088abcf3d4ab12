"""Whose event it is decides what becomes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.events.incoming import Incoming
from shared.events.routing import route
from shared.events.store import MerchantOfEvent
from shared.events.taking import EventOutcome, judge
from shared.ids import AccountId, MerchantId
from tests.unit.shared.events.examples import event_of, invoice

ACCOUNT = AccountId("acct_1")
CREATED = datetime.fromtimestamp(1_790_000_000, UTC)


def merchant(
    status: str = "active", livemode: bool | None = None, connected_at: datetime | None = None
) -> MerchantOfEvent:
    return MerchantOfEvent(MerchantId("11111111-1111-4111-8111-111111111111"), status, livemode, connected_at)


def failed(account: AccountId | None = ACCOUNT, **fields: Any) -> Incoming:
    event = event_of("invoice.payment_failed", invoice(), **fields)
    return Incoming("evt_1", event["type"], account, route(event))


def gone(**fields: Any) -> Incoming:
    event = event_of("account.application.deauthorized", {"id": "ca_1"}, **fields)
    return Incoming("evt_1", event["type"], ACCOUNT, route(event))


def test_an_event_without_an_account_is_the_platforms_own() -> None:
    assert judge(failed(account=None), None) == (EventOutcome.PLATFORM, "platform_account")


def test_an_account_that_never_connected_is_unknown() -> None:
    assert judge(failed(), None) == (EventOutcome.UNKNOWN_ACCOUNT, "unknown_account")


def test_an_active_merchants_failed_renewal_is_routed() -> None:
    assert judge(failed(), merchant()) == (EventOutcome.ROUTED, None)


@pytest.mark.parametrize("status", ["disconnected", "deauthorized"])
def test_the_events_of_a_merchant_that_is_gone_are_ignored(status: str) -> None:
    assert judge(failed(), merchant(status)) == (EventOutcome.IGNORED, f"merchant_{status}")


@pytest.mark.parametrize("status", ["active", "disconnected", "deauthorized"])
def test_a_deauthorization_is_always_routed(status: str) -> None:
    assert judge(gone(), merchant(status)) == (EventOutcome.ROUTED, None)


@pytest.mark.parametrize(("of_event", "of_merchant"), [(False, True), (True, False)])
def test_an_event_of_the_other_mode_is_ignored_even_a_deauthorization(of_event: bool, of_merchant: bool) -> None:
    for event in (failed(livemode=of_event), gone(livemode=of_event)):
        assert judge(event, merchant(livemode=of_merchant)) == (EventOutcome.IGNORED, "other_mode")


@pytest.mark.parametrize(("of_event", "of_merchant"), [(True, True), (False, False), (None, True), (False, None)])
def test_a_mode_that_is_the_same_or_not_known_is_no_obstacle(of_event: bool | None, of_merchant: bool | None) -> None:
    assert judge(failed(livemode=of_event), merchant(livemode=of_merchant)) == (EventOutcome.ROUTED, None)


def test_a_deauthorization_from_before_the_present_connection_is_ignored() -> None:
    connected = merchant(connected_at=CREATED + timedelta(hours=1))
    assert judge(gone(), connected) == (EventOutcome.IGNORED, "older_than_the_connection")


@pytest.mark.parametrize("later", [timedelta(hours=-1), timedelta(0), timedelta(milliseconds=999)])
def test_a_deauthorization_of_the_same_second_or_later_is_routed(later: timedelta) -> None:
    assert judge(gone(), merchant(connected_at=CREATED + later)) == (EventOutcome.ROUTED, None)
