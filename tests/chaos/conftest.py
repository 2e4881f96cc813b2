"""The whole service while it is being broken: processes of its own for every test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.embedded.home import socket_folder
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.redis import EmbeddedRedis
from runtime.store.migrate import migrate
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


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="mcr-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def own_postgres(ground_run: Callable[..., Any], folder: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of this test alone, durable as in production."""
    server = EmbeddedPostgres(folder / "postgres", socket_folder(folder))
    ground_run(server.start())
    ground_run(migrate(server.url))
    yield server
    ground_run(server.stop())


@pytest.fixture
def own_redis(ground_run: Callable[..., Any], folder: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of this test alone."""
    server = EmbeddedRedis(folder / "redis", socket_folder(folder))
    ground_run(server.start())
    yield server
    ground_run(server.stop())
