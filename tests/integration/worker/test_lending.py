"""Maps over several workers: a part of the items is run by others, and everything is recorded as if the owner had run it."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from runtime.model.checkpoint import InboxKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.store.map_chunk import MapChunks
from runtime.worker import lending, signals
from runtime.worker.loop import Worker
from tests.integration.worker.test_maps import begin, output, over, rows
from tests.support.engine_room import EngineRoom
from tests.support.steps import CALLS


class Looks:
    """When the owner of a map has looked how many others there are, from which on it lends."""

    def __init__(self) -> None:
        self.happened = asyncio.Event()


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """The owner looks often; it waits for a helper that the machine keeps waiting."""
    monkeypatch.setattr(lending, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(lending, "PATIENCE_SECONDS", 60.0)
    looks, others = Looks(), MapChunks.others

    async def counted(chunks: MapChunks, shard: int, me: int) -> int:
        found = await others(chunks, shard, me)
        if found:
            looks.happened.set()
        return found

    monkeypatch.setattr(MapChunks, "others", counted)
    return looks


async def two(room: EngineRoom, **more: Any) -> tuple[Worker, Worker]:
    """The owner of what begins now, and another one. Whatever is left of a map is worth lending."""
    more = {"beat_seconds": 0.1, "lease_seconds": 60.0, "lend_seconds": 0.0, **more}
    first = room.worker(**more)
    await first.signals.wait(signals.REGISTERED)
    second = room.worker(**more)
    await second.signals.wait(signals.REGISTERED)
    return first, second


def gated(
    many: int, *, at_once: int = 4, uses: str = "probe.gate@1", **more: Any
) -> dict[str, Any]:
    """A map whose items wait for their gate, `m` and their number."""
    given = {"marker": "{{ 'm' ~ index }}", "value": "{{ item }}"}
    return over(list(range(many)), uses, given, max_concurrency=at_once, **more)


def open_gates(*items: int) -> None:
    for item in items:
        CALLS.gates[f"m{item}"].set()


async def run_by(room: EngineRoom, execution: UUID) -> dict[int, str]:
    """Which worker ran each item, by its row."""
    found = await room.sql.fetch(
        "select item, result ->> 'worker' as name from step_executions where execution_id = $1 and item >= 0",
        execution,
    )
    return {row["item"]: row["name"] for row in found}


async def lent(room: EngineRoom, *, taken: bool) -> list[set[int]]:
    """The items of the chunks under way that somebody has, or that nobody has."""
    found = await room.sql.fetch(
        "select items from map_chunks where (helper is not null) = $1 order by number", taken
    )
    return [set(row["items"]) for row in found]


async def begun(*items: int) -> None:
    for item in items:
        await asyncio.wait_for(CALLS.begun[f"m{item}"].wait(), 10)


async def begun_lending(
    room: EngineRoom, looks: Looks, step: dict[str, Any], **more: Any
) -> tuple[UUID, str, str]:
    """An execution whose first four items run at its owner, and of whose next ones every second one is lent.

    Its id, the name of its owner, and that of the helper.
    """
    execution = await begin(room, step, **more)
    await begun(0, 1, 2, 3)
    await asyncio.wait_for(looks.happened.wait(), 10)
    owner = await room.sql.fetchval(
        "select w.host from workers w join workflow_executions e on e.owner = w.id where e.id = $1",
        execution,
    )
    return execution, owner, "test:2" if owner == "test:1" else "test:1"


async def is_taken(room: EngineRoom, *items: int) -> bool:
    return set().union(*await lent(room, taken=True)) >= set(items)


async def bury(room: EngineRoom, name: str) -> None:
    """As another worker does when its lease has run out; its process lives, and finds out."""
    await room.sql.execute(
        "update workers set epoch = epoch + 1, dead = true, lease_until = 'infinity' where host = $1 and not dead",
        name,
    )


async def test_items_are_run_by_two_workers_and_recorded_by_one(room: EngineRoom, looks: Looks):
    await two(room)
    execution, owner, helper = await begun_lending(room, looks, gated(12))
    open_gates(0, 1)
    await room.until(execution, partial(is_taken, room, 4, 5))
    open_gates(*range(12))

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await output(room, execution) == list(range(12))
    by = await run_by(room, execution)
    assert {by[item] for item in (0, 1, 2, 3)} == {owner}
    assert {by[item] for item in (4, 5)} == {helper}
    assert Counter(len(CALLS.keys[f"m{item}"]) for item in range(12)) == {1: 12}
    assert CALLS.keys["m7"] == [f"{execution}.s.0.7.g0"]
    kinds = await room.events(execution)
    assert (kinds.count("step_started"), kinds.count("step_completed")) == (13, 13)
    assert await room.sql.fetchval("select count(*) from map_chunks") == 0


def busy(execution: UUID, *items: int) -> int:
    """How many calls of these items were made."""
    return sum(len(CALLS.keys[f"m{item}"]) for item in items)


async def test_what_a_lost_helper_had_is_run_by_the_owner(room: EngineRoom, looks: Looks):
    await two(room)
    execution, owner, helper = await begun_lending(room, looks, gated(12))
    open_gates(0, 1)
    await room.until(execution, partial(is_taken, room, 4, 5))
    await begun(4, 5)
    await bury(room, helper)
    await room.until(execution, partial(called, 4, 2))
    await room.until(execution, partial(called, 5, 2))
    open_gates(*range(12))

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await output(room, execution) == list(range(12))
    by = await run_by(room, execution)
    assert {by[item] for item in (4, 5)} == {owner}
    # The same attempt, under the same key.
    assert CALLS.attempts["m4"] == [1, 1]
    assert len(set(CALLS.keys["m4"])) == 1
    assert "step_retrying" not in await room.events(execution)


async def called(item: int, times: int) -> bool:
    return len(CALLS.keys[f"m{item}"]) >= times


async def test_who_takes_over_an_owner_goes_on_with_what_it_has_lent(
    room: EngineRoom, looks: Looks
):
    """The helper's calls are made once: its chunks are adopted, and `max_concurrency` holds."""
    await two(room)
    third = room.worker(beat_seconds=0.1, lease_seconds=60.0, lend_seconds=0.0)
    await third.signals.wait(signals.REGISTERED)
    execution, owner, _ = await begun_lending(room, looks, gated(12, at_once=6))
    await begun(4, 5)
    open_gates(0, 1)
    await room.until(execution, partial(is_taken, room, 6, 7))
    await begun(6, 7)
    await bury(room, owner)
    await room.until(execution, partial(is_owned_by_another, room, execution, owner))
    open_gates(*range(12))

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert await output(room, execution) == list(range(12))
    assert {len(CALLS.keys[f"m{item}"]) for item in (6, 7)} == {1}


async def is_owned_by_another(room: EngineRoom, execution: UUID, owner: str) -> bool:
    now = await room.sql.fetchval(
        "select w.host from workers w join workflow_executions e on e.owner = w.id where e.id = $1",
        execution,
    )
    return now is not None and now != owner


async def test_a_cancel_stops_what_is_lent(room: EngineRoom, looks: Looks):
    await two(room)
    execution, _, _ = await begun_lending(room, looks, gated(12))
    open_gates(0, 1)
    await room.until(execution, partial(is_taken, room, 4, 5))
    await begun(4, 5)

    await room.cancel(execution)

    assert await room.finished(execution) is ExecutionStatus.CANCELLED
    found = await rows(room, execution)
    assert {found[item, 0] for item in (2, 3, 4, 5)} == {StepStatus.CANCELLED}
    assert await room.sql.fetchval("select count(*) from map_chunks") == 0


async def test_the_first_failure_stops_what_is_lent(room: EngineRoom, looks: Looks):
    await two(room)
    step = over(
        list(range(12)),
        "probe.gate@1",
        {"marker": "{{ 'm' ~ index }}", "value": "{{ 1 / 0 if index == 6 else index }}"},
        max_concurrency=4,
    )
    execution, _, _ = await begun_lending(room, looks, step)
    open_gates(0, 1)
    await room.until(execution, partial(is_taken, room, 4, 5))
    await begun(4, 5)
    open_gates(2)

    assert await room.finished(execution) is ExecutionStatus.FAILED
    found = await rows(room, execution)
    assert found[6, 0] is StepStatus.FAILED
    assert {found[item, 0] for item in (3, 4, 5)} == {StepStatus.CANCELLED}
    assert 7 not in {item for item, _ in found}


async def test_a_failure_at_a_helper_is_a_failure_of_its_item(room: EngineRoom, looks: Looks):
    await two(room)
    step = over(
        list(range(8)),
        "probe.gate@1",
        {"marker": "{{ 'm' ~ index }}", "value": "{{ 1 / 0 if index == 5 else index }}"},
        max_concurrency=4,
        failure_policy="collect",
    )
    execution, _, _ = await begun_lending(room, looks, step)
    open_gates(0, 1)
    await begun(4)
    open_gates(*range(8))

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    found = await output(room, execution)
    assert [one["status"] for one in found] == ["completed"] * 5 + ["failed"] + ["completed"] * 2
    assert found[5]["error"]["type"] == "expression"


async def test_a_pause_lets_what_is_lent_end_and_lends_nothing_more(room: EngineRoom, looks: Looks):
    await two(room)
    execution, _, _ = await begun_lending(room, looks, gated(12))
    open_gates(0, 1)
    await room.until(execution, partial(is_taken, room, 4, 5))
    await begun(4, 5)
    await room.tell(execution, InboxKind.PAUSE, reason="wait")
    await room.until(execution, partial(has_event, room, execution, "execution_paused"))
    open_gates(*range(12))
    await room.reached(execution, lambda row: row["status"] == ExecutionStatus.WAITING)

    assert {item for item, _ in await rows(room, execution)} == {0, 1, 2, 3, 4, 5}
    await room.tell(execution, InboxKind.RESUME, reason="go")
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert busy(execution, *range(12)) == 12


async def has_event(room: EngineRoom, execution: UUID, event: str) -> bool:
    return event in await room.events(execution)


async def test_calls_that_may_happen_once_stay_with_their_owner(room: EngineRoom, looks: Looks):
    """Their effect is known when they are rendered: a helper gives them back, and none is lent any more."""
    await two(room)
    step = gated(12, uses="probe.sometimes@1")
    execution, owner, _ = await begun_lending(room, looks, step)
    open_gates(*range(12))

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert set((await run_by(room, execution)).values()) == {owner}
    assert busy(execution, *range(12)) == 12


async def test_a_helper_that_stops_gives_back_what_it_has_not_run(
    room: EngineRoom, looks: Looks, monkeypatch: pytest.MonkeyPatch
):
    first, second = await two(room)
    execution, owner, helper = await begun_lending(room, looks, gated(12))
    open_gates(0, 1)
    await room.until(execution, partial(is_taken, room, 4, 5))
    await begun(4, 5)

    await (second if helper == "test:2" else first).stop(0.0)
    # What is offered before the owner has seen that, nobody takes.
    monkeypatch.setattr(lending, "PATIENCE_SECONDS", 0.1)
    open_gates(*range(12))

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert {(await run_by(room, execution))[item] for item in (4, 5)} == {owner}


async def test_no_more_are_under_way_at_once_than_the_map_lets(room: EngineRoom, looks: Looks):
    await two(room)
    execution, _, _ = await begun_lending(room, looks, gated(24))
    most = 0
    for item in range(20):
        under_way = [one for one in range(24) if CALLS.begun[f"m{one}"].is_set()]
        most = max(most, len(under_way) - item)
        open_gates(item)
        await begun(item + 4)

    assert most == 4
    open_gates(*range(24))
    assert await room.finished(execution) is ExecutionStatus.COMPLETED
