"""S: from acceptance to the call of the first step, at 100 executions a second, through Redis (born-owned is off)."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

from benchmarks.line import Effort, Line, at_most, spread
from benchmarks.steps import MARKS
from benchmarks.surroundings import Surroundings, one_process, publish
from runtime.model.execution import EnqueueRequest
from runtime.worker import signals

NAME = "pickup"
PER_SECOND = 100
_WORKFLOW = """
name: mark
version: 1.0.0
steps:
  - {id: a, uses: bench.mark@1}
"""


async def measure(around: Surroundings, effort: Effort) -> Line:
    """Open loop: each execution is asked for at its time, however the ones before it fare."""
    count = PER_SECOND * effort.of(30, 2)
    async with one_process(around, born_owned=False) as (runtime, worker):
        who, name = await publish(runtime, "mark", _WORKFLOW)
        request = EnqueueRequest(workflow_name=name)

        async def one() -> tuple[UUID, float]:
            answer = await runtime.services.executions.enqueue(who, request)
            return answer.execution.id, time.perf_counter()

        begin, tasks = time.perf_counter(), []
        for number in range(count):
            await asyncio.sleep(max(0.0, begin + number / PER_SECOND - time.perf_counter()))
            tasks.append(asyncio.create_task(one()))
        accepted = await asyncio.gather(*tasks)
        await worker.signals.wait(signals.CLOSED, count)
        found = spread([MARKS.pop(execution)[0] - at for execution, at in accepted])
    return Line(
        bench=NAME,
        letter="S",
        unit="ms",
        measured=found["p95_ms"],
        goals=[at_most("measured", 20.0), at_most("max_ms", 500.0)],
        facts={**found, "executions": count, "per_second": PER_SECOND},
    )
