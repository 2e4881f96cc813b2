"""A worker that is killed between a rewind and its first step, or in it: the next goes on from what the rewind says."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.model.execution import ExecutionStatus, StepStatus
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.counters import miscounted
from tests.support.engine_room import EngineRoom

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos
MANY = 12


def chain(home: Path) -> list[dict[str, Any]]:
    """Three steps, of which the second waits for its gate."""
    steps: list[dict[str, Any]] = []
    for key, needs in (("a", []), ("b", ["a"]), ("c", ["b"])):
        given = {"folder": str(home)} | ({"gate": "gate"} if key == "b" else {})
        call = {"uses": "probe.file@1", "with": given, "timeout": "60s"}
        steps.append({"id": key, "depends_on": needs, **call})
    return steps


def of(home: Path, one: UUID) -> list[str]:
    """The calls of an execution, as `step.generation`."""
    return [key.split(".s.")[1] for key, _ in calls(home) if key.startswith(str(one))]


async def test_a_worker_killed_in_the_first_step_after_a_rewind_leaves_it_to_the_next(
    room: EngineRoom, start, home: Path
):
    first = await start("first")
    version = await room.publish(chain(home))
    one = await room.enqueue(version)
    (home / "gate").touch()
    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
    (home / "gate").unlink()

    assert await room.rewind(one, version, 1) == 1
    await until(lambda: of(home, one)[3:] == ["1.g1"])
    await start("second")
    first.send_signal(signal.SIGKILL)
    await until(lambda: of(home, one)[3:] == ["1.g1", "1.g1"])
    (home / "gate").touch()

    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
    assert of(home, one) == ["0.g0", "1.g0", "2.g0", "1.g1", "1.g1", "2.g1"]
    assert await miscounted(room.sql) == []


async def test_kills_between_rewinds_and_first_steps_lose_and_repeat_nothing_that_is_kept(
    room: EngineRoom, start, home: Path
):
    version = await room.publish(chain(home))
    (home / "gate").touch()
    executions = [await room.enqueue(version) for _ in range(MANY)]
    first = await start("first")
    for one in executions:
        assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED

    for number, one in enumerate(executions):
        assert await room.rewind(one, version, 1 + number % 2) == 1
    first.send_signal(signal.SIGKILL)
    await start("second")

    for number, one in enumerate(executions):
        assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
        again = ["1.g1", "2.g1"][number % 2 :]
        assert of(home, one)[:3] == ["0.g0", "1.g0", "2.g0"]
        assert list(dict.fromkeys(of(home, one)[3:])) == again
    assert await miscounted(room.sql) == []


def kept_chain(home: Path, *, gated: str) -> list[dict[str, Any]]:
    """Four steps, one of which waits for its gate; the third is the one that is kept."""
    steps: list[dict[str, Any]] = []
    for key, needs in (("a", []), ("b", ["a"]), ("mail", ["b"]), ("d", ["mail"])):
        given = {"folder": str(home)} | ({"gate": "gate"} if key == gated else {})
        call = {"uses": "probe.file@1", "with": given, "timeout": "60s"}
        steps.append({"id": key, "depends_on": needs, **call})
    return steps


@pytest.mark.parametrize(
    ("gated", "before", "after"),
    [("b", ["1.g1"], ["1.g1", "3.g1"]), ("d", ["1.g1", "3.g1"], ["3.g1"])],
    ids=["before its turn", "after its turn"],
)
async def test_what_a_rewind_keeps_is_not_called_by_who_comes_after_a_kill(
    room: EngineRoom, start, home: Path, gated: str, before: list[str], after: list[str]
):
    first = await start("first")
    version = await room.publish(kept_chain(home, gated=gated))
    one = await room.enqueue(version)
    (home / "gate").touch()
    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
    (home / "gate").unlink()

    assert await room.rewind(one, version, 1, keep=[2]) == 1
    await until(lambda: of(home, one)[4:] == before)
    await start("second")
    first.send_signal(signal.SIGKILL)
    await until(lambda: of(home, one)[4:] == [*before, after[0]])
    (home / "gate").touch()

    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
    assert of(home, one) == ["0.g0", "1.g0", "2.g0", "3.g0", *before, *after]
    rows = [row for row in await room.steps(one) if row[:2] == (2, 1)]
    assert rows == [(2, 1, 1, StepStatus.COMPLETED)]
    assert await miscounted(room.sql) == []


async def test_kills_between_rewinds_and_first_steps_call_nothing_that_a_wish_keeps(
    room: EngineRoom, start, home: Path
):
    version = await room.publish(kept_chain(home, gated=""))
    executions = [await room.enqueue(version) for _ in range(MANY)]
    first = await start("first")
    for one in executions:
        assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED

    for one in executions:
        assert await room.rewind(one, version, 1, keep=[2]) == 1
    first.send_signal(signal.SIGKILL)
    await start("second")

    for one in executions:
        assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
        assert list(dict.fromkeys(of(home, one)[4:])) == ["1.g1", "3.g1"]
    assert await miscounted(room.sql) == []


PARAMS = {"folder": {"type": "string"}, "broken": {"type": "boolean"}}


async def test_after_a_kill_the_next_worker_calls_with_the_input_that_the_rewind_gave(
    room: EngineRoom, start, home: Path
):
    """The input says where calls are noted: what is called with the old one is noted in the old place."""
    old, new = home / "old", home / "new"
    old.mkdir()
    new.mkdir()
    (old / "gate").touch()
    first = await start("first")
    version = await room.publish(
        [
            {"id": key, "depends_on": needs, "uses": "probe.file@1", "timeout": "60s",
             "with": {"folder": "{{ params.folder }}", "gate": "gate"}}
            for key, needs in (("a", []), ("b", ["a"]), ("c", ["b"]))
        ],
        params=PARAMS,
    )  # fmt: skip
    one = await room.enqueue(version, {"folder": str(old), "broken": False})
    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED

    edited = {"folder": str(new), "broken": False}
    assert await room.rewind(one, version, 1, given=edited) == 1
    await until(lambda: of(new, one) == ["1.g1"])
    await start("second")
    first.send_signal(signal.SIGKILL)
    await until(lambda: of(new, one) == ["1.g1", "1.g1"])
    (new / "gate").touch()

    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
    assert of(old, one) == ["0.g0", "1.g0", "2.g0"]
    assert of(new, one) == ["1.g1", "1.g1", "2.g1"]
    assert await miscounted(room.sql) == []


async def test_after_a_kill_each_step_is_undone_with_the_input_with_which_it_ran(
    room: EngineRoom, start, home: Path
):
    old, new = home / "old", home / "new"
    old.mkdir()
    new.mkdir()
    (old / "gate").touch()
    first = await start("first")
    undo = {
        "uses": "probe.file@1", "timeout": "60s",
        "with": {"folder": "{{ params.folder }}", "gate": "gate"},
    }  # fmt: skip
    version = await room.publish(
        [
            {"id": "a", "uses": "core.noop@1", "compensate": undo},
            {"id": "b", "uses": "core.noop@1", "depends_on": ["a"], "compensate": undo},
            {"id": "c", "uses": "core.fail@1", "depends_on": ["b"], "when": "{{ params.broken }}"},
        ],
        params=PARAMS,
    )
    one = await room.enqueue(version, {"folder": str(old), "broken": False})
    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED

    edited = {"folder": str(new), "broken": True}
    assert await room.rewind(one, version, 1, given=edited) == 1
    await until(lambda: of(new, one) == ["4.g1"])
    await start("second")
    first.send_signal(signal.SIGKILL)
    await until(lambda: of(new, one) == ["4.g1", "4.g1"])
    (new / "gate").touch()

    assert await room.finished(one, WAIT) is ExecutionStatus.FAILED
    assert of(new, one) == ["4.g1", "4.g1"]
    assert of(old, one) == ["3.g1"]
    assert await miscounted(room.sql) == []
