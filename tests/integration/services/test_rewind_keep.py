"""Rewinds that keep steps, on real rows: these call nobody, end in their turn, and stay kept until that."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from runtime.model.errors import BadInput, IdempotencyConflict
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.generation_preview import PreviewAction
from tests.integration.services.conftest import ServiceRoom
from tests.integration.services.test_generation_preview import begin, previews, runs
from tests.integration.services.test_rewind_input import begun, event_of, replayed, sees
from tests.integration.services.test_rewinding import call, completed, ended, made
from tests.support.steps import CALLS

COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


CHAIN = [call("a"), call("b", "a"), call("mail", "b"), call("c", "mail")]


async def kept(room: ServiceRoom, one: UUID, step: str, *keep: str, **more: Any) -> ExecutionStatus:
    await room.executions.rewind(room.who, one, step, keep=keep, **more)
    return await ended(room, one)


async def test_a_kept_step_calls_nobody_and_holds_back_what_is_behind_it(room: ServiceRoom):
    one = await completed(room, *CHAIN)
    foreseen = await previews(room).rewind(room.who, one, "b", keep=["mail"])

    assert await kept(room, one, "b", "mail") is COMPLETED

    assert made() == {"a": 1, "b": 2, "mail": 1, "c": 2}
    assert runs(foreseen) == ["b", "c"]
    [preview] = [step for step in foreseen.steps if step.key == "mail"]
    assert (preview.action, preview.status, preview.repeats) == (
        PreviewAction.REUSE, StepStatus.COMPLETED, None,
    )  # fmt: skip
    assert (await event_of(room, one))["keep"] == [2]
    events = await room.executions.events(room.who, one)
    turns = [
        (e.kind.name, e.field("key")) for e in events if e.field("attempt") and e.sequence > 10
    ]
    begins = [key for kind, key in turns if kind == "STEP_STARTED"]
    assert begins[-3:] == ["b", "mail", "c"]
    steps = {step.key: step for step in (await room.executions.steps(room.who, [one]))[one]}
    mail = steps["mail"]
    assert (mail.status, mail.generation, mail.attempt) == (StepStatus.COMPLETED, 1, 1)
    assert mail.cached_from is not None
    assert (mail.cached_from.execution_id, mail.cached_from.step) == (one, "mail")
    assert (await replayed(room, one)).divergence is None


async def test_what_is_kept_stays_kept_until_its_turn_even_over_a_retry(room: ServiceRoom):
    broken = call(
        "b", "a", failures="{{ 9 if execution.generation == 1 else 0 }}", kind="permanent"
    )
    one = await completed(room, call("a"), broken, call("mail", "b"), call("c", "mail"))

    assert await kept(room, one, "b", "mail") is FAILED
    await room.executions.retry(room.who, one)
    assert await ended(room, one) is COMPLETED
    assert made()["mail"] == 1
    assert (await replayed(room, one)).divergence is None

    assert await kept(room, one, "b", "mail") is COMPLETED
    assert made()["mail"] == 1
    await room.executions.rewind(room.who, one, "b")
    assert await ended(room, one) is COMPLETED
    assert made()["mail"] == 2
    assert (await replayed(room, one)).divergence is None


async def test_what_undoes_a_kept_step_sees_what_its_call_saw(room: ServiceRoom):
    free = {"uses": "probe.echo@1", "with": {"amount": "{{ params.amount }}"}}
    broken = call("break", "hold", failures="{{ 9 if params.amount > 1 else 0 }}", kind="permanent")
    one = await begun(
        room, sees("a"), sees("hold", "a", compensate=free), broken, input={"amount": 1}
    )

    assert await kept(room, one, "a", "hold", input={"amount": 5}) is FAILED

    steps = {step.key: step for step in (await room.executions.steps(room.who, [one]))[one]}
    undone = steps["hold"].compensation
    assert undone is not None
    assert (undone.input, undone.output) == ({"amount": 1}, {"amount": 1})
    assert steps["hold"].output == {"amount": 1, "note": 0}
    assert (await replayed(room, one)).divergence is None


async def test_only_what_would_run_again_and_has_completed_a_call_is_kept(room: ServiceRoom):
    each = {
        "id": "each", "type": "map", "for_each": [1], "depends_on": ["a"],
        "task": {"uses": "core.noop@1"},
    }  # fmt: skip
    skipped = call("never", "a", failures=0) | {"when": "steps.a.output.attempt == 77"}
    room.engine.worker()
    one = await begin(room, call("a"), call("b", "a"), each, skipped, call("other"))
    assert await room.engine.finished(one) is COMPLETED
    for key, reason in (
        ("other", "KEEP_NOT_BEHIND"), ("a", "KEEP_NOT_BEHIND"), ("nothing", "KEEP_NOT_BEHIND"),
        ("each", "KEEP_NO_CALL"), ("never", "KEEP_NOT_COMPLETED"),
    ):  # fmt: skip
        for refused in (room.executions.rewind, previews(room).rewind):
            with pytest.raises(BadInput) as caught:
                await refused(room.who, one, "a", keep=[key])
            assert (caught.value.reason, caught.value.path) == (reason, ("keep",))

    first = await room.executions.rewind(room.who, one, "a", keep=["b"], key="k")
    with pytest.raises(IdempotencyConflict):
        await room.executions.rewind(room.who, one, "a", key="k")
    assert first.generation == 1
