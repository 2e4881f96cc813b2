"""Previews of migrations on real rows: what waits, what has not begun, inputs, children, pages, other tenants."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from runtime.model.bulk import BulkAction, BulkDeed, BulkOutcome
from runtime.model.errors import BadInput, Denied, InvalidState, NotFound
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionFilter, ExecutionStatus
from runtime.model.execution_migration import MigrationObstacle as O
from runtime.model.execution_migration import MigrationPreview, MigrationVerdict
from runtime.model.page import Page, PageRequest
from runtime.model.values import SemVer
from runtime.model.workflow import DefinitionFormat
from tests import make
from tests.integration.services.conftest import ServiceRoom, document
from tests.integration.services.test_bulk import Bulk
from tests.support.engine_room import TENANT
from tests.support.replaying import replays_of

V1, V2 = SemVer.parse("1.0.0"), SemVer.parse("2.0.0")
SET: dict[str, Any] = {"id": "a", "uses": "core.set@1", "with": {"n": 1}}
BELL: dict[str, Any] = {"id": "bell", "type": "wait", "signal": "go", "depends_on": ["a"]}
LAST: dict[str, Any] = {"id": "last", "uses": "core.noop@1", "depends_on": ["bell"]}


def is_waiting(row: Any) -> bool:
    """Whether it is parked."""
    return bool(row["status"] == ExecutionStatus.WAITING)


async def preview(
    room: ServiceRoom, workflow: UUID, page: PageRequest | None = None, **more: Any
) -> Page[MigrationPreview]:
    who, before, after = (
        more.get(n, d) for n, d in (("who", room.who), ("before", V1), ("after", V2))
    )
    return await room.migrations.preview(who, workflow, before, after, page or PageRequest())


async def both(room: ServiceRoom, old: Any, new: Any, **top: Any) -> UUID:
    """A workflow with two versions; the id."""
    first, second = top.pop("params", (None, None))
    given = {"params": first} if first else {}
    change = await room.publish("w", steps=list(old), **given)
    assert change.workflow is not None
    given = {"params": second} if second else {}
    source = document("w", "2.0.0", list(new), **given)
    id = change.workflow.id  # noqa: A001 - the service's word
    await room.workflows.update(room.who, id, source=source, format=DefinitionFormat.JSON)
    await room.workflows.publish(room.who, id)
    return id


async def start(room: ServiceRoom, **more: Any) -> UUID:
    return (await room.enqueue("w", version="1.0.0", **more)).id


def found(page: Page[MigrationPreview]) -> dict[UUID, list[O]]:
    return {one.execution_id: [f.obstacle for f in one.findings] for one in page.items}


async def test_what_waits_is_safe_when_only_what_comes_behind_it_differs(room: ServiceRoom):
    fixed = {"id": "fixed", "uses": "core.set@1", "depends_on": ["bell"], "with": {"m": 2}}
    workflow = await both(room, [SET, BELL, LAST], [SET, BELL, fixed])
    room.engine.worker()
    one = await start(room)
    await room.engine.reached(one, is_waiting)

    page = await preview(room, workflow)

    [item] = page.items
    assert (item.execution_id, item.verdict) == (one, MigrationVerdict.SAFE)


async def test_each_execution_comes_to_what_it_has_begun(room: ServiceRoom):
    other = {**BELL, "signal": "come"}
    workflow = await both(room, [SET, BELL, LAST], [SET, other, LAST])
    early = await start(room)
    assert found(await preview(room, workflow)) == {early: []}
    room.engine.worker()
    await room.engine.reached(early, is_waiting)

    assert found(await preview(room, workflow)) == {early: [O.STEP_INPUT]}


async def test_a_renamed_step_needs_a_mapping(room: ServiceRoom):
    renamed = {**BELL, "id": "gong"}
    workflow = await both(room, [SET, BELL], [SET, renamed])
    room.engine.worker()
    one = await start(room)
    await room.engine.reached(one, is_waiting)

    [item] = (await preview(room, workflow)).items

    assert item.verdict is MigrationVerdict.NEEDS_MAPPING
    assert [(f.obstacle, f.step_key) for f in item.findings] == [(O.STEP_MISSING, "bell")]


async def test_what_has_ended_and_what_runs_another_version_is_left_out(room: ServiceRoom):
    workflow = await both(room, [SET], [SET, BELL])
    room.engine.worker()
    ended = await start(room)
    await room.engine.finished(ended)
    newer = (await room.enqueue("w", version="2.0.0")).id
    await room.engine.reached(newer, is_waiting)

    assert found(await preview(room, workflow)) == {}


async def test_an_input_is_taken_as_it_is_or_not_at_all(room: ServiceRoom):
    text = {"type": "string"}
    params = {"x": text}, {"x": {**text, "minLength": 3}}
    workflow = await both(room, [SET, BELL], [SET, BELL], params=params)
    fits, short = await start(room, input={"x": "long"}), await start(room, input={"x": "s"})

    assert found(await preview(room, workflow)) == {fits: [], short: [O.INPUT]}


async def test_what_would_be_filled_in_is_missing(room: ServiceRoom):
    more = {"x": {"type": "string", "default": "y"}}
    workflow = await both(room, [SET, BELL], [SET, BELL], params=({}, more))
    one = await start(room)

    assert found(await preview(room, workflow)) == {one: [O.INPUT]}


async def test_a_child_keeps_the_version_that_its_parent_asked_for(room: ServiceRoom):
    workflow = await both(room, [SET, BELL], [SET, BELL, LAST])
    call = {"id": "call", "type": "workflow", "workflow": "w@1.0.0", "input": {}}
    await room.publish("parent", steps=[call])
    room.engine.worker()
    parent = (await room.enqueue("parent")).id
    await room.engine.reached(parent, is_waiting)

    [[obstacle]] = found(await preview(room, workflow)).values()

    assert obstacle is O.CHILD


async def test_pages_go_through_all_newest_first(room: ServiceRoom):
    workflow = await both(room, [SET, BELL], [SET, BELL, LAST])
    ids = [await start(room) for _ in range(3)]

    first = await preview(room, workflow, PageRequest(2))
    rest = await preview(room, workflow, PageRequest(2, first.cursors[-1]))

    assert (first.has_next, rest.has_next) == (True, False)
    assert [one.execution_id for one in (*first.items, *rest.items)] == ids[::-1]


async def test_what_is_no_migration_is_refused(room: ServiceRoom):
    workflow = await both(room, [SET, BELL], [SET, BELL, LAST])
    with pytest.raises(BadInput, match="same version"):
        await preview(room, workflow, after=V1)
    with pytest.raises(NotFound, match=r"no version 3\.0\.0"):
        await preview(room, workflow, after=SemVer.parse("3.0.0"))
    await room.workflows.deprecate(room.who, workflow, V2)
    await room.workflows.archive_version(room.who, workflow, V2)
    with pytest.raises(BadInput, match="archived"):
        await preview(room, workflow)


async def test_other_tenants_find_nothing_and_both_rights_are_needed(room: ServiceRoom):
    workflow = await both(room, [SET, BELL], [SET, BELL, LAST])
    await start(room)
    stranger = make.principal(UUID(int=7))
    with pytest.raises(NotFound):
        await preview(room, workflow, who=stranger)
    for scope in ("executions:read", "workflows:read"):
        with pytest.raises(Denied):
            await preview(room, workflow, who=make.principal(scopes=frozenset({scope})))


FIXED: dict[str, Any] = {
    "id": "fixed", "uses": "core.set@1", "depends_on": ["bell"], "with": {"m": 2},
}  # fmt: skip
AT_ONCE: dict[str, Any] = {"id": "at_once", "uses": "core.noop@1", "depends_on": ["a"]}


async def parked(room: ServiceRoom, **more: Any) -> UUID:
    room.engine.worker()
    one = await start(room, **more)
    await room.engine.reached(one, is_waiting)
    return one


async def told(room: ServiceRoom, one: UUID) -> list[Any]:
    return list(await room.executions.events(room.who, one, limit=1_000))


async def test_what_is_safe_goes_on_with_the_other_version_to_its_end(room: ServiceRoom):
    workflow = await both(room, [SET, BELL, LAST], [SET, BELL, AT_ONCE, FIXED])
    one = await parked(room)
    before = len(await told(room, one))

    await room.migrations.migrate(room.who, one, V2, reason="a mended mail")
    room.engine.queue.add(0, [(one, 1)])
    await room.engine.until(one, lambda: _has(room, one, 2))
    await room.executions.messages.signal(room.who, one, "go")

    assert await room.engine.finished(one) is ExecutionStatus.COMPLETED
    execution = await room.executions.find(room.who, one)
    assert execution is not None
    assert execution.version == "2.0.0"
    steps = (await room.executions.steps(room.who, [one]))[one]
    assert [step.key for step in steps] == ["a", "bell", "at_once", "fixed"]
    events = await told(room, one)
    [moved] = [event for event in events if event.kind is EventKind.EXECUTION_MIGRATED]
    assert moved.sequence == before + 1
    assert [moved.field(name) for name in ("from", "to", "reason")] == [
        "1.0.0", "2.0.0", "a mended mail",
    ]  # fmt: skip
    assert moved.field("actor") is not None
    calls = [e.field("step") for e in events if e.kind is EventKind.STEP_COMPLETED]
    assert sorted(calls) == [0, 1, 2, 3], "each once"
    past = await room.executions.past(room.who, [(one, before), (one, before + 1)])
    was, then = past[one, before], past[one, before + 1]
    assert not isinstance(was, Exception)
    assert not isinstance(then, Exception)
    assert [step.key for step in was.steps] == ["a", "bell", "last"]
    assert (was.execution.version, then.execution.version) == ("1.0.0", "2.0.0")
    assert was.execution.version_id != then.execution.version_id == execution.version_id
    assert then.execution.status is ExecutionStatus.QUEUED
    replayed = await replays_of(room.engine).replay(room.who, one)
    assert replayed.divergence is None
    assert found(await preview(room, workflow)) == {}


async def _has(room: ServiceRoom, one: UUID, step: int) -> bool:
    return any(row[0] == step for row in await room.engine.steps(one))


async def test_what_is_not_safe_stays_as_it_is(room: ServiceRoom):
    await both(room, [SET, BELL, LAST], [SET, {**BELL, "signal": "come"}, LAST])
    one = await parked(room)
    before = await room.engine.row(one), await told(room, one)

    with pytest.raises(InvalidState, match="gets another input") as refused:
        await room.migrations.migrate(room.who, one, V2)

    assert refused.value.reason == "MIGRATION_STEP_INPUT"
    assert (await room.engine.row(one), await told(room, one)) == before


async def test_what_a_worker_has_or_what_has_ended_is_not_moved(room: ServiceRoom):
    slow = {"id": "a", "uses": "core.sleep@1", "with": {"duration": "60s"}}
    await both(room, [slow], [slow, AT_ONCE])
    room.engine.worker()
    one = await start(room)
    await room.engine.reached(one, lambda row: row["status"] == ExecutionStatus.RUNNING)

    with pytest.raises(InvalidState, match="A worker has the execution") as refused:
        await room.migrations.migrate(room.who, one, V2)
    assert refused.value.reason == "MIGRATION_RUNNING"
    await room.engine.cancel(one)
    await room.engine.finished(one)
    with pytest.raises(InvalidState, match="has ended already"):
        await room.migrations.migrate(room.who, one, V2)


async def test_what_was_asked_to_end_is_not_moved(room: ServiceRoom):
    await both(room, [SET, BELL], [SET, BELL, LAST])
    one = await start(room)
    await room.executions.messages.cancel(room.who, one)

    with pytest.raises(InvalidState, match="It ends already"):
        await room.migrations.migrate(room.who, one, V2)


async def test_nothing_is_moved_that_has_gone_on_since_it_was_judged(room: ServiceRoom):
    await both(room, [SET, BELL], [SET, BELL, LAST])
    one = await parked(room)
    execution = await room.executions.find(room.who, one)
    assert execution is not None
    records = room.migrations._records
    plan = await room.migrations._plans.get(execution.version_id)
    judged = await records.read(TENANT, one, plan)
    assert judged is not None
    for stale in (
        judged._replace(epoch=judged.epoch - 1),
        judged._replace(last_sequence=judged.last_sequence - 1),
        judged._replace(version_id=UUID(int=1)),
    ):
        async with room.engine.database.engine() as connection:
            version = execution.version_id, "2.0.0"
            assert await records.move(connection, TENANT, one, stale, version, {}) is None
    assert EventKind.EXECUTION_MIGRATED not in {event.kind for event in await told(room, one)}


async def test_a_key_moves_once(room: ServiceRoom):
    await both(room, [SET, BELL], [SET, BELL, LAST])
    one = await start(room)

    for to in (V2, V2, V1, V2):
        key = "first" if to is V2 else None
        await room.migrations.migrate(room.who, one, to, key=key)

    kinds = [event.kind for event in await told(room, one)]
    assert kinds.count(EventKind.EXECUTION_MIGRATED) == 2
    execution = await room.executions.find(room.who, one)
    assert execution is not None
    assert execution.version == "1.0.0"


async def test_what_is_paused_is_moved_and_stays_paused(room: ServiceRoom):
    await both(room, [SET, BELL, LAST], [SET, BELL, AT_ONCE, FIXED])
    one = await parked(room)
    await room.executions.messages.pause(room.who, one)
    await room.engine.reached(one, lambda row: row["wait"] == 5)

    await room.migrations.migrate(room.who, one, V2)

    row = await room.engine.row(one)
    assert (row["status"], row["wait"]) == (ExecutionStatus.WAITING, 5)
    await room.executions.messages.resume(room.who, one)
    await room.executions.messages.signal(room.who, one, "go")
    assert await room.engine.finished(one) is ExecutionStatus.COMPLETED
    assert await _has(room, one, 3)
    replayed = await replays_of(room.engine).replay(room.who, one)
    assert replayed.divergence is None


async def test_counts_and_costs_go_with_it(room: ServiceRoom):
    charged = {"id": "a", "uses": "probe.echo@1", "with": {"cost": "1.5 EUR"}}
    await both(room, [charged, BELL], [charged, BELL, LAST])
    one = await parked(room)
    execution = await room.executions.find(room.who, one)
    assert execution is not None
    old = execution.version_id

    await room.migrations.migrate(room.who, one, V2)

    async with room.engine.database.engine() as connection:
        rows = await connection.fetch(
            "select version_id, sum(n) as n, sum(amount) as amount from execution_deltas group by 1"
        )
    counted = {row["version_id"] == old: (row["n"], str(row["amount"])) for row in rows}
    assert counted[True] == (0, "0.00")
    assert counted[False] == (1, "1.50")


async def test_moves_race_with_signals_pauses_and_a_lost_worker_and_nothing_is_lost_or_twice(
    room: ServiceRoom,
):
    """Eight executions of three workers, one of them lost, are moved while they go on."""
    await both(room, [SET, BELL, LAST], [SET, BELL, AT_ONCE, FIXED])
    ids = [await start(room) for _ in range(8)]
    for _ in range(3):
        room.engine.worker()
    for one in ids:
        await room.engine.reached(one, is_waiting)

    async def move(one: UUID) -> None:
        while True:
            try:
                await room.migrations.migrate(room.who, one, V2, key=f"move {one}")
            except InvalidState as refused:
                if refused.reason != "MIGRATION_RUNNING":
                    return
                await asyncio.sleep(0)
            else:
                return

    async def disturb(one: UUID) -> None:
        await room.executions.messages.pause(room.who, one)
        await room.executions.messages.resume(room.who, one)
        await room.executions.messages.signal(room.who, one, "go")

    await asyncio.gather(
        *(move(one) for one in ids),
        *(disturb(one) for one in ids),
        room.engine.expire("test:1"),
        *(move(one) for one in ids),
    )
    for one in ids:
        assert await room.engine.finished(one) is ExecutionStatus.COMPLETED
        events = await told(room, one)
        moved = sum(event.kind is EventKind.EXECUTION_MIGRATED for event in events)
        ends = [e.field("step") for e in events if e.kind is EventKind.STEP_COMPLETED]
        assert moved <= 1
        assert sorted(ends) == ([0, 1, 2, 3] if moved else [0, 1, 2])
        replayed = await replays_of(room.engine).replay(room.who, one)
        assert replayed.divergence is None


async def test_what_has_not_begun_is_moved_and_begins_with_the_other_version(room: ServiceRoom):
    await both(room, [SET, BELL], [{"id": "only", "uses": "core.set@1", "with": {"m": 3}}])
    one = await start(room)

    for to in (V2, V1, V2):
        await room.migrations.migrate(room.who, one, to)
    room.engine.worker()
    room.engine.queue.add(0, [(one, 1)])

    assert await room.engine.finished(one) is ExecutionStatus.COMPLETED
    assert [event.sequence for event in await told(room, one)] == list(range(1, 9))
    past = await room.executions.past(room.who, [(one, 2), (one, 5)])
    early, later = past[one, 2], past[one, 5]
    assert not isinstance(early, Exception)
    assert not isinstance(later, Exception)
    assert (early.execution.version, early.execution.started_at) == ("2.0.0", None)
    assert later.execution.started_at is not None
    replayed = await replays_of(room.engine).replay(room.who, one)
    assert replayed.divergence is None


async def test_strangers_move_nothing(room: ServiceRoom):
    await both(room, [SET, BELL], [SET, BELL, LAST])
    one = await start(room)

    with pytest.raises(NotFound):
        await room.migrations.migrate(make.principal(UUID(int=7)), one, V2)
    reader = make.principal(scopes=frozenset({"executions:read", "workflows:read"}))
    with pytest.raises(Denied):
        await room.migrations.migrate(reader, one, V2)
    assert len(await told(room, one)) == 1


async def test_many_are_moved_by_a_bulk_operation_each_as_it_is(room: ServiceRoom):
    other = [SET, {**BELL, "signal": "come"}, LAST]
    await both(room, [SET, BELL, LAST], other)
    begun = await parked(room)
    fresh = await start(room, run_at=datetime.now(UTC) + timedelta(hours=1))
    many = Bulk(room)
    deed = BulkDeed(BulkAction.MIGRATE, to_version="2.0.0")
    wanted = ExecutionFilter(workflow_name=("w",), version="1.0.0")

    operation = await many.started(deed, wanted, reason="mended")
    ended = await many.ended(operation)

    assert (ended.done, ended.refused) == (1, 1)
    assert await many.verdicts(operation) == [
        (begun, BulkOutcome.REFUSED, "MIGRATION_STEP_INPUT"),
        (fresh, BulkOutcome.DONE, None),
    ]
    [moved] = [e for e in await told(room, fresh) if e.kind is EventKind.EXECUTION_MIGRATED]
    assert moved.field("reason") == "mended"
    for version in (None, "next"):
        with pytest.raises(BadInput, match="says the version"):
            await many.service.preview(
                room.who, wanted, BulkDeed(BulkAction.MIGRATE, to_version=version)
            )
