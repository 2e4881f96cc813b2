"""An event handler: it keeps a list of the dispatches that went wrong."""

import asyncio
import os
import sqlite3
from collections.abc import Sequence

from maestro import Event, EventHandler


class Board(EventHandler):
    """Write down what failed, for whoever comes in the morning."""

    name = "warehouse.board"
    events = ("execution_failed", "execution_timed_out", "dead_lettered")

    def __init__(self) -> None:
        self.path = os.environ.get("WAREHOUSE_BOARD", "board.db")

    async def handle(self, events: Sequence[Event]) -> None:
        """Write a batch; an event that is told again is known by its id and changes nothing."""
        await asyncio.to_thread(self._write, events)

    def _write(self, events: Sequence[Event]) -> None:
        rows = [(one.id, one.kind, str(one.subject), one.at.isoformat()) for one in events]
        with sqlite3.connect(self.path) as board:
            board.execute("create table if not exists board (id primary key, kind, execution, at)")
            board.executemany("insert or ignore into board values (?, ?, ?, ?)", rows)
