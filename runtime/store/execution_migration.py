"""What is stored of an execution as far as its migration needs it, of one moment; and the move."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from runtime.model.blob import Stored, stored
from runtime.model.checkpoint import ExecutionHistory, Mark, StepRecord
from runtime.model.event import MARKS
from runtime.model.execution import ExecutionStatus
from runtime.model.plan import Plan, StepKind
from runtime.model.values import Json
from runtime.store.shards import Shards
from runtime.store.statements import statements

_SQL: Final = statements("execution_migration")
_HISTORY: Final = statements("generation_preview")


class MigratedExecution(NamedTuple):
    """An execution before its migration; `begun` are the numbers of the steps that its events name.

    By `version_id`, `epoch` and `last_sequence` the move knows that nothing has happened since.
    """

    version_id: UUID
    status: ExecutionStatus
    epoch: int
    last_sequence: int
    cancel_requested: bool
    generation: int
    input: Stored
    is_child: bool
    history: ExecutionHistory
    begun: frozenset[int]


class MigrationRecords:
    """Reads of single executions, each from the database that holds it."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def read(self, tenant: UUID, execution: UUID, plan: Plan) -> MigratedExecution | None:
        """All of it in one snapshot; `plan` is that of its version."""
        gateways = [step.index for step in plan.steps if step.kind is StepKind.GATEWAY]
        async with (
            self._shards.holding(execution).tenant(tenant) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow(_SQL["execution"], tenant, execution)
            if row is None:
                return None
            rows = await connection.fetch(_HISTORY["rows"], tenant, execution, gateways)
            marks = await connection.fetch(_HISTORY["marks"], tenant, execution, list(MARKS))
            begun = await connection.fetch(_SQL["begun"], tenant, execution)
        return MigratedExecution(
            row["version_id"],
            ExecutionStatus(row["status"]),
            row["epoch"],
            row["last_sequence"],
            row["cancel_requested"],
            row["generation"],
            stored(row["input"]),
            row["is_child"],
            ExecutionHistory(
                tuple(StepRecord(*one) for one in rows), marks=tuple(Mark(*one) for one in marks)
            ),
            frozenset(one["step"] for one in begun),
        )

    async def move(
        self,
        connection: Any,
        tenant: UUID,
        execution: UUID,
        found: MigratedExecution,
        version: tuple[UUID, str],
        event: Json,
    ) -> ExecutionStatus | None:
        """Let it go on with another version (id and number), within the caller's transaction.

        Returns its status; None where somebody owns it, or something has happened since it was `found`.
        """
        row = await connection.fetchrow(
            _SQL["migrate"],
            self._shards.shard_of(execution),
            tenant,
            execution,
            found.version_id,
            *version,
            found.epoch,
            found.last_sequence,
            orjson.dumps(event).decode(),
        )
        return ExecutionStatus(row["status"]) if row["moved"] else None
