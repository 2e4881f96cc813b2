"""The whole service for a journey, on the test process's own PostgreSQL and Redis."""

from __future__ import annotations

import pytest

from tests.support.stack import open_shop, open_stack


@pytest.fixture
async def stack(mc, database_url, redis_url):
    async with open_stack(mc, database_url, redis_url) as made:
        yield made
        mc.end_all()


@pytest.fixture
def shop(tmp_path):
    with open_shop(
        tmp_path, "--fail-rate", "0.2", "--reset-rate", "0.15", "--slow-rate", "0.1", "--seed", "7"
    ) as made:
        yield made
