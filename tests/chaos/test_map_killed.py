"""Maps whose worker is killed: nothing that has a row is done again, no call that may happen once happens twice."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.model.execution import ExecutionStatus
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.engine_room import EngineRoom

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos

ITEMS, AT_ONCE = 12, 3


def over(home: Path, uses: str, gated: int) -> list[dict[str, Any]]:
    given = {"folder": str(home), "gate": f"{{{{ 'gate' if index >= {gated} else none }}}}"}
    task = {"uses": uses, "with": given}
    step = {"id": "each", "type": "map", "for_each": list(range(ITEMS)), "task": task}
    return [{**step, "max_concurrency": AT_ONCE}]


async def output(room: EngineRoom, execution: UUID) -> Any:
    text = await room.sql.fetchval(
        "select result -> 'output' from step_executions where execution_id = $1 and item = -1",
        execution,
    )
    return json.loads(text)


async def killed_in_the_middle(room: EngineRoom, start, home: Path, uses: str) -> UUID:
    """The execution, ended by another worker; the first was killed with three items under way."""
    first = await start("first")
    steps = over(home, uses, gated=6)
    execution = await room.enqueue(await room.publish(steps, publishing=False))
    await until(lambda: len(calls(home)) == 6 + AT_ONCE)
    await start("second")
    first.send_signal(signal.SIGKILL)
    (home / "gate").touch()
    assert await room.finished(execution, timeout=WAIT) is ExecutionStatus.COMPLETED
    return execution


async def test_the_next_worker_calls_only_the_items_without_a_row(
    room: EngineRoom, start, home: Path
):
    execution = await killed_in_the_middle(room, start, home, "probe.file@1")

    made = Counter(key for key, _ in calls(home))
    assert made.keys() == {f"{execution}.s.0.{item}.g0" for item in range(ITEMS)}
    again = {int(key.split(".")[-2]) for key, count in made.items() if count > 1}
    assert again <= {6, 7, 8}
    assert await output(room, execution) == ["each"] * ITEMS


async def test_calls_of_items_that_may_happen_once_are_looked_up(
    room: EngineRoom, start, home: Path
):
    execution = await killed_in_the_middle(room, start, home, "probe.findable_sink@1")

    made = Counter(key for key, _ in calls(home))
    assert set(made.values()) == {1}
    assert len(made) == ITEMS
    assert await output(room, execution) == ["each"] * ITEMS
