"""What the tests of learning begin with."""

from datetime import datetime

import pytest

from services.worker.dossier import learned as learned_module
from services.worker.recovery import case
from shared.clock import business_now
from tests.integration.worker.world import World


@pytest.fixture(autouse=True)
def nothing_is_parsed() -> None:
    """What another test's database held is not known."""
    learned_module._parsed.clear()
    learned_module._counted.clear()


@pytest.fixture(autouse=True)
def nobody_explores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which recoveries explore depends on their ids, which are others in every run."""
    monkeypatch.setattr(case, "EXPLORED", 0)


@pytest.fixture
async def now(world: World) -> datetime:
    """The business time at which the test begins."""
    async with world.database.transaction() as db:
        return await business_now(db)
