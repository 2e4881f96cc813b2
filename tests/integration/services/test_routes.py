"""Gateways, joins and `on_error` as a user meets them: published, run by a worker, read back from rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from runtime.engine.history import fold
from runtime.model.execution import ExecutionStatus, StepStatus

PAGE = Path(__file__).resolve().parents[3] / "docs/language/steps.md"
BLOCK = re.compile(r"^```yaml workflow runs=(\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


async def _run(room, definition: dict[str, Any], input: Any = None):
    steps = definition.pop("steps")
    more = {key: definition[key] for key in ("outputs", "params") if key in definition}
    version = await room.engine.publish(steps, **more)
    execution = await room.engine.enqueue(version, input)
    status = await room.engine.finished(execution)
    return execution, status, json.loads((await room.engine.row(execution))["output"] or "null")


async def test_the_examples_of_the_language_do_what_the_page_says(room):
    room.engine.worker(tags=frozenset({"gpu", "eu"}))
    found = BLOCK.findall(PAGE.read_text("utf-8"))

    assert len(found) == 5
    for says, text in found:
        definition = yaml.safe_load(text)
        _, status, output = await _run(room, definition, {"amount": 20, "words": ["one", "three"]})
        assert status is ExecutionStatus.COMPLETED
        assert json.loads(says) in (output, *output.values())


async def test_what_was_left_out_says_why_and_what_was_chosen_is_recorded(room):
    room.engine.worker()
    steps = [
        {"id": "try", "uses": "core.fail@1", "with": {"message": "no"}, "on_error": "continue"},
        {"id": "way", "type": "gateway", "depends_on": "try", "cases": [
            {"when": "steps.try.error.message == 'no'", "then": "a"}, {"else": "b"},
        ]},
        {"id": "a", "uses": "core.noop@1", "depends_on": "way"},
        {"id": "b", "uses": "core.noop@1", "depends_on": "way"},
        {"id": "after_b", "uses": "core.noop@1", "depends_on": "b"},
        {"id": "both", "uses": "core.noop@1", "depends_on": ["a", "b"], "join": 2},
    ]  # fmt: skip
    execution, status, _ = await _run(room, {"steps": steps})
    shown = {
        one.key: one for one in (await room.executions.steps(room.who, [execution]))[execution]
    }

    assert status is ExecutionStatus.COMPLETED
    assert {key: one.skip_reason for key, one in shown.items()} == {
        "try": None, "way": None, "a": None,
        "b": "no step it depends on led to it",
        "after_b": "all steps it depends on were skipped",
        "both": "only 1 of the 2 steps that it waits for led to it",
    }  # fmt: skip
    way = shown["way"]
    assert (way.status, way.type, way.output) == (
        StepStatus.COMPLETED,
        "gateway",
        {"cases": [0], "then": ["a"]},
    )
    assert way.output_hash
    assert way.code_hash
    assert shown["try"].status is StepStatus.FAILED
    events = await room.executions.events(room.who, execution, limit=100)
    told = {index: at.status for (index, _), at in fold(events).steps.items()}
    assert told == {one.index: one.status for one in shown.values()}
