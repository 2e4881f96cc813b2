"""Items of maps as callers see them: in pages, one by one, counted, with their causes, costs, logs and doubts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from runtime.engine.advance import advance
from runtime.engine.event import StepSucceeded
from runtime.model.blocker import BlockCause, Blocker
from runtime.model.errors import Denied, InvalidState, NotFound
from runtime.model.event import EventKind, ExecutionEvent
from runtime.model.execution import (
    DoubtDecision,
    ExecutionStatus,
    MapProgress,
    Resolution,
    StepExecution,
    StepStatus,
)
from runtime.model.values import Money
from runtime.services.opening import openings
from runtime.services.step_view import StepView
from runtime.store.execution_item import ItemRecords
from tests.integration.services.conftest import ServiceRoom
from tests.support.steps import CALLS
from tests.unit.engine.test_history import AT

COMPLETED, FAILED, CANCELLED = StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED
RUNNING, READY, RETRYING = StepStatus.RUNNING, StepStatus.READY, StepStatus.RETRYING
PENDING, IN_DOUBT = StepStatus.PENDING, StepStatus.IN_DOUBT
GATED = {"marker": "{{ 'm' ~ index }}", "value": "{{ item }}"}


async def begin(
    room: ServiceRoom, values: Any, uses: str, given: dict[str, Any], **more: Any
) -> UUID:
    """An execution of one map, with a worker."""
    CALLS.clear()
    task = {"uses": uses, "with": given, **more.pop("task", {})}
    step = {"id": "each", "type": "map", "for_each": values, "task": task, **more}
    version = await room.engine.publish([step])
    room.engine.worker()
    return await room.engine.enqueue(version)


async def view_of(room: ServiceRoom, execution: UUID) -> StepView:
    return (await room.executions.items.views(room.who, [execution]))[execution]


async def page(
    room: ServiceRoom, execution: UUID, *statuses: StepStatus, after: int = -1, limit: int = 100
) -> list[StepExecution]:
    view = await view_of(room, execution)
    found = await room.executions.items.page(
        room.who, view, 0, after=after, limit=limit, statuses=statuses
    )
    assert found is not None
    return list(found[0].items)


async def agree(room: ServiceRoom, execution: UUID) -> None:
    """Statuses are filtered in SQL and told in Python: of every item, status and page both say the same."""
    everything = shown(await page(room, execution))
    for status in StepStatus:
        wanted = [one for one in everything if one[1] is status]
        assert shown(await page(room, execution, status)) == wanted
        for limit in (1, 2):
            assert shown(await page(room, execution, status, limit=limit)) == wanted[:limit]
        behind = [one for one in wanted if one[0] > 0]
        assert shown(await page(room, execution, status, after=0)) == behind


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The statements about items from here on: name and arguments."""
    found: list[tuple[Any, ...]] = []
    fetch = ItemRecords._fetch

    async def noting(self: ItemRecords, tenant: UUID, one: Any, name: str, *more: Any) -> Any:
        found.append((name, *more))
        return await fetch(self, tenant, one, name, *more)

    monkeypatch.setattr(ItemRecords, "_fetch", noting)
    return found


def shown(items: Sequence[StepExecution]) -> list[tuple[int, StepStatus]]:
    return [(one.item, one.status) for one in items]


async def progress(room: ServiceRoom, execution: UUID) -> MapProgress | None:
    return await room.executions.items.progress(room.who, await view_of(room, execution), 0)


async def causes(room: ServiceRoom, execution: UUID) -> list[Blocker | None]:
    """That of the map, and those of its items."""
    standing = (await room.executions.standings(room.who, [execution]))[execution]
    steps = (await room.executions.steps(room.who, [execution]))[execution]
    return [one.blocked(standing) for one in (*steps, *await page(room, execution))]


async def half_way(room: ServiceRoom) -> UUID:
    """Of four items the first has completed, two run, one has not begun."""
    execution = await begin(room, [5, 6, 7, 8], "probe.gate@1", GATED, max_concurrency=2)
    CALLS.gates["m0"].set()
    await asyncio.wait_for(CALLS.begun["m2"].wait(), 10)
    return execution


async def parked(room: ServiceRoom, values: Any, uses: str, given: Any, **more: Any) -> UUID:
    execution = await begin(room, values, uses, given, **more)
    await room.engine.reached(execution, lambda row: row["status"] == ExecutionStatus.WAITING)
    return execution


async def test_each_item_is_shown_with_what_became_of_it(room: ServiceRoom):
    execution = await half_way(room)

    first, second, third, last = await page(room, execution)

    assert shown([first, second, third, last]) == [
        (0, COMPLETED),
        (1, RUNNING),
        (2, RUNNING),
        (3, READY),
    ]
    assert (first.output, first.attempt, first.key) == (5, 1, "each")
    assert first.input == {"marker": "m0", "value": 5}
    assert (second.input, second.output) == ({"marker": "m1", "value": 6}, None)
    assert [one.attempt for one in second.attempts] == [1]
    assert (last.input, last.attempts, last.started_at) == (None, (), None)


async def test_how_far_a_map_is(room: ServiceRoom):
    execution = await half_way(room)

    assert await progress(room, execution) == MapProgress(4, 1, 0, 2)
    for item in (1, 2, 3):
        CALLS.gates[f"m{item}"].set()
    await room.engine.finished(execution)
    assert await progress(room, execution) == MapProgress(4, 4, 0, 0)


async def test_items_are_asked_for_by_status_and_in_pages(room: ServiceRoom):
    execution = await half_way(room)

    assert shown(await page(room, execution, limit=2)) == [(0, COMPLETED), (1, RUNNING)]
    assert shown(await page(room, execution, after=1)) == [(2, RUNNING), (3, READY)]
    assert shown(await page(room, execution, RUNNING)) == [(1, RUNNING), (2, RUNNING)]
    assert shown(await page(room, execution, RUNNING, limit=1)) == [(1, RUNNING)]
    assert shown(await page(room, execution, RUNNING, after=1)) == [(2, RUNNING)]
    assert shown(await page(room, execution, READY, COMPLETED)) == [(0, COMPLETED), (3, READY)]
    assert await page(room, execution, FAILED) == []
    assert await page(room, execution, StepStatus.SKIPPED) == []
    assert await page(room, execution, PENDING) == []
    await agree(room, execution)


async def test_a_page_by_status_is_full_wherever_its_items_lie(room: ServiceRoom):
    given = {"marker": "m", "kind": "permanent", "failures": "{{ 9 if index % 3 == 2 else 0 }}"}
    execution = await begin(room, list(range(9)), "probe.flaky@1", given, failure_policy="collect")
    await room.engine.finished(execution)

    assert shown(await page(room, execution, FAILED, limit=2)) == [(2, FAILED), (5, FAILED)]
    assert shown(await page(room, execution, FAILED, after=5)) == [(8, FAILED)]
    assert shown(await page(room, execution, RETRYING)) == []
    assert len(await page(room, execution, COMPLETED)) == 6
    await agree(room, execution)
    assert await progress(room, execution) == MapProgress(9, 6, 3, 0)


async def test_one_item_is_found_by_its_number(room: ServiceRoom):
    execution = await half_way(room)
    view = await view_of(room, execution)

    found = await room.executions.items.find(room.who, view, 0, [0, 4, 2, -1])
    assert [(number, one.item) for number, one in found.items()] == [(0, 0), (2, 2)]
    assert (found[0].output, found[2].status) == (5, RUNNING)
    for step in (1, -1):
        assert await room.executions.items.find(room.who, view, step, [0]) == {}


async def test_what_is_no_map_or_has_not_begun_has_no_items(room: ServiceRoom):
    version = await room.engine.publish([{"id": "a", "uses": "core.noop@1"}])
    execution = await room.engine.enqueue(version)

    assert await progress(room, execution) is None
    view = await view_of(room, execution)
    assert await room.executions.items.page(room.who, view, 0, after=-1, limit=1) is None


async def test_an_item_that_is_not_running_says_why(room: ServiceRoom):
    execution = await half_way(room)

    of_map, *of_items = await causes(room, execution)

    assert of_map is None
    assert of_items[:3] == [None, None, None]
    assert of_items[3] is not None
    assert of_items[3].cause is BlockCause.PARALLELISM
    assert "At most 2 items" in of_items[3].summary


async def test_a_map_that_is_parked_says_which_item_it_waits_for(room: ServiceRoom):
    given = {"marker": "{{ 'm' ~ index }}", "failures": 1, "retry_after": "{{ 60 - index * 20 }}"}
    retry = {"max_attempts": 2, "initial": "30s", "max": "2m", "jitter": "none"}
    execution = await parked(room, [1, 2], "probe.flaky@1", given, task={"retry": retry})

    of_map, first, second = await causes(room, execution)

    assert of_map is not None
    assert first is not None
    assert second is not None
    assert [one.cause for one in (of_map, first, second)] == [BlockCause.RETRY] * 3
    assert (of_map.until, of_map.attempt) == (second.until, 2)
    assert of_map.summary == "An attempt of item 1 and of 1 more failed: busy"
    assert first.summary == "An attempt of item 0 failed: busy"
    assert shown(await page(room, execution, RETRYING)) == [(0, RETRYING), (1, RETRYING)]
    await agree(room, execution)
    assert await progress(room, execution) == MapProgress(2, 0, 0, 0)


async def test_a_person_settles_the_doubt_of_one_item(room: ServiceRoom):
    task = {"in_doubt": "ask", "timeout": "50ms"}
    given = {"marker": "{{ 'm' ~ index }}"}
    execution = await parked(room, [5, 6], "probe.typed@1", given, task=task, max_concurrency=1)
    of_map, first, second = await causes(room, execution)
    assert of_map is not None
    assert first is not None
    assert second is not None
    assert [of_map.cause, first.cause] == [BlockCause.IN_DOUBT] * 2
    assert first.summary == "Nobody knows whether the call of item 0 was made."
    await agree(room, execution)
    assert second.cause is BlockCause.QUEUE

    def said(item: int | None, **more: Any) -> Resolution:
        return Resolution("each", DoubtDecision.MADE, {"number": 7}, item=item, **more)

    with pytest.raises(InvalidState, match="item 1 of step 'each' is in no doubt: it is ready"):
        await room.doubts.resolve(room.who, execution, said(1))
    with pytest.raises(NotFound, match="has no item 2"):
        await room.doubts.resolve(room.who, execution, said(2))
    with pytest.raises(InvalidState, match="step 'each' is in no doubt: it is running"):
        await room.doubts.resolve(room.who, execution, said(None))
    CALLS.gates["m1"].set()
    await room.doubts.resolve(room.who, execution, said(0, key="k"))
    await room.engine.until(execution, lambda: _settled(room, execution))

    assert (await page(room, execution))[0].output == {"number": 7}


async def _settled(room: ServiceRoom, execution: UUID) -> bool:
    return "step_doubt_settled" in await room.engine.events(execution)


async def test_a_failure_stops_the_others_and_a_retry_keeps_what_completed(room: ServiceRoom):
    given = {
        "marker": "{{ 'm' ~ index }}",
        "failures": "{{ 9 if index == 1 and execution.generation == 0 else 0 }}",
        "kind": "permanent",
    }
    execution = await begin(room, [1, 2, 3], "probe.flaky@1", given, max_concurrency=1)
    await room.engine.finished(execution)
    assert shown(await page(room, execution)) == [(0, COMPLETED), (1, FAILED), (2, PENDING)]
    assert await progress(room, execution) == MapProgress(3, 1, 1, 0)
    assert shown(await page(room, execution, PENDING, READY)) == [(2, PENDING)]
    assert await page(room, execution, READY, RUNNING) == []
    await agree(room, execution)
    _, _, failed, last = await causes(room, execution)
    assert failed is None
    assert last is not None
    assert last.cause is BlockCause.ENDED

    await room.executions.retry(room.who, execution)
    room.engine.queue.add(0, [(execution, 1)])
    await room.engine.finished(execution)

    assert await room.engine.finished(execution) is ExecutionStatus.COMPLETED
    await agree(room, execution)
    items = await page(room, execution)
    assert [(one.status, one.generation) for one in items] == [
        (COMPLETED, 0),
        (COMPLETED, 1),
        (COMPLETED, 1),
    ]
    assert await progress(room, execution) == MapProgress(3, 3, 0, 0)


async def test_what_items_cost_is_told_of_their_map_at_every_moment(room: ServiceRoom):
    given = {"cost": "{{ '0.25 EUR' if index else '1.50 USD' }}"}
    execution = await begin(room, [1, 2, 3], "probe.echo@1", given)
    await room.engine.finished(execution)

    costs = await room.executions.items.costs(room.who, execution, None)
    assert costs == {0: (Money.parse("0.50 EUR"), Money.parse("1.50 USD"))}
    assert await room.executions.items.costs(room.who, execution, 3) == {}
    assert [one.costs for one in await page(room, execution)][:1] == [(Money.parse("1.50 USD"),)]


async def test_the_lines_of_one_item_are_read_alone(room: ServiceRoom):
    execution = await begin(room, [1, 2], "probe.chatty@1", {"lines": "{{ item }}"})
    await room.engine.finished(execution)
    worker, _, logs = room.engine.workers[0]
    await worker.stop()
    await logs.close()

    lines = await room.executions.logs(room.who, execution, step_key="each", item=1)
    assert [line.item for line in lines] == [1, 1]
    assert len(await room.executions.logs(room.who, execution, step_key="each")) == 3


async def test_items_of_others_are_not_shown(room: ServiceRoom):
    execution = await half_way(room)
    stranger = replace(room.who, tenant_id=UUID(int=1))
    view = await view_of(room, execution)

    assert await room.executions.items.views(stranger, [execution]) == {}
    assert await room.executions.items.costs(stranger, execution, None) == {}
    found = (await room.executions.items.find(stranger, view, 0, [0]))[0]
    assert (found.status, found.output) == (READY, None)
    with pytest.raises(Denied):
        await room.executions.items.progress(replace(room.who, scopes=frozenset()), view, 0)


async def test_counts_say_what_the_items_say(room: ServiceRoom):
    """Counting is SQL's and statuses are Python's: of every item both say the same."""
    given = {"marker": "{{ 'm' ~ index }}", "failures": "{{ index % 4 }}"}
    retry = {"max_attempts": 3, "initial": "1ms", "jitter": "none", "backoff": "fixed"}
    execution = await begin(
        room,
        list(range(12)),
        "probe.flaky@1",
        given,
        failure_policy="collect",
        task={"retry": retry},
    )
    await room.engine.finished(execution)

    items = [one.status for one in await page(room, execution)]
    assert items.count(FAILED) == 3
    assert await progress(room, execution) == MapProgress(
        12, items.count(COMPLETED), items.count(FAILED), items.count(RUNNING)
    )


async def test_what_an_item_of_this_status_can_not_be_is_not_looked_for(
    room: ServiceRoom, asked: list[tuple[Any, ...]]
):
    execution = await begin(room, [1, 2], "probe.echo@1", {})
    await room.engine.finished(execution)

    for status in (FAILED, PENDING, READY, RUNNING, RETRYING, StepStatus.SKIPPED):
        assert await page(room, execution, status) == []
    assert asked == []


async def test_an_item_that_was_stopped_is_ready_as_long_as_its_map_is_open(room: ServiceRoom):
    execution = await half_way(room)
    await room.engine.sql.execute(
        """insert into step_executions select shard, 9, step, execution_id, tenant_id, 1, 0, 3, now(), now(), $2
             from step_executions where execution_id = $1 and item = 0""",
        execution,
        '{"stopped": true}',
    )

    assert shown(await page(room, execution, READY)) == [(3, READY)]
    await agree(room, execution)


async def test_no_result_is_read_of_items_that_are_not_shown(
    room: ServiceRoom, asked: list[tuple[Any, ...]]
):
    """Of a hundred thousand that have failed in a map that goes on, none waits for its next attempt."""
    given = {"marker": "m", "kind": "permanent", "failures": "{{ 9 if index else 0 }}"}
    execution = await begin(room, [1, 2, 3, 4], "probe.flaky@1", given, failure_policy="collect")
    await room.engine.finished(execution)

    assert await page(room, execution, IN_DOUBT, CANCELLED) == []
    assert len(await page(room, execution, FAILED, limit=1)) == 1
    assert [one[1] for one in asked if one[0] == "rows"] == [[1]]


@pytest.mark.interpreted
async def test_what_was_under_way_when_its_execution_broke_off_was_cancelled(
    room: ServiceRoom, monkeypatch: pytest.MonkeyPatch
):
    """As a step is that had begun: nothing was recorded of it, and nothing goes on."""
    execution = await half_way(room)

    def broken(state: Any, event: Any) -> Any:
        assert not isinstance(event, StepSucceeded)
        return advance(state, event)

    monkeypatch.setattr("runtime.worker.executor.advance", broken)
    CALLS.gates["m1"].set()
    await room.engine.finished(execution)

    items = await page(room, execution)
    assert shown(items) == [(0, COMPLETED), (1, CANCELLED), (2, CANCELLED), (3, PENDING)]
    assert items[1].input == {"marker": "m1", "value": 6}
    await agree(room, execution)
    found = await room.executions.items.find(room.who, await view_of(room, execution), 0, [2, 3])
    assert [one.status for one in found.values()] == [CANCELLED, PENDING]


async def test_what_waited_in_an_older_generation_waits_no_more(room: ServiceRoom):
    given = {
        "marker": "m",
        "failures": 1,
        "kind": "{{ 'permanent' if index else 'transient' }}",
    }
    retry = {"max_attempts": 2, "initial": "20s", "jitter": "none"}
    execution = await begin(room, [1, 2], "probe.flaky@1", given, task={"retry": retry})
    await room.engine.finished(execution)
    assert shown(await page(room, execution)) == [(0, CANCELLED), (1, FAILED)]
    await room.engine.workers[0][0].stop()

    await room.executions.retry(room.who, execution)

    standing = (await room.executions.standings(room.who, [execution]))[execution]
    assert standing.items == {}


async def test_events_are_read_for_those_items_alone_whose_rows_do_not_say_all(
    room: ServiceRoom, asked: list[tuple[Any, ...]]
):
    execution = await half_way(room)
    view = await view_of(room, execution)

    await room.executions.items.find(room.who, view, 0, [0])
    assert [one[0] for one in asked] == ["rows"]
    await room.executions.items.find(room.who, view, 0, [0, 1])
    await page(room, execution, COMPLETED, FAILED)
    assert [one[2] for one in asked if one[0] == "under_way"] == [[1]]


async def test_items_that_rest_on_what_was_undone_begin_anew_with_a_retry(room: ServiceRoom):
    CALLS.clear()
    task = {"uses": "probe.gate@1", "with": GATED}
    each = {"id": "each", "type": "map", "for_each": [7, 8, 9], "task": task}
    steps: list[Any] = [
        {"id": "a", "uses": "core.noop@1", "compensate": {"uses": "core.noop@1"}},
        {**each, "depends_on": ["a"], "max_concurrency": 1},
        {"id": "bad", "uses": "core.fail@1", "depends_on": ["each"]},
    ]
    room.engine.worker()
    execution = await room.engine.enqueue(await room.engine.publish(steps))
    for marker in ("m0", "m1", "m2"):
        CALLS.gates[marker].set()
    assert await room.engine.finished(execution) is ExecutionStatus.FAILED
    CALLS.gates["m1"].clear()
    CALLS.begun["m1"].clear()

    await room.engine.retry(execution)
    await asyncio.wait_for(CALLS.begun["m1"].wait(), 10)

    async def progress() -> MapProgress | None:
        view = await view_of(room, execution)
        return await room.executions.items.progress(room.who, view, 1)

    async def statuses() -> list[StepStatus]:
        view = await view_of(room, execution)
        found = await room.executions.items.page(room.who, view, 1, after=-1, limit=9)
        assert found is not None
        return [one.status for one in found[0].items]

    assert await statuses() == [COMPLETED, RUNNING, READY]
    assert await progress() == MapProgress(3, 1, 0, 1)
    CALLS.gates["m1"].set()
    assert await room.engine.finished(execution) is ExecutionStatus.FAILED
    assert await progress() == MapProgress(3, 3, 0, 0)
    assert await statuses() == [COMPLETED] * 3


def test_a_map_that_is_to_begin_anew_is_not_open():
    """Between the retry and its new beginning nothing of what its items did before counts."""
    told: list[tuple[EventKind, dict[str, Any]]] = [
        (EventKind.MAP_OPENED, {"step": 1, "items": 3}),
        (EventKind.MAP_OPENED, {"step": 2, "items": 5}),
        (EventKind.STEP_COMPENSATED, {"step": 0, "by": 4, "again": [1]}),
        (EventKind.EXECUTION_RETRIED, {"from_failed_step": True}),
        (EventKind.MAP_OPENED, {"step": 1, "items": 4}),
        (EventKind.EXECUTION_RETRIED, {"from_failed_step": False}),
    ]
    one = UUID(int=1)
    events = [
        ExecutionEvent(one, one, number, kind, AT, data)
        for number, (kind, data) in enumerate(told, 1)
    ]
    shown = [
        {
            step: (found.items, found.generation, found.first)
            for step, found in openings(events[:n]).items()
        }
        for n in (3, 4, 5, 6)
    ]
    assert shown == [
        {1: (3, 0, 0), 2: (5, 0, 0)},
        {2: (5, 0, 0)},
        {2: (5, 0, 0), 1: (4, 1, 1)},
        {},
    ]
