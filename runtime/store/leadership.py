"""Leadership: one process at a time holds an advisory lock, on a connection of its own.

PostgreSQL gives the lock free when the connection ends, however it ends; so a leader that was killed
is replaced as soon as its connection is noticed to be gone, and there is no lease to wait for.
"""

from __future__ import annotations

from typing import Any, Final

from runtime.store.faults import translated
from runtime.store.pool import Database
from runtime.store.statements import statements

SCHEDULER: Final = 7_263_002

_SQL: Final = statements("leadership")


class Leadership:
    """A candidate for one office."""

    def __init__(self, database: Database, office: int = SCHEDULER) -> None:
        self._database = database
        self._office = office
        self._connection: Any = None
        self._is_held = False

    async def hold(self) -> bool:
        """Whether this process leads now; asks for the lock, or proves that it is still held.

        Raises Unavailable when PostgreSQL does not answer; then the lock must be taken for lost.
        """
        try:
            with translated():
                if self._connection is None:
                    self._connection = await self._database.dedicated(command_seconds=3.0)
                name = "prove" if self._is_held else "take"
                self._is_held = await self._connection.fetchval(_SQL[name], self._office)
        except BaseException:
            self.give_up()
            raise
        return self._is_held

    def give_up(self) -> None:
        """Lead no longer; somebody else may at once."""
        self._is_held = False
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
