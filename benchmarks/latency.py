"""Accepted -> finished of one 3-step execution on an idle system, beside its five commits written one after another."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks import raw
from benchmarks.surroundings import Surroundings, publish
from benchmarks.throughput import WORKFLOW
from runtime.bootstrap import open_runtime
from runtime.model.execution import EnqueueRequest

NAME = "latency"


async def measure(around: Surroundings, *, runs: int) -> dict[str, Any]:
    """One JSON object: medians and 95th percentiles in milliseconds, raw ones, and ratios."""
    before = await raw.serial_seconds(around.database_url, runs=runs)
    async with open_runtime(around.settings) as runtime:
        who, name = await publish(runtime, "three-steps", WORKFLOW)
        worker = runtime.make_worker()
        running = asyncio.create_task(worker.run())
        try:
            request = EnqueueRequest(workflow_name=name)
            times = []
            for number in range(runs + 20):
                begin = time.perf_counter()
                answer = await runtime.services.executions.enqueue(who, request)
                async for _ in runtime.services.executions.watch(
                    who, answer.execution.id, after=0, kinds=()
                ):
                    pass
                if number >= 20:
                    times.append(time.perf_counter() - begin)
        finally:
            await worker.stop()
            await running
    limit = sorted([*before, *await raw.serial_seconds(around.database_url, runs=runs)])
    times.sort()
    p50, p95 = at(times, 0.5), at(times, 0.95)
    return {
        "bench": NAME,
        "p50_ms": round(p50 * 1000, 3),
        "p95_ms": round(p95 * 1000, 3),
        "raw_p50_ms": round(at(limit, 0.5) * 1000, 3),
        "raw_p95_ms": round(at(limit, 0.95) * 1000, 3),
        "ratio": round(p50 / at(limit, 0.5), 3),
        "ratio_p95": round(p95 / at(limit, 0.95), 3),
        "runs": runs,
    }


def at(ordered: list[float], share: float) -> float:
    """The value below which a share of an ordered list lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
