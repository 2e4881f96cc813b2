"""ReplayService: whether what is recorded of an execution follows from its decisions. Reads everything, writes nothing.

The definition is compiled anew from what is stored, never from a plan in memory; every stored output is hashed again,
in rows and in the blob store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final
from uuid import UUID

from runtime.clock import Clock
from runtime.connectors.again import Again, run_again
from runtime.connectors.registry import Registry
from runtime.definition import compile_plan
from runtime.definition.canonical import canonical_digest
from runtime.engine.event import BlobLoaded
from runtime.engine.program import Program
from runtime.engine.proof import Proof
from runtime.engine.state import run_of
from runtime.model.blob import BlobRef
from runtime.model.errors import BadInput, DataDamaged
from runtime.model.event import EventKind
from runtime.model.execution_replay import DivergenceKind, ExecutionReplay, ReplayDivergence
from runtime.model.identity import Principal
from runtime.services.access import DEBUG_EXECUTIONS, READ_EXECUTIONS, require
from runtime.services.watch import unknown
from runtime.store.blob import Blobs
from runtime.store.execution_replay import RecordedExecution, ReplayRecords
from runtime.store.plan import PlanStore
from runtime.store.shards import Shards
from runtime.telemetry.metrics import Metrics

# What one replay may take of this process, and how many there are at once.
LONGEST_SECONDS: Final = 20.0
_AT_ONCE: Final = 2


class ReplayService:
    """What callers may prove of what they may read."""

    def __init__(
        self,
        *,
        shards: Shards,
        plans: PlanStore,
        blobs: Blobs,
        registry: Registry,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._records = ReplayRecords(shards)
        self._plans = plans
        self._blobs = blobs
        self._registry = registry
        self._clock = clock
        self._metrics = metrics
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._under_way: set[asyncio.Task[ExecutionReplay]] = set()

    async def replay(
        self, who: Principal, execution: UUID, *, executes: bool = False
    ) -> ExecutionReplay:
        """Replay an execution; `executes`: run its pure steps again as well, which needs the right to debug.

        Raises NotFound, and BadInput when the execution is too large, or its replay takes too long.
        """
        require(who, READ_EXECUTIONS)
        if executes:
            require(who, DEBUG_EXECUTIONS)
        await self._places.acquire()
        # Whoever goes away leaves a thread behind that can't be ended: it keeps its place for as long.
        work = asyncio.create_task(self._read_and_replay(who, execution, executes=executes))
        self._under_way.add(work)
        work.add_done_callback(self._leave)
        return await asyncio.shield(work)

    def _leave(self, work: asyncio.Task[ExecutionReplay]) -> None:
        self._under_way.discard(work)
        self._places.release()
        if not work.cancelled():
            work.exception()  # Looked at, whether anybody still waits for it or not.

    async def _read_and_replay(
        self, who: Principal, execution: UUID, *, executes: bool
    ) -> ExecutionReplay:
        found = await self._records.read(who.tenant_id, execution)
        if found is None:
            raise unknown(execution)
        replayed = await self._replayed(who, found, executes=executes)
        self._metrics.replays.labels("equal" if replayed.is_equal else "diverged").inc()
        return replayed

    async def _replayed(
        self, who: Principal, found: RecordedExecution, *, executes: bool
    ) -> ExecutionReplay:
        owned, record = found
        ends = self._clock.monotonic() + LONGEST_SECONDS
        moves = [e for e in record.events if e.kind is EventKind.EXECUTION_MIGRATED]
        programs: dict[str, Program] = {}
        run = run_of(owned, await self._plans.get(owned.version_id))._replace(generation=0)
        versions = [(run.version or "", owned.version_id)]
        if moves:
            # The one with which it began first, that which it runs now last.
            began = str(moves[0].field("from")), UUID(str(moves[0].field("from_id")))
            versions = [began, *((str(e.field("to")), UUID(str(e.field("to_id")))) for e in moves)]
            run = run._replace(version=began[0])
        for version, version_id in versions:
            made = await self._compiled(owned.id, version_id)
            if isinstance(made, ExecutionReplay):
                return made
            programs[version] = made
        program = programs[versions[-1][0]]
        proof = Proof(
            programs[versions[0][0]],
            run,
            record,
            keeps_calls=executes,
            others=programs,
            go_on=partial(self._go_on, owned.id, ends),
        )
        replayed = await self._driven(who, owned.id, proof)
        if not executes or not replayed.is_equal:
            return replayed
        again = partial(run_again, program, owned, proof.calls, found.record.rows, self._registry)
        seconds = max(0.0, ends - self._clock.monotonic())
        told: Again = await asyncio.to_thread(again, seconds=seconds, clock=self._clock)
        return replace(
            replayed,
            executed=told.executed,
            left_out=told.left_out,
            divergence=told.divergence,
        )

    async def _compiled(self, execution: UUID, version_id: UUID) -> Program | ExecutionReplay:
        """What is stored of a version, compiled anew; or that it is not what was published."""
        definition, digest = await self._plans.definition(version_id)
        actual = await asyncio.to_thread(canonical_digest, definition)
        if actual != digest:
            kind = DivergenceKind.DEFINITION
            found = ReplayDivergence(kind, str(digest), str(actual))
            return ExecutionReplay(execution, divergence=found)
        plan = await asyncio.to_thread(compile_plan, definition, digest)
        return await asyncio.to_thread(Program.of, plan)

    def _go_on(self, execution: UUID, ends: float) -> None:
        if self._clock.monotonic() > ends:
            raise BadInput(
                f"The replay of {execution} takes more than {LONGEST_SECONDS:g} seconds.",
                reason="REPLAY_TOO_LONG",
            )

    async def _driven(self, who: Principal, execution: UUID, proof: Proof) -> ExecutionReplay:
        """Let it go through the record, in threads of their own; load here what it asks for."""
        proving = proof.prove()
        step: Callable[[], Any] = partial(next, proving)
        while True:
            found = await asyncio.to_thread(_advanced, step)
            if isinstance(found, ExecutionReplay):
                return found
            loaded = await self._loaded(who, execution, found, is_hashed=proof.only_hashes)
            step = partial(proving.send, loaded)

    async def _loaded(
        self, who: Principal, execution: UUID, ref: BlobRef, *, is_hashed: bool
    ) -> BlobLoaded:
        try:
            if is_hashed:
                await self._blobs.prove(who.tenant_id, execution, ref)
                return BlobLoaded(ref)
            # From the store each time: a value in memory proves nothing.
            value = await self._blobs.load_again(who.tenant_id, execution, ref)
        except DataDamaged as damaged:
            return BlobLoaded(ref, problem=damaged.message)
        return BlobLoaded(ref, value)


def _advanced(step: Callable[[], BlobRef]) -> ExecutionReplay | BlobRef:
    """One stretch of a replay: its end, or the value that it needs."""
    try:
        return step()
    except StopIteration as end:
        replay: ExecutionReplay = end.value
        return replay
