"""Previews of migrations on real rows: what waits, what has not begun, inputs, children, pages, other tenants."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from runtime.model.errors import BadInput, Denied, NotFound
from runtime.model.execution import ExecutionStatus
from runtime.model.execution_migration import MigrationObstacle as O
from runtime.model.execution_migration import MigrationPreview, MigrationVerdict
from runtime.model.page import Page, PageRequest
from runtime.model.values import SemVer
from runtime.model.workflow import DefinitionFormat
from runtime.services.execution_migration import ExecutionMigrationService
from runtime.services.judges import Judges
from runtime.store.plan import PlanStore
from tests import make
from tests.integration.services.conftest import ServiceRoom, document

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
    engine = room.engine
    judges = Judges(engine.registry.catalog())
    service = ExecutionMigrationService(
        shards=engine.shards,
        plans=PlanStore(engine.database),
        blobs=engine.blobs(),
        judges=judges,
        workflows=room.workflows,
        executions=room.executions,
    )
    who, before, after = (
        more.get(n, d) for n, d in (("who", room.who), ("before", V1), ("after", V2))
    )
    try:
        return await service.preview(who, workflow, before, after, page or PageRequest())
    finally:
        await judges.close()


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
