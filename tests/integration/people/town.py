"""The worker's world with an ingress that Stripe's webhooks reach, and the ledger's API for an operator."""

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

from services.worker.engine.janitor import sweep_recoveries
from shared.ids import RecoveryId
from tests.integration.ledger.api import Api, Reply
from tests.integration.worker.world import Failed, World


@dataclass
class Town:
    """`world` is the worker's; `api` is called with a key of the platform that may do everything."""

    world: World
    api: Api

    async def renewal(self, **card: Any) -> Failed:
        """A renewal fails at Stripe, and its webhook opens the recovery."""
        made = await self.world.control.add_renewal(self.world.account, card=card, amount=4_200)
        return await self.of(made["invoice"]["id"])

    async def of(self, invoice: str) -> Failed:
        """The recovery of an invoice, once its webhook was taken."""
        await self.heard()
        (row,) = await self.world.rows("SELECT * FROM recoveries WHERE invoice_id = $1", invoice)
        method = (await self.world.control.object(invoice))["default_payment_method"]
        return Failed(self.world, row["id"], row["invoice_id"], row["customer_id"], row["subscription_id"], method)

    async def heard(self) -> None:
        """Every webhook was delivered."""
        assert await self.world.control.drain()

    async def months_pass(self, days: int = 24, step: int = 2) -> None:
        """Time goes on, workers and janitor work, webhooks come."""
        for _ in range(0, days, step):
            await self.world.pass_time(days=step)
            await self.heard()
            await self.sweep()
            await self.world.work()

    async def sweep(self) -> None:
        """What the janitor does every two minutes."""
        async with self.world.worker.transaction() as db:
            await sweep_recoveries(db)

    async def task_of(self, failed: Failed, task_type: str = "dunning_retry", status: str = "pending") -> str:
        """The public id of the one task of this type and status."""
        (task,) = await failed.tasks(status, task_type)
        return str(task["public_id"])

    async def cancel(self, failed: Failed, task_type: str = "dunning_retry", status: str = "pending") -> Reply:
        """An operator takes the task away."""
        return await self.api.delete(f"/v1/tasks/{await self.task_of(failed, task_type, status)}")

    async def stop(self, recovery_id: RecoveryId, **body: Any) -> Reply:
        """An operator stops the recovery."""
        return await self.api.post(f"/v1/recoveries/{recovery_id}/stop", body)

    async def leave_alone(self, **body: Any) -> Reply:
        """An operator has somebody left alone."""
        return await self.api.post("/v1/left-alone", {"merchant_id": self.world.merchant_id, **body})

    async def subjects(self) -> list[str]:
        """The subjects of all emails."""
        return [each["message"]["subject"] for each in await self.world.control.outbox()]


async def rules(failed: Failed, *kinds: str) -> list[str]:
    """The rules of its timeline's rows of these kinds."""
    return [row["rule"] for row in await failed.story(*kinds)]


async def citadel(*words: str) -> tuple[int, str]:
    """The command, in a process of its own, because it handles signals: its status, and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "console", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()
