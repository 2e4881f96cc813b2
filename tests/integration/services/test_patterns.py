"""The page of control-flow patterns: all 43 have a line, and every example of it runs as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.definition import validate
from runtime.model.checkpoint import InboxKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus
from tests.integration.services.conftest import ServiceRoom

PAGE = (Path(__file__).resolve().parents[3] / "docs/patterns.md").read_text("utf-8")
BLOCK = re.compile(r"^```yaml workflow ([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (\d+) \| (.*?) \| (yes|in part|no) \| (.*) \|$", re.MULTILINE)
CALLED = [text for words, text in BLOCK.findall(PAGE) if words == "called"]
EXAMPLES: dict[int, tuple[dict[str, str], str]] = {
    int(said["pattern"]): (said, text)
    for words, text in BLOCK.findall(PAGE)
    if (said := dict(one.partition("=")[::2] for one in words.split())).get("pattern")
}


def test_each_of_the_43_has_its_line_and_the_first_twenty_a_part():
    rows = {int(number): (name, verdict, how) for number, name, verdict, how in ROW.findall(PAGE)}

    assert list(rows) == list(range(1, 44))
    assert len({name for name, _, _ in rows.values()}) == 43
    for number in range(1, 21):
        name, verdict, how = rows[number]
        head = f"## {number} {name}"
        assert f"\n{head}\n" in PAGE
        anchor = head.removeprefix("## ").lower().replace(" ", "-")
        assert how.endswith(f"(#{anchor})")
        assert (number in EXAMPLES) is (verdict != "no")


@pytest.mark.parametrize("number", EXAMPLES)
async def test_an_example_runs_as_the_page_says(room: ServiceRoom, number: int):
    said, text = EXAMPLES[number]
    room.engine.worker()
    for one in CALLED if "type: workflow" in text else ():
        await room.publish(**yaml.safe_load(one))
    assert validate(text, None, room.engine.registry.catalog(), publishing=True).problems == ()
    document: dict[str, Any] = yaml.safe_load(text)
    await room.publish(**document)
    execution = (await room.enqueue(document["name"])).id

    signals: dict[str, Any] = json.loads(said.get("signals", "{}"))
    if signals:
        await _all_waiting(room, execution, len(signals))
    for name, payload in signals.items():
        await room.engine.tell(execution, InboxKind.SIGNAL, name=name, payload=payload)
    if said.get("ends") == "cancelled":
        await _all_waiting(room, execution, 1)
        await room.engine.cancel(execution)

    status = await room.engine.finished(execution)
    assert status.name.lower() == said.get("ends", "completed")
    if status is ExecutionStatus.COMPLETED:
        output = json.loads((await room.engine.row(execution))["output"])
        assert output == json.loads(said["runs"])
    if "order" in said:
        assert await _begun(room, execution, document) == json.loads(said["order"])


async def _all_waiting(room: ServiceRoom, execution: Any, count: int) -> None:
    async def waiting() -> bool:
        return (await room.engine.events(execution)).count("signal_awaited") == count

    await room.engine.until(execution, waiting)


async def _begun(room: ServiceRoom, execution: Any, document: dict[str, Any]) -> list[str]:
    """The keys of the steps in the order of their begin."""
    events = await room.executions.events(room.who, execution, limit=100)
    return [
        document["steps"][event.field("step")]["id"]
        for event in events
        if event.kind is EventKind.STEP_STARTED
    ]
