"""F: one step, then many no-op steps side by side, then one that waits for all: 1,000, 10,000 and 100,000 of them.

From a compiled plan: the version is stored as publishing would store it, loaded and parsed before the clock starts.
Memory is what the process grew by over what it had with the parsed plan.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from uuid import UUID

from benchmarks.line import Effort, Line, at_most
from benchmarks.raw import make_ids, open_raw
from benchmarks.surroundings import Surroundings, memory_bytes, one_process, publish
from runtime.bootstrap import Runtime
from runtime.definition.canonical import canonical_digest
from runtime.model.execution import EnqueueRequest
from runtime.model.identity import Principal
from runtime.model.values import Json
from runtime.worker import signals
from runtime.worker.loop import Worker

NAME = "fan-out"
SEED = """
name: seed
version: 1.0.0
steps:
  - {id: a, uses: core.noop@1}
"""
INSERT_WORKFLOW = """insert into workflows (id, tenant_id, name, status, created_by)
  values ($1, $2, $3, 1, '{"subject": "bench"}')"""
INSERT_VERSION = """insert into workflow_versions (id, tenant_id, workflow_id, version, version_order, digest,
  source, source_format, definition, published_by)
  values ($1, $2, $1, '1.0.0', '1', $3, '', 'json', $4, '{"subject": "bench"}')"""


async def measure(around: Surroundings, effort: Effort) -> Line:
    """Seconds of 10,000, how the time grows with the width, and the memory of the widest."""
    widths = (100, 1_000, 2_000) if effort.is_quick else (1_000, 10_000, 100_000)
    seconds: dict[int, float] = {}
    grown = 0.0
    async with one_process(around) as (runtime, worker):
        who, name = await publish(runtime, "seed", SEED)
        await run_one(runtime, worker, who, name)
        for width in widths:
            name, version = await _store(around.database_url, who.tenant_id, width)
            # The worker's own copy, parsed: what stands before the clock and under the memory.
            await worker._tools.programs.get(version)  # noqa: SLF001 - no user needs to ask for it
            seconds[width], grown = await run_one(runtime, worker, who, name)
    middle, most = widths[1], widths[-1]
    return Line(
        bench=NAME,
        letter="F",
        unit="s",
        measured=seconds[middle],
        ratio=(seconds[most] / most) / (seconds[middle] / middle),
        goals=[at_most("measured", 1.5), at_most("ratio", 2.0), at_most("grown_mb", 150)],
        facts={
            **{f"seconds_{width}": found for width, found in seconds.items()},
            "grown_mb": grown / 2**20,
        },
    )


async def _store(url: str, tenant: UUID, width: int) -> tuple[str, UUID]:
    """A published version of that width."""
    name, (version,) = f"fan-{width}", make_ids(1)
    middle: list[Json] = [
        {"id": f"s{i}", "uses": "core.noop@1", "depends_on": ["first"]} for i in range(width)
    ]
    last: Json = {
        "id": "last",
        "uses": "core.noop@1",
        "depends_on": [f"s{i}" for i in range(width)],
    }
    definition: Json = {
        "name": name,
        "version": "1.0.0",
        "steps": [{"id": "first", "uses": "core.noop@1"}, *middle, last],
    }
    sql = await open_raw(url)
    try:
        await sql.execute(INSERT_WORKFLOW, version, tenant, name)
        digest = str(canonical_digest(definition))
        await sql.execute(INSERT_VERSION, version, tenant, digest, json.dumps(definition))
    finally:
        await sql.close()
    return name, version


async def run_one(
    runtime: Runtime, worker: Worker, who: Principal, name: str
) -> tuple[float, float]:
    """Seconds from the call that enqueues it to its end, and the most memory over that at the begin."""
    gc.collect()
    before, most = memory_bytes(), 0
    count = worker.signals.counts[signals.CLOSED] + 1
    begin = time.perf_counter()
    await runtime.services.executions.enqueue(who, EnqueueRequest(workflow_name=name))
    ended = asyncio.create_task(worker.signals.wait(signals.CLOSED, count, timeout=300))
    while not ended.done():
        await asyncio.wait([ended], timeout=0.02)
        most = max(most, memory_bytes())
    ended.result()
    return time.perf_counter() - begin, most - before
