"""All that is stored of an execution, of one moment: what its replay is compared with."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from uuid import UUID

from runtime.model.blob import stored
from runtime.model.checkpoint import OwnedExecution, StepRecord
from runtime.model.errors import BadInput
from runtime.model.execution import ExecutionStatus
from runtime.model.execution_replay import ExecutionRecord, RecordedEnd
from runtime.store.execution_record import event_of
from runtime.store.shards import Shards
from runtime.store.statements import statements

# What is read into memory at once; beyond it an execution is not replayed.
MOST_EVENTS: Final = 50_000
MOST_BYTES: Final = 64 * 1024 * 1024

_SQL: Final = statements("replay")
_FIELDS: Final = OwnedExecution._fields


class RecordedExecution(NamedTuple):
    """An execution as a claim would hand it over, and its record."""

    owned: OwnedExecution
    record: ExecutionRecord


class ReplayRecords:
    """Reads of whole executions, each from the database that holds it."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def read(self, tenant: UUID, execution: UUID) -> RecordedExecution | None:
        """All of it in one snapshot; raises BadInput when that is more than is read at once."""
        async with (
            self._shards.holding(execution).tenant(tenant) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow(_SQL["execution"], tenant, execution)
            if row is None:
                return None
            size = await connection.fetchrow(_SQL["size"], tenant, execution, MOST_EVENTS + 1)
            _refuse_too_large(execution, size)
            events = await connection.fetch(_SQL["events"], tenant, execution)
            rows = await connection.fetch(_SQL["rows"], tenant, execution)
        status = ExecutionStatus(row["status"])
        end = RecordedEnd(status, row["generation"], stored(row["output"]), row["error"])
        record = ExecutionRecord(
            tuple(map(event_of, events)), tuple(StepRecord(*one) for one in rows), end
        )
        return RecordedExecution(OwnedExecution(*(row[name] for name in _FIELDS)), record)


def _refuse_too_large(execution: UUID, size: Any) -> None:
    most = max(size["events"], size["rows"])
    if most <= MOST_EVENTS and size["bytes"] <= MOST_BYTES:
        return
    raise BadInput(
        f"The execution {execution} is too large to be replayed: at most {MOST_EVENTS:,} events and rows, and "
        f"{MOST_BYTES >> 20} MiB of them, are read at once.",
        reason="REPLAY_TOO_LARGE",
    )
