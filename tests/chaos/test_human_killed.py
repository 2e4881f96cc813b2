"""Workers that are killed while their steps ask people: one task for each step, and no answer is lost or counts twice."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.human_task import HumanTaskStatus
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.engine_room import EngineRoom
from tests.support.people import People

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos
ASK: dict[str, Any] = {"id": "ask", "type": "human_task", "title": "Go on?", "assignees": ["ann"]}
DONE = {"id": "done", "uses": "core.noop@1", "depends_on": ["ask"]}
TOLD = "select count(*) from execution_events where kind = $1"
MANY = 20


async def publish(room: EngineRoom, *more: Any, **ask: Any) -> UUID:
    return await room.publish([{**ASK, **ask}, DONE, *more])


async def whole(room: EngineRoom, people: People, executions: list[UUID]) -> None:
    """Each has asked once, was answered, and has completed with the answer."""
    for execution in executions:
        assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED
        [task] = await people.asked(execution)
        assert task.status.is_over
        rows = await room.steps(execution)
        assert [(step, status) for step, _, _, status in rows if step < 2] == [
            (0, StepStatus.COMPLETED), (1, StepStatus.COMPLETED),
        ]  # fmt: skip
    assert await room.sql.fetchval(TOLD, EventKind.HUMAN_TASK_CREATED) == len(executions)
    assert await room.sql.fetchval(TOLD, EventKind.MESSAGE_UNREAD) == 0
    assert await room.sql.fetchval("select count(*) from execution_inbox") == 0


async def test_a_worker_killed_while_its_tasks_are_opened_opens_each_once(room: EngineRoom, start):
    """Its flush hangs in the server when it is killed: what becomes of that nobody knows."""
    people, version = People(room), await publish(room)
    first = await start("first")
    held = room.sql.transaction()
    await held.start()
    await room.sql.execute("lock table human_tasks in exclusive mode")
    executions = [await room.enqueue(version) for _ in range(MANY)]

    async def hangs() -> bool:
        waits = "select 1 from pg_locks where relation = 'human_tasks'::regclass and not granted"
        return bool(await room.sql.fetchval(waits))

    await room.until(executions[0], hangs)
    first.send_signal(signal.SIGKILL)
    await first.wait()
    await held.commit()
    await start("second")
    for execution in executions:
        [task] = await people.asked(execution)
        await people.answer(task.id)

    await whole(room, people, executions)


async def gated(room: EngineRoom, people: People, home: Path, **ask: Any) -> tuple[UUID, UUID]:
    """An execution that asks while another step of it runs, so that a worker has it; and its task."""
    gate = {"id": "gate", "uses": "probe.file@1", "with": {"folder": str(home), "gate": "gate"}}
    execution = await room.enqueue(await publish(room, gate, **ask))
    await until(lambda: len(calls(home)) == 1)
    [task] = await people.asked(execution)
    return execution, task.id


async def test_a_worker_killed_after_a_task_was_opened_leaves_it_to_the_next(
    room: EngineRoom, start, home: Path
):
    people, first = People(room), await start("first")
    execution, task = await gated(room, people, home)

    first.send_signal(signal.SIGKILL)
    await start("second")
    await until(lambda: len(calls(home)) == 2)
    await people.answer(task)
    (home / "gate").touch()

    await whole(room, people, [execution])


@pytest.mark.parametrize("how", ["answered", "expired"])
async def test_a_worker_killed_before_it_reads_how_a_task_ended_leaves_that_to_the_next(
    room: EngineRoom, start, home: Path, how: str
):
    people, first = People(room), await start("first")
    late: Any = (
        {"timeout": "50ms", "on_expiry": {"outcome": "rejected"}} if how == "expired" else {}
    )
    execution, task = await gated(room, people, home, **late)

    first.send_signal(signal.SIGSTOP)
    if late:
        await people.expire(task)
    else:
        await people.answer(task)
    first.send_signal(signal.SIGKILL)
    (home / "gate").touch()
    await start("second")

    await whole(room, people, [execution])
    [kept] = await people.asked(execution)
    [result, *_] = await room.results(execution)
    expired = HumanTaskStatus.EXPIRED if late else HumanTaskStatus.COMPLETED
    assert (kept.status, result["output"]["outcome"]) == (expired, kept.outcome)
