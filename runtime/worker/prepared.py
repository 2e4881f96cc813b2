"""Programs with their connectors: what is the same for all executions of a version, worked out once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from runtime.connectors.code import code_digest, module_digest
from runtime.connectors.registry import Registry
from runtime.engine.program import Program, StepProgram
from runtime.model.plan import Effect
from runtime.store.plan import PlanStore
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.tally import Buckets, Count
from runtime.worker.encode import text_of, written
from runtime.worker.given import GIVEN, Given


@dataclass(frozen=True, slots=True)
class PreparedStep:
    """One step with its connector (None when this worker has none that fits) and its metrics.

    `tail` is what the rows of all its attempts say alike, as JSON text that begins with a comma. `constant` is
    an input without expressions, as it will be rendered every time, and its digest.
    """

    program: StepProgram
    connector: Any
    connector_name: str
    timeout_seconds: float | None
    tail: str
    constant: tuple[bytes, str] | None
    completed: Count
    seconds: Buckets


@dataclass(frozen=True, slots=True)
class PreparedProgram:
    """A program and its prepared steps."""

    program: Program
    steps: tuple[PreparedStep, ...]


class _ChildStarter:
    """In the place of a connector, of steps that start a child: nothing outside is called."""

    # Of the class, said so: a compiled one has nothing else before it is made.
    inline: ClassVar = False
    effect_class: ClassVar = Effect.PURE


class Programs:
    """The prepared programs used last, by version. A version never changes, so nothing expires."""

    def __init__(
        self,
        plans: PlanStore,
        registry: Registry,
        metrics: Metrics,
        *,
        worker: str,
        limit: int = 512,
    ) -> None:
        self._plans = plans
        self._registry = registry
        self._metrics = metrics
        self._worker = worker
        self._limit = limit
        self._known: OrderedDict[UUID, PreparedProgram] = OrderedDict()

    async def get(self, version_id: UUID) -> PreparedProgram:
        """The program of a version, loaded and parsed on first use."""
        known = self._known.get(version_id)
        if known is not None:
            self._known.move_to_end(version_id)
            return known
        program = Program.of(await self._plans.get(version_id))
        prepared = PreparedProgram(program, tuple(map(self._prepare, program.steps)))
        self._known[version_id] = prepared
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
        return prepared

    def _prepare(self, step: StepProgram) -> PreparedStep:
        plan = step.plan
        connector: Any = None
        name = plan.kind.value if plan.uses is None else str(plan.uses)
        if plan.uses is not None:
            connector = self._registry.resolve(plan.uses)
        elif plan.workflow is not None:
            connector = _ChildStarter
        elif plan.stands_for is not None:
            connector, name = GIVEN, Given.name
        code = module_digest(__name__) if plan.uses is None else None
        if connector is not None and plan.uses is not None:
            name = f"{connector.name}@{connector.version}"
            code = code_digest(connector)
        digest = "" if code is None else f',"code_digest":"{code}"'
        return PreparedStep(
            program=step,
            connector=connector,
            connector_name=name,
            timeout_seconds=None if plan.timeout is None else plan.timeout.seconds,
            tail=f',"code":{text_of(name)}{digest},"worker":{text_of(self._worker)}',
            constant=written(step.config.source) if step.config.is_constant else None,
            completed=self._metrics.steps.labels(name, "completed"),
            seconds=self._metrics.step_seconds.labels(name),
        )
