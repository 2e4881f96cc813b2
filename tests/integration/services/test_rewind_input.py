"""Rewinds with another input on real rows: what sees which input, what is refused, and what is looked at again first."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from runtime.model.blob import BlobRef
from runtime.model.errors import (
    BadInput,
    IdempotencyConflict,
    Invalid,
    InvalidState,
    PayloadTooLarge,
)
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from runtime.model.execution_replay import ExecutionReplay
from runtime.model.plan import Plan
from runtime.model.values import SemVer
from runtime.services.artifact import ArtifactService
from runtime.services.beginning_again import BeginningAgain
from runtime.services.derived_input import Allowance, InputKey
from runtime.services.generation_preview import GenerationPreviewService
from runtime.services.replay import ReplayService
from runtime.services.retrying import NO_WISHES, Wishes
from runtime.store.execution_record import ExecutionRecords
from runtime.store.plan import PlanStore
from tests.integration.services.conftest import ServiceRoom, document
from tests.integration.services.test_generation_preview import previews
from tests.integration.services.test_rewinding import call, ended, past
from tests.support.steps import CALLS

COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED
PARAMS = {"amount": {"type": "integer", "default": 1}, "note": {"type": "string", "default": ""}}
LARGE = "x" * 40_000


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def sees(key: str, *needs: str, **more: Any) -> dict[str, Any]:
    """A step that puts out what it was given: the amount, of which size the note is."""
    given = {"amount": "{{ params.amount }}", "note": "{{ params.note | length }}"}
    return {"id": key, "uses": "probe.echo@1", "with": given, "depends_on": [*needs], **more}


async def begun(room: ServiceRoom, *steps: Any, input: Any = None, **more: Any) -> UUID:
    room.engine.worker()
    await room.publish("w", steps=[*steps], params=PARAMS, **more)
    one = await room.enqueue("w", input=input or {})
    await room.engine.finished(one.id)
    return one.id


async def rewound(room: ServiceRoom, one: UUID, step: str, given: Any) -> ExecutionStatus:
    await room.executions.rewind(room.who, one, step, input=given)
    return await ended(room, one)


async def shown(room: ServiceRoom, one: UUID) -> dict[str, Any]:
    """What each step was called with, as people see it."""
    steps = (await room.executions.steps(room.who, [one]))[one]
    return {step.key: amount_in(step.input) for step in steps}


def amount_in(given: Any) -> Any:
    return given and given["amount"]


async def replayed(room: ServiceRoom, one: UUID) -> ExecutionReplay:
    engine = room.engine
    service = ReplayService(
        shards=engine.shards, plans=PlanStore(engine.database), blobs=engine.blobs(),
        registry=engine.registry, clock=engine.clock, metrics=engine.metrics,
    )  # fmt: skip
    return await service.replay(room.who, one)


async def event_of(room: ServiceRoom, one: UUID) -> Any:
    events = await room.executions.events(room.who, one)
    return [event.data for event in events if event.kind is EventKind.EXECUTION_REWOUND][-1]


async def test_what_runs_again_sees_the_other_input_and_what_is_kept_shows_its_own(
    room: ServiceRoom,
):
    one = await begun(room, sees("a"), sees("b", "a"), sees("c"), input={"amount": 7})

    assert await rewound(room, one, "b", {"amount": 9}) is COMPLETED

    execution = await room.executions.find(room.who, one)
    assert execution is not None
    assert execution.input == {"amount": 9, "note": ""}
    assert await shown(room, one) == {"a": 7, "b": 9, "c": 7}
    told = await event_of(room, one)
    assert told["input"].startswith("sha256:")
    assert (told["input_before"], told["again"]) == ({"amount": 7, "note": ""}, [])
    proof = await replayed(room, one)
    assert (proof.divergence, proof.inputs) == (None, 4)


async def test_the_past_of_each_generation_has_its_input(room: ServiceRoom):
    one = await begun(room, sees("a"), sees("b", "a"), input={"amount": 1})
    first = len(await room.executions.events(room.who, one))
    assert await rewound(room, one, "b", {"amount": 2}) is COMPLETED
    second = len(await room.executions.events(room.who, one))
    await room.executions.rewind(room.who, one, "b", reason="the same input")
    assert await ended(room, one) is COMPLETED
    assert await rewound(room, one, "a", {"amount": 3}) is COMPLETED

    for at, amount, steps in ((first, 1, [1, 1]), (first + 1, 2, [1, None]), (second, 2, [1, 2])):
        then = await past(room, one, at)
        assert then.execution.input == {"amount": amount, "note": ""}
        assert [amount_in(step.input) for step in then.steps] == steps
    assert await shown(room, one) == {"a": 3, "b": 3}
    assert (await replayed(room, one)).divergence is None


async def test_large_inputs_of_every_generation_are_there(room: ServiceRoom):
    one = await begun(room, sees("a"), sees("b", "a"), input={"note": LARGE})
    first = len(await room.executions.events(room.who, one))
    assert await rewound(room, one, "b", {"note": LARGE + "yz"}) is COMPLETED
    assert await rewound(room, one, "b", {"note": "small"}) is COMPLETED
    engine = room.engine
    artifacts = ArtifactService(
        shards=engine.shards, blobs=engine.blobs(), plans=PlanStore(engine.database)
    )

    async def read(at: int | None) -> int:
        found = await artifacts.input(room.who, one, at=at)
        text = b"".join([piece async for piece in found.content])
        return len(json.loads(text)["note"])

    keys = [InputKey(one, "a"), InputKey(one, "b"), InputKey(one, "b", at=first)]
    inputs = await artifacts.step_inputs(room.who, keys, Allowance())
    before = (await past(room, one, first)).execution.input
    assert isinstance(before, BlobRef)
    assert [await read(at) for at in (first, first + 1, None)] == [40_000, 40_002, 5]
    assert [inputs[key]["note"] for key in keys] == [40_000, 5, 40_000]  # type: ignore[index, call-overload]
    with pytest.raises(BadInput, match="has no event 99"):
        await artifacts.input(room.who, one, at=99)
    assert (await replayed(room, one)).divergence is None


async def test_a_replay_finds_an_input_that_is_not_what_the_event_says(room: ServiceRoom):
    one = await begun(room, sees("a"), call("b"), input={"amount": 1})
    assert await rewound(room, one, "b", {"amount": 2}) is COMPLETED

    await room.engine.sql.execute(
        'update workflow_executions set input = \'{"amount": 3, "note": ""}\' where id = $1', one
    )
    found = (await replayed(room, one)).divergence

    assert found is not None
    assert (found.kind, found.found) == ("input", (await event_of(room, one))["input"])


async def test_what_undoes_a_step_sees_the_input_with_which_that_ran(room: ServiceRoom):
    free = {"uses": "probe.echo@1", "with": {"amount": "{{ params.amount }}"}}
    broken = call(
        "break", "hold", "late", failures="{{ 9 if params.amount > 1 else 0 }}", kind="permanent"
    )
    one = await begun(
        room,
        sees("hold", compensate=free),
        sees("late", compensate=free),
        broken,
        input={"amount": 1},
    )

    assert await rewound(room, one, "late", {"amount": 5}) is FAILED

    steps = {step.key: step for step in (await room.executions.steps(room.who, [one]))[one]}
    undone = {key: steps[key].compensation for key in ("hold", "late")}
    assert {key: each and (each.output, each.input) for key, each in undone.items()} == {
        "hold": ({"amount": 1}, {"amount": 1}),
        "late": ({"amount": 5}, {"amount": 5}),
    }
    assert (await replayed(room, one)).divergence is None


async def test_no_item_is_kept_of_a_map_whose_list_may_be_another_one(room: ServiceRoom):
    each = {
        "id": "each", "type": "map", "for_each": "{{ range(params.amount) | list }}", "max_concurrency": 1,
        "task": {"uses": "probe.flaky@1", "with": {
            "marker": "{{ 'm' ~ item }}", "kind": "permanent",
            "failures": "{{ 9 if index == 2 and execution.generation == 0 else 0 }}",
        }},
    }  # fmt: skip
    one = await begun(room, each, sees("other"), input={"amount": 3})

    same = await previews(room).rewind(room.who, one, "other")
    other = await previews(room).rewind(room.who, one, "other", input={"amount": 4})
    assert await rewound(room, one, "other", {"amount": 4}) is COMPLETED

    assert [preview.steps[0].kept_items for preview in (same, other)] == [2, 0]
    assert (await event_of(room, one))["again"] == [0]
    calls = {marker: len(keys) for marker, keys in CALLS.keys.items() if marker != "other"}
    assert calls == {"m0": 2, "m1": 2, "m2": 2, "m3": 1}
    assert (await replayed(room, one)).divergence is None


async def test_an_input_is_refused_as_by_an_enqueue_and_nothing_has_happened(room: ServiceRoom):
    lane = {"key": "{{ params.note }}", "limit": 1}
    one = await begun(room, sees("a"), concurrency=lane, input={"note": "k"})
    events = await room.executions.events(room.who, one)

    wrong: Any = (
        ({"amount": "much"}, Invalid, None),
        ({"note": "another"}, BadInput, "CONCURRENCY_KEY"),
        ({"note": "x" * (1 << 20)}, PayloadTooLarge, "INPUT_TOO_LARGE"),
        ({"note": "\x00"}, Invalid, None),
    )
    for given, error, reason in wrong:
        for refused in (room.executions.rewind, previews(room).rewind):
            with pytest.raises(error) as caught:
                await refused(room.who, one, "a", input=given)
            assert reason is None or caught.value.reason == reason

    assert await room.executions.events(room.who, one) == events
    assert await rewound(room, one, "a", {"note": "k", "amount": 2}) is COMPLETED


async def test_a_key_stands_for_the_input_too_and_for_what_was_done(room: ServiceRoom):
    one = await begun(room, sees("a"), input={"amount": 1})
    again: Any = {"input": {"amount": 2}, "key": "k"}
    rewind: Any = room.executions.rewind

    first = await rewind(room.who, one, "a", **again)
    while_queued = await rewind(room.who, one, "a", **again)
    await ended(room, one)
    after = await rewind(room.who, one, "a", **again)
    for other in ({"amount": 3}, None):
        with pytest.raises(IdempotencyConflict):
            await rewind(room.who, one, "a", input=other, key="k")

    assert [each.generation for each in (first, while_queued, after)] == [1, 1, 1]


class Moving(PlanStore):
    """Gives plans, and lets something happen once a plan was given: what others do between two statements of one."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def get(self, version_id: UUID) -> Plan:
        plan = await super().get(version_id)
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        return plan


async def two_versions(room: ServiceRoom) -> tuple[UUID, UUID]:
    """An execution of 1.0.0 that has completed, and the id of 1.1.0, where its steps have other numbers."""
    one = await begun(room, sees("a"), sees("b", "a"))
    workflow = (await room.executions.find(room.who, one)).workflow_id  # type: ignore[union-attr]
    source = document(
        version="1.1.0", steps=[sees("new"), sees("a"), sees("b", "a")], params=PARAMS
    )
    await room.workflows.update(room.who, workflow, source=source)
    await room.workflows.publish(room.who, workflow)
    found = await room.workflows.version(room.who, workflow, SemVer.parse("1.1.0"))
    assert found is not None
    return one, found.id


def beginning(room: ServiceRoom, plans: PlanStore) -> BeginningAgain:
    engine = room.engine
    return BeginningAgain(
        shards=engine.shards, store=engine.store, records=ExecutionRecords(engine.shards), plans=plans,
        edits=room.executions.edits, wakeup=engine.wakeup, hint=lambda *_: None,
    )  # fmt: skip


@pytest.mark.parametrize("given", [None, {"amount": 4}])
async def test_what_went_on_with_another_version_meanwhile_is_rewound_by_that_one(
    room: ServiceRoom, given: Any
):
    one, other = await two_versions(room)
    plans, move = (
        Moving(room.engine.database),
        "update workflow_executions set version_id = $2 where id = $1",
    )
    plans.meanwhile = lambda: room.engine.sql.execute(move, one, other)

    wishes = Wishes(given)
    await beginning(room, plans).rewind(room.who, one, "b", wishes=wishes, reason=None, key=None)

    told = await event_of(room, one)
    assert (told["key"], told["step"]) == ("b", 2)


async def test_what_is_begun_again_all_the_time_is_not_rewound_to_what_was_not_seen(
    room: ServiceRoom,
):
    one = await begun(room, sees("a"))
    plans = Moving(room.engine.database)

    async def again() -> None:
        plans.meanwhile = again
        await room.engine.sql.execute(
            "update workflow_executions set generation = generation + 1 where id = $1", one
        )

    plans.meanwhile = again
    with pytest.raises(InvalidState, match="begun again by somebody else") as caught:
        await beginning(room, plans).rewind(
            room.who, one, "a", wishes=NO_WISHES, reason=None, key="k"
        )

    assert caught.value.reason == "EXECUTION_CHANGED"
    keys = "select count(*) from idempotency_keys where key = 'k'"
    assert await room.engine.sql.fetchval(keys) == 0


async def test_a_preview_reads_the_plan_of_the_version_that_it_read(room: ServiceRoom):
    one, other = await two_versions(room)
    plans, move = (
        Moving(room.engine.database),
        "update workflow_executions set version_id = $2 where id = $1",
    )
    plans.meanwhile = lambda: room.engine.sql.execute(move, one, other)
    service = GenerationPreviewService(
        shards=room.engine.shards,
        plans=plans,
        registry=room.engine.registry,
        edits=room.executions.edits,
    )

    found = await service.rewind(room.who, one, "b")

    assert [step.key for step in found.steps] == ["new", "a", "b"]
