"""Connecting and disconnecting merchants."""

from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import stripe

from simulator import CLIENT_ID, SimulatorClient
from simulator.shapes import Json
from tests.simulator.conftest import MakeStripe

BACK = "https://platform.example/auth/stripe/callback"


async def consent(url: str, **query: str) -> dict[str, list[str]]:
    """What the browser brings back from the consent page."""
    asked = {"client_id": CLIENT_ID, "response_type": "code", "redirect_uri": BACK, "scope": "read_write"}
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(f"{url}/oauth/authorize", params={**asked, **query}, allow_redirects=False) as answer,
    ):
        assert answer.status == 302, await answer.text()
        where = urlsplit(answer.headers["Location"])
    assert f"{where.scheme}://{where.netloc}{where.path}" == BACK
    return parse_qs(where.query)


async def exchange(platform: stripe.StripeClient, **params: str) -> Json:
    answer = await platform.raw_request_async("post", "/oauth/token", base="connect", **params)
    return dict(platform.deserialize(answer, api_mode="V1").to_dict())


async def test_a_merchant_connects_and_their_account_opens(
    url: str, control: SimulatorClient, make_stripe: MakeStripe
) -> None:
    merchant = (await control.add_account())["id"]
    brought = await consent(url, state="s-1", sim_account=merchant)
    assert brought["state"] == ["s-1"]
    platform = make_stripe()
    tokens = await exchange(platform, grant_type="authorization_code", code=brought["code"][0])
    assert tokens["stripe_user_id"] == merchant
    assert tokens["livemode"] is False
    assert (await make_stripe(merchant).v1.invoices.list_async()).data == []
    by_token = make_stripe(key=tokens["access_token"])
    assert (await by_token.v1.accounts.retrieve_current_async()).id == merchant
    renewed = await exchange(platform, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert renewed["stripe_user_id"] == merchant


async def test_a_code_works_once(url: str, control: SimulatorClient, make_stripe: MakeStripe) -> None:
    await control.add_account()
    code = (await consent(url))["code"][0]
    platform = make_stripe()
    await exchange(platform, grant_type="authorization_code", code=code)
    with pytest.raises(stripe.oauth_error.InvalidGrantError):
        await exchange(platform, grant_type="authorization_code", code=code)


async def test_a_code_expires_after_five_minutes(url: str, control: SimulatorClient, make_stripe: MakeStripe) -> None:
    await control.add_account()
    code = (await consent(url))["code"][0]
    await control.advance(301)
    with pytest.raises(stripe.oauth_error.InvalidGrantError):
        await exchange(make_stripe(), grant_type="authorization_code", code=code)


async def test_without_a_name_the_next_unconnected_merchant_agrees(url: str, control: SimulatorClient) -> None:
    for _ in range(2):
        await control.add_account()
    codes = {(await consent(url))["code"][0] for _ in range(2)}
    assert len(codes) == 2


async def test_a_merchant_can_say_no(url: str, control: SimulatorClient) -> None:
    await control.add_account()
    brought = await consent(url, state="s-2", sim_deny="1")
    assert (brought["error"], brought["state"]) == (["access_denied"], ["s-2"])
    assert "code" not in brought


async def test_a_wrong_secret_gets_no_token(url: str, control: SimulatorClient, make_stripe: MakeStripe) -> None:
    await control.add_account()
    code = (await consent(url))["code"][0]
    with pytest.raises(stripe.oauth_error.InvalidClientError):
        await exchange(make_stripe(key="sk_test_wrong"), grant_type="authorization_code", code=code)


@pytest.mark.parametrize("by", ["platform", "merchant"])
async def test_after_deauthorizing_the_account_is_closed_and_an_event_says_so(
    by: str,
    url: str,
    control: SimulatorClient,
    make_stripe: MakeStripe,
    account: str,
    client: stripe.StripeClient,
) -> None:
    await client.v1.invoices.list_async()
    if by == "merchant":
        await control.deauthorize(account)
    else:
        await make_stripe().raw_request_async(
            "post", "/oauth/deauthorize", base="connect", client_id=CLIENT_ID, stripe_user_id=account
        )
    with pytest.raises(stripe.PermissionError):
        await client.v1.invoices.list_async()
    (event,) = await control.events(type="account.application.deauthorized")
    assert event["account"] == account
