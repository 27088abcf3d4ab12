"""A month of a small population, collected by the simplest possible product: pay what is open, every day."""

from collections import Counter, defaultdict

import stripe

from simulator import SimulatorClient
from simulator.shapes import DAY
from tests.simulator.conftest import MakeStripe


async def test_after_a_month_every_cent_is_accounted_for(control: SimulatorClient, make_stripe: MakeStripe) -> None:
    accounts = await control.populate(accounts=3, subscriptions=40, failing=0.4, connected=True)
    clients = [make_stripe(account) for account in accounts]
    asked: Counter[str] = Counter()
    for day in range(28):
        await control.advance(DAY)
        for client in clients:
            for invoice in (await client.v1.invoices.list_async({"status": "open", "limit": 100})).data:
                asked[invoice.id] += 1
                try:
                    await client.v1.invoices.pay_async(invoice.id, {}, {"idempotency_key": f"{invoice.id}:{day}"})
                except stripe.CardError:
                    continue
    summary, charges = await control.summary(), await control.charges()

    assert (summary["invoices"], summary["failed"]) == (120, 48)
    assert set(asked) <= {entry["invoice"] for entry in await control.attempts()}
    assert summary["double_charged"] == []
    assert Counter(Counter(charge["invoice"] for charge in charges).values()) == {1: len(charges)}
    # What failed was recovered or is open, in each currency for itself; nothing was written off.
    for currency, failed in summary["failed_amount"].items():
        recovered = sum(entry["amount"] for entry in summary["recovered"].get(currency, {}).values())
        assert recovered + summary["open_amount"].get(currency, 0) == failed
    # The log is the bank's side of the same story.
    by_us: defaultdict[str, int] = defaultdict(int)
    for charge in charges:
        if charge["source"] == "api_pay":
            by_us[charge["currency"]] += charge["amount"]
    assert dict(by_us) == {
        currency: sources["api_pay"]["amount"]
        for currency, sources in summary["recovered"].items()
        if "api_pay" in sources
    }
    # Whoever asks every day without thinking asks cards that were declined for good.
    assert by_us
    assert summary["open"] > 0
    assert summary["after_never"] > 0
    assert summary["most_in_30_days"] > 20
