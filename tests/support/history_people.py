"""The scenario of recorded histories in which people are asked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from runtime.model.execution import ExecutionStatus
from tests.support.engine_room import EngineRoom
from tests.support.history_steps import echo
from tests.support.people import People


async def people(room: EngineRoom) -> list[UUID]:
    """An answer, an expiry that goes elsewhere, one that decides, and what is cancelled while people are asked."""
    room.worker()
    who = People(room)
    ask: Any = {"type": "human_task", "title": "Number {{ params.n }}?", "assignees": ["ann"]}
    late: Any = {**ask, "timeout": "20ms", "depends_on": ["first"]}
    steps: list[Any] = [
        {"id": "first", **ask},
        {"id": "gone", **late, "on_expiry": {"goto": "other"}},
        {"id": "decided", **late, "on_expiry": {"outcome": "rejected"}},
        echo("other", "gone"),
        echo(
            "end",
            "gone",
            "decided",
            "other",
            join="any",
            given={"said": "{{ steps.first.output.decision }}"},
        ),
    ]
    version = await room.publish(steps, outputs={"said": "{{ steps.first.output.outcome }}"})
    execution, cancelled = [await room.enqueue(version, {"n": n}) for n in (1, 2)]
    [first] = await who.asked(execution)
    await who.answer(first.id, response={"note": "fine"})
    for task in (await who.asked(execution, 3))[1:]:
        await who.expire(task.id)
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    await who.asked(cancelled)
    await room.cancel(cancelled)
    assert await room.finished(cancelled) is ExecutionStatus.CANCELLED
    return [execution, cancelled]
