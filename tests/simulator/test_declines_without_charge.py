"""Declines that Stripe itself makes, with a charge and before there is one."""

import pytest
import stripe

from simulator import SimulatorClient
from simulator.payment import DECLINES
from simulator.validation import stripe_api
from tests.simulator.answers import details

CHARGELESS = sorted(name for name, decline in DECLINES.items() if not decline.charged)


async def test_a_merchants_own_radar_rule_blocks_with_a_charge_that_says_so(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "rule"})
    charge = await client.v1.charges.retrieve_async(made["payment_intent"]["latest_charge"])
    outcome = charge.to_dict()["outcome"]
    assert (outcome["type"], outcome["reason"]) == ("blocked", "rule")
    assert (outcome["network_status"], outcome["network_decline_code"]) == ("not_sent_to_network", None)
    assert outcome["risk_level"] == "normal"
    assert len(await control.events(type="charge.failed")) == 1


@pytest.mark.parametrize("name", CHARGELESS)
async def test_a_decline_before_any_charge_leaves_none_behind(
    name: str, control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": name})
    assert made["payment_intent"]["latest_charge"] is None
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    error = details(caught.value)
    assert "charge" not in error
    assert error["payment_intent"]["latest_charge"] is None
    assert "charge" not in error["payment_intent"]["last_payment_error"]
    stripe_api().check_resource("payment_intent", error["payment_intent"])
    assert (await client.v1.charges.list_async()).data == []
    assert await control.events(type="charge.failed") == []
    assert len(await control.events(type="invoice.payment_failed")) == 2
    assert [entry["charge"] for entry in await control.attempts()] == [None, None]


async def test_any_decline_can_come_without_a_charge_of_its_own_while_an_older_one_stays_the_latest(
    control: SimulatorClient, client: stripe.StripeClient, account: str
) -> None:
    made = await control.add_renewal(account, card={"decline": "do_not_honor"})
    await control.set_script(made["payment_method"]["id"], decline="insufficient_funds", without_charge=True)
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.invoices.pay_async(made["invoice"]["id"])
    error = details(caught.value)
    assert error["decline_code"] == "insufficient_funds"
    assert "charge" not in error
    assert error["payment_intent"]["latest_charge"] == made["payment_intent"]["latest_charge"]
    assert len((await client.v1.charges.list_async()).data) == 1
    await control.set_script(made["payment_method"]["id"])
    assert (await client.v1.invoices.pay_async(made["invoice"]["id"])).status == "paid"
