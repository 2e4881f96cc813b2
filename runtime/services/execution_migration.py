"""ExecutionMigrationService: which executions of a version could go on with another one; and lets them.

An execution is moved while nobody owns it, in one commit, and only as it was when it was judged: the same owner's epoch
and newest event. A worker that claims it before or after finds it whole, with one version or the other.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final
from uuid import UUID

from runtime.engine.migration import obstacles_to
from runtime.engine.program import Program, ProgramCache
from runtime.engine.state import RunInfo
from runtime.model.blob import BlobRef
from runtime.model.errors import (
    BadInput,
    DataDamaged,
    Invalid,
    InvalidState,
    NotFound,
)
from runtime.model.execution import Execution, ExecutionFilter, ExecutionState, ExecutionStatus
from runtime.model.execution_migration import (
    MigrationFinding,
    MigrationObstacle,
    MigrationPreview,
)
from runtime.model.identity import Principal
from runtime.model.page import Page, PageRequest
from runtime.model.plan import Plan
from runtime.model.values import Json, SemVer
from runtime.model.workflow import VersionState, WorkflowVersion
from runtime.queue.keys import class_of
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.services.access import READ_EXECUTIONS, READ_WORKFLOWS, WRITE_EXECUTIONS, require
from runtime.services.aside import aside
from runtime.services.execution import ExecutionService
from runtime.services.judges import Judges
from runtime.services.message import finished
from runtime.services.watch import unknown
from runtime.services.workflow import WorkflowService
from runtime.store.blob import Blobs
from runtime.store.execution_migration import MigratedExecution, MigrationRecords
from runtime.store.idempotency import body_digest, check_key, claim_key
from runtime.store.plan import PlanStore
from runtime.store.shards import Shards
from runtime.store.workflow import actor_json

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
_UNOWNED: Final = (ExecutionStatus.QUEUED, ExecutionStatus.WAITING)
# How often it is judged again when it has gone on meanwhile.
_TRIES: Final = 3
_MIGRATE: Final = "migrate_execution"


class _ChangedError(Exception):
    """It is not as it was when it was judged."""


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
        queue: RedisQueue,
        wakeup: Wakeup,
    ) -> None:
        self._shards = shards
        self._queue = queue
        self._wakeup = wakeup
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

    async def migrate(
        self,
        who: Principal,
        id: UUID,
        to: SemVer,
        *,
        reason: str | None = None,
        key: str | None = None,
    ) -> None:
        """Let an execution go on with another version of its workflow; one that runs it already is left as it is.

        Raises InvalidState where that is not safe, and while a worker has it.
        """
        require(who, WRITE_EXECUTIONS)
        for _ in range(_TRIES):
            execution = await self._executions.find(who, id)
            if execution is None:
                raise unknown(id)
            new = await self._version(who, execution.workflow_id, to, "toVersion")
            if execution.status.is_terminal:
                if await self._was_done(who, id, key, [str(to), reason]):
                    return
                raise finished(id, execution.status)
            if execution.version_id == new.id:
                return
            _refuse_archived(new)
            if execution.status not in _UNOWNED:
                raise _not_now(id)
            if await self._moved(who, execution, new, reason, key):
                self._wakeup.publish_events(self._shards.shard_of(id), [id])
                self._queue.hint(
                    self._shards.shard_of(id), who.tenant_id, id, class_of(execution.priority)
                )
                return
        raise _not_now(id)

    async def _moved(
        self,
        who: Principal,
        execution: Execution,
        new: WorkflowVersion,
        reason: str | None,
        key: str | None,
    ) -> bool:
        """Judge it and move it as it was judged; whether it was still so."""
        id = execution.id  # noqa: A001 - the graph's word
        before = await self._plans.get(execution.version_id)
        after = await self._plans.get(new.id)
        found = await self._records.read(who.tenant_id, id, before)
        if found is None or found.version_id != execution.version_id:
            return False
        if found.status not in _UNOWNED:
            return False
        findings = await self._findings(who, id, found, before, after)
        if findings:
            first = findings[0]
            raise InvalidState(
                f"The execution {id} can't go on with {new.version}: {first.message}",
                reason=f"MIGRATION_{first.obstacle.name}",
            )
        event: Json = {
            "actor": actor_json(who.actor),
            "reason": reason,
            "from": execution.version or str(before.version),
            "from_id": str(found.version_id),
            "to": str(new.version),
            "to_id": str(new.id),
        }
        shard = self._shards.shard_of(id)
        version = new.id, str(new.version)
        try:
            async with (
                self._shards.database(shard).engine() as connection,
                connection.transaction(),
            ):
                if await self._is_known(connection, who, id, key, [str(new.version), reason]):
                    return True
                status = await self._records.move(
                    connection, who.tenant_id, id, found, version, event
                )
                if status is None:
                    # Nothing was done under the key: it is not taken.
                    raise _ChangedError
        except _ChangedError:
            return False
        return True

    async def _was_done(self, who: Principal, id: UUID, key: str | None, said: Json) -> bool:
        """Whether something was done under this key; what is not known does not become so."""
        database = self._shards.database(self._shards.shard_of(id))
        try:
            async with database.engine() as connection, connection.transaction():
                if not await self._is_known(connection, who, id, key, said):
                    raise _ChangedError
        except _ChangedError:
            return False
        return True

    async def _is_known(
        self, connection: Any, who: Principal, id: UUID, key: str | None, said: Json
    ) -> bool:
        if check_key(key) is None or key is None:
            return False
        digest, shard = body_digest([str(id), said]), self._shards.shard_of(id)
        first = await claim_key(connection, who.tenant_id, _MIGRATE, key, digest, id, shard=shard)
        return first is not None

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
            return MigrationPreview(id, await self._findings(who, id, found, before, after))

    async def _findings(
        self, who: Principal, id: UUID, found: MigratedExecution, before: Plan, after: Plan
    ) -> tuple[MigrationFinding, ...]:
        if found.cancel_requested or found.status.is_terminal:
            return (_ENDS,)
        size = len(before.steps) + len(found.history.steps)
        old, new = self._programs.get(before), self._programs.get(after)
        told = await aside(size, partial(_obstacles, id, old, new, found))
        return (*told, *await self._of_input(who, id, found, before, after))

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
    _refuse_archived(new)


def _refuse_archived(new: WorkflowVersion) -> None:
    if new.state is VersionState.ARCHIVED:
        raise BadInput(
            f"The version {new.version} is archived: nothing is begun with it.",
            reason="VERSION_ARCHIVED",
            path=("to",),
        )


def _not_now(id: UUID) -> InvalidState:
    return InvalidState(
        f"A worker has the execution {id}: it is moved only while it waits, is paused or is queued. Pause it, or try "
        "again later.",
        reason="MIGRATION_RUNNING",
    )


_CHILD: Final = MigrationFinding(
    MigrationObstacle.CHILD,
    "Another execution has started it, and has chosen its version by what its own definition says.",
)
_ENDS: Final = MigrationFinding(MigrationObstacle.ENDING, "It ends already, or has ended.")
_GONE: Final = MigrationFinding(MigrationObstacle.ENDING, "It has ended meanwhile, and is gone.")
