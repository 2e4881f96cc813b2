"""A worker and what it stands on, against real PostgreSQL and Redis: publish, enqueue, look at rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from runtime.blob.filesystem import FilesystemBlobs
from runtime.clock import Clock, SystemClock
from runtime.connectors.registry import Registry
from runtime.definition import validate
from runtime.engine.ledger import digest_of
from runtime.engine.rewinding import rewound_to, with_input
from runtime.entropy import Entropy, SystemEntropy
from runtime.model.checkpoint import InboxKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.values import SemVer
from runtime.model.workflow import DefinitionFormat
from runtime.queue.breaker import SharedBreakers
from runtime.queue.link import RedisLink
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.secrets.file import FileSecrets
from runtime.services.judges import Judges
from runtime.settings import WorkerSettings
from runtime.store.blob import Blobs
from runtime.store.enqueue import Enqueuer, EnqueueRow
from runtime.store.execution import ExecutionStore
from runtime.store.log import LogWriter
from runtime.store.plan import PlanStore
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.store.workflow import version_order
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.tracing import Tracing
from runtime.worker.loop import Worker

TENANT = UUID("01930000-0000-7000-8000-00000000aaaa")
TIMEOUT = 15.0


@dataclass
class EngineRoom:
    """Made by `engine_room`; closes what it opened."""

    database: Database
    store: ExecutionStore
    queue: RedisQueue
    wakeup: Wakeup
    link: RedisLink
    enqueuer: Enqueuer
    registry: Registry
    secrets: FileSecrets
    metrics: Metrics
    sql: Any
    blob_store: Any
    tracing: Tracing
    judges: Judges
    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)
    settings: WorkerSettings = field(default_factory=WorkerSettings)
    workers: list[tuple[Worker, asyncio.Task[None], LogWriter]] = field(default_factory=list)

    @property
    def shards(self) -> Shards:
        """The one database, with one shard."""
        return Shards.single(self.database)

    async def publish(
        self, steps: Sequence[Mapping[str, Any]], *, publishing: bool = True, **more: Any
    ) -> UUID:
        """A published version of a document with these steps; its id. Not `publishing`, what only that refuses passes."""
        document = {"name": f"test-{SystemEntropy().bits(32):08x}", "version": "1.0.0", **more}
        document["steps"] = list(steps)
        found = validate(
            json.dumps(document),
            DefinitionFormat.JSON,
            self.registry.catalog(),
            publishing=publishing,
        )
        assert found.ok, found.problems
        workflow, version = (SystemEntropy().uuid7(1) for _ in range(2))
        by = {"subject": "test"}
        number = SemVer.parse(str(document["version"]))
        workflow = await self.sql.fetchval(
            "insert into workflows (id, tenant_id, name, created_by) values ($1, $2, $3, $4) "
            "on conflict (tenant_id, namespace, name) do update set name = excluded.name returning id",
            workflow, TENANT, document["name"], json.dumps(by),
        )  # fmt: skip
        await self.sql.execute(
            "insert into workflow_versions (id, tenant_id, workflow_id, version, version_order, "
            "digest, source, source_format, definition, published_by) "
            "values ($1, $2, $3, $4, $5, $6, '', 'json', $7, $8)",
            version, TENANT, workflow, str(number), version_order(number), str(found.digest),
            json.dumps(found.definition), json.dumps(by),
        )  # fmt: skip
        return version

    async def enqueue(
        self,
        version: UUID,
        input: Any = None,
        *,
        hint: bool = True,
        timeout_seconds: float | None = None,
        meta: Mapping[str, Any] | None = None,
        namespace: str = "default",
    ) -> UUID:
        """A queued execution; without `hint` Redis is not told."""
        row = EnqueueRow(
            id=SystemEntropy().uuid7(int(self.clock.now().timestamp() * 1000)),
            tenant_id=TENANT,
            workflow_id=version,
            version_id=version,
            namespace=namespace,
            region=None,
            priority=0,
            timeout_seconds=timeout_seconds,
            wake_at=None,
            input=json.dumps(input or {}),
            meta=json.dumps({"tenant": "test", **(meta or {})}),
            key=None,
            digest=None,
            event="{}",
            labels=None,
        )
        outcome = await self.enqueuer.enqueue(row)
        if hint:
            self.queue.add(0, [(outcome.id, 1)])
        return outcome.id

    async def run(self, steps: Sequence[Mapping[str, Any]], input: Any = None, **more: Any) -> UUID:
        """Publish, enqueue, and wait for the end."""
        execution = await self.enqueue(await self.publish(steps, **more), input)
        await self.finished(execution)
        return execution

    def worker(self, **changes: Any) -> Worker:
        """One more worker, running."""
        logs = LogWriter(
            self.database, 0, wakeup_publish=lambda ids: self.wakeup.publish_logs(0, ids)
        )
        worker = Worker(
            database=self.database,
            store=self.store,
            queue=self.queue,
            wakeup=self.wakeup,
            plans=PlanStore(self.database),
            judge=self.judges.input,
            registry=self.registry,
            secrets=self.secrets,
            logs=logs,
            blobs=self.blobs(),
            settings=replace(self.settings, **changes),
            tracing=self.tracing,
            metrics=self.metrics,
            clock=self.clock,
            entropy=self.entropy,
            host=f"test:{len(self.workers) + 1}",
            shared_breakers=SharedBreakers(self.link),
        )
        self.workers.append((worker, asyncio.create_task(worker.run()), logs))
        return worker

    def blobs(self, **changes: Any) -> Blobs:
        """Large values as a process of its own sees them."""
        given = {"cache_bytes": 1 << 20, "metrics": self.metrics, **changes}
        return Blobs(self.shards, self.blob_store, **given)

    async def expire(self, name: str) -> None:
        """Let the lease of a worker run out, as if it had stood still for too long."""
        await self.sql.execute(
            "update workers set lease_until = now() - interval '1 second' where host = $1 and not dead",
            name,
        )

    async def finished(self, execution: UUID, timeout: float = TIMEOUT) -> ExecutionStatus:
        """Wait for a final status."""
        return await self.reached(
            execution, lambda row: ExecutionStatus(row["status"]).is_terminal, timeout
        )

    async def reached(
        self, execution: UUID, wanted: Any, timeout: float = TIMEOUT
    ) -> ExecutionStatus:
        """Wait until the row is as wanted."""
        async with self.wakeup.listen(execution) as bell:
            loop = asyncio.get_running_loop()
            end = loop.time() + timeout
            while True:
                row = await self.row(execution)
                if wanted(row):
                    return ExecutionStatus(row["status"])
                if loop.time() > end:
                    raise TimeoutError(f"still {dict(row)}; {await self.events(execution)}")
                await bell.wait(0.1)

    async def until(self, execution: UUID, wanted: Callable[[], Awaitable[Any]]) -> None:
        """Wait until a look at the database is as wanted; looked again at each of its events."""
        async with asyncio.timeout(TIMEOUT), self.wakeup.listen(execution) as bell:
            while not await wanted():
                await bell.wait(0.05)

    async def row(self, execution: UUID) -> Any:
        """The execution's row."""
        return await self.sql.fetchrow("select * from workflow_executions where id = $1", execution)

    async def steps(self, execution: UUID) -> list[tuple[int, int, int, StepStatus]]:
        """(step, generation, attempt, status) of all rows, in the order of their end."""
        rows = await self.sql.fetch(
            "select step, generation, attempt, status from step_executions where execution_id = $1 "
            "order by finished_at, step, generation, attempt",
            execution,
        )
        return [(r["step"], r["generation"], r["attempt"], StepStatus(r["status"])) for r in rows]

    async def results(self, execution: UUID) -> list[Any]:
        """The result of every row, by step and attempt."""
        rows = await self.sql.fetch(
            "select result from step_executions where execution_id = $1 "
            "order by generation, step, attempt",
            execution,
        )
        return [json.loads(row["result"]) for row in rows]

    async def events(self, execution: UUID) -> list[str]:
        """The kinds of all events; asserts that their numbers are gapless."""
        rows = await self.sql.fetch(
            "select seq, kind from execution_events where execution_id = $1 order by seq", execution
        )
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        return [EventKind(row["kind"]).word for row in rows]

    async def cancel(self, execution: UUID, *, ring: bool = True) -> None:
        """Ask for an end, as the service does."""
        async with self.database.engine() as connection:
            data: Any = {"actor": {"subject": "ann", "kind": "user"}, "reason": "enough"}
            await self.store.send(0, TENANT, execution, InboxKind.CANCEL, data, connection)
        if ring:
            self.wakeup.publish_inbox(0, [execution])
            self.queue.add(0, [(execution, 1)])

    async def tell(
        self, execution: UUID, kind: InboxKind, *, ring: bool = True, **said: Any
    ) -> Any:
        """Leave a message, as the service does; what became of it."""
        async with self.database.engine() as connection:
            data: Any = {"actor": {"subject": "ann", "kind": "user"}, **said}
            sent = await self.store.send(0, TENANT, execution, kind, data, connection)
        if ring:
            self.wakeup.publish_inbox(0, [execution])
            self.queue.add(0, [(execution, 1)])
        return sent

    async def decide(self, execution: UUID, decision: str, **more: Any) -> None:
        """A person's word about the first step's first attempt, as the service sends it."""
        data: Any = {"actor": {"subject": "ann", "kind": "user"}, "reason": "seen"}
        data |= {"step": 0, "attempt": 1, "generation": 0, "decision": decision, **more}
        async with self.database.engine() as connection:
            await self.store.send(0, TENANT, execution, InboxKind.RESOLVE_DOUBT, data, connection)
        self.wakeup.publish_inbox(0, [execution])
        self.queue.add(0, [(execution, 1)])

    async def retry(self, execution: UUID, *, from_failed_step: bool = True) -> None:
        """Ask for another generation, as the service does."""
        async with self.database.engine() as connection:
            data: Any = {
                "actor": {"subject": "ann"},
                "reason": None,
                "from_failed_step": from_failed_step,
            }
            await self.store.retry(0, TENANT, execution, data, connection)
        self.queue.add(0, [(execution, 1)])

    async def rewind(
        self,
        execution: UUID,
        version: UUID,
        step: int,
        *,
        given: Any = None,
        keep: Sequence[int] = (),
    ) -> int | None:
        """Ask for another generation from a step of its version, as the service does; the number of it."""
        data: Any = {"actor": {"subject": "ann"}, "reason": "again"}
        data |= rewound_to(await PlanStore(self.database).get(version), step)
        data |= {"keep": [*keep]} if keep else {}
        text = None
        if given is not None:
            data = with_input(data, digest_of(given), ())
            text = orjson.dumps(given).decode()
        async with self.database.engine() as connection:
            _, generation = await self.store.rewind(
                0, TENANT, execution, data, connection, given=text
            )
        self.queue.add(0, [(execution, 1)])
        return generation

    async def reconnect(self) -> None:
        """The test's own connection, again."""
        self.sql.terminate()
        self.sql = await asyncpg.connect(
            self.database.url, server_settings={"search_path": "maestro"}
        )

    async def close(self) -> None:
        """Stop the workers, close the connections."""
        for worker, task, logs in self.workers:
            await worker.stop(0.0)
            await asyncio.wait_for(task, 10)
            await logs.close()
        await self.judges.close()
        await self.enqueuer.close()
        await self.wakeup.close()
        await self.link.close()
        await self.sql.close()
        await self.database.close()


@asynccontextmanager
async def engine_room(
    database_url: str,
    redis_url: str,
    home: Path,
    *,
    tracing: Tracing | None = None,
    packages: Sequence[str] = ("tests.support.steps",),
) -> AsyncIterator[EngineRoom]:
    """Everything but the workers."""
    metrics = Metrics()
    database = await Database.open(database_url)
    link = await RedisLink.open(redis_url, metrics=metrics)
    registry = Registry.load(packages)
    sql = await asyncpg.connect(database_url, server_settings={"search_path": "maestro"})
    room = EngineRoom(
        database=database,
        store=ExecutionStore(database),
        queue=RedisQueue(link),
        wakeup=Wakeup(link),
        link=link,
        enqueuer=Enqueuer(database, 0, metrics=metrics),
        registry=registry,
        secrets=FileSecrets(home / "secrets.yaml"),
        metrics=metrics,
        sql=sql,
        blob_store=FilesystemBlobs(home / "blobs"),
        tracing=tracing or Tracing(service="test"),
        judges=Judges(registry.catalog()),
    )
    try:
        yield room
    finally:
        await room.close()
