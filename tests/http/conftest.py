"""Fixtures of the tests over HTTP."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.http.serving import Served, serving, working
from tests.support.servers import Databases, lasting_redis

_TENANTS = itertools.count(1)


@pytest.fixture
async def own_server(database_url: str, redis_url: str, home: Path) -> AsyncIterator[Served]:
    """A running API of this test alone, without a worker. It ends first, so that no half-sent request outlives a test."""
    async with serving(database_url, redis_url, home) as made:
        yield made


@pytest.fixture
def server(own_server: Served) -> Served:
    """The API of a test; a module whose tests only speak to it takes `tenant_server` instead."""
    return own_server


@pytest.fixture
async def worker(server: Served) -> AsyncIterator[None]:
    """A worker beside the API."""
    async with working(server.rt):
        yield


@pytest.fixture(scope="session")
def lasting_server(
    ground_run: Callable[..., Any],
    databases: Databases,
    redis_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """One API for all tests that only speak to it, on a database and a number of Redis that nobody else uses."""
    home = tmp_path_factory.mktemp("lasting")
    home.chmod(0o700)
    opened = serving(databases.clone(), lasting_redis(redis_server), home)
    yield ground_run(opened.__aenter__())
    ground_run(opened.__aexit__(None, None, None))


@pytest.fixture
def tenant_server(lasting_server: Served) -> Served:
    """The lasting API for a tenant of this test alone: quicker than one of its own, and as empty."""
    return replace(lasting_server, tenant=f"tenant-{next(_TENANTS)}")
