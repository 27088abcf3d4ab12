"""The worker's world behind a real ingress: whatever happens at the simulator comes as a signed webhook."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared.database import Database, Role
from shared.ids import CustomerId, InvoiceId
from tests.conftest import OpenDatabase
from tests.integration.ingress.world import SECRETS, client_for
from tests.integration.worker.world import Failed, World, worker_world


@dataclass
class Town:
    """A merchant with customers. `world` is what the worker sees."""

    world: World

    async def heard(self) -> None:
        """All webhooks that are due have arrived."""
        assert await self.world.control.drain()

    async def fail(self, amount: int = 4_200, **card: Any) -> Failed:
        """A customer whose renewal fails with this card; the ingress hears of it."""
        made = await self.world.control.add_renewal(self.world.account, card=card, amount=amount)
        await self.heard()
        return await self.failed(made["invoice"])

    async def fail_again(self, customer: CustomerId, amount: int = 900) -> Failed:
        """Another subscription of the customer fails to renew, with the same card."""
        made = await self.world.control.add_subscription(self.world.account, customer, amount=amount)
        invoice = await self.world.control.renew(made["id"])
        assert invoice is not None
        await self.heard()
        return await self.failed(invoice)

    async def failed(self, invoice: dict[str, Any]) -> Failed:
        rows = await self.world.rows("SELECT * FROM recoveries WHERE invoice_id = $1", invoice["id"])
        (row,) = rows
        method = (await self.world.control.object(row["customer_id"]))["invoice_settings"]["default_payment_method"]
        return Failed(
            self.world, row["id"], InvoiceId(invoice["id"]), row["customer_id"], row["subscription_id"], method
        )

    def take_address(self, failed: Failed) -> str:
        """The customer has no address at Stripe, and the invoice names none; the one that they had."""
        objects = self.world.simulation.world.accounts[self.world.account].objects
        address: str = objects["customer"][failed.customer]["email"]
        objects["customer"][failed.customer]["email"] = None
        objects["invoice"][failed.invoice]["customer_email"] = None
        return address

    async def address(self, failed: Failed, address: str) -> None:
        """The merchant enters an address for the customer; Stripe's event about it arrives."""
        await self.world.control.change_person(failed.customer, email=address)
        await self.heard()

    async def emails(self) -> list[dict[str, Any]]:
        return [each["message"] for each in await self.world.control.outbox()]

    async def kinds(self) -> list[str]:
        return [each["tags"][0]["value"] for each in await self.emails()]

    async def live(self, **by: float) -> None:
        """Time passes in steps of six hours; everything that is due is done, and every webhook heard."""
        left = timedelta(**by)
        step = timedelta(hours=6)
        await self.round()
        while left > timedelta():
            await self.world.pass_time(seconds=min(left, step).total_seconds())
            left -= step
            await self.round()

    async def round(self) -> None:
        await self.heard()
        await self.world.work()
        await self.heard()
        await self.world.work()


@asynccontextmanager
async def town_of(database: Database, open_database: OpenDatabase, **shop: Any) -> AsyncIterator[Town]:
    async with (
        open_database(Role.INGRESS) as opened,
        client_for(opened) as client,
        worker_world(database, open_database, {"name": "Fjord", **shop}) as world,
    ):
        ingress = str(client.make_url("")).rstrip("/")
        await world.control.configure_webhooks(url=f"{ingress}/webhooks/stripe", secret=SECRETS[0])
        yield Town(world)
