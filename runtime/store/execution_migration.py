"""What is stored of an execution as far as the preview of its migration needs it, of one moment."""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from runtime.model.blob import Stored, stored
from runtime.model.checkpoint import ExecutionHistory, Mark, StepRecord
from runtime.model.event import MARKS
from runtime.model.plan import Plan, StepKind
from runtime.store.shards import Shards
from runtime.store.statements import statements

_SQL: Final = statements("execution_migration")
_HISTORY: Final = statements("generation_preview")


class MigratedExecution(NamedTuple):
    """An execution before its migration; `begun` are the numbers of the steps that its events name."""

    version_id: UUID
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
            row["generation"],
            stored(row["input"]),
            row["is_child"],
            ExecutionHistory(
                tuple(StepRecord(*one) for one in rows), marks=tuple(Mark(*one) for one in marks)
            ),
            frozenset(one["step"] for one in begun),
        )
