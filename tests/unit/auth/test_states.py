"""The state of a round trip: for one browser, for a while, and nobody else's to make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.oauth import GrantAnswer, StateIssuer, StateRefused

NOW = 1_800_000_000
ISSUER = StateIssuer(b"s" * 32, 600)


def test_a_state_is_good_for_the_browser_that_it_was_given_to() -> None:
    trip = ISSUER.begin(NOW)
    assert ISSUER.check(trip.state, {trip.cookie: trip.browser}, NOW) == trip.nonce_hash


def test_two_round_trips_of_one_browser_do_not_touch_each_other() -> None:
    one, other = ISSUER.begin(NOW), ISSUER.begin(NOW)
    cookies = {one.cookie: one.browser, other.cookie: other.browser}
    assert len(cookies) == 2
    assert ISSUER.check(one.state, cookies, NOW) == one.nonce_hash
    assert ISSUER.check(other.state, cookies, NOW) == other.nonce_hash


@pytest.mark.parametrize("later", [601, 10**9])
def test_a_state_ends_with_its_time(later: int) -> None:
    trip = ISSUER.begin(NOW)
    cookies = {trip.cookie: trip.browser}
    assert ISSUER.check(trip.state, cookies, NOW + 600)
    with pytest.raises(StateRefused, match="expired"):
        ISSUER.check(trip.state, cookies, NOW + later)


def test_without_its_own_cookie_a_state_is_refused() -> None:
    mine, yours = ISSUER.begin(NOW), ISSUER.begin(NOW)
    for cookies in (
        {},
        {yours.cookie: yours.browser},
        {mine.cookie: yours.browser},
        {mine.cookie: ""},
        {mine.cookie: "é\udcff"},
        {yours.cookie: mine.browser},
    ):
        with pytest.raises(StateRefused, match="another browser"):
            ISSUER.check(mine.state, cookies, NOW)


def test_what_travels_does_not_show_what_the_browser_keeps() -> None:
    trip = ISSUER.begin(NOW)
    assert trip.browser not in trip.state
    assert trip.browser not in trip.cookie
    assert len({ISSUER.begin(NOW).browser for _ in range(50)}) == 50


def test_another_secret_makes_another_state() -> None:
    trip = StateIssuer(b"t" * 32, 600).begin(NOW)
    with pytest.raises(StateRefused):
        ISSUER.check(trip.state, {trip.cookie: trip.browser}, NOW)


@given(st.none() | st.text(), st.dictionaries(st.text(), st.text(), max_size=3))
def test_garbage_is_refused_and_nothing_else_is_raised(state: str | None, cookies: dict[str, str]) -> None:
    with pytest.raises(StateRefused):
        ISSUER.check(state, cookies, NOW)


def test_a_grant_keeps_what_is_needed_and_hides_its_tokens() -> None:
    grant = GrantAnswer.model_validate(
        {
            "stripe_user_id": "acct_1",
            "access_token": "sk_live_1",
            "refresh_token": "rt_1",
            "scope": "read_write",
            "livemode": True,
            "stripe_publishable_key": "pk_live_1",
        }
    )
    assert "sk_live" not in repr(grant)
    assert "rt_1" not in repr(grant)
    assert not hasattr(grant, "stripe_publishable_key")


@pytest.mark.parametrize("account", ["", "acct_", "cus_1", "acct_1/../x", "acct_1\n", None])
def test_a_grant_without_an_account_is_none(account: str | None) -> None:
    with pytest.raises(ValueError, match="stripe_user_id"):
        GrantAnswer.model_validate({"stripe_user_id": account, "scope": "read_write", "livemode": False})
