"""Fixtures of the tests over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http.serving import Served, serving, working


@pytest.fixture
async def server(database_url: str, redis_url: str, home: Path) -> AsyncIterator[Served]:
    """A running API, without a worker."""
    async with serving(database_url, redis_url, home) as made:
        yield made


@pytest.fixture
async def worker(server: Served) -> AsyncIterator[None]:
    """A worker beside the API."""
    async with working(server.rt):
        yield
