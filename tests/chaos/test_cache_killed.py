"""Workers that are killed while steps are given outputs again: nothing is given that was not committed, nothing is lost."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from runtime.model.execution import ExecutionStatus
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.engine_room import EngineRoom
from tests.support.replaying import replayed

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos

ITEMS, OPEN, AT_ONCE, MANY = 12, 6, 3, 12
ALIKE = """select count(*) as every, count(*) filter (where exists (select 1 from step_executions s
  where s.execution_id = c.execution_id and s.item = c.item and s.status = 6 and s.result ->> 'out' = c.digest
    and not s.result ? 'cached_from')) as alike from step_cache c"""
GIVEN = """select r.execution_id, r.step, r.finished_at, r.result ->> 'out' as out, s.status, s.result ->> 'out' as source_out,
       s.finished_at as source_finished_at, s.result ? 'cached_from' as is_given
  from step_executions r left join step_executions s
    on s.execution_id = (r.result #>> '{cached_from,execution}')::uuid and s.step = r.step and s.status = 6
 where r.result ? 'cached_from'"""


def a_map(home: Path) -> list[dict[str, Any]]:
    """Each item has another input: a gate of its own."""
    given = {"folder": str(home), "gate": "{{ 'gate-' ~ index }}"}
    step = {"id": "each", "type": "map", "for_each": list(range(ITEMS)), "cache": {"ttl": "1h"}}
    return [{**step, "task": {"uses": "probe.file@1", "with": given}, "max_concurrency": AT_ONCE}]


def chain(home: Path) -> list[dict[str, Any]]:
    return [
        {
            "id": key,
            "uses": "probe.file@1",
            "with": {"folder": str(home), "gate": f"open-{key}"},
            "depends_on": needs,
            "cache": {"ttl": "1h"},
        }
        for key, needs in (("a", []), ("b", ["a"]), ("c", ["b"]), ("d", ["c"]))
    ]


def called(home: Path, execution: UUID) -> set[int]:
    """The items of an execution that were called."""
    keys = [key for key, _ in calls(home) if key.startswith(str(execution))]
    return {int(key.split(".")[-2]) for key in keys}


async def output(room: EngineRoom, execution: UUID) -> Any:
    text = "select result -> 'output' from step_executions where execution_id = $1 and item = -1"
    return json.loads(await room.sql.fetchval(text, execution))


async def test_what_a_killed_worker_kept_is_what_it_committed_and_the_rest_is_called(
    room: EngineRoom, start, home: Path
):
    first = await start("first")
    version = await room.publish(a_map(home))
    for item in range(OPEN):
        (home / f"gate-{item}").touch()
    one = await room.enqueue(version)
    await until(lambda: len(calls(home)) == OPEN + AT_ONCE)
    await start("second")
    first.send_signal(signal.SIGKILL)
    for item in range(OPEN, ITEMS):
        (home / f"gate-{item}").touch()
    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED

    async def are_kept() -> bool:
        """Those of the second worker, which lives: of the first one any may be missing."""
        return (
            int(await room.sql.fetchval("select count(*) from step_cache where item >= $1", OPEN))
            == ITEMS - OPEN
        )

    await room.until(one, are_kept)
    found = await room.sql.fetchrow(ALIKE)
    assert found["alike"] == found["every"]
    kept = {row["item"] for row in await room.sql.fetch("select item from step_cache")}
    other = await room.enqueue(version)
    assert await room.finished(other, WAIT) is ExecutionStatus.COMPLETED

    assert called(home, other) == set(range(ITEMS)) - kept
    assert await output(room, other) == await output(room, one) == ["each"] * ITEMS
    # A record stands by itself: what it was given is in its rows.
    await room.sql.execute("delete from step_cache")
    for execution in (one, other):
        assert (await replayed(room, execution)).divergence is None


async def test_an_output_that_is_not_committed_is_given_to_nobody(
    room: EngineRoom, start, home: Path
):
    """The worker is killed between the end of its call and the commit: its row can't be written meanwhile."""
    first = await start("first", f"{WAIT}/0.1")
    (home / "gate").touch()
    given = {"folder": str(home), "gate": "gate"}
    cached = {"id": "a", "uses": "probe.file@1", "with": given, "cache": {"ttl": "1h"}}
    version = await room.publish([cached])
    async with room.sql.transaction():
        await room.sql.execute("lock table step_executions in share mode")
        one = await room.enqueue(version)
        await until(lambda: len(calls(home)) == 1)
        async with room.database.engine() as connection:
            waits = "select count(*) from pg_locks where not granted and locktype = 'relation'"
            while not await connection.fetchval(waits):
                assert first.returncode is None
            beats = "select min(lease_until) from maestro.workers"
            before = await connection.fetchval(beats)
            for _ in range(2):
                # It is well, and would have written what it has to write.
                while await connection.fetchval(beats) == before:
                    assert first.returncode is None
                before = await connection.fetchval(beats)
            assert await connection.fetchval("select count(*) from maestro.step_cache") == 0
            first.send_signal(signal.SIGKILL)
            await first.wait()
        await room.sql.execute(
            "select pg_terminate_backend(pid) from pg_locks where not granted and locktype = 'relation'"
        )
    await start("second")

    assert await room.finished(one, WAIT) is ExecutionStatus.COMPLETED
    assert len(calls(home)) == 2
    [row] = await room.results(one)
    assert "cached_from" not in row


@pytest.mark.long
async def test_kills_in_the_middle_of_many_executions_give_nothing_that_was_not_committed(
    room: EngineRoom, start, home: Path
):
    version = await room.publish(chain(home))
    for key in "abcd":
        (home / f"open-{key}").touch()
    executions = [await room.enqueue(version) for _ in range(MANY)]
    await start("last")
    for number in range(3):
        one = await start(f"killed-{number}")
        executions.append(await room.enqueue(version))
        one.send_signal(signal.SIGKILL)

    for execution in executions:
        assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED
        assert [row["output"] for row in await room.results(execution)] == ["a", "b", "c", "d"]
    for row in await room.sql.fetch(GIVEN):
        assert (row["status"], row["source_out"], row["is_given"]) == (6, row["out"], False)
        assert row["source_finished_at"] <= row["finished_at"]
    found = await room.sql.fetchrow(ALIKE)
    assert found["alike"] == found["every"]
