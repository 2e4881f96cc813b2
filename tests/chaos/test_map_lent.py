"""A map that runs on two workers, of which one is killed: nothing is lost, and what the other one has under way is not made again."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.model.execution import ExecutionStatus
from tests.chaos.test_map_killed import output
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.engine_room import EngineRoom

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos

AT_ONCE, WAVES = 8, 4
ITEMS = AT_ONCE * (WAVES + 1)
# A map is watched for half a second before it is lent; this much on a busy machine.
WATCHED_SECONDS = 2.0
# Who is killed is missed by the end of its session; whoever the machine keeps waiting keeps its lease, and goes on calling.
LONG_LEASE = f"{10 * WAIT}/0.3"


def over(home: Path) -> list[dict[str, Any]]:
    """Each wave of items waits for a gate of its own, the last ones for `gate`."""
    gate = "'gate'"
    for wave in reversed(range(WAVES)):
        gate = f"'gate{wave}' if index < {AT_ONCE * (wave + 1)} else ({gate})"
    task = {
        "uses": "probe.file@1",
        "with": {"folder": str(home), "gate": f"{{{{ {gate} }}}}"},
    }
    step = {"id": "each", "type": "map", "for_each": list(range(ITEMS)), "task": task}
    return [{**step, "max_concurrency": AT_ONCE}]


async def lent(room: EngineRoom, execution: UUID) -> set[int]:
    """The items that the helper has taken."""
    found = await room.sql.fetch(
        "select items from map_chunks where execution_id = $1 and helper is not null", execution
    )
    return {item for row in found for item in row["items"]}


async def begun(room: EngineRoom, start: Any, home: Path) -> tuple[UUID, Any, Any, set[int]]:
    """The execution, its owner, its helper, and the items that the helper has under way."""
    owner = await start("first", LONG_LEASE)
    execution = await room.enqueue(await room.publish(over(home), publishing=False))
    await until(lambda: len(calls(home)) == AT_ONCE)
    helper = await start("second", LONG_LEASE)
    loop = asyncio.get_running_loop()
    for wave in range(WAVES):
        watched = loop.time() + WATCHED_SECONDS
        while loop.time() < watched and not await lent(room, execution):
            await asyncio.sleep(0.05)
        if await lent(room, execution):
            break
        (home / f"gate{wave}").touch()
    items = await lent(room, execution)
    assert items, "nothing was lent"
    try:
        await until(lambda: {_item(key) for key, _ in calls(home)} >= items)
    except TimeoutError:
        pytest.fail(await told(room, execution, home, items))
    return execution, owner, helper, await lent(room, execution)


def _item(key: str) -> int:
    return int(key.split(".")[-2])


async def told(room: EngineRoom, execution: UUID, home: Path, items: set[int]) -> str:
    """All that is known of an execution whose lent items do not begin."""
    found = [f"lent {sorted(items)}, called {sorted(calls(home))}"]
    for table in ("map_chunks", "workers"):
        found += [str(dict(row)) for row in await room.sql.fetch(f"select * from {table}")]
    found.append(str(dict(await room.row(execution))))
    found.append(str(await room.events(execution)))
    found += [f"{file.name}: {file.read_text()}" for file in sorted(home.glob("*.log"))]
    return "\n".join(found)


def open_all(home: Path) -> None:
    for name in ("gate", *(f"gate{wave}" for wave in range(WAVES))):
        (home / name).touch()


async def names(room: EngineRoom, execution: UUID) -> dict[int, str]:
    found = await room.sql.fetch(
        "select item, result ->> 'worker' as name from step_executions where execution_id = $1 and item >= 0",
        execution,
    )
    return {row["item"]: row["name"] for row in found}


async def test_what_a_killed_helper_had_is_run_by_the_owner(room: EngineRoom, start, home: Path):
    execution, _, helper, items = await begun(room, start, home)

    helper.send_signal(signal.SIGKILL)
    # It may have taken a chunk more since it was looked at.
    items |= await lent(room, execution)
    open_all(home)

    assert await room.finished(execution, timeout=WAIT) is ExecutionStatus.COMPLETED
    made = Counter(_item(key) for key, _ in calls(home))
    assert set(made) == set(range(ITEMS))
    assert {item for item, count in made.items() if count > 1} <= items
    assert await output(room, execution) == ["each"] * ITEMS
    assert await room.sql.fetchval("select count(*) from map_chunks") == 0
    assert (await room.events(execution)).count("execution_taken_over") == 0


async def test_what_a_killed_owner_had_lent_goes_on_where_it_is(
    room: EngineRoom, start, home: Path
):
    execution, owner, _, items = await begun(room, start, home)

    owner.send_signal(signal.SIGKILL)
    taken = "execution_taken_over"
    await room.until(execution, lambda: _has(room, execution, taken))
    open_all(home)

    assert await room.finished(execution, timeout=WAIT) is ExecutionStatus.COMPLETED
    made = Counter(_item(key) for key, _ in calls(home))
    assert set(made) == set(range(ITEMS))
    assert {made[item] for item in items} == {1}
    assert {(await names(room, execution))[item] for item in items} == {"second"}
    assert await output(room, execution) == ["each"] * ITEMS


async def _has(room: EngineRoom, execution: UUID, event: str) -> bool:
    return event in await room.events(execution)
