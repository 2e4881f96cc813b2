"""E: from the call of one step to the call of the next, on an idle system, beside one raw durable write."""

from __future__ import annotations

from benchmarks import raw
from benchmarks.line import Effort, Line, at_most, spread
from benchmarks.steps import MARKS
from benchmarks.surroundings import Surroundings, one_process, publish
from runtime.model.execution import EnqueueRequest
from runtime.worker import signals

NAME = "gap"
_WARM = 20
_WORKFLOW = """
name: marks
version: 1.0.0
steps:
  - {id: a, uses: bench.mark@1}
  - {id: b, uses: bench.mark@1, depends_on: [a]}
  - {id: c, uses: bench.mark@1, depends_on: [b]}
"""


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The gap between the second and the third call: a step's row and two events in between."""
    runs = effort.of(500, 20)
    before = await raw.checkpoint_seconds(around.database_url, runs=runs)
    gaps = []
    async with one_process(around) as (runtime, worker):
        who, name = await publish(runtime, "marks", _WORKFLOW)
        for number in range(runs + _WARM):
            answer = await runtime.services.executions.enqueue(
                who, EnqueueRequest(workflow_name=name)
            )
            await worker.signals.wait(signals.CLOSED, number + 1)
            _, second, third = MARKS.pop(answer.execution.id)
            if number >= _WARM:
                gaps.append(third - second)
    after = await raw.checkpoint_seconds(around.database_url, runs=runs)
    found, bare = spread(gaps), spread([*before, *after])
    return Line(
        bench=NAME,
        letter="E",
        unit="ms",
        measured=found["p50_ms"],
        raw=bare["p50_ms"],
        ratio=found["p50_ms"] / bare["p50_ms"],
        goals=[at_most("ratio", 1.5)],
        facts={"p95_ms": found["p95_ms"], "raw_p95_ms": bare["p95_ms"], "runs": runs},
    )
