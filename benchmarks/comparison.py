"""U: two executions of 200 steps beside each other, of which every step differs; over the service, as the graph asks.

Among the facts what else is derived of one of them from its events: its past in the middle of them, and the causes of
its steps. Raw: reading the steps of both as they are.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from benchmarks.line import Effort, Line, at_most, middle
from benchmarks.surroundings import Surroundings, one_process, publish
from runtime.bootstrap import Runtime
from runtime.model.execution import EnqueueRequest
from runtime.model.identity import Principal

NAME = "comparison"
STEPS = 200
_WARM = 3
_HEAD = "name: compared\nversion: 1.0.0\nparams: {n: {type: integer}}\nsteps:\n"


def source() -> str:
    """A chain in which each step hands on what the one before gave."""
    lines = [_HEAD, '  - {id: s0, uses: core.set@1, with: {n: "{{ params.n }}"}}\n']
    lines += [
        f'  - {{id: s{i}, uses: core.set@1, depends_on: s{i - 1}, with: {{n: "{{{{ steps.s{i - 1}.output.n }}}}"}}}}\n'
        for i in range(1, STEPS)
    ]
    return "".join(lines)


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The median of many."""
    times = effort.of(100, 3)
    async with one_process(around) as (runtime, _):
        who, name = await publish(runtime, "compared", source())
        executions = runtime.services.executions
        a, b = [await _ended(runtime, who, name, number) for number in (1, 2)]
        found = await executions.compare(who, a, b)
        if len([step for step in found.steps if step.diverges]) != STEPS:
            raise RuntimeError("not every step differs")
        last = (await executions.events(who, a, limit=5_000))[-1].sequence
        used = time.process_time()
        compared = await _timed(times, lambda: executions.compare(who, a, b))
        cpu = (time.process_time() - used) * 1000 / (times + _WARM)
        plain = await _timed(times, lambda: executions.steps(who, [a, b]))
        past = await _timed(times, lambda: executions.past(who, [(a, last // 2)]))
        causes = await _timed(times, lambda: _causes(runtime, who, a))
    return Line(
        bench=NAME,
        letter="U",
        unit="ms",
        measured=compared,
        raw=plain,
        ratio=compared / plain,
        goals=[at_most("measured", 50.0)],
        facts={
            "steps": STEPS,
            "events": last,
            "cpu_ms": cpu,
            "past_ms": past,
            "causes_ms": causes,
        },
    )


async def _ended(runtime: Runtime, who: Principal, name: str, number: int) -> UUID:
    request = EnqueueRequest(workflow_name=name, input={"n": number})
    answer = await runtime.services.executions.enqueue(who, request)
    async for _ in runtime.services.executions.watch(who, answer.execution.id, after=0, kinds=()):
        pass
    return answer.execution.id


async def _causes(runtime: Runtime, who: Principal, execution: UUID) -> None:
    executions = runtime.services.executions
    standing = (await executions.standings(who, [execution]))[execution]
    for step in (await executions.steps(who, [execution]))[execution]:
        step.blocked(standing)


async def _timed(times: int, work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of one, the median."""
    found = []
    for _ in range(times + _WARM):
        begin = time.perf_counter()
        await work()
        found.append((time.perf_counter() - begin) * 1000)
    return middle(found[_WARM:])
