"""C: transactions of PostgreSQL per step at saturation, everything counted that any part of the product does."""

from __future__ import annotations

from benchmarks import raw
from benchmarks.line import Effort, Line, at_most
from benchmarks.load import load
from benchmarks.surroundings import Surroundings, database_work

NAME = "commits"


async def measure(around: Surroundings, effort: Effort) -> Line:
    """Transactions per step; nothing is subtracted."""
    async with load(around) as made:
        work = await database_work(around.database_url)
        drive = await made.run(effort.of(10, 2))
        spent = await database_work(around.database_url) - work
    steps = drive.executions * raw.STEPS
    return Line(
        bench=NAME,
        letter="C",
        unit="commits/step",
        measured=spent.commits / steps,
        goals=[at_most("measured", 0.1)],
        facts={"steps": steps, "wal_syncs_per_step": spent.wal_syncs / steps},
    )
