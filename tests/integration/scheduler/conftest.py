"""The engine room of the scheduler's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.engine_room import EngineRoom, engine_room


@pytest.fixture
async def room(database_url: str, redis_url: str, home: Path) -> AsyncIterator[EngineRoom]:
    """PostgreSQL, Redis and what a worker needs."""
    async with engine_room(database_url, redis_url, home) as made:
        yield made
