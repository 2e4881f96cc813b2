"""The whole service while it is being broken: processes of its own for every test."""

from __future__ import annotations

import pytest

from tests.support.stack import Stack, open_shop, start_service


@pytest.fixture
async def stack(mc, database_url, redis_url):
    service = await start_service(mc, database_url, redis_url)
    yield Stack.of_tenant(service, "acme")
    mc.end_all()


@pytest.fixture
def shop(tmp_path):
    flags = ("--fail-rate", "0.2", "--reset-rate", "0.15", "--slow-rate", "0.1", "--seed", "7")
    with open_shop(tmp_path, *flags) as made:
        yield made
