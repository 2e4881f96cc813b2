"""Workers that are killed while children start, and while they run: one for each attempt, and every parent hears."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.engine_room import EngineRoom

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos
STARTED = "select count(*) from execution_events where kind = $1"
FAMILIES = 20


async def family(room: EngineRoom, home: Path) -> UUID:
    """A version whose step starts a child, which calls once and waits for its gate."""
    given = {"folder": str(home), "gate": "gate"}
    child: list[dict[str, Any]] = [{"id": "call", "uses": "probe.file@1", "with": given}]
    await room.publish(child, name="below", outputs={"said": "{{ steps.call.output }}"})
    parent = [{"id": "a", "type": "workflow", "workflow": "below@1"}]
    return await room.publish(parent, outputs={"got": "{{ steps.a.output.said }}"})


async def whole(room: EngineRoom, parents: list[UUID]) -> None:
    """Every parent has completed, with one child, which has completed."""
    for parent in parents:
        assert await room.finished(parent, timeout=WAIT) is ExecutionStatus.COMPLETED
    rows = await room.sql.fetch(
        "select meta ->> 'parent' as parent, status from workflow_executions where meta ? 'parent'"
    )
    assert sorted(UUID(row["parent"]) for row in rows) == sorted(parents)
    assert {row["status"] for row in rows} == {ExecutionStatus.COMPLETED}
    assert await room.sql.fetchval(STARTED, EventKind.CHILD_STARTED) == len(parents)
    assert await room.sql.fetchval("select count(*) from execution_inbox") == 0


async def test_a_worker_killed_with_children_under_way_leaves_them_to_the_next(
    room: EngineRoom, start, home: Path
):
    first = await start("first")
    parent = await room.enqueue(await family(room, home))
    await until(lambda: len(calls(home)) == 1)
    await start("second")
    first.send_signal(signal.SIGKILL)
    (home / "gate").touch()

    await whole(room, [parent])


async def test_a_worker_killed_while_children_are_started_starts_each_once(
    room: EngineRoom, start, home: Path
):
    version = await family(room, home)
    (home / "gate").touch()
    parents = [await room.enqueue(version) for _ in range(FAMILIES)]
    first = await start("first")
    await until(lambda: len(calls(home)) > 0)
    first.send_signal(signal.SIGKILL)
    await start("second")

    await whole(room, parents)
