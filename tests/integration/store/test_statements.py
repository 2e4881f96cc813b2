"""Each named statement can be prepared under the role that uses it, and says why it is safe."""

from __future__ import annotations

from importlib.resources import files

import pytest

from runtime.store.statements import nouns, statements
from tests.make import TENANT

ENGINE = {
    "blob",
    "checkpoint",
    "enqueue",
    "event_bus",
    "execution",
    "human_task",
    "map_chunk",
    "retention",
    "step_cache",
    "tenant",
}
ENGINE_STATEMENTS = {("workflow", "plan"), ("log", "write")}
ALL = [(noun, name) for noun in nouns() for name in statements(noun)]


@pytest.mark.parametrize(("noun", "name"), ALL)
async def test_statement_prepares(room, noun, name):
    as_engine = noun in ENGINE or (noun, name) in ENGINE_STATEMENTS
    role = room.database.engine() if as_engine else room.database.tenant(TENANT)

    async with role as connection:
        await connection.prepare(statements(noun)[name])


@pytest.mark.parametrize("noun", nouns())
def test_every_statement_says_why_it_is_safe(noun):
    text = files("runtime.store").joinpath("sql", f"{noun}.sql").read_text(encoding="utf-8")

    told = [
        part for part in text.split("-- name: ")[1:] if part.splitlines()[1].startswith("-- Safe:")
    ]

    assert len(told) == len(statements(noun))
