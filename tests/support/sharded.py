"""Several databases and four shards, seen by one process: callers on each side, their executions, the rows behind them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import asyncpg

from runtime.bootstrap import Runtime, open_runtime
from runtime.model.execution import EnqueueRequest, Execution
from runtime.model.identity import Principal
from runtime.model.ids import SLOTS, slot_for
from runtime.model.shard_map import Place, ShardMap
from runtime.model.workflow import DefinitionFormat
from runtime.settings import Settings, WorkerSettings
from tests import make
from tests.support.processes import eventually

TOTAL = 4
NAMES = ("east", "west", "north")
SHARDS = ((0, 1), (2, 3))
QUICK = WorkerSettings(
    lease_seconds=1.5,
    beat_seconds=0.3,
    lease_margin_seconds=0.5,
    imports=("tests.support.steps",),
)
_TENANTS = UUID("01930000-0000-7000-8000-0000000000ff")


def map_of(urls: Sequence[str], shards: Sequence[tuple[int, ...]] = SHARDS) -> ShardMap:
    """East holds shards 0 and 1 and the catalog, west 2 and 3, unless told otherwise."""
    places = zip(NAMES[: len(urls)], urls, shards, strict=True)
    return ShardMap.checked([Place(name, url, shards) for name, url, shards in places])


def settings_of(shard_map: ShardMap, redis_url: str, home: Path) -> Settings:
    """The settings of a process on these databases."""
    plain = Settings.from_env({"MC_HOME": str(home)})
    return replace(
        plain,
        database_url=shard_map.catalog.url,
        databases=shard_map,
        redis_url=redis_url,
        worker=QUICK,
    )


def tenant_on(shard: int) -> UUID:
    """A tenant whose executions lie in a shard."""
    candidates = (uuid5(_TENANTS, str(number)) for number in itertools.count())
    return next(one for one in candidates if slot_for(str(one)) * TOTAL // SLOTS == shard)


@dataclass
class Sharded:
    """One process on several databases."""

    rt: Runtime

    async def caller(self, shard: int, *, spread: bool = False) -> Principal:
        """A caller of a tenant of a shard; of a spread one, whose executions lie in all."""
        tenant = tenant_on(shard)
        name = f"{'spread' if spread else 'tenant'}-{shard}"
        async with self.rt.shards.catalog.engine() as connection:
            await connection.execute(
                "insert into tenants (id, name, spread) values ($1, $2, $3) on conflict do nothing",
                tenant, name, spread,
            )  # fmt: skip
        return make.principal(tenant, name=name)

    async def publish(
        self, who: Principal, name: str = "w", steps: Any = None, **more: Any
    ) -> None:
        """A workflow with a published version."""
        steps = steps or [{"id": "one", "uses": "core.noop@1"}]
        body = {"name": name, "version": "1.0.0", "steps": steps, **more}
        made = await self.rt.services.workflows.create(
            who, name=name, source=json.dumps(body), format=DefinitionFormat.JSON
        )
        assert made.workflow is not None
        await self.rt.services.workflows.publish(who, made.workflow.id)

    async def enqueue(self, who: Principal, name: str = "w", **fields: Any) -> Execution:
        """An accepted execution."""
        request = EnqueueRequest(workflow_name=name, **fields)
        return (await self.rt.services.executions.enqueue(who, request)).execution

    async def ended(self, who: Principal, *ids: UUID, seconds: float = 30.0) -> list[str]:
        """The statuses of executions, once all have ended."""
        found: list[str] = []

        async def all_ended() -> bool:
            executions = await self.rt.services.executions.get_many(who, ids)
            found[:] = [executions[one].status.name.lower() for one in ids]
            return all(executions[one].status.is_terminal for one in ids)

        await eventually(all_ended, seconds=seconds, what=f"the end of {ids}")
        return found

    async def rows(self, place: int, statement: str, *arguments: Any) -> list[Any]:
        """Rows of one database, as its login user sees them."""
        url = self.rt.shards.map.places[place].url
        connection = await asyncpg.connect(url, server_settings={"search_path": "maestro"})
        try:
            found: list[Any] = await connection.fetch(statement, *arguments)
            return found
        finally:
            await connection.close()

    @asynccontextmanager
    async def crew(self) -> AsyncIterator[Any]:
        """Workers of this process for all shards, for the time of the block."""
        crew = self.rt.make_crew()
        task = asyncio.create_task(crew.run())
        try:
            yield crew
        finally:
            await crew.stop(2.0)
            await task

    @asynccontextmanager
    async def schedulers(self) -> AsyncIterator[Any]:
        """Schedulers of this process for all databases, for the time of the block."""
        schedulers = self.rt.make_scheduler()
        task = asyncio.create_task(schedulers.run())
        try:
            yield schedulers
        finally:
            await schedulers.stop()
            await task


@asynccontextmanager
async def sharded(
    urls: Sequence[str], redis_url: str, home: Path, shards: Sequence[tuple[int, ...]] = SHARDS
) -> AsyncIterator[Sharded]:
    """A process on databases that hold their shards already."""
    async with open_runtime(settings_of(map_of(urls, shards), redis_url, home)) as rt:
        yield Sharded(rt)
