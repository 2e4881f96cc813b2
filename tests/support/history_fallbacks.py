"""The scenario of outputs that failed steps are given, for recorded histories."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from runtime.model.execution import ExecutionStatus
from tests.support.engine_room import EngineRoom
from tests.support.history_steps import echo, flaky

ENDED = ExecutionStatus.COMPLETED
LARGE = "x" * 40_000


async def fallbacks(room: EngineRoom) -> list[UUID]:
    """Outputs of a task, a map, a child, a wait and a gateway that failed, one of them large; retried, and rewound."""
    room.worker()
    await room.publish([{"id": "no", "uses": "core.fail@1", "with": {"message": "no"}}], name="bad")
    fails = {"uses": "core.fail@1", "with": {"message": "no"}}
    steps: list[Any] = [
        {"id": "task", **fails, "on_error": given("{{ [steps.task.error.type, params.big] }}")},
        {
            "id": "each", "type": "map", "for_each": [1, 2], "task": fails,
            "on_error": given("{{ steps.each.error.details.item }}"),
        },
        {"id": "child", "type": "workflow", "workflow": "bad", "on_error": given({"n": 1})},
        {
            "id": "wait", "type": "wait", "signal": "never", "timeout": "10ms",
            "on_error": given("{{ steps.wait.status }}"),
        },
        {
            "id": "route", "type": "gateway", "cases": [{"when": "false", "then": "left-out"}],
            "on_error": given([]),
        },
        echo("left-out", "route"),
        echo(
            "all", "task", "each", "child", "wait",
            given={"big": "{{ steps.task.output }}", "item": "{{ steps.each.output }}"},
        ),
        flaky("bad", 0, "all", given={
            "marker": "bad", "failures": "{{ 9 if execution.generation == 0 else 0 }}",
            "kind": "permanent",
        }),
    ]  # fmt: skip
    version = await room.publish(
        steps, params={"big": "string"}, outputs={"wait": "{{ steps.wait.output }}"}
    )
    execution = await room.enqueue(version, {"big": LARGE})
    assert await room.finished(execution) is ExecutionStatus.FAILED
    await room.retry(execution)
    await room.reached(execution, lambda row: (row["generation"], row["status"]) == (1, ENDED))
    assert await room.rewind(execution, version, 0) == 2
    await room.reached(execution, lambda row: (row["generation"], row["status"]) == (2, ENDED))
    return [execution]


def given(output: Any) -> dict[str, Any]:
    return {"action": "continue", "output": output}
