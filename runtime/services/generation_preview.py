"""GenerationPreviewService: what the next generation of an execution would do. Reads, changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from runtime.connectors.registry import Registry
from runtime.engine.generation_preview import preview
from runtime.engine.program import Program
from runtime.engine.state import RunInfo
from runtime.model.checkpoint import Mark
from runtime.model.generation_preview import GenerationPreview
from runtime.model.identity import Principal
from runtime.model.plan import Effect, Plan, StepPlan
from runtime.model.values import Json
from runtime.services.access import READ_EXECUTIONS, require
from runtime.services.aside import aside
from runtime.services.beginning_again import TRIES, changed
from runtime.services.edited_input import EditedInputs, gateways_of
from runtime.services.retrying import (
    NO_WISHES,
    RETRY,
    REWIND,
    Beginning,
    Wishes,
    told_by_retry,
    told_by_rewind,
)
from runtime.services.watch import unknown
from runtime.store.execution_record import ExecutionRecords
from runtime.store.generation_preview import GenerationPreviewRecords, PreviewedExecution
from runtime.store.plan import PlanStore
from runtime.store.shards import Shards


class GenerationPreviewService:
    """What callers may ask before they begin another generation."""

    def __init__(
        self, *, shards: Shards, plans: PlanStore, registry: Registry, edits: EditedInputs
    ) -> None:
        self._records = GenerationPreviewRecords(shards)
        self._executions = ExecutionRecords(shards)
        self._plans = plans
        self._registry = registry
        self._edits = edits

    async def retry(
        self, who: Principal, id: UUID, *, from_failed_step: bool = True
    ) -> GenerationPreview:
        """What `ExecutionService.retry` would do now; raises what that raises."""
        said = told_by_retry(who, None, from_failed_step=from_failed_step)
        return await self._next(who, id, RETRY, lambda _plan: said)

    async def rewind(
        self,
        who: Principal,
        id: UUID,
        step_key: str,
        *,
        input: Json = None,
        keep: Sequence[str] = (),
    ) -> GenerationPreview:
        """What `ExecutionService.rewind` would do now; raises what that raises."""
        wishes = Wishes(input, tuple(keep))
        return await self._next(
            who, id, REWIND, lambda plan: told_by_rewind(who, plan, step_key, None), wishes
        )

    async def _next(
        self,
        who: Principal,
        id: UUID,
        how: Beginning,
        says: Callable[[Plan], dict[str, Json]],
        wishes: Wishes = NO_WISHES,
    ) -> GenerationPreview:
        require(who, READ_EXECUTIONS)
        for _ in range(TRIES):
            version = await self._records.version(who.tenant_id, id)
            if version is None:
                raise unknown(id)
            plan = await self._plans.get(version)
            told = says(plan)
            found = await self._records.read(who.tenant_id, id, gateways_of(plan))
            if found is None or found.status not in how.statuses:
                raise how.refusal(id, None if found is None else found.status)
            if found.version_id != version:
                continue
            child = await self._records.open_child(id)
            if child is not None:
                raise how.refusal(id, found.status, child)
            if wishes != NO_WISHES:
                told = await self._with_wishes(who, id, plan, found, told, wishes)
            size = len(plan.steps) + len(found.history.steps)
            return await aside(size, partial(self._preview, id, plan, found, Mark(how.kind, told)))
        raise changed(id)

    async def _with_wishes(
        self,
        who: Principal,
        id: UUID,
        plan: Plan,
        found: PreviewedExecution,
        told: dict[str, Json],
        wishes: Wishes,
    ) -> dict[str, Json]:
        execution = await self._executions.find(who.tenant_id, id)
        if execution is None:
            raise unknown(id)
        told, _ = await self._edits.told(who, execution, plan, found, told, wishes)
        return told

    def _preview(
        self, id: UUID, plan: Plan, found: PreviewedExecution, told: Mark
    ) -> GenerationPreview:
        run = RunInfo(id, None, found.generation)
        return preview(
            Program.of(plan),
            run,
            found.history,
            told,
            announced=found.announced,
            effect_of=self._effect_of,
        )

    def _effect_of(self, step: StepPlan) -> Effect | None:
        """What a call of this step does to the outside, if none of its calls was announced.

        Where that depends on the input, a call that was not announced was at most idempotent.
        """
        if step.effect is not None or step.uses is None:
            return step.effect
        connector = self._registry.resolve(step.uses)
        return None if connector is None else connector.effect_class or Effect.IDEMPOTENT
