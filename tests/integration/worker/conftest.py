"""The engine room of the worker's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.engine_room import EngineRoom, engine_room
from tests.support.steps import CALLS


@pytest.fixture
async def room(database_url: str, redis_url: str, home: Path) -> AsyncIterator[EngineRoom]:
    """PostgreSQL, Redis and what a worker needs; workers are started by the test."""
    CALLS.clear()
    async with engine_room(database_url, redis_url, home) as made:
        yield made
