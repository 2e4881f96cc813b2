"""Previews of retries on real rows: items of maps, gateways, what was undone, doubts, children that run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from runtime.model.errors import Denied, InvalidState, NotFound
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.generation_preview import GenerationPreview, PreviewAction
from runtime.model.identity import Principal
from runtime.model.plan import Effect
from runtime.services.generation_preview import GenerationPreviewService
from runtime.store.plan import PlanStore
from tests.integration.services.conftest import ServiceRoom
from tests.support.engine_room import TENANT
from tests.support.steps import CALLS

FAILED = ExecutionStatus.FAILED


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def previews(room: ServiceRoom) -> GenerationPreviewService:
    engine = room.engine
    return GenerationPreviewService(
        shards=engine.shards,
        plans=PlanStore(engine.database),
        registry=engine.registry,
        edits=room.executions.edits,
    )


async def preview(room: ServiceRoom, one: UUID, **more: Any) -> GenerationPreview:
    return await previews(room).retry(room.who, one, **more)


async def begin(room: ServiceRoom, *steps: Any, name: str = "w") -> UUID:
    await room.publish(name, steps=list(steps))
    return (await room.enqueue(name)).id


def runs(found: GenerationPreview) -> list[str]:
    return [step.key for step in found.steps if step.action is PreviewAction.RUN]


async def test_of_a_map_the_items_that_completed_are_kept(room: ServiceRoom):
    given = {
        "marker": "{{ 'm' ~ index }}",
        "failures": "{{ 9 if index == 2 and execution.generation == 0 else 0 }}",
        "kind": "permanent",
    }
    each = {
        "id": "each", "type": "map", "for_each": [1, 2, 3, 4], "max_concurrency": 1,
        "task": {"uses": "probe.flaky@1", "with": given},
    }  # fmt: skip
    room.engine.worker()
    one = await begin(room, each)
    assert await room.engine.finished(one) is FAILED

    kept, anew = await preview(room, one), await preview(room, one, from_failed_step=False)
    await room.executions.retry(room.who, one)
    room.engine.queue.add(0, [(one, 1)])
    await room.engine.finished(one)

    assert kept.steps[0].kept_items == 2
    assert kept.steps[0].repeats is not None
    assert (kept.steps[0].repeats.calls, kept.steps[0].repeats.completed) == (1, 0)
    assert anew.steps[0].repeats is not None
    assert (anew.steps[0].kept_items, anew.steps[0].repeats.calls) == (0, 3)
    assert {marker: len(keys) for marker, keys in CALLS.keys.items()} == {
        "m0": 1, "m1": 1, "m2": 2, "m3": 1,
    }  # fmt: skip


async def test_what_was_undone_would_be_done_again_and_ways_stay_chosen(room: ServiceRoom):
    steps: list[Any] = [
        {
            "id": "hold", "uses": "probe.flaky@1", "with": {"marker": "hold"},
            "compensate": {"uses": "probe.flaky@1", "with": {"marker": "free"}},
        },
        {"id": "way", "type": "gateway", "cases": [{"when": "true", "then": "left"}, {"else": "right"}]},
        {"id": "left", "uses": "core.noop@1", "depends_on": ["way"]},
        {"id": "right", "uses": "core.noop@1", "depends_on": ["way"]},
        {"id": "no", "uses": "core.fail@1", "depends_on": ["hold", "left"], "with": {"message": "no"}},
    ]  # fmt: skip
    room.engine.worker()
    one = await begin(room, *steps)
    assert await room.engine.finished(one) is FAILED

    found = await preview(room, one)

    hold, way, left, right, _ = found.steps
    assert runs(found) == ["hold", "no"]
    assert hold.repeats is not None
    assert (hold.repeats.is_undone, hold.repeats.completed) == (True, 1)
    assert [step.status for step in (way, left, right)] == [
        StepStatus.COMPLETED,
        StepStatus.COMPLETED,
        StepStatus.SKIPPED,
    ]


async def test_a_call_that_may_happen_once_is_known_by_its_announcement(room: ServiceRoom):
    once = {"id": "a", "uses": "probe.sometimes@1", "with": {"marker": "a"}, "timeout": "100ms"}
    room.engine.worker()
    one = await begin(room, once)
    assert await room.engine.finished(one) is FAILED

    [step] = (await preview(room, one)).steps

    assert step.repeats is not None
    assert step.repeats.effect is Effect.AT_MOST_ONCE
    assert (step.repeats.calls, step.repeats.in_doubt) == (1, 1)


async def test_only_who_may_sees_it_and_only_where_a_retry_is_possible(room: ServiceRoom):
    room.engine.worker()
    one = await begin(room, {"id": "one", "uses": "core.noop@1"})
    await room.engine.finished(one)
    service, scopes = previews(room), frozenset({"executions:read"})

    with pytest.raises(InvalidState, match="completed") as caught:
        await service.retry(room.who, one)
    with pytest.raises(Denied):
        await service.retry(Principal(TENANT, "test", "ann", frozenset()), one)
    with pytest.raises(NotFound):
        await service.retry(Principal(UUID(int=7), "other", "eve", scopes), one)

    assert caught.value.reason == "NOT_RETRYABLE"
