"""Worker tags with real workers: an execution moves to one that has them, waits for it, and loses nothing on its way."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from runtime.model.checkpoint import InboxKind
from runtime.model.execution import ExecutionStatus, WaitKind
from runtime.worker import signals
from tests.integration.worker.test_waits import wait
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS

GPU = frozenset({"gpu"})


def echo(id: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "uses": "probe.echo@1", "depends_on": [*needs], "with": {}, **more}


def gate(id: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "uses": "probe.gate@1",
        "depends_on": [*needs],
        "with": {"marker": id},
        **more,
    }


def is_waiting_for_tags(row: Any) -> bool:
    parked = (ExecutionStatus.WAITING, WaitKind.WORKER_TAGS)
    return bool((row["status"], row["wait"]) == parked)


async def who_ran(room: EngineRoom, execution: UUID) -> list[str]:
    """The worker of each step, by number."""
    return [one["worker"] for one in await room.results(execution)]


async def test_an_execution_moves_to_who_has_the_tags_and_stays_there(room: EngineRoom):
    room.worker(beat_seconds=0.05)
    steps = [echo("a"), echo("b", "a", runs_on="gpu"), echo("c", "b")]
    execution = await room.enqueue(await room.publish(steps))
    await room.reached(execution, is_waiting_for_tags)
    assert CALLS.attempts.keys() <= {"a"}

    room.worker(beat_seconds=0.05, tags=GPU)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await who_ran(room, execution) == ["test:1", "test:2", "test:2"]


async def test_all_tags_are_needed_and_the_sets_of_different_steps_are_alternatives(
    room: EngineRoom,
):
    room.worker(beat_seconds=0.05, tags=GPU)
    steps = [echo("a", runs_on=["gpu", "eu"]), echo("b", runs_on="big")]
    execution = await room.enqueue(await room.publish(steps))
    await room.reached(execution, is_waiting_for_tags)
    waiting = await room.sql.fetchval(
        "select data ->> 'tags' from execution_events where execution_id = $1 and kind = 5",
        execution,
    )
    assert waiting == '[["big"], ["eu", "gpu"]]'

    room.worker(beat_seconds=0.05, tags=frozenset({"big", "eu"}))
    await room.reached(execution, lambda row: row["epoch"] >= 2 and is_waiting_for_tags(row))
    room.worker(beat_seconds=0.05, tags=frozenset({"eu", "gpu", "x"}))

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await who_ran(room, execution) == ["test:3", "test:2"]


async def test_a_timer_and_a_message_find_any_worker_meanwhile(room: EngineRoom):
    room.worker(beat_seconds=0.05)
    steps = [
        echo("far", runs_on="gpu"),
        wait("nap", **{"for": "300ms"}),
        echo("after", "nap"),
        wait("bell", signal="go"),
        echo("rung", "bell"),
    ]
    execution = await room.enqueue(await room.publish(steps))

    await room.until(execution, lambda: _has_run(room, execution, 2))
    await room.tell(execution, InboxKind.SIGNAL, name="go", payload=1)
    await room.until(execution, lambda: _has_run(room, execution, 4))
    await room.reached(execution, is_waiting_for_tags)
    room.worker(beat_seconds=0.05, tags=GPU)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED


async def _has_run(room: EngineRoom, execution: UUID, step: int) -> bool:
    return any(one[0] == step for one in await room.steps(execution))


async def test_what_waits_for_tags_is_cancelled_by_any_worker(room: EngineRoom):
    room.worker(beat_seconds=0.05)
    execution = await room.enqueue(await room.publish([echo("a", runs_on="gpu")]))
    await room.reached(execution, is_waiting_for_tags)

    await room.cancel(execution)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    assert await room.steps(execution) == []


async def test_the_only_worker_with_the_tags_is_lost_and_who_takes_over_hands_on(room: EngineRoom):
    """The step of the lost one is run again as the same attempt, by a worker with its tags and by no other."""
    room.worker(beat_seconds=60.0, lease_seconds=600.0, tags=GPU)
    execution = await room.enqueue(await room.publish([gate("b", runs_on="gpu"), echo("c", "b")]))
    await asyncio.wait_for(CALLS.begun["b"].wait(), 10)
    second = room.worker(beat_seconds=0.05)

    await room.expire("test:1")
    await second.signals.wait(signals.TAKEN_OVER)
    await room.reached(execution, is_waiting_for_tags)
    assert CALLS.attempts["b"] == [1]
    CALLS.gates["b"].set()
    room.worker(beat_seconds=0.05, tags=GPU)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await who_ran(room, execution) == ["test:3", "test:3"]
    assert len(set(CALLS.keys["b"])) == 1


async def test_a_map_with_tags_runs_where_they_are_and_is_not_lent(room: EngineRoom):
    room.worker(beat_seconds=0.05, lend_seconds=0.01)
    items = {
        "id": "m", "type": "map", "for_each": list(range(40)), "max_concurrency": 4, "runs_on": ["gpu"],
        "task": {"uses": "probe.flaky@1", "with": {"marker": "m"}},
    }  # fmt: skip
    execution = await room.enqueue(await room.publish([items]))
    await room.reached(execution, is_waiting_for_tags)

    room.worker(beat_seconds=0.05, tags=GPU, lend_seconds=0.01)

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    found = await room.sql.fetch(
        "select distinct result ->> 'worker' as worker from step_executions where execution_id = $1 and item >= 0",
        execution,
    )
    assert [row["worker"] for row in found] == ["test:2"]


@pytest.mark.parametrize("tags", [frozenset(), GPU])
async def test_more_that_waits_for_other_tags_hides_nothing(room: EngineRoom, tags: frozenset[str]):
    """A worker takes as many as it has room for, whatever else waits for tags that it lacks."""
    room.worker(beat_seconds=0.05, tags=tags)
    other = await room.publish([echo("a", runs_on="elsewhere")])
    mine = await room.publish([echo("a", runs_on="gpu")])
    waiting = [await room.enqueue(other) for _ in range(5)]
    wanted = await room.enqueue(mine)
    for one in waiting:
        await room.reached(one, is_waiting_for_tags)
    if not tags:
        room.worker(beat_seconds=0.05, tags=GPU, max_executions=2)

    assert await room.finished(wanted) is ExecutionStatus.COMPLETED
    for one in waiting:
        assert is_waiting_for_tags(await room.row(one))
