"""T: processor seconds of all processes (PostgreSQL and Redis too) per 1,000 steps at saturation.

Metrics are on, and traces are sampled at 1 %. The client's share is in it as well.
"""

from __future__ import annotations

from benchmarks import raw
from benchmarks.line import Effort, Line, at_most
from benchmarks.load import load
from benchmarks.observability import sampled
from benchmarks.surroundings import Surroundings

NAME = "cpu"


async def measure(around: Surroundings, effort: Effort) -> Line:
    """Seconds per 1,000 steps."""
    async with load(around, tracing=sampled(0.01)) as made:
        drive = await made.run(effort.of(20, 2))
    steps = drive.executions * raw.STEPS
    return Line(
        bench=NAME,
        letter="T",
        unit="CPU s/1000 steps",
        measured=drive.cpu_seconds * 1000 / steps,
        goals=[at_most("measured", 0.15)],
        facts={"aim": 0.08, "steps": steps, "executions_per_second": drive.per_second},
    )
