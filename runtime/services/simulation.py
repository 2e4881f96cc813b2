"""SimulationService: how an execution would go. Reads definitions and past executions, writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.connectors.registry import Registry
from runtime.connectors.rehearsal import rehearse
from runtime.definition import compile_plan
from runtime.engine.simulation import PastStep, Script, Simulation
from runtime.model.blob import BlobRef
from runtime.model.durable import durable_input
from runtime.model.errors import BadInput, Invalid, NotFound, Problem
from runtime.model.execution import StepExecution, StepStatus
from runtime.model.identity import Principal
from runtime.model.plan import Plan
from runtime.model.values import Json, SemVer
from runtime.model.workflow import DefinitionFormat, WorkflowVersion
from runtime.services.access import READ_EXECUTIONS, READ_WORKFLOWS, require
from runtime.services.artifact import ArtifactService
from runtime.services.execution import ExecutionService
from runtime.services.judges import Judges
from runtime.services.workflow import WorkflowService
from runtime.telemetry.metrics import Metrics

# A simulation takes a thread of this process for so long at most, and so many of them at once.
LONGEST_SECONDS: Final = 10.0
_AT_ONCE: Final = 2
_PAST_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SimulationRequest:
    """What a caller asks for: a document, or a workflow by id (its current version, else its draft)."""

    workflow_id: UUID | None = None
    version: SemVer | None = None
    source: str | None = None
    format: DefinitionFormat | None = None
    input: Json = None
    script: Script = field(default_factory=Script)
    from_execution: UUID | None = None


@dataclass(slots=True)
class Turn:
    """The simulations of one request: one after another, and what they took together, in seconds."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    seconds: float = 0.0

    @contextmanager
    def taking(self, clock: Clock) -> Iterator[None]:
        """Add what a block takes."""
        begin = clock.monotonic()
        try:
            yield
        finally:
            self.seconds += clock.monotonic() - begin


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it, and what validation said of a document."""

    simulation: Simulation
    findings: tuple[Problem, ...] = ()


class SimulationService:
    """What callers may ask before they run anything."""

    def __init__(
        self,
        *,
        workflows: WorkflowService,
        executions: ExecutionService,
        artifacts: ArtifactService,
        registry: Registry,
        judges: Judges,
        clock: Clock,
        metrics: Metrics,
        max_input_bytes: int,
    ) -> None:
        self._workflows = workflows
        self._executions = executions
        self._artifacts = artifacts
        self._registry = registry
        self._judges = judges
        self._clock = clock
        self._metrics = metrics
        self._max_input_bytes = max_input_bytes
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def simulate(
        self, who: Principal, asked: SimulationRequest, turn: Turn | None = None
    ) -> Simulated:
        """Simulate; raises Invalid for a document with errors or an input that does not fit.

        `turn` is that of the request, which may simulate again until all of it took as long as one may.
        """
        require(who, READ_WORKFLOWS)
        if asked.from_execution is not None:
            require(who, READ_EXECUTIONS)
        turn = turn or Turn()
        async with turn.lock:
            if turn.seconds > LONGEST_SECONDS:
                raise BadInput(
                    f"The simulations of one request take {LONGEST_SECONDS:g} seconds together; ask for the others in "
                    "requests of their own.",
                    reason="SIMULATIONS_TOO_LONG",
                )
            return await self._simulated(who, asked, turn)

    async def _simulated(self, who: Principal, asked: SimulationRequest, turn: Turn) -> Simulated:
        script = asked.script
        with turn.taking(self._clock):
            # As when it is enqueued: first what was sent, then what the defaults made of it.
            durable_input(asked.input, most=self._max_input_bytes)
            plan, findings = await self._plan(who, asked)
            if asked.from_execution is not None:
                script = replace(script, past=await self._past(who, asked.from_execution))
            params = await self._judges.input(who.tenant_id, plan, asked.input)
            durable_input(params, most=self._max_input_bytes)
        async with self._places:
            ends = self._clock.monotonic() + LONGEST_SECONDS - turn.seconds
            with turn.taking(self._clock):
                simulation = await asyncio.to_thread(
                    rehearse,
                    plan,
                    self._registry,
                    params,
                    script,
                    now=self._clock.now(),
                    is_over=lambda: self._clock.monotonic() > ends,
                )
        outcome = "stopped" if simulation.stopped else simulation.status.name.lower()
        self._metrics.simulations.labels(outcome).inc()
        return Simulated(simulation, findings)

    async def _plan(
        self, who: Principal, asked: SimulationRequest
    ) -> tuple[Plan, tuple[Problem, ...]]:
        if (asked.source is None) == (asked.workflow_id is None):
            raise BadInput(
                "Give a document in `source`, or name a workflow by `workflowId`.",
                reason="WORKFLOW_REFERENCE",
            )
        if asked.source is not None:
            if asked.version is not None:
                raise BadInput(
                    "`version` chooses among the versions of a workflow; a document in `source` is one by itself.",
                    reason="WORKFLOW_REFERENCE",
                    path=("version",),
                )
            found = await self._workflows.validate(who, asked.source, asked.format)
            if found.definition is None or found.digest is None:
                raise Invalid(found.problems)
            plan = await asyncio.to_thread(compile_plan, found.definition, found.digest)
            return plan, found.problems
        version = await self._version(who, asked)
        if not isinstance(version.definition, dict):
            raise NotFound("This version has no definition.", reason="VERSION_NOT_FOUND")
        plan = await asyncio.to_thread(compile_plan, version.definition, version.digest)
        return plan, ()

    async def _version(self, who: Principal, asked: SimulationRequest) -> WorkflowVersion:
        """The version that is named, else what new executions take, else the draft."""
        workflow, found = asked.workflow_id, None
        if workflow is not None and asked.version is not None:
            found = await self._workflows.version(who, workflow, asked.version)
        elif workflow is not None:
            found = (await self._workflows.current_versions(who, [workflow])).get(workflow)
            found = found or (await self._workflows.drafts(who, [workflow])).get(workflow)
        if found is None:
            raise NotFound("There is no such workflow or version.", reason="VERSION_NOT_FOUND")
        return found

    async def _past(self, who: Principal, id: UUID) -> dict[str, PastStep]:
        """Outputs and durations of the steps that completed; what is too large is left to the schema."""
        steps = (await self._executions.steps(who, [id])).get(id)
        if steps is None:
            raise NotFound(f"There is no execution {id}.", reason="EXECUTION_NOT_FOUND")
        found: dict[str, PastStep] = {}
        left = _PAST_BYTES
        for step in steps:
            if step.status not in {StepStatus.COMPLETED, StepStatus.COMPENSATED}:
                continue
            if isinstance(step.output, BlobRef):
                left -= step.output.size
                if left < 0:
                    continue
            output = await self._artifacts.value(who, id, step.output)
            found[step.key] = PastStep(output, _seconds(step))
        return found


def _seconds(step: StepExecution) -> float | None:
    if step.started_at is None or step.finished_at is None:
        return None
    return max(0.0, (step.finished_at - step.started_at).total_seconds())
