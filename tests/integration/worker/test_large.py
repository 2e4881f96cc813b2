"""Values that are too large for a row: stored outside before the row, loaded when needed, no different to expressions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.blob.filesystem import FilesystemBlobs
from runtime.model.blob import INLINE_BYTES, BlobRef, stored
from runtime.model.errors import Unavailable
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.values import Digest
from tests.support.engine_room import TENANT, EngineRoom
from tests.support.steps import CALLS

BIG = 40_000


def step(key: str, needs: list[str] | None = None, **config: Any) -> dict[str, Any]:
    return {"id": key, "uses": "probe.echo@1", "with": config, "depends_on": needs or []}


def blobs_of(home: Path) -> list[Path]:
    return [p for p in (home / "blobs").rglob("*") if p.is_file() and p.parent.name != ".parts"]


async def refs_of(room: EngineRoom, execution: UUID) -> list[str]:
    rows = await room.sql.fetch("select digest from blob_refs where execution_id = $1", execution)
    return sorted(row["digest"] for row in rows)


async def test_up_to_the_limit_in_the_row_and_beyond_it_outside(room: EngineRoom, home: Path):
    room.worker()

    execution = await room.run(
        [step("a", bytes=INLINE_BYTES - 2), step("b", bytes=INLINE_BYTES - 1)]
    )

    inside, outside = await room.results(execution)
    assert inside["output"] == "x" * (INLINE_BYTES - 2)
    assert stored(outside["output"]) == BlobRef(outside["out"], INLINE_BYTES + 1)
    assert await refs_of(room, execution) == [outside["out"]]
    (file,) = blobs_of(home)
    assert file.read_bytes() == b'"' + b"x" * (INLINE_BYTES - 1) + b'"'


async def test_fifty_megabytes_are_stored_outside_the_row(room: EngineRoom, home: Path):
    room.worker()

    execution = await room.run([step("a", bytes=50_000_000)])

    (result,) = await room.results(execution)
    assert result["output"] == {"$blob": {"digest": result["out"], "size": 50_000_002}}
    assert len(json.dumps(result)) < 1_000


async def test_input_condition_and_outputs_read_large_values_as_if_they_were_small(
    room: EngineRoom,
):
    room.worker()
    big = {"zz": 1, "a": "x" * BIG, "n": [1e16, -0.0, 2.5]}
    steps = [
        step("a", value="{{ params.big }}"),
        step(
            "b",
            ["a"],
            keys="{{ steps.a.output.value.keys() | list }}",
            n="{{ steps.a.output.value.n }}",
        ),
        {**step("c", ["a"], ok=True), "when": "steps.a.output.value.zz == 1"},
        {**step("d", ["a"], ok=False), "when": "steps.a.output.value.zz == 2"},
    ]
    outputs = {"tail": "{{ steps.a.output.value.a[:3] }}", "all": "{{ steps.a.output }}"}

    async def run() -> tuple[list[Any], Any]:
        execution = await room.run(steps, {"big": big}, params={"big": "object"}, outputs=outputs)
        row = await room.row(execution)
        assert row["status"] == ExecutionStatus.COMPLETED, row["error"]
        kept = [(r.get("in"), r.get("out")) for r in await room.results(execution)]
        value = stored(json.loads(row["output"]))
        if isinstance(value, BlobRef):
            value = await room.blobs().load(TENANT, execution, value)
        return kept, value

    large = await run()
    for worker, task, _ in room.workers:
        await worker.stop(0.0)
        await task
    room.worker(inline_bytes=1 << 20)
    small = await run()

    assert large == small


async def test_a_value_that_looks_like_a_reference_is_none(room: EngineRoom):
    room.worker()
    forged: dict[str, Any] = {"$blob": {"digest": "sha256:" + "0" * 64, "size": 5}}

    execution = await room.run(
        [step("a", **forged), step("b", ["a"], seen="{{ steps.a.output }}")],
        outputs={"a": "{{ steps.a.output }}"},
    )

    first, second = await room.results(execution)
    assert isinstance(stored(first["output"]), BlobRef)
    assert first["output"] != forged
    assert second["output"] == {"seen": forged}


async def test_equal_outputs_are_stored_once(room: EngineRoom, home: Path):
    room.worker()

    execution = await room.run([step("a", bytes=BIG), step("b", bytes=BIG)])
    other = await room.run([step("a", bytes=BIG)])

    assert len(blobs_of(home)) == len({execution.int >> 64 & 0xFFF, other.int >> 64 & 0xFFF})
    assert await refs_of(room, execution) == await refs_of(room, other)


async def test_who_takes_over_between_put_and_flush_finds_all_it_needs(
    room: EngineRoom, home: Path
):
    """The first owner stores its output and is lost before the row is written."""
    stored_once, go_on = asyncio.Event(), asyncio.Event()

    class Lost(FilesystemBlobs):
        async def put(self, *arguments: Any) -> None:
            await super().put(*arguments)
            stored_once.set()
            await go_on.wait()

    sound, room.blob_store = room.blob_store, Lost(home / "blobs")
    room.worker(lease_seconds=60.0, beat_seconds=60.0)
    execution = await room.enqueue(
        await room.publish([step("a", bytes=BIG)], outputs={"a": "{{ steps.a.output }}"})
    )
    await stored_once.wait()
    assert await room.results(execution) == []
    room.blob_store = sound
    room.worker()

    await room.expire("test:1")

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.attempts["a"] == [1, 1]
    (result,) = await room.results(execution)
    assert len(await refs_of(room, execution)) == 2
    assert len(blobs_of(home)) == 2
    assert isinstance(stored(result["output"]), BlobRef)
    go_on.set()


async def test_a_store_that_refuses_fails_the_step_which_may_be_repeated(
    room: EngineRoom, home: Path, monkeypatch
):
    monkeypatch.setattr("runtime.worker.outputs.PUT_PAUSES", (0.01,))
    room.worker()
    (home / "blobs").write_text("not a folder")
    version = await room.publish([step("small", n=1), step("a", ["small"], bytes=BIG)])

    execution = await room.enqueue(version)

    assert await room.finished(execution) is ExecutionStatus.FAILED
    error = json.loads((await room.row(execution))["error"])
    assert (error["type"], error["retryable"]) == ("blob.unavailable", True)
    assert "blob store can't use" in error["message"]
    (home / "blobs").unlink()
    await room.retry(execution)
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert CALLS.attempts["small"] == [1]


async def test_a_step_with_retries_outlives_a_store_that_refuses_for_a_while(
    room: EngineRoom, home: Path, monkeypatch
):
    monkeypatch.setattr("runtime.worker.outputs.PUT_PAUSES", ())
    left = [2]

    class Full(FilesystemBlobs):
        def _begin(self, target: Path) -> Any:
            if left[0]:
                left[0] -= 1
                raise OSError(28, "No space left on device")
            return super()._begin(target)

    room.blob_store = Full(home / "blobs")
    room.worker()

    execution = await room.run(
        [{**step("a", bytes=BIG), "retry": {"max_attempts": 3, "initial": "10ms"}}]
    )

    failed, again, good = await room.results(execution)
    assert failed["error"]["type"] == again["error"]["type"] == "blob.unavailable"
    assert isinstance(stored(good["output"]), BlobRef)


async def test_a_call_that_may_happen_once_and_whose_output_has_no_place_is_in_doubt_and_found(
    room: EngineRoom, home: Path, monkeypatch
):
    """It was made, and what it gave is lost: it is not made again, and its look-up brings that back."""
    monkeypatch.setattr("runtime.worker.outputs.PUT_PAUSES", ())
    left = [1]

    class Full(FilesystemBlobs):
        def _begin(self, target: Path) -> Any:
            if left[0]:
                left[0] -= 1
                raise OSError(28, "No space left on device")
            return super()._begin(target)

    room.blob_store = Full(home / "blobs")
    room.worker()
    CALLS.gates["a"].set()
    CALLS.found["a"] = "x" * BIG
    given = {"marker": "a", "value": "{{ params.value }}"}
    retry = {"max_attempts": 3, "initial": "10ms"}
    once = {"id": "a", "uses": "probe.findable@1", "with": given, "retry": retry}

    execution = await room.run([once], {"value": "x" * BIG})

    assert (CALLS.attempts["a"], CALLS.asked["a"]) == ([1], 1)
    assert "step_in_doubt" in await room.events(execution)
    (good,) = await room.results(execution)
    assert isinstance(stored(good["output"]), BlobRef)


async def test_a_cancel_does_not_wait_for_a_store_that_is_away(
    room: EngineRoom, home: Path, monkeypatch
):
    """A step whose input is on its way makes no call yet, so nothing keeps the execution from ending."""
    monkeypatch.setattr("runtime.worker.outputs.LOAD_PAUSE", 0.01)
    asked = asyncio.Event()

    class Away(FilesystemBlobs):
        def read(self, key: Any) -> Any:
            asked.set()
            raise Unavailable(f"no {key.digest}", reason="BLOB_STORE_UNAVAILABLE")

    room.blob_store = Away(home / "blobs")
    room.worker()
    takes = step("b", ["a"], n="{{ steps.a.output.pad }}")
    execution = await room.enqueue(await room.publish([step("a", bytes=BIG), takes]))
    await asyncio.wait_for(asked.wait(), 10)

    await room.cancel(execution)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert CALLS.attempts["b"] == []


@pytest.mark.interpreted
async def test_a_cancel_waits_a_moment_at_most_for_what_a_look_up_needs(
    room: EngineRoom, home: Path, monkeypatch
):
    """The call is in doubt, its input lies in a store that is away: it stays in doubt, and the execution ends."""
    monkeypatch.setattr("runtime.worker.outputs.LOAD_PAUSE", 0.01)
    monkeypatch.setattr("runtime.worker.executor.STOPPING_SECONDS", 0.05)
    is_away, asked = [False], asyncio.Event()

    class Away(FilesystemBlobs):
        def read(self, key: Any) -> Any:
            if is_away[0]:
                asked.set()
                raise Unavailable(f"no {key.digest}", reason="BLOB_STORE_UNAVAILABLE")
            return super().read(key)

    room.blob_store = Away(home / "blobs")
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    once = {**step("b", ["a"], marker="b", value="{{ steps.a.output }}"), "in_doubt": "ask"}
    version = await room.publish([step("a", bytes=BIG), {**once, "uses": "probe.findable@1"}])
    execution = await room.enqueue(version)
    await asyncio.wait_for(CALLS.begun["b"].wait(), 10)
    is_away[0] = True
    room.worker()
    await room.expire("test:1")
    await asyncio.wait_for(asked.wait(), 10)

    await room.cancel(execution)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert (await room.steps(execution))[-1][3] is StepStatus.IN_DOUBT


async def test_a_damaged_value_fails_what_needs_it_by_name(room: EngineRoom, home: Path):
    room.worker()
    version = await room.publish(
        [
            step("a", bytes=BIG),
            {"id": "g", "uses": "probe.gate@1", "with": {"marker": "wait"}, "depends_on": ["a"]},
            step("b", ["g"], value="{{ steps.a.output }}"),
        ]
    )
    execution = await room.enqueue(version)
    await CALLS.begun["wait"].wait()
    (file,) = blobs_of(home)
    file.write_bytes(b'"' + b"y" * BIG + b'"')

    CALLS.gates["wait"].set()

    assert await room.finished(execution) is ExecutionStatus.FAILED
    error = json.loads((await room.row(execution))["error"])
    assert (error["type"], error["retryable"]) == ("blob.damaged", False)
    assert "does not give its digest" in error["message"]


async def test_a_missing_value_fails_a_condition_in_words(room: EngineRoom, home: Path):
    room.worker()
    version = await room.publish(
        [
            step("a", bytes=BIG),
            {"id": "g", "uses": "probe.gate@1", "with": {"marker": "gone"}, "depends_on": ["a"]},
            {**step("b", ["g"]), "when": "steps.a.output == 'x'"},
        ]
    )
    execution = await room.enqueue(version)
    await CALLS.begun["gone"].wait()
    blobs_of(home)[0].unlink()

    CALLS.gates["gone"].set()

    assert await room.finished(execution) is ExecutionStatus.FAILED
    error = json.loads((await room.row(execution))["error"])
    assert "is not in the store" in error["message"]


async def test_a_takeover_reads_rows_and_no_blobs(room: EngineRoom, home: Path):
    first = room.worker()
    steps = [step(f"s{n}", bytes=BIG + n) for n in range(5)]
    gate = {"id": "g", "uses": "probe.gate@1", "with": {"marker": "over"}}
    version = await room.publish([*steps, {**gate, "depends_on": [s["id"] for s in steps]}])
    execution = await room.enqueue(version)
    await CALLS.begun["over"].wait()
    await first.stop(0.0)
    before = room.metrics.blobs_read._value.get()
    CALLS.gates["over"].set()

    room.worker()

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert room.metrics.blobs_read._value.get() == before


async def test_histories_are_loaded_so_many_bytes_at_a_time(room: EngineRoom):
    room.worker()
    version = await room.publish([step(f"s{n}", bytes=20_000) for n in range(4)])
    ids = [await room.enqueue(version) for _ in range(6)]
    for one in ids:
        await room.finished(one)

    parts = [part async for part in room.store.histories(ids, most_bytes=300_000)]

    assert sorted(one for part in parts for one in part) == sorted(ids)
    assert [len(part) for part in parts] == [2, 2, 2]
    assert all(len(history.steps) == 4 for part in parts for history in part.values())


async def test_a_worker_that_holds_much_takes_nothing_more_until_it_holds_less(room: EngineRoom):
    room.worker(resident_bytes=150_000, beat_seconds=0.05)
    gated = {"id": "g", "uses": "probe.gate@1", "with": {"marker": "room"}, "depends_on": ["a"]}
    version = await room.publish([step("a", bytes=30_000), gated])
    ids = [await room.enqueue(version) for _ in range(12)]

    await CALLS.begun["room"].wait()
    assert len(CALLS.keys["room"]) < len(ids)
    CALLS.gates["room"].set()

    for one in ids:
        assert await room.finished(one) is ExecutionStatus.COMPLETED


@pytest.mark.parametrize("size", [BIG, 2_000_000])
async def test_what_is_loaded_is_what_was_put(room: EngineRoom, size: int):
    blobs = room.blobs()
    execution = room.entropy.uuid7(1)
    raw = json.dumps({"b": "y" * size, "a": [1, 2.5, None]}, sort_keys=True).encode()

    ref = await blobs.put(TENANT, execution, raw, str(Digest.of(raw)))

    assert await blobs.load(TENANT, execution, ref) == json.loads(raw)
    assert await blobs.read(TENANT, execution, ref) == raw
