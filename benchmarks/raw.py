"""The raw limit: the rows of a 3-step execution written by bare asyncpg, grouped and one after the other.

As many commits as the engine makes: acceptance (execution, event), claim unless it is born owned, then three
checkpoints, the last of which also ends the execution. Nine events and three step rows; same tables, same indexes,
no validation, no engine.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from runtime.entropy import SystemEntropy

STEPS = 3
_TENANT = UUID(int=1)
_DATA = '{"step": 0, "key": "a", "item": -1, "attempt": 1}'
_RESULT = '{"output": {"ok": true}, "in": "sha256:0", "out": "sha256:0", "code": "sha256:0", "worker": "host:1"}'

ACCEPT = """
with e as (insert into workflow_executions
    (id, shard, tenant_id, workflow_id, version_id, status, owner, epoch, started_at, input, meta)
  select i, 0, $2, $2, $2, case when $4 then 1 else 0 end, case when $4 then 1 end, case when $4 then 1 else 0 end,
         case when $4 then now() end, '{}', '{}' from unnest($1::uuid[]) i)
insert into execution_events (shard, kind, seq, execution_id, tenant_id, ts, data)
  select 0, 1, 1, i, $2, now(), $3::jsonb from unnest($1::uuid[]) i"""
CLAIM = """
update workflow_executions e set status = 1, owner = 1, epoch = epoch + 1, started_at = now()
 where e.shard = 0 and e.id between $2 and $3 and e.id = any($1::uuid[]) and e.status = 0"""
WAKE = """
update workflow_executions e
   set status = 1, wait = null, wake_at = null, owner = 1, epoch = epoch + 1, started_at = now()
 where e.shard = 0 and e.id between $2 and $3 and e.id = any($1::uuid[]) and e.status = 3"""
STEP = """
insert into step_executions (shard, status, step, execution_id, tenant_id, attempt, generation, item,
  started_at, finished_at, result)
  select 0, 6, $2, i, $3, 1, 0, -1, now(), now(), $4::jsonb from unnest($1::uuid[]) i"""
EVENTS = """
insert into execution_events (shard, kind, seq, execution_id, tenant_id, ts, data)
  select 0, 21, s, i, $2, now(), $3::jsonb from unnest($1::uuid[]) i, generate_series($4::int, $5::int) s"""
CLOSE = """
update workflow_executions e set status = 2, owner = null, output = '{"ok": true}', finished_at = now()
 where e.shard = 0 and e.id between $2 and $3 and e.id = any($1::uuid[]) and e.owner = 1"""


async def open_raw(url: str) -> asyncpg.Connection:
    """A bare connection to the product's tables."""
    connection = await asyncpg.connect(url, server_settings={"search_path": "maestro"})
    await connection.execute("set enable_seqscan = off")
    return connection


async def accept(connection: asyncpg.Connection, ids: list[UUID], *, born_owned: bool) -> None:
    """Queued, or running at once."""
    await connection.execute(ACCEPT, ids, _TENANT, _DATA, born_owned)


async def checkpoint(connection: asyncpg.Connection, ids: list[UUID], step: int) -> None:
    """One step of each: its row, its events, and after the last one the end."""
    async with connection.transaction():
        await connection.execute(STEP, ids, step, _TENANT, _RESULT)
        # Started and the first step go with the first checkpoint, the end with the last.
        first = 2 if step == 0 else 4 + 2 * step - 1
        last = 4 + 2 * step if step < STEPS - 1 else 9
        await connection.execute(EVENTS, ids, _TENANT, _DATA, first, last)
        if step == STEPS - 1:
            await connection.execute(CLOSE, ids, min(ids), max(ids))


async def write(connection: asyncpg.Connection, ids: list[UUID], *, born_owned: bool) -> None:
    """Everything that a 3-step execution leaves behind, for each id, in 4 or 5 commits for all of them."""
    await accept(connection, ids, born_owned=born_owned)
    if not born_owned:
        await connection.execute(CLAIM, ids, min(ids), max(ids))
    for step in range(STEPS):
        await checkpoint(connection, ids, step)


async def woken_per_second(url: str, ids: list[UUID], *, group: int = 1000) -> float:
    """Parked executions of one step per second: claimed, begun, its step's row, the end; two commits for each group."""
    connection = await open_raw(url)
    try:
        begin = time.perf_counter()
        for start in range(0, len(ids), group):
            some = sorted(ids[start : start + group])
            await connection.execute(WAKE, some, some[0], some[-1])
            async with connection.transaction():
                await connection.execute(STEP, some, 0, _TENANT, _RESULT)
                await connection.execute(EVENTS, some, _TENANT, _DATA, 2, 5)
                await connection.execute(CLOSE, some, some[0], some[-1])
        return len(ids) / (time.perf_counter() - begin)
    finally:
        await connection.close()


def make_ids(count: int) -> list[UUID]:
    """Ids of now, in random slots."""
    entropy, now = SystemEntropy(), int(datetime.now(UTC).timestamp() * 1000)
    return [entropy.uuid7(now) for _ in range(count)]


async def grouped_per_second(
    url: str, *, seconds: float, group: int = 1000, born_owned: bool = False
) -> float:
    """Executions per second when `group` of them share each commit."""
    connection = await open_raw(url)
    try:
        await write(connection, make_ids(group), born_owned=born_owned)
        done, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            await write(connection, make_ids(group), born_owned=born_owned)
            done += group
        return done / (time.perf_counter() - begin)
    finally:
        await connection.close()


async def serial_seconds(url: str, *, runs: int, born_owned: bool = False) -> list[float]:
    """How long the commits of one execution take, alone on an idle system; sorted."""
    connection = await open_raw(url)
    try:
        await write(connection, make_ids(1), born_owned=born_owned)
        times = []
        for _ in range(runs):
            ids = make_ids(1)
            begin = time.perf_counter()
            await write(connection, ids, born_owned=born_owned)
            times.append(time.perf_counter() - begin)
        return sorted(times)
    finally:
        await connection.close()


async def checkpoint_seconds(url: str, *, runs: int) -> list[float]:
    """How long one durable write of one step's rows takes, alone; sorted."""
    connection = await open_raw(url)
    try:
        times = []
        for _ in range(runs):
            ids = make_ids(1)
            await accept(connection, ids, born_owned=True)
            begin = time.perf_counter()
            await checkpoint(connection, ids, 1)
            times.append(time.perf_counter() - begin)
        return sorted(times)
    finally:
        await connection.close()
