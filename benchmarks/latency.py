"""A: one 3-step execution on an idle system, from the call that enqueues it to the commit that ends it.

Beside the same number of commits, one after another. `seen_*` is when a subscriber was told of the end.
"""

from __future__ import annotations

import time

from benchmarks import raw
from benchmarks.line import Effort, Line, at, at_most, spread
from benchmarks.load import WORKFLOW
from benchmarks.surroundings import Surroundings, one_process, publish
from runtime.model.execution import EnqueueRequest
from runtime.worker import signals

NAME = "latency"
_WARM = 20


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The median as a ratio to raw; the tail as another."""
    runs = effort.of(500, 20)
    before = await raw.serial_seconds(around.database_url, runs=runs, born_owned=True)
    ended, seen = [], []
    async with one_process(around) as (runtime, worker):
        who, name = await publish(runtime, "three-steps", WORKFLOW)
        executions, request = runtime.services.executions, EnqueueRequest(workflow_name=name)
        for number in range(runs + _WARM):
            begin = time.perf_counter()
            answer = await executions.enqueue(who, request)
            await worker.signals.wait(signals.CLOSED, number + 1)
            end = time.perf_counter()
            async for _ in executions.watch(who, answer.execution.id, after=0, kinds=()):
                pass
            if number >= _WARM:
                ended.append(end - begin)
                seen.append(time.perf_counter() - begin)
    after = await raw.serial_seconds(around.database_url, runs=runs, born_owned=True)
    limit = sorted([*before, *after])
    found, bare = spread(ended), spread(limit)
    return Line(
        bench=NAME,
        letter="A",
        unit="ms",
        measured=found["p50_ms"],
        raw=bare["p50_ms"],
        ratio=found["p50_ms"] / bare["p50_ms"],
        goals=[at_most("ratio", 2.0), at_most("ratio_p95", 3.0)],
        facts={
            "p95_ms": found["p95_ms"],
            "raw_p95_ms": bare["p95_ms"],
            "ratio_p95": found["p95_ms"] / bare["p95_ms"],
            "seen_p50_ms": at(sorted(seen), 0.5) * 1000,
            "runs": runs,
        },
    )
