"""F for maps: one step, then a map over 1,000, 10,000 and 100,000 elements, then a step that waits for it.

The version is stored as publishing would store it, loaded and parsed before the clock starts. Memory is what the
process grew by over what it had with the parsed plan.
"""

from __future__ import annotations

import json
from uuid import UUID

from benchmarks.fan_out import INSERT_VERSION, INSERT_WORKFLOW, SEED, run_one
from benchmarks.line import Effort, Line, at_most
from benchmarks.raw import make_ids, open_raw
from benchmarks.surroundings import Surroundings, one_process, publish
from runtime.definition.canonical import canonical_digest
from runtime.model.values import Json

NAME = "map"
AT_ONCE = 1_000


async def measure(around: Surroundings, effort: Effort) -> Line:
    """Seconds of 10,000, how the time grows with the length of the list, and the memory of the longest."""
    widths = (100, 1_000, 2_000) if effort.is_quick else (1_000, 10_000, 100_000)
    seconds: dict[int, float] = {}
    grown = 0.0
    async with one_process(around) as (runtime, worker):
        who, name = await publish(runtime, "seed", SEED)
        await run_one(runtime, worker, who, name)
        for width in widths:
            name, version = await _store(around.database_url, who.tenant_id, width)
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
    """A published version of a map over so many numbers."""
    name, (version,) = f"map-{width}", make_ids(1)
    each: Json = {
        "id": "each",
        "type": "map",
        "depends_on": ["first"],
        "for_each": f"{{{{ range({width}) }}}}",
        "max_concurrency": AT_ONCE,
        "task": {"uses": "core.set@1", "with": {"n": "{{ item }}"}},
    }
    steps: list[Json] = [
        {"id": "first", "uses": "core.noop@1"},
        each,
        {"id": "last", "uses": "core.noop@1", "depends_on": ["each"]},
    ]
    definition: Json = {"name": name, "version": "1.0.0", "steps": steps}
    sql = await open_raw(url)
    try:
        await sql.execute(INSERT_WORKFLOW, version, tenant, name)
        digest = str(canonical_digest(definition))
        await sql.execute(INSERT_VERSION, version, tenant, digest, json.dumps(definition))
    finally:
        await sql.close()
    return name, version
