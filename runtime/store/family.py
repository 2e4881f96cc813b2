"""What the store says of an execution and those that it has started."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from runtime.store.statements import statements

_SQL: Final = statements("execution")


async def open_child(connection: Any, shard: int, execution: UUID) -> UUID | None:
    """A child that has not ended; while there is one, its parent is not retried. Tenancy is the caller's to check."""
    found: UUID | None = await connection.fetchval(_SQL["open_child"], shard, execution)
    return found
