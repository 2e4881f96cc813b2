"""B: durable 3-step executions per second, sustained, enqueued in the same run, beside the raw limit.

The raw limit is measured before and after, with the same number of commits and 1,000 executions in each.
"""

from __future__ import annotations

from benchmarks import raw
from benchmarks.line import Effort, Line, at_least, middle
from benchmarks.load import load
from benchmarks.surroundings import Surroundings, database_work

NAME = "throughput"


async def measure(around: Surroundings, effort: Effort) -> Line:
    """Executions per second, and what a step costs the database's log."""
    seconds = effort.of(60, 2)
    before = await _raw(around, seconds)
    async with load(around) as made:
        work = await database_work(around.database_url)
        drive = await made.run(seconds)
        spent = await database_work(around.database_url) - work
    limit = middle([before, await _raw(around, seconds)])
    steps = drive.executions * raw.STEPS
    return Line(
        bench=NAME,
        letter="B",
        unit="executions/s",
        measured=drive.per_second,
        raw=limit,
        ratio=drive.per_second / limit,
        goals=[at_least("ratio", 0.15)],
        facts={
            "executions": drive.executions,
            "seconds": drive.seconds,
            "commits_per_step": spent.commits / steps,
            "wal_syncs_per_step": spent.wal_syncs / steps,
            "wal_bytes_per_step": spent.wal_bytes / steps,
        },
    )


async def _raw(around: Surroundings, seconds: float) -> float:
    return await raw.grouped_per_second(
        around.database_url, seconds=min(10, seconds / 4), born_owned=True
    )
