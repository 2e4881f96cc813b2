"""What a worker keeps in memory is what jsonb gives back: keys, numbers and all."""

from __future__ import annotations

import asyncpg
import orjson
import pytest

from runtime.model.settled import settled
from runtime.worker.encode import encode

VALUES = [
    {"zeta": 1, "a": {"bb": 2, "c": 3}, "é": 0, "zz": [{"y": 1, "x": 2}]},
    [1e16, -1e16, 1e15, 1.5, 1e300, 5e-324, -0.0, 0.0, 2.0**62, 2.0**63, -(2.0**63), 2.0**64, 3.0],
    [2**63 - 1, -(2**63), 2**64 - 1, True, None, "text"],
    {},
    "x",
    1e17,
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
async def test_a_settled_value_is_the_same_before_and_after_the_database(database_url, value):
    mine = settled(value)
    encoded = encode(value, "it", 1_000_000)
    connection = await asyncpg.connect(database_url)
    try:
        stored = orjson.loads(
            await connection.fetchval("select $1::jsonb::text", encoded.raw.decode())
        )
    finally:
        await connection.close()

    assert orjson.dumps(stored) == orjson.dumps(mine)
    assert orjson.dumps(encoded.value) == orjson.dumps(mine)
    assert encode(stored, "it", 1_000_000) == encoded
