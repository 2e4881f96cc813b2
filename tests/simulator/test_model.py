"""The model answers as PostgreSQL does: the same scenarios on both, call by call."""

from __future__ import annotations

import asyncpg
import pytest

from runtime.store.pool import Database
from tests.simulator.model import Model
from tests.simulator.scenarios import ModelDatabase, Stage, scenario

PARTS = 8


async def _on_postgres(url: str, played):
    sql = await asyncpg.connect(url, server_settings={"search_path": "maestro"})
    database = await Database.open(url)

    async def expire(seat: int) -> None:
        await sql.execute(
            "update workers set lease_until = now() - interval '1 s' where id = $1", seat
        )

    try:
        await sql.execute(
            "truncate workers, workflow_executions, step_executions, execution_events, execution_inbox, idempotency_keys"
        )
        return await Stage(database, expire).play(*played)
    finally:
        await sql.close()
        await database.close()


async def _on_the_model(played):
    model = Model(lambda: 1_000.0)

    async def expire(seat: int) -> None:
        if seat in model.seats:
            model.expire(seat)

    return await Stage(ModelDatabase(model), expire).play(*played)


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in range(1, PARTS))]
)
async def test_model_and_postgres_answer_alike(database_url: str, part: int):
    for seed in range(part, 5 * PARTS, PARTS):
        played = scenario(seed)
        real, simulated = await _on_postgres(database_url, played), await _on_the_model(played)
        for number, (one, other) in enumerate(zip(real, simulated, strict=True)):
            assert one == other, f"scenario {seed}, call {number}"
