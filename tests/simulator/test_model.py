"""The model answers as PostgreSQL does: the same scenarios on both, call by call."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from runtime.store.pool import Database
from tests import make
from tests.simulator.lent import LendingModel
from tests.simulator.limits import Limits
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


async def _limit(sql: asyncpg.Connection, limits: Limits) -> None:
    await sql.execute("delete from workflows; update tenants set settings = '{}'")
    for tenant, most in limits.tenants.items():
        await sql.execute(
            "insert into tenants (id, name, settings) values ($1, 'played', jsonb_build_object('max_running', $2::int)) "
            "on conflict (id) do update set settings = excluded.settings",
            tenant, most,
        )  # fmt: skip
    for workflow, most in limits.workflows.items():
        await sql.execute(
            "insert into workflows (id, tenant_id, name, created_by, max_running) values ($1, $2, 'played', '{}', $3)",
            workflow, make.TENANT, most,
        )  # fmt: skip


def _limits(seed: int, played: Any) -> Limits:
    """In every third scenario; of which two also one of the workflows."""
    ids, _ = played
    if seed % 3:
        return Limits()
    return Limits({make.TENANT: 1 + seed % 2}, {ids[0]: 1} if seed % 9 else {})


async def _on_postgres(url: str, played, limits: Limits):
    sql = await asyncpg.connect(url, server_settings={"search_path": "maestro"})
    database = await Database.open(url)
    await until_sessions_count(sql)
    try:
        await sql.execute(
            "truncate workers, workflow_executions, step_executions, execution_events, execution_inbox, idempotency_keys, map_chunks, step_cache"
        )
        await _limit(sql, limits)
        return await Stage(database, _Fate(sql)).play(*played)
    finally:
        await sql.close()
        await database.close()


async def _on_the_model(played, limits: Limits):
    model = LendingModel(lambda: 1_000.0)
    model.limits = limits
    return await Stage(ModelDatabase(model), _FateOfTheModel(model)).play(*played)


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in range(1, PARTS))]
)
async def test_model_and_postgres_answer_alike(database_url: str, part: int):
    for seed in range(part, 5 * PARTS, PARTS):
        played = scenario(seed)
        limits = _limits(seed, played)
        real = await _on_postgres(database_url, played, limits)
        simulated = await _on_the_model(played, limits)
        for number, (one, other) in enumerate(zip(real, simulated, strict=True)):
            assert one == other, f"scenario {seed}, call {number}"
