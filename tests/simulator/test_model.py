"""The model answers as PostgreSQL does: the same scenarios on both, call by call."""

from __future__ import annotations

import asyncpg
import pytest

from runtime.store.pool import Database
from tests.simulator.lent import LendingModel
from tests.simulator.model import Model
from tests.simulator.scenarios import ModelDatabase, Stage, scenario
from tests.support.sessions import until_sessions_count

PARTS = 8


class _Fate:
    """On the server; the sessions live in one connection."""

    def __init__(self, sql: asyncpg.Connection) -> None:
        self._sql = sql

    async def expire(self, seat: int) -> None:
        await self._past("lease_until", seat)

    async def miss(self, seat: int) -> None:
        await self._past("late_at", seat)

    async def appear(self, seat: int) -> None:
        await self._sql.execute("select pg_advisory_lock_shared($1::bigint)", seat)

    async def _past(self, column: str, seat: int) -> None:
        await self._sql.execute(
            f"update workers set {column} = now() - interval '1 s' where id = $1 and not dead",
            seat,
        )


class _FateOfTheModel:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._present: set[int] = set()
        model.is_present = self._present.__contains__

    async def expire(self, seat: int) -> None:
        if seat in self._model.seats:
            self._model.expire(seat)

    async def miss(self, seat: int) -> None:
        found = self._model.seats.get(seat)
        if found is not None and not found.dead:
            found.late_at = 0.0

    async def appear(self, seat: int) -> None:
        self._present.add(seat)


async def _on_postgres(url: str, played):
    sql = await asyncpg.connect(url, server_settings={"search_path": "maestro"})
    database = await Database.open(url)
    await until_sessions_count(sql)
    try:
        await sql.execute(
            "truncate workers, workflow_executions, step_executions, execution_events, execution_inbox, idempotency_keys, map_chunks, step_cache"
        )
        return await Stage(database, _Fate(sql)).play(*played)
    finally:
        await sql.close()
        await database.close()


async def _on_the_model(played):
    model = LendingModel(lambda: 1_000.0)
    return await Stage(ModelDatabase(model), _FateOfTheModel(model)).play(*played)


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in range(1, PARTS))]
)
async def test_model_and_postgres_answer_alike(database_url: str, part: int):
    for seed in range(part, 5 * PARTS, PARTS):
        played = scenario(seed)
        real, simulated = await _on_postgres(database_url, played), await _on_the_model(played)
        for number, (one, other) in enumerate(zip(real, simulated, strict=True)):
            assert one == other, f"scenario {seed}, call {number}"
