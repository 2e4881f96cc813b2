"""Children through a real worker: begun and told with the commits of their parents, waking them with their own ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from runtime.model.checkpoint import InboxKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus, WaitKind
from runtime.model.ids import slot_of
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS

COMPLETED, FAILED, CANCELLED = (
    ExecutionStatus.COMPLETED,
    ExecutionStatus.FAILED,
    ExecutionStatus.CANCELLED,
)
ECHO = [{"id": "say", "uses": "core.set@1", "with": {"word": "{{ params.word }}"}}]
SAID = {"word": "{{ steps.say.output.word }}"}
WORD = {"word": {"type": "string"}}
GATE = [{"id": "gate", "uses": "probe.gate@1", "with": {"marker": "gate"}}]


def call(id: str, workflow: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "workflow", "workflow": workflow, **more}


async def publish(room: EngineRoom, steps: Any, **more: Any) -> UUID:
    return await room.publish(steps, **more)


async def children_of(room: EngineRoom, execution: UUID) -> list[UUID]:
    rows = await room.sql.fetch(
        "select data ->> 'child' as child from execution_events where execution_id = $1 and kind = $2 order by seq",
        execution, EventKind.CHILD_STARTED,
    )  # fmt: skip
    return [UUID(row["child"]) for row in rows]


async def child_of(room: EngineRoom, execution: UUID) -> UUID:
    """The newest child, once it has been started."""
    await room.until(execution, lambda: children_of(room, execution))
    return (await children_of(room, execution))[-1]


def is_waiting(row: Any) -> bool:
    return bool(row["status"] == ExecutionStatus.WAITING)


async def parent_and_child(room: EngineRoom, steps: Any = GATE, **step: Any) -> tuple[UUID, UUID]:
    """A parent whose child stands at its gate, the parent parked."""
    await publish(room, steps, name="held")
    parent = await room.enqueue(await publish(room, [call("a", "held", **step)]))
    await CALLS.begun["gate"].wait()
    await room.reached(parent, is_waiting)
    return parent, await child_of(room, parent)


async def test_a_child_runs_with_its_input_and_its_output_is_that_of_the_step(room: EngineRoom):
    room.worker()
    await publish(room, ECHO, name="echo", params=WORD, outputs=SAID)
    steps = [call("a", "echo", input={"word": "{{ params.w }}"})]
    version = await publish(room, steps, outputs={"got": "{{ steps.a.output.word }}"})

    parent = await room.enqueue(version, {"w": "hello"}, meta={"actor": {"subject": "ann"}})

    assert await room.finished(parent) is COMPLETED
    row = await room.row(parent)
    assert json.loads(row["output"]) == {"got": "hello"}
    assert [e for e in await room.events(parent) if e != "execution_waiting"] == [
        *["execution_queued", "execution_started", "step_started", "child_started"],
        *["step_completed", "execution_completed"],
    ]
    [result] = await room.results(parent)
    child = await room.row(await child_of(room, parent))
    assert result["output"] == {"word": "hello"}
    assert result["child"] == str(child["id"])
    assert {"in", "out", "code", "worker"} <= result.keys()
    meta = json.loads(child["meta"])
    assert (meta["parent"], meta["depth"], meta["trigger"]) == (str(parent), 1, "parent")
    assert meta["actor"] == {"subject": "ann"}
    assert slot_of(child["id"]) == slot_of(parent)
    assert await room.sql.fetchval("select count(*) from execution_inbox") == 0


async def test_a_parent_is_parked_while_its_child_runs_and_woken_by_its_end(room: EngineRoom):
    room.worker()
    parent, _ = await parent_and_child(room)
    row = await room.row(parent)
    assert (row["owner"], row["wait"], row["wake_at"]) == (None, WaitKind.CHILD_EXECUTION, None)

    CALLS.gates["gate"].set()

    assert await room.finished(parent) is COMPLETED


async def test_the_version_is_pinned_when_the_child_starts(room: EngineRoom):
    room.worker()
    one = [{"id": "a", "uses": "core.set@1", "with": {"v": 1}}]
    for number in ("1.0.0", "1.2.0", "1.3.0-rc.1", "2.0.0", "2.1.0-rc.1"):
        await publish(room, one, name="counted", version=number)
    parents = [
        await room.run([call("a", f"counted{wanted}")])
        for wanted in ("@^1", "@1.0", "@2", "@1.0.0", "")
    ]

    said = [
        await room.sql.fetchval(
            "select data ->> 'version' from execution_events where execution_id = $1 and kind = $2",
            parent, EventKind.CHILD_STARTED,
        )
        for parent in parents
    ]  # fmt: skip
    assert said == ["1.2.0", "1.0.0", "2.0.0", "1.0.0", "2.0.0"]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (call("a", "nobody"), "workflow.not_found"),
        (call("a", "echo@^7"), "workflow.not_found"),
        (call("a", "echo", input={"word": 7}), "workflow.input"),
    ],
)
async def test_what_can_not_be_started_fails_its_step(room: EngineRoom, step: Any, error: str):
    room.worker()
    await publish(room, ECHO, name="echo", params=WORD, outputs=SAID)

    parent = await room.run([step])

    row = await room.row(parent)
    assert (row["status"], json.loads(row["error"])["type"]) == (FAILED, error)
    assert await children_of(room, parent) == []


async def test_a_deprecated_version_is_started_only_by_its_full_number(room: EngineRoom):
    room.worker()
    for number in ("1.0.0", "1.1.0"):
        await publish(room, [{"id": "n", "uses": "core.noop@1"}], name="old", version=number)
    await room.sql.execute("update workflow_versions set state = 2 where version = '1.1.0'")

    first = await room.run([call("a", "old@^1")])
    second = await room.run([call("a", "old@1.1.0")])

    pinned = "select data ->> 'version' from execution_events where execution_id = $1 and kind = 37"
    assert await room.sql.fetchval(pinned, first) == "1.0.0"
    assert await room.sql.fetchval(pinned, second) == "1.1.0"


async def test_a_child_of_another_tenant_is_not_found(room: EngineRoom):
    room.worker()
    await publish(room, ECHO, name="echo", params=WORD, outputs=SAID)
    await room.sql.execute(
        "update workflows set tenant_id = '01930000-0000-7000-8000-00000000bbbb' where name = 'echo'"
    )

    parent = await room.run([call("a", "echo", input={"word": "x"})])

    assert json.loads((await room.row(parent))["error"])["type"] == "workflow.not_found"


async def test_the_failure_of_a_child_is_that_of_its_step_and_a_retry_starts_another(
    room: EngineRoom,
):
    room.worker()
    broken = [{"id": "b", "uses": "core.fail@1", "with": {"message": "no money", "type": "Poor"}}]
    await publish(room, broken, name="broken")
    retry = {"max_attempts": 2, "initial": "10ms", "on": ["Poor"]}

    parent = await room.run([call("a", "broken", retry=retry)])

    row = await room.row(parent)
    error = json.loads(row["error"])
    first, second = await children_of(room, parent)
    assert (row["status"], error["type"], error["step_key"]) == (FAILED, "Poor", "a")
    assert error["details"]["child"] == str(second)
    assert first != second
    assert [status for *_, status in await room.steps(parent)] == [StepStatus.FAILED] * 2


async def test_cancel_reaches_the_child_and_the_parent_ends_after_it(room: EngineRoom):
    room.worker()
    parent, child = await parent_and_child(room)

    await room.cancel(parent)

    assert await room.finished(parent) is CANCELLED
    row = await room.row(child)
    assert row["status"] == CANCELLED
    assert row["finished_at"] <= (await room.row(parent))["finished_at"]
    told = await room.sql.fetchval(
        "select data from execution_events where execution_id = $1 and kind = $2",
        child, EventKind.EXECUTION_CANCEL_REQUESTED,
    )  # fmt: skip
    assert json.loads(told)["actor"]["subject"] == "ann"


async def test_a_closed_shard_starts_the_children_of_what_runs(room: EngineRoom):
    """Closing refuses what is new; a child is part of what is there, and its worker goes on."""
    room.worker()
    await publish(room, ECHO, name="echo", params=WORD, outputs=SAID)
    version = await publish(room, [call("a", "echo", input={"word": "x"})])
    parent = await room.enqueue(version, hint=False)
    await room.sql.execute("update shards set open = false")
    room.queue.add(0, [(parent, 1)])

    assert await room.finished(parent) is COMPLETED
    assert await room.sql.fetchval("select count(*) from workers") == 1


async def test_pause_and_resume_reach_the_child(room: EngineRoom):
    room.worker()
    steps = [*GATE, {"id": "b", "uses": "core.noop@1", "depends_on": ["gate"]}]
    parent, child = await parent_and_child(room, steps)

    await room.tell(parent, InboxKind.PAUSE)
    await room.until(child, lambda: _has(room, child, "execution_paused"))
    CALLS.gates["gate"].set()
    await room.reached(child, lambda row: row["wait"] == WaitKind.PAUSED)
    await room.reached(parent, lambda row: row["wait"] == WaitKind.PAUSED)
    await room.tell(parent, InboxKind.RESUME)

    assert await room.finished(parent) is COMPLETED


async def _has(room: EngineRoom, execution: UUID, word: str) -> bool:
    return word in await room.events(execution)


async def test_the_timeout_of_a_step_ends_its_child(room: EngineRoom):
    room.worker()
    parent, child = await parent_and_child(room, timeout="300ms")

    assert await room.finished(parent) is FAILED
    assert (await room.row(child))["status"] == ExecutionStatus.TIMED_OUT
    assert [status for *_, status in await room.steps(parent)] == [StepStatus.TIMED_OUT]


async def test_a_child_that_a_person_cancels_fails_its_step(room: EngineRoom):
    room.worker()
    parent, child = await parent_and_child(room)

    await room.cancel(child)

    assert await room.finished(parent) is FAILED
    assert json.loads((await room.row(parent))["error"])["type"] == "workflow.cancelled"


async def test_a_child_that_was_retried_by_itself_is_its_own(room: EngineRoom):
    """Its parent has heard of its first end: it does not stop it, and starts no other one beside it."""
    room.worker()
    await publish(room, GATE, name="held")
    steps = [call("a", "held", on_error="continue"), {"id": "w", "type": "wait", "signal": "go"}]
    steps.append({"id": "f", "uses": "core.fail@1", "depends_on": ["w"], "with": {"message": "no"}})
    parent = await room.enqueue(await publish(room, steps))
    child = await child_of(room, parent)
    await CALLS.begun["gate"].wait()
    await room.cancel(child)
    assert await room.finished(child) is CANCELLED
    await room.until(parent, lambda: _has(room, parent, "step_cancelled"))
    CALLS.begun["gate"].clear()
    await room.retry(child)
    await CALLS.begun["gate"].wait()

    await room.tell(parent, InboxKind.SIGNAL, name="go", payload=None)
    assert await room.finished(parent) is FAILED
    row = await room.row(child)
    assert (row["status"], row["cancel_requested"]) == (ExecutionStatus.RUNNING, False)

    await room.retry(parent)
    assert (await room.row(parent))["generation"] == 0
    CALLS.gates["gate"].set()
    assert await room.finished(child) is COMPLETED
    await room.retry(parent)
    assert (await room.row(parent))["generation"] == 1


async def test_a_hint_of_a_child_stands_among_those_of_its_own_priority(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    hints: list[tuple[UUID, int]] = []
    add = room.queue.add

    def listen(shard: int, entries: Any) -> None:
        hints.extend(entries)
        add(shard, entries)

    monkeypatch.setattr(room.queue, "add", listen)
    room.worker()
    await publish(room, ECHO, name="echo", params=WORD, outputs=SAID, priority=9)

    parent = await room.run([call("a", "echo", input={"word": "x"})])

    assert (await child_of(room, parent), 0) in hints


async def test_a_sibling_that_fails_ends_the_child(room: EngineRoom):
    room.worker()
    await publish(room, GATE, name="held")
    steps = [call("a", "held"), {"id": "w", "type": "wait", "signal": "go"}]
    steps.append({"id": "b", "uses": "core.fail@1", "depends_on": ["w"], "with": {"message": "no"}})
    parent = await room.enqueue(await publish(room, steps))
    await CALLS.begun["gate"].wait()

    await room.tell(parent, InboxKind.SIGNAL, name="go", payload=None)

    assert await room.finished(parent) is FAILED
    assert (await room.row(await child_of(room, parent)))["status"] == CANCELLED


async def test_a_retry_keeps_the_child_that_completed(room: EngineRoom):
    room.worker()
    await publish(room, ECHO, name="echo", params=WORD, outputs=SAID)
    flaky = {"id": "b", "uses": "probe.gate@1", "depends_on": ["a"], "with": {"marker": "b"}}
    steps = [call("a", "echo", input={"word": "x"}), flaky]
    parent = await room.enqueue(await publish(room, steps))
    await CALLS.begun["b"].wait()
    await room.cancel(parent)
    assert await room.finished(parent) is CANCELLED

    CALLS.gates["b"].set()
    await room.retry(parent)

    assert await room.finished(parent) is COMPLETED
    assert len(await children_of(room, parent)) == 1


async def test_a_retry_runs_a_step_again_whose_child_was_stopped(room: EngineRoom):
    room.worker()
    parent, first = await parent_and_child(room)
    await room.cancel(parent)
    assert await room.finished(parent) is CANCELLED

    CALLS.gates["gate"].set()
    await room.retry(parent)

    assert await room.finished(parent) is COMPLETED
    assert len(set(await children_of(room, parent)) - {first}) == 1


async def test_a_large_output_is_the_parents_too(room: EngineRoom):
    room.worker()
    large = [{"id": "a", "uses": "core.set@1", "with": {"text": "{{ params.word * 20000 }}"}}]
    await publish(
        room, large, name="large", params=WORD, outputs={"text": "{{ steps.a.output.text }}"}
    )
    steps = [call("a", "large", input={"word": "abc"})]
    version = await publish(room, steps, outputs={"n": "{{ steps.a.output.text | length }}"})

    parent = await room.enqueue(version)

    assert await room.finished(parent) is COMPLETED
    assert json.loads((await room.row(parent))["output"]) == {"n": 60_000}
    refs = await room.sql.fetch("select execution_id from blob_refs")
    assert parent in {row["execution_id"] for row in refs}


async def test_whoever_takes_over_goes_on_with_the_children_that_are_there(room: EngineRoom):
    room.worker()
    parent, child = await parent_and_child(room)
    await room.expire("test:1")
    room.worker()
    CALLS.gates["gate"].set()

    assert await room.finished(parent) is COMPLETED
    assert await children_of(room, parent) == [child]


async def test_no_child_lies_deeper_than_may_be(room: EngineRoom):
    room.worker()
    await publish(room, ECHO, name="echo", params=WORD, outputs=SAID)
    version = await publish(room, [call("a", "echo", input={"word": "x"})])

    parent = await room.enqueue(version, meta={"depth": 16})

    assert await room.finished(parent) is FAILED
    assert json.loads((await room.row(parent))["error"])["type"] == "workflow.too_deep"


async def test_the_children_of_a_dead_letter_are_cancelled(room: EngineRoom):
    room.worker()
    parent, child = await parent_and_child(room)
    await room.sql.execute(
        "update workflow_executions set status = 6, owner = null, finished_at = now() where id = $1",
        parent,
    )
    room.wakeup.publish_inbox(0, [child])

    assert await room.finished(child) is CANCELLED


async def test_the_example_of_the_guide_does_what_it_says(room: EngineRoom):
    room.worker()
    page = (Path(__file__).resolve().parents[3] / "docs/guides/children.md").read_text("utf-8")
    [(_, child), (says, parent)] = re.findall(
        r"^```yaml workflow ?(?:runs=)?(.*?)\n(.*?)^```", page, re.MULTILINE | re.DOTALL
    )
    await room.publish(**yaml.safe_load(child))

    execution = await room.run(**yaml.safe_load(parent))

    assert json.loads((await room.row(execution))["output"]) == json.loads(says)
