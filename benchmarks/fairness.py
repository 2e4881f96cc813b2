"""J: how long ten executions of one tenant wait for their first call while another tenant has 10,000 queued.

Raw is the same wait on the same worker with all its places taken by five tenants that have no backlog: each asks for
the next execution when one of its own has begun. Bursts of ten, one after another; Redis and the dispatcher are in the
way (born-owned is off).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

from benchmarks.line import Effort, Line, at, at_most
from benchmarks.steps import MARKS
from benchmarks.surroundings import Surroundings, one_process, publish
from runtime.bootstrap import Runtime
from runtime.model.errors import MaestroError
from runtime.model.execution import EnqueueRequest
from runtime.model.identity import Principal

NAME = "fairness"
_WORKFLOW = """
name: busy
version: 1.0.0
steps:
  - {id: a, uses: bench.mark@1}
  - {id: b, uses: core.sleep@1, depends_on: [a], with: {duration: 50ms}}
"""
_REQUEST = EnqueueRequest(workflow_name="busy")
_PLACES = 50
_OTHERS = 5
_BURST = 10
_POLL_SECONDS = 0.005


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The worst twentieth of the waits, beside a backlog and without one."""
    bursts, backlog = effort.of(20, 2), effort.of(10_000, 300)
    small = replace(around.settings.worker, max_executions=_PLACES)
    around = replace(around, settings=replace(around.settings, worker=small))
    async with one_process(around, born_owned=False) as (runtime, _):
        mine = await _tenant(runtime, "small")
        others = [await _tenant(runtime, f"other-{n}") for n in range(_OTHERS)]
        with _load(runtime, others):
            raw = await _waits(runtime, mine, bursts)
        large = await _tenant(runtime, "large")
        for first in range(0, backlog, 1_000):
            wanted = [_REQUEST] * min(1_000, backlog - first)
            await runtime.services.executions.enqueue_many(large, wanted)
        found = await _waits(runtime, mine, bursts)
    measured, without = at(sorted(found), 0.95) * 1000, at(sorted(raw), 0.95) * 1000
    return Line(
        bench=NAME,
        letter="J",
        unit="ms",
        measured=measured,
        raw=without,
        ratio=measured / without,
        goals=[at_most("ratio", 2.0)],
        facts={
            "backlog": backlog,
            "bursts": bursts,
            "p50_ms": at(sorted(found), 0.5) * 1000,
            "raw_p50_ms": at(sorted(raw), 0.5) * 1000,
        },
    )


async def _tenant(runtime: Runtime, name: str) -> Principal:
    who, _ = await publish(runtime, "busy", _WORKFLOW, tenant=name)
    return who


@contextmanager
def _load(runtime: Runtime, tenants: list[Principal]) -> Iterator[None]:
    """Twice as many executions as there are places, and no tenant with more than its share of them."""

    async def client(who: Principal) -> None:
        while True:
            try:
                accepted = await runtime.services.executions.enqueue(who, _REQUEST)
            except MaestroError:
                continue
            await _called(accepted.execution.id)

    share = 2 * _PLACES // len(tenants)
    clients = [asyncio.create_task(client(who)) for who in tenants for _ in range(share)]
    try:
        yield
    finally:
        for one in clients:
            one.cancel()


async def _waits(runtime: Runtime, who: Principal, bursts: int) -> list[float]:
    """From acceptance to the first call, in seconds, of every execution of some bursts."""
    found: list[float] = []
    for _ in range(bursts):
        answers = await runtime.services.executions.enqueue_many(who, [_REQUEST] * _BURST)
        accepted = time.perf_counter()
        ids = [one.execution.id for one in answers if not isinstance(one, MaestroError)]
        moments = await asyncio.gather(*map(_called, ids))
        found += [max(0.0, moment - accepted) for moment in moments]
    return found


async def _called(execution: UUID) -> float:
    """When its first step was called."""
    while execution not in MARKS:
        await asyncio.sleep(_POLL_SECONDS)
    return MARKS.pop(execution)[0]
