"""The output in place of a failed one on real workers: lost in between, and a blob store that refuses for a while."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from runtime.blob.filesystem import FilesystemBlobs
from runtime.model.blob import BlobRef, stored
from runtime.model.execution import ExecutionStatus, StepStatus
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS

BIG = 40_000
GIVEN = {"action": "continue", "output": "{{ params.big }}"}
STEPS: list[dict[str, Any]] = [
    {
        "id": "a", "uses": "probe.flaky@1", "on_error": GIVEN,
        "with": {"marker": "a", "failures": 99, "kind": "permanent"},
    },
    {
        "id": "b", "uses": "probe.echo@1", "depends_on": ["a"],
        "with": {"id": "b", "size": "{{ steps.a.output | length }}"},
    },
]  # fmt: skip


async def test_whoever_takes_over_while_it_is_stored_gives_it_and_repeats_no_call(
    room: EngineRoom, home: Path
):
    stored_once, go_on = asyncio.Event(), asyncio.Event()

    class Lost(FilesystemBlobs):
        async def put(self, *arguments: Any) -> None:
            await super().put(*arguments)
            stored_once.set()
            await go_on.wait()

    version = await room.publish(
        STEPS, params={"big": "string"}, outputs={"n": "{{ steps.b.output.size }}"}
    )
    sound, room.blob_store = room.blob_store, Lost(home / "blobs")
    room.worker(lease_seconds=60.0, beat_seconds=60.0)
    execution = await room.enqueue(version, {"big": "x" * BIG})
    await asyncio.wait_for(stored_once.wait(), 10)
    (failed,) = await room.results(execution)
    assert failed["handled"], "the failure is durable before its output"
    room.blob_store = sound
    room.worker()

    await room.expire("test:1")

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    go_on.set()
    assert CALLS.attempts["a"] == [1]
    assert json.loads((await room.row(execution))["output"]) == {"n": BIG}
    rows = await room.sql.fetch(
        "select step, status, result from step_executions where execution_id = $1 order by step, attempt",
        execution,
    )
    assert [(row["step"], row["status"]) for row in rows] == [
        (0, StepStatus.FAILED), (1, StepStatus.COMPLETED), (2, StepStatus.COMPLETED),
    ]  # fmt: skip
    given = json.loads(rows[2]["result"])
    assert isinstance(stored(given["output"]), BlobRef)


async def test_a_store_that_refuses_for_a_while_is_tried_again(
    room: EngineRoom, home: Path, monkeypatch: Any
):
    monkeypatch.setattr("runtime.worker.outputs.PUT_PAUSES", ())
    left = [1]

    class Full(FilesystemBlobs):
        def _begin(self, target: Path) -> Any:
            if left[0]:
                left[0] -= 1
                raise OSError(28, "No space left on device")
            return super()._begin(target)

    version = await room.publish(STEPS, params={"big": "string"})
    room.blob_store = Full(home / "blobs")
    room.worker()

    execution = await room.enqueue(version, {"big": "x" * BIG})

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.attempts["a"] == [1]
    assert (await room.events(execution)).count("step_retrying") == 1
