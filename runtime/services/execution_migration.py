"""ExecutionMigrationService: which executions of a version could go on with another one. Reads, changes nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final
from uuid import UUID

from runtime.engine.migration import obstacles_to
from runtime.engine.program import Program, ProgramCache
from runtime.engine.state import RunInfo
from runtime.model.blob import BlobRef
from runtime.model.errors import BadInput, DataDamaged, Invalid, NotFound
from runtime.model.execution import ExecutionFilter, ExecutionState
from runtime.model.execution_migration import (
    MigrationFinding,
    MigrationObstacle,
    MigrationPreview,
)
from runtime.model.identity import Principal
from runtime.model.page import Page, PageRequest
from runtime.model.plan import Plan
from runtime.model.values import SemVer
from runtime.model.workflow import VersionState, WorkflowVersion
from runtime.services.access import READ_EXECUTIONS, READ_WORKFLOWS, require
from runtime.services.aside import aside
from runtime.services.execution import ExecutionService
from runtime.services.judges import Judges
from runtime.services.workflow import WorkflowService
from runtime.store.blob import Blobs
from runtime.store.execution_migration import MigratedExecution, MigrationRecords
from runtime.store.plan import PlanStore
from runtime.store.shards import Shards

# What has not ended, in whatever state.
OPEN: Final = (
    ExecutionState.QUEUED,
    ExecutionState.RUNNING,
    ExecutionState.WAITING,
    ExecutionState.PAUSED,
    ExecutionState.CANCELLING,
    ExecutionState.COMPENSATING,
)
_AT_ONCE: Final = 4


class ExecutionMigrationService:
    """What callers may ask before executions go on with another version of their workflow."""

    def __init__(
        self,
        *,
        shards: Shards,
        plans: PlanStore,
        blobs: Blobs,
        judges: Judges,
        workflows: WorkflowService,
        executions: ExecutionService,
    ) -> None:
        self._records = MigrationRecords(shards)
        self._plans = plans
        self._blobs = blobs
        self._judges = judges
        self._workflows = workflows
        self._executions = executions
        self._programs = ProgramCache(16)
        # All previews of this process together leave most connections to everybody else.
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def preview(
        self, who: Principal, workflow: UUID, before: SemVer, after: SemVer, page: PageRequest
    ) -> Page[MigrationPreview]:
        """A page of the executions of a version that have not ended, newest first: what each comes to.

        Raises NotFound for a version that is not there, and BadInput where there is nothing to go on with.
        """
        require(who, READ_EXECUTIONS)
        require(who, READ_WORKFLOWS)
        old = await self._version(who, workflow, before, "from")
        new = await self._version(who, workflow, after, "to")
        _check(old, new)
        plans = await self._plans.get(old.id), await self._plans.get(new.id)
        filter = ExecutionFilter(  # noqa: A001 - the graph's word
            state=OPEN, workflow_id=(workflow,), version=str(before)
        )
        found = await self._executions.list(who, filter, page)
        items = await asyncio.gather(*(self._preview(who, one.id, *plans) for one in found.items))
        return Page(tuple(items), found.cursors, found.has_next, found.has_previous, found.silent)

    async def _version(
        self, who: Principal, workflow: UUID, version: SemVer, name: str
    ) -> WorkflowVersion:
        found = await self._workflows.version(who, workflow, version)
        if found is None:
            raise NotFound(
                f"The workflow has no version {version}.", reason="VERSION_NOT_FOUND", path=(name,)
            )
        return found

    async def _preview(
        self, who: Principal, id: UUID, before: Plan, after: Plan
    ) -> MigrationPreview:
        async with self._places:
            found = await self._records.read(who.tenant_id, id, before)
            if found is None:
                return MigrationPreview(id, (_GONE,))
            size = len(before.steps) + len(found.history.steps)
            old, new = self._programs.get(before), self._programs.get(after)
            structural = await aside(size, partial(_obstacles, id, old, new, found))
            return MigrationPreview(
                id, (*structural, *await self._of_input(who, id, found, *(before, after)))
            )

    async def _of_input(
        self, who: Principal, id: UUID, found: MigratedExecution, before: Plan, after: Plan
    ) -> tuple[MigrationFinding, ...]:
        """Whether the other version takes the input as it is: nothing is filled in afterwards."""
        if before.params_schema == after.params_schema:
            return ()
        given = found.input
        try:
            if isinstance(given, BlobRef):
                given = await self._blobs.load_again(who.tenant_id, id, given)
            if await self._judges.input(who.tenant_id, after, given) == given:
                return ()
            words = "Its input lacks what the other version would fill in at its start."
        except Invalid:
            words = "Its input is none that the other version takes."
        except DataDamaged as damaged:
            words = damaged.message
        return (MigrationFinding(MigrationObstacle.INPUT, words),)


def _obstacles(
    id: UUID, old: Program, new: Program, found: MigratedExecution
) -> tuple[MigrationFinding, ...]:
    run = RunInfo(id, None, found.generation)
    told = obstacles_to(old, new, run, found.history, found.begun)
    return (*told, _CHILD) if found.is_child else told


def _check(old: WorkflowVersion, new: WorkflowVersion) -> None:
    if old.id == new.id:
        raise BadInput("Both are the same version.", reason="SAME_VERSION", path=("to",))
    if new.state is VersionState.ARCHIVED:
        raise BadInput(
            f"The version {new.version} is archived: nothing is begun with it.",
            reason="VERSION_ARCHIVED",
            path=("to",),
        )


_CHILD: Final = MigrationFinding(
    MigrationObstacle.CHILD,
    "Another execution has started it, and has chosen its version by what its own definition says.",
)
_GONE: Final = MigrationFinding(MigrationObstacle.ENDING, "It has ended meanwhile, and is gone.")
