"""What a measurement stands on: an embedded PostgreSQL and Redis in a folder of its own, with production's settings."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import asyncpg
import psutil

from runtime.bootstrap import Runtime, open_runtime
from runtime.embedded.services import embedded_services
from runtime.model.identity import Principal
from runtime.model.workflow import DefinitionFormat
from runtime.settings import Settings
from runtime.store.migrate import migrate
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.tracing import Tracing
from runtime.worker.loop import Worker

_HANDED_IN_SECONDS: Final = 12.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the servers are. `settings` is what the product would read from its environment."""

    home: Path
    database_url: str
    redis_url: str
    settings: Settings
    is_temporary: bool = True


@contextlib.asynccontextmanager
async def surroundings(kept: Path | None = None) -> AsyncIterator[Surroundings]:
    """Fresh servers, a migrated database, and nothing left behind; or servers on what was kept in a folder."""
    with contextlib.ExitStack() as stack:
        folder = kept or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcb-")))
        home = folder / "h"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with embedded_services(home, postgres=True, redis=True) as services:
            database_url, redis_url = services.database_url, services.redis_url
            if database_url is None or redis_url is None:
                raise RuntimeError("the embedded servers gave no address")
            await migrate(database_url)
            settings = Settings(home=home, database_url=database_url, redis_url=redis_url)
            settings = replace(
                settings, worker=replace(settings.worker, imports=("benchmarks.steps",))
            )
            yield Surroundings(home, database_url, redis_url, settings, is_temporary=kept is None)


@dataclass(frozen=True, slots=True)
class DatabaseWork:
    """What PostgreSQL did between two looks: transactions that wrote, syncs of its log, bytes of its log."""

    commits: int
    wal_syncs: int
    wal_bytes: int

    def __sub__(self, other: DatabaseWork) -> DatabaseWork:
        return DatabaseWork(
            self.commits - other.commits,
            self.wal_syncs - other.wal_syncs,
            self.wal_bytes - other.wal_bytes,
        )


async def database_work(url: str) -> DatabaseWork:
    """Read the counters, after a pause in which every backend hands in its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("select pg_sleep(1.2)")
        await connection.execute("select pg_stat_force_next_flush()")
        commits = await connection.fetchval(
            "select xact_commit from pg_stat_database where datname = current_database()"
        )
        version = int(await connection.fetchval("show server_version_num"))
        syncs = (
            "select coalesce(sum(fsyncs), 0)::bigint from pg_stat_io where object = 'wal'"
            if version >= 180000
            else "select wal_sync from pg_stat_wal"
        )
        wal_syncs = await connection.fetchval(syncs)
        wal_bytes = await connection.fetchval("select wal_bytes::bigint from pg_stat_wal")
    finally:
        await connection.close()
    return DatabaseWork(commits, wal_syncs, wal_bytes)


async def publish(
    runtime: Runtime, name: str, source: str, *, tenant: str = "bench"
) -> tuple[Principal, str]:
    """Publish a definition as an administrator of a tenant of its own; who that is, and the workflow's name."""
    token = runtime.dev_token(tenant=tenant, subject="bench", roles=["admin"])
    who = await runtime.authenticator.principal(f"Bearer {token}")
    made = await runtime.services.workflows.create(
        who, name=name, source=source, format=DefinitionFormat.YAML
    )
    if made.workflow is None:
        raise RuntimeError(str(made.findings))
    await runtime.services.workflows.publish(who, made.workflow.id)
    return who, name


async def idle_statements(url: str, seconds: float) -> float:
    """Transactions per second while nothing happens, without those of the measurement itself.

    What sessions did before is in the counters only when they have been idle for ten seconds.
    """
    await asyncio.sleep(_HANDED_IN_SECONDS)
    first = await database_work(url)
    second = await database_work(url)
    begin = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - begin
    third = await database_work(url)
    pause = (second - first).commits
    return max(0.0, (third - second).commits - pause) / elapsed


@contextlib.asynccontextmanager
async def one_process(
    around: Surroundings,
    *,
    born_owned: bool = True,
    metrics: Metrics | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[tuple[Runtime, Worker]]:
    """API services, worker and scheduler in this process, as in `mc dev`."""
    settings = replace(
        around.settings, worker=replace(around.settings.worker, born_owned=born_owned)
    )
    async with open_runtime(settings, metrics=metrics, tracing=tracing) as runtime:
        worker, scheduler = runtime.make_worker(), runtime.make_scheduler()
        tasks = [asyncio.create_task(worker.run()), asyncio.create_task(scheduler.run())]
        try:
            await worker.signals.wait("beat")
            yield runtime, worker
        finally:
            await scheduler.stop()
            await worker.stop()
            await asyncio.gather(*tasks)


def cpu_seconds() -> float:
    """Processor time of this process and all that it started: the embedded servers and their backends."""
    me = psutil.Process()
    total = 0.0
    for process in [me, *me.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            spent = process.cpu_times()
            total += spent.user + spent.system + spent.children_user + spent.children_system
    return total


def memory_bytes() -> int:
    """Resident memory of this process."""
    size: int = psutil.Process().memory_info().rss
    return size
