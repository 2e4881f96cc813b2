"""The board is told twice and shows once."""

import asyncio
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from warehouse.board import Board

from maestro import Event

FAILED = Event(
    id="01930000-0000-7000-8000-000000000001.e.7",
    kind="execution_failed",
    noun="execution",
    subject=UUID("01930000-0000-7000-8000-000000000001"),
    sequence=7,
    tenant_id=UUID("01930000-0000-7000-8000-00000000aaaa"),
    at=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_an_event_that_is_told_again_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_BOARD", str(tmp_path / "board.db"))
    board = Board()

    asyncio.run(board.handle([FAILED]))
    asyncio.run(board.handle([FAILED, replace(FAILED, id=FAILED.id.replace(".7", ".9"))]))

    with sqlite3.connect(tmp_path / "board.db") as found:
        assert found.execute("select count(*) from board").fetchone() == (2,)
