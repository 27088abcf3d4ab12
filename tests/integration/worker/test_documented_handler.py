"""The task type that docs/architecture.md shows as an example works as it stands there."""

import re
from pathlib import Path

from services.worker import handler as registry
from services.worker.engine.loop import Engine
from services.worker.handler import Handlers
from shared.queue import tasks
from shared.queue.tasks import NewTask
from tests.integration.worker.world import PACE, World

DOCUMENT = Path(__file__).parents[3] / "docs" / "architecture.md"


def handlers_of_the_document() -> Handlers:
    """The example's handler, and it alone: what it registers is taken out again."""
    handler, queueing = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert "tasks.enqueue" in queueing
    before = registry.registered()
    exec(compile(handler, str(DOCUMENT), "exec"), {"__name__": "documented"})  # noqa: S102 - our own document
    added = {name: each for name, each in registry.registered().items() if name not in before}
    for name in added:
        del registry._registered[name]
    return added


async def test_the_example_of_a_task_type_runs(world: World) -> None:
    handlers = handlers_of_the_document()
    assert set(handlers) == {"welcome_merchant"}
    async with world.worker.transaction() as db:
        await tasks.enqueue(db, NewTask(world.merchant_id, "welcome_merchant", {"signed_by": "Ada"}))
        await tasks.enqueue(db, NewTask(world.merchant_id, "welcome_merchant", {"signed": "a wrong payload"}))
    await Engine("documented", world.worker, handlers, world.outside, PACE).run_due()

    rows = await world.rows("SELECT status, last_error FROM scheduled_tasks ORDER BY id")
    assert [row["status"] for row in rows] == ["succeeded", "dead"]
    assert "signed_by" in rows[1]["last_error"]
    [email] = await world.control.outbox()
    assert email["message"]["subject"] == "Welcome"
