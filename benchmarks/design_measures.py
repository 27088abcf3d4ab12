"""Compares the chosen design with others: how to claim, and where a finished task goes.

Each is the same pgbench cycle (claim a batch, complete it, one commit each) with one statement replaced.
"""

import re
import statistics

from benchmarks import limit
from benchmarks.measure import Measure
from benchmarks.queueing import counts, fill
from benchmarks.scale import Scale
from benchmarks.server import Server, connected
from shared.queue import tasks

BATCH = 500
_MANY_MERCHANTS = 100_000

# Goes from merchant to merchant through the index and takes the first due tasks of each: without lanes, and without
# marks. It costs one look-up in the index for every merchant with pending tasks, due or not.
_LOOSE_SCAN = """
merchants AS (
    (SELECT merchant_id FROM scheduled_tasks WHERE status = 'pending' ORDER BY merchant_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT t.merchant_id
        FROM scheduled_tasks AS t
        WHERE t.status = 'pending' AND t.merchant_id > m.merchant_id
        ORDER BY t.merchant_id
        LIMIT 1
    )
    FROM merchants AS m
    WHERE m.merchant_id IS NOT NULL
),
"""


def _by_loose_scan() -> str:
    """The product's claim, with merchants instead of lanes."""
    claim = tasks.CLAIM.replace("WITH clock", "WITH RECURSIVE clock").replace(
        "candidates AS MATERIALIZED", f"{_LOOSE_SCAN.strip()}\ncandidates AS MATERIALIZED"
    )
    claim, lanes = re.subn(r"CROSS JOIN unnest\([^)]*\) AS lane \([^)]*\)", "CROSS JOIN merchants AS m", claim)
    claim, ranges = re.subn(
        r"AND \(hashtextextended\(t\.merchant_id, 0\) & 255\) = lane\.number\s+AND \(t\.run_at, t\.id\) > [^\n]*",
        "AND t.merchant_id = m.merchant_id",
        claim,
    )
    if (lanes, ranges) != (1, 1):
        raise RuntimeError("the claim has changed: write its counterpart anew")
    return claim


_ARCHIVE = """
CREATE TABLE finished_tasks (LIKE scheduled_tasks INCLUDING DEFAULTS) PARTITION BY RANGE (finished_at);
CREATE TABLE finished_tasks_today PARTITION OF finished_tasks DEFAULT;
CREATE INDEX ON finished_tasks (id);
CREATE INDEX ON finished_tasks (merchant_id, id);
"""

_COLUMNS = """id, merchant_id, task_type, payload, status, run_at, created_at, public_id, recovery_id, unique_key,
attempts, max_attempts, fence, locked_by, lease_expires_at, started_at, finished_at, last_error, parked, rescues"""

_TO_THE_ARCHIVE = f"""
WITH clock AS MATERIALIZED (SELECT citadel_now() AS now),
ended AS (
    DELETE FROM scheduled_tasks AS t
    USING unnest($1::bigint[], $2::bigint[]) AS done (id, fence)
    WHERE t.id = done.id AND t.fence = done.fence AND t.locked_by IS NOT NULL
    RETURNING t.*
)
INSERT INTO finished_tasks ({_COLUMNS})
SELECT {
    _COLUMNS.replace("status,", "'succeeded',", 1)
    .replace("locked_by, lease_expires_at", "NULL, NULL")
    .replace("finished_at", "clock.now", 1)
}
FROM ended, clock
"""


async def _rate(
    server: Server, count: int, merchants: int, waiting: int, *, before: str = "", **statements: str
) -> float:
    """Tasks per second of the cycle, on `count` due tasks, with `waiting` tasks of the future beside them."""
    url = await server.fresh()
    if waiting:
        await fill(url, waiting, merchants=_MANY_MERCHANTS, delay="86400 seconds")
    await fill(url, count, merchants=merchants)
    if before:
        async with connected(url) as db:
            await db.execute(before)
    script = limit.cycle(BATCH, insert=False, **statements)
    tps = await limit.pgbench(server, url, script, "-t", str(count // BATCH // limit.CLIENTS))
    left = await counts(url)
    assert left.get("succeeded", 0) == (0 if before else count), left
    assert left.get("running", 0) == 0, left
    await server.drop(url)
    return tps * BATCH


async def designs(server: Server, scale: Scale) -> list[Measure]:
    """Claims by lanes and by a loose index scan; completions by an update and into an archive."""
    count = scale.drain // 2 // BATCH * BATCH
    few, many, update, archive = [], [], [], []
    loose = _by_loose_scan()
    for _ in range(scale.rounds):
        few.append((await _rate(server, count, 1000, 0), await _rate(server, count, 1000, 0, claim=loose)))
        tiny = min(count, 5_000)
        waiting = _MANY_MERCHANTS if not scale.quick else 10_000
        many.append((await _rate(server, tiny, 100, waiting), await _rate(server, tiny, 100, waiting, claim=loose)))
        update.append(await _rate(server, count, 1000, 0))
        archive.append(await _rate(server, count, 1000, 0, before=_ARCHIVE, complete=_TO_THE_ARCHIVE))
    measures = []
    for name, pairs, detail in (
        ("claim_design", few, {"merchants": 1000}),
        ("claim_design_waiting", many, {"merchants": 100, "merchants_with_a_task_of_tomorrow": _MANY_MERCHANTS}),
    ):
        ours, theirs = (statistics.median(pair[place] for pair in pairs) for place in (0, 1))
        baselines = {"loose index scan": theirs}
        measures.append(Measure(name, ours, "tasks/s", "why lanes", baselines, ours / theirs, None, detail))
    ours, theirs = statistics.median(update), statistics.median(archive)
    baselines = {"delete into an archive": theirs}
    measures.append(Measure("completion_design", ours, "tasks/s", "why an update", baselines, ours / theirs))
    return measures
