"""Recoveries end to end, in containers: OAuth and webhooks through the edge over TLS, a worker killed on the way."""

import io
from pathlib import Path

from rich.console import Console

from console.demo.compose_target import compose_target
from console.demo.progress import Teller
from console.demo.story import Story, tell
from tests.compose.conftest import Deployed


async def test_the_small_story_holds_every_check(deployed: Deployed, tmp_path: Path) -> None:
    """Charged is what the ledger says, nothing twice, nobody's name in the volume or in a log."""
    story = Story.small()
    teller = Teller(Console(file=io.StringIO()))
    where = compose_target(deployed.stack, story.workers, tmp_path, teller)
    async with tell(story, where, tmp_path, teller) as told:
        assert [verdict.problems for verdict in told.figures.verdicts] == [(), (), ()]
        assert told.crash is not None
        assert told.crash.rescued == len(told.crash.held) > 0
        assert sum(row["recovered_count"] for row in told.figures.totals) > 0
        assert {file.name for file in (tmp_path / "logs").iterdir()} >= {"postgres-1.log", "worker-2.log", "edge-1.log"}
