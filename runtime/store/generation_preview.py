"""What is stored of an execution as far as a preview of its next generation needs it: rows and marks of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from runtime.model.checkpoint import ExecutionHistory, Mark, StepRecord
from runtime.model.event import MARKS, EventKind
from runtime.model.execution import ExecutionStatus
from runtime.store.family import open_child
from runtime.store.shards import Shards
from runtime.store.statements import statements

_SQL: Final = statements("generation_preview")


class PreviewedExecution(NamedTuple):
    """An execution before its next generation; `announced` are steps of which calls were announced."""

    status: ExecutionStatus
    version_id: UUID
    generation: int
    history: ExecutionHistory
    announced: frozenset[int]


class GenerationPreviewRecords:
    """Reads of single executions, each from the database that holds it."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def version(self, tenant: UUID, execution: UUID) -> UUID | None:
        """The version that it runs now; None: there is no such execution of this tenant."""
        async with self._shards.holding(execution).tenant(tenant) as connection:
            row = await connection.fetchrow(_SQL["execution"], tenant, execution)
        return None if row is None else row["version_id"]

    async def read(
        self, tenant: UUID, execution: UUID, gateways: Sequence[int]
    ) -> PreviewedExecution | None:
        """All of it in one snapshot; `gateways` are the steps whose outputs are read."""
        async with (
            self._shards.holding(execution).tenant(tenant) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow(_SQL["execution"], tenant, execution)
            if row is None:
                return None
            rows = await connection.fetch(_SQL["rows"], tenant, execution, list(gateways))
            marks = await connection.fetch(_SQL["marks"], tenant, execution, list(MARKS))
            kind = EventKind.STEP_CALL_ANNOUNCED
            announced = await connection.fetch(_SQL["announced"], tenant, execution, kind)
        return PreviewedExecution(
            ExecutionStatus(row["status"]),
            row["version_id"],
            row["generation"],
            ExecutionHistory(
                tuple(StepRecord(*one) for one in rows), marks=tuple(Mark(*one) for one in marks)
            ),
            frozenset(one["step"] for one in announced),
        )

    async def open_child(self, execution: UUID) -> UUID | None:
        """A child that has not ended; who asks has found the execution to be the caller's."""
        shard = self._shards.shard_of(execution)
        async with self._shards.database(shard).engine() as connection:
            return await open_child(connection, shard, execution)
