"""Two databases of the one test server, with two shards each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.servers import Databases
from tests.support.sharded import SHARDS, TOTAL, Sharded, sharded


@pytest.fixture(scope="session")
def shared_pair(databases: Databases) -> tuple[str, ...]:
    """The two databases that tests take turns with; ask for `pair` instead."""
    return tuple(databases.clone(shards, TOTAL) for shards in SHARDS)


@pytest.fixture
def pair(databases: Databases, shared_pair: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Two databases without rows; emptied again afterwards."""
    yield shared_pair
    for url in shared_pair:
        databases.clean(url)


@pytest.fixture
async def room(pair: tuple[str, ...], redis_url: str, home: Path) -> AsyncIterator[Sharded]:
    async with sharded(pair, redis_url, home) as made:
        yield made
