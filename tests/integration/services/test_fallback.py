"""`on_error` with an output as a user meets it: published, run by a worker, seen in steps, in the past and after a retry."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from runtime.model.blob import BlobRef
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus

PAGE = Path(__file__).resolve().parents[3] / "docs/language/steps.md"
BLOCK = re.compile(r"^```yaml workflow fallback\n(.*?)^```", re.MULTILINE | re.DOTALL)
FAILS = {"uses": "core.fail@1", "with": {"message": "no"}}


async def steps_of(room: Any, execution: Any) -> dict[str, Any]:
    return {one.key: one for one in (await room.executions.steps(room.who, [execution]))[execution]}


async def test_the_example_of_the_language_goes_on_with_its_output(room: Any):
    room.engine.worker()
    (text,) = BLOCK.findall(PAGE.read_text("utf-8"))
    definition = yaml.safe_load(text)
    version = await room.engine.publish(
        definition["steps"], params=definition["params"], outputs=definition["outputs"]
    )
    execution = await room.engine.enqueue(version, {"pieces": 0})

    status = await room.engine.finished(execution)

    output = json.loads((await room.engine.row(execution))["output"])
    assert status is ExecutionStatus.COMPLETED
    assert "zero" in output["why"]
    assert output == {"total": 5, "why": output["why"], "status": "failed"}
    shown = await steps_of(room, execution)
    assert list(shown) == ["price", "offer"]
    price = shown["price"]
    assert (price.status, price.output) == (
        StepStatus.FAILED,
        {"amount": 0, "why": output["why"]},
    )
    assert price.error.message == output["why"]
    assert price.output_hash.startswith("sha256:")
    events = await room.executions.events(room.who, execution, limit=100)
    keys = [(one.kind, one.field("key")) for one in events if one.field("key")]
    given = keys.index((EventKind.STEP_COMPLETED, "price:on_error"))
    assert given < keys.index((EventKind.STEP_STARTED, "offer"))


async def test_a_large_one_lies_outside_the_row_and_the_past_shows_when_it_was_there(room: Any):
    room.engine.worker()
    steps = [
        {"id": "a", **FAILS, "on_error": {"action": "continue", "output": "{{ [params.big] }}"}},
        {
            "id": "b", "uses": "core.set@1", "depends_on": "a",
            "with": {"size": "{{ steps.a.output[0] | length }}"},
        },
    ]  # fmt: skip
    version = await room.engine.publish(
        steps, params={"big": "string"}, outputs={"size": "{{ steps.b.output.size }}"}
    )
    execution = await room.engine.enqueue(version, {"big": "x" * 40_000})

    assert await room.engine.finished(execution) is ExecutionStatus.COMPLETED

    assert json.loads((await room.engine.row(execution))["output"]) == {"size": 40_000}
    output = (await steps_of(room, execution))["a"].output
    assert isinstance(output, BlobRef)
    events = await room.executions.events(room.who, execution, limit=100)
    (failed,) = (one.sequence for one in events if one.kind is EventKind.STEP_FAILED)
    (given,) = (
        one.sequence
        for one in events
        if (one.kind, one.field("key")) == (EventKind.STEP_COMPLETED, "a:on_error")
    )
    for sequence, expected in ((failed, None), (given, output)):
        past = await room.executions.past(room.who, [(execution, sequence)])
        step = next(one for one in past[execution, sequence].steps if one.key == "a")
        assert (step.status, step.output) == (StepStatus.FAILED, expected)


async def test_one_that_can_not_be_rendered_fails_the_step_in_words(room: Any):
    room.engine.worker()
    wrong = {"action": "continue", "output": "{{ steps.a.error.details.x.y }}"}
    steps = [
        {"id": "a", **FAILS, "on_error": wrong},
        {"id": "b", "uses": "core.noop@1", "depends_on": "a"},
    ]
    execution = await room.engine.enqueue(await room.engine.publish(steps))

    assert await room.engine.finished(execution) is ExecutionStatus.FAILED

    error = json.loads((await room.engine.row(execution))["error"])
    assert (error["type"], error["step_key"]) == ("expression", "a")
    assert error["message"].startswith("`output` in `on_error` of step 'a': ")
    shown = await steps_of(room, execution)
    assert shown["a"].error.message == "no", "the step keeps its own error"
    assert (shown["a"].output, shown["b"].status) == (None, StepStatus.PENDING)


async def test_what_a_secret_was_in_is_masked(room: Any, home: Path):
    (home / "secrets.yaml").write_text("word: something-nobody-sees\n")
    (home / "secrets.yaml").chmod(0o600)
    room.engine.secrets = type(room.engine.secrets)(home / "secrets.yaml")
    room.engine.worker()
    words = "got {{ params.word }} and {{ steps.a.error.message }}"
    step = {"id": "a", "uses": "core.fail@1", "with": {"message": "{{ secrets.word }}"}}
    step |= {"on_error": {"action": "continue", "output": words}}
    version = await room.engine.publish([step], params={"word": "string"})
    execution = await room.engine.enqueue(version, {"word": "something-nobody-sees"})

    assert await room.engine.finished(execution) is ExecutionStatus.COMPLETED

    assert (await steps_of(room, execution))["a"].output == "got *** and ***"
