"""A customer who tries to pay: what becomes of it is read, and messages and end actions follow it."""

from tests.integration.people.town import Town, rules


async def test_a_decline_after_the_customer_authenticated_is_read_at_once(town: Town) -> None:
    failed = await town.renewal(needs_3ds=True)
    await town.world.work()
    assert (await failed.recovery())["state"] == "action_required"
    customer = await town.world.control.object(failed.customer)
    method = customer["invoice_settings"]["default_payment_method"]
    await town.world.control.set_script(method, needs_3ds=True, decline="lost_card")
    await town.world.pass_time(hours=2)
    await town.world.control.authenticate(failed.invoice)
    await town.heard()
    assert "failed_again" in await rules(failed, "changed")
    await town.world.work()
    assert (await failed.recovery())["state"] == "needs_new_method"
    assert (await rules(failed, "decided"))[-1] == "hard_decline"


async def test_an_event_about_a_failure_that_is_known_decides_nothing_new(town: Town) -> None:
    failed = await town.renewal(decline="lost_card")
    await town.world.work()
    decided = await rules(failed, "decided")
    (event,) = await town.world.control.events(type="invoice.payment_failed")
    await town.world.control.send_again(event["id"])
    await town.heard()
    assert await rules(failed, "changed") == []
    await town.world.pass_time(hours=2)
    await town.world.control.emit("invoice.payment_failed", failed.invoice)
    await town.heard()
    await town.world.work()
    assert await rules(failed, "changed") == ["failed_again"]
    assert await rules(failed, "decided") == decided


async def test_while_an_older_invoice_s_debit_is_under_way_nothing_is_ended(town: Town) -> None:
    """The older invoice has no recovery: it is the first try. Its end shows whether the customer pays."""
    await town.world.policy(driver="citadel", end_action="cancel", window_days=3, message_days=[0])
    debit = {"type": "us_bank_account", "takes_days": None}
    older = await town.world.control.add_renewal(town.world.account, debit=debit)
    await town.world.pass_time(days=1)
    await town.world.control.add_card(older["customer"]["id"], decline="lost_card")
    invoice = await town.world.control.renew(older["subscription"]["id"])
    assert invoice is not None
    failed = await town.of(invoice["id"])
    await town.months_pass(6, step=1)
    assert (await failed.recovery())["state"] == "exhausted"
    assert await rules(failed, "end_action") == []
    assert (await town.world.control.object(failed.subscription))["status"] == "past_due"
    (waits,) = [row for row in await failed.story("changed") if row["rule"] == "end_action_waits"]
    assert waits["detail"]["why"] == "payment_under_way"
    (begun,) = await town.world.control.attempts(older["invoice"]["id"])
    await town.world.control.end_debit(begun["charge"], "account_frozen")
    await town.months_pass(3, step=1)
    assert "end_action_done" in await rules(failed, "end_action")
