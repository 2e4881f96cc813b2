"""Retention of executions: the statements by which a day is replaced by what is kept of it.

Each method is one transaction. Nothing that readers see changes before `exchange`, and a day that was left half
prepared is begun again by `watch`; after the exchange only `sweep` is left. Called by the scheduler's leader, over a
connection of its own, because the copy of a day may take longer than what the pool allows a statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from runtime.store.faults import translated
from runtime.store.pool import Database
from runtime.store.statements import statements

COPY_SECONDS: Final = 3_600.0
EXCHANGED: Final = 2

_SQL: Final = statements("retention")


@dataclass(frozen=True, slots=True)
class DueDay:
    """A day that executions may have to leave, and what this is judged by."""

    day: date
    as_of: date
    policy: str
    is_exchanged: bool


@dataclass(frozen=True, slots=True)
class DroppedDay:
    """What became of a day."""

    kept: int
    dropped: int
    freed: int


class RetentionStore:
    """The days of one database. `default_days` holds where neither workflow nor tenant says more."""

    def __init__(self, database: Database, *, default_days: int) -> None:
        self._database = database
        self._default = default_days
        self._connection: Any = None

    async def due(self) -> list[DueDay]:
        """Days to look at: those to be swept first, then the oldest."""
        rows = await self._call("fetch", "days_due", self._default)
        return [
            DueDay(row["day"], row["as_of"], row["policy"], row["state"] == EXCHANGED)
            for row in rows
        ]

    async def watch(self, due: DueDay) -> bool:
        """Note every change of the day from now on; False when all of it is to be kept."""
        watches: bool = await self._value("watch", due.day, due.as_of, due.policy, self._default)
        return watches

    async def copy(self, due: DueDay) -> int:
        """Copy what is to be kept; how many executions."""
        kept: int = await self._value("copy", due.day, due.as_of, self._default)
        return kept

    async def catch_up(self, due: DueDay) -> int:
        """Copy again what changed since the last time; how many executions."""
        changed: int = await self._value("catch_up", due.day, due.as_of, self._default)
        return changed

    async def exchange(self, due: DueDay) -> bool:
        """Put the copies in the place of the day; False when settings changed, then it begins anew.

        Raises Unavailable when a lock was not given soon enough; nothing has changed then.
        """
        done: bool = await self._value("exchange", due.day, self._default)
        return done

    async def sweep(self, due: DueDay, after: UUID | None, limit: int) -> tuple[UUID | None, int]:
        """Delete a batch of labels, messages and keys of what is gone; where to go on, and how many."""
        row = (await self._call("fetch", "sweep", due.day, after, limit))[0]
        return row["upto"], row["gone"]

    async def outcome(self, due: DueDay) -> DroppedDay:
        """What the exchange kept, dropped and gave back."""
        return DroppedDay(*(await self._call("fetch", "outcome", due.day))[0])

    def close(self) -> None:
        """End the connection, and with it whatever it still does."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _value(self, name: str, *arguments: object) -> Any:
        return await self._call("fetchval", name, *arguments)

    async def _call(self, method: str, name: str, *arguments: object) -> Any:
        with translated():
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._database.dedicated(command_seconds=COPY_SECONDS)
            return await getattr(self._connection, method)(_SQL[name], *arguments)
