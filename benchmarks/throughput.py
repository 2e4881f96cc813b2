"""Durable 3-step executions per second, sustained, enqueued in the same run, beside the raw limit.

API and worker share one process, as in `mc dev`. Executions are accepted a thousand at a time; what counts is those
that completed between the first acceptance and the last end. Events, metrics and tenancy are on.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import Any

from benchmarks import raw
from benchmarks.surroundings import Surroundings, database_work, publish
from runtime.bootstrap import Runtime, open_runtime
from runtime.model.execution import EnqueueRequest

NAME = "throughput"
WORKFLOW = """
name: three-steps
version: 1.0.0
steps:
  - {id: a, uses: core.noop@1}
  - {id: b, uses: core.noop@1, depends_on: [a]}
  - {id: c, uses: core.noop@1, depends_on: [b]}
"""
_BATCH = 1000
_IN_FLIGHT = 4000


async def measure(around: Surroundings, *, seconds: float) -> dict[str, Any]:
    """One JSON object: executions per second, raw per second, ratio, commits and log syncs per step, CPU per step."""
    before_raw = await raw.grouped_per_second(around.database_url, seconds=seconds / 4)
    async with open_runtime(around.settings) as runtime:
        who, name = await publish(runtime, "three-steps", WORKFLOW)
        worker = runtime.make_worker()
        running = asyncio.create_task(worker.run())
        try:
            await _drive(runtime, who, name, seconds=2.0)
            work, cpu = await database_work(around.database_url), os.times()
            done, elapsed = await _drive(runtime, who, name, seconds=seconds)
            cpu_after = os.times()
            spent = await database_work(around.database_url) - work
        finally:
            await worker.stop()
            await running
    after_raw = await raw.grouped_per_second(around.database_url, seconds=seconds / 4)
    limit = statistics.median([before_raw, after_raw])
    steps = done * raw.STEPS
    return {
        "bench": NAME,
        "executions_per_second": round(done / elapsed, 1),
        "raw_per_second": round(limit, 1),
        "ratio": round(done / elapsed / limit, 4),
        "commits_per_step": round(spent.commits / steps, 4),
        "wal_syncs_per_step": round(spent.wal_syncs / steps, 4),
        "wal_bytes_per_step": round(spent.wal_bytes / steps, 1),
        "process_cpu_seconds_per_1000_steps": round(
            (cpu_after.user + cpu_after.system - cpu.user - cpu.system) * 1000 / steps, 4
        ),
        "executions": done,
        "seconds": round(elapsed, 2),
    }


async def _drive(runtime: Runtime, who: Any, name: str, *, seconds: float) -> tuple[int, float]:
    """Keep a few thousand executions in flight for a while, then let them end; how many ended, in what time."""
    request = EnqueueRequest(workflow_name=name)
    begin, accepted = time.perf_counter(), 0
    start = await _ended(runtime)
    while time.perf_counter() - begin < seconds:
        if accepted - (await _ended(runtime) - start) < _IN_FLIGHT:
            await runtime.services.executions.enqueue_many(who, [request] * _BATCH)
            accepted += _BATCH
        else:
            await asyncio.sleep(0.005)
    while await _ended(runtime) - start < accepted:
        await asyncio.sleep(0.005)
    return accepted, time.perf_counter() - begin


async def _ended(runtime: Runtime) -> int:
    """Executions ended by this process's worker, from its own metric: no query beside what is measured."""
    return int(
        sum(
            sample.value
            for metric in runtime.metrics.finished.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )
    )
