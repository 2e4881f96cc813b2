"""`kill -9` between the put of a large value and the commit that names it: nothing is lost, and nothing stays for ever."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from runtime.model.execution import ExecutionStatus
from runtime.store.blob import BlobRetention
from tests.chaos.test_worker_killed import WAIT, calls
from tests.chaos.test_worker_killed import room as room
from tests.chaos.test_worker_killed import start as start
from tests.support.engine_room import EngineRoom

pytestmark = pytest.mark.chaos

_STUCK = (
    "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
    "and query like '%mc_flush_2%'"
)


async def flush_stands_still(room: EngineRoom) -> int:
    """The server process of a flush that waits for its fence."""
    async with asyncio.timeout(WAIT):
        while (pid := await room.sql.fetchval(_STUCK)) is None:
            await asyncio.sleep(0.01)
    return int(pid)


def blobs(home: Path) -> list[Path]:
    """Those that are whole: what is being written has another name."""
    return [file for file in (home / "blobs").rglob("?" * 64) if file.is_file()]


async def refs(room: EngineRoom) -> int:
    return int(await room.sql.fetchval("select count(*) from blob_refs"))


async def test_a_blob_whose_row_was_never_written_is_known_and_goes_with_its_execution(
    room: EngineRoom, start, home: Path
):
    first = await start("first")
    steps = [{"id": "a", "uses": "probe.large@1", "with": {"folder": str(home), "gate": "gate"}}]
    execution = await room.enqueue(
        await room.publish(steps, outputs={"size": "{{ steps.a.output | length }}"})
    )
    async with asyncio.timeout(WAIT):
        while not calls(home):
            await asyncio.sleep(0.01)
    fence = await asyncpg.connect(room.database.url, server_settings={"search_path": "maestro"})
    held = fence.transaction()
    await held.start()
    await fence.execute("select 1 from workers where host = 'first' for update")
    (home / "gate").touch()
    # The blob is there, and no flush gets through any more: here the worker dies.
    stuck = await flush_stands_still(room)
    async with asyncio.timeout(WAIT):
        while not blobs(home):
            await asyncio.sleep(0.01)
    assert await refs(room) == 1
    first.send_signal(signal.SIGKILL)
    await first.wait()
    await room.sql.fetchval("select pg_terminate_backend($1)", stuck)
    await held.rollback()
    await fence.close()

    await start("second")
    assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED

    [one, two] = await room.sql.fetch("select digest from blob_refs order by created_at")
    [row] = await room.results(execution)
    assert row["output"]["$blob"]["digest"] == two["digest"] != one["digest"]
    assert json.loads((await room.row(execution))["output"])["size"] >= 20_000
    files = blobs(home)
    assert len(files) == 2

    # When retention drops the execution, both go.
    await room.sql.execute("delete from workflow_executions where id = $1", execution)
    retention = BlobRetention(room.database, room.blob_store)
    assert await retention.release(datetime.now(UTC).date(), 10) == (2, 2)
    assert not any(file.exists() for file in files)
    retention.close()
