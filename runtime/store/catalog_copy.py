"""What other databases have of the catalog: versions, for workers that go on without it, and what retention asks for.

The catalog is the truth; copies are seconds old. Brought by the leader of the scheduler of each other
database; a reader that needs to be exact asks the catalog.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg

from runtime.store.faults import translated
from runtime.store.pool import Database
from runtime.store.statements import statements

_SQL: Final = statements("catalog_copy")
_AT_ONCE: Final = 20
# Together shorter than a server takes to notice that this process is not there any more (see `pool`).
BEAT_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 3.0
_LOST: Final = (
    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError,
)  # fmt: skip


class CatalogCopies:
    """Brings what changed from the catalog to one other database."""

    def __init__(self, catalog: Database, target: Database) -> None:
        self._catalog = catalog
        self._target = target

    async def refresh(self) -> int:
        """Bring what is missing; how many rows. Raises Unavailable when one of the two is away."""
        return await self._settings() + await self._versions()

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Bring what changed; until the end of the block no setting and no hold changes in the catalog.

        Who sets one waits for that long, as for an exchange of the catalog's own days. Raises Unavailable, also
        when the catalog is lost on the way: then the block is cancelled.
        """
        with translated():
            connection = await self._catalog.dedicated()
        try:
            with translated():
                await connection.execute("begin")
                await connection.fetchval(_SQL["impatient"])
                await connection.fetchval(_SQL["still"])
                async with asyncio.timeout(None) as limit:
                    beat = asyncio.create_task(_beat(connection, limit), name="still")
                    try:
                        await self.refresh()
                        yield
                    finally:
                        beat.cancel()
        finally:
            connection.terminate()

    async def _settings(self) -> int:
        """Tenants, workflows without their definitions, and holds on workflows, when anything of them changed."""
        async with self._target.worker() as target:
            before = await target.fetchval(_SQL["digest"])
        async with self._catalog.worker() as source, source.transaction():
            if await source.fetchval(_SQL["digest"]) == before:
                return 0
            tenants = await source.fetch(_SQL["tenants"])
            workflows = await source.fetch(_SQL["workflows"])
            holds = await source.fetch(_SQL["holds"])
        async with self._target.worker() as target, target.transaction():
            await target.execute(_SQL["put_tenants"], *_columns(tenants, 4))
            await target.execute(_SQL["drop_workflows"], [row["id"] for row in workflows])
            await target.execute(_SQL["put_workflows"], *_columns(workflows, 6))
            await target.execute(_SQL["copy_holds"], *_columns(holds, 5))
        return len(tenants) + len(workflows) + len(holds)

    async def _versions(self) -> int:
        async with self._target.worker() as target:
            since = await target.fetchval(_SQL["newest"])
        async with self._catalog.worker() as source:
            ids = [row["id"] for row in await source.fetch(_SQL["since"], since)]
        async with self._target.worker() as target:
            known = {row["id"] for row in await target.fetch(_SQL["known"], ids)}
        missing = [one for one in ids if one not in known]
        for some in _parts(missing):
            async with self._catalog.worker() as source:
                rows = await source.fetch(_SQL["versions"], some)
            async with self._target.worker() as target, target.transaction():
                await target.executemany(_SQL["put_version"], [tuple(row) for row in rows])
        return len(missing)


async def _beat(connection: Any, limit: asyncio.Timeout) -> None:
    """Keep a transaction from being ended as idle; when it has ended, cancel what relies on it."""
    try:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await connection.fetchval("select 1", timeout=_ANSWER_SECONDS)
    except _LOST:
        limit.reschedule(asyncio.get_running_loop().time())


def _columns(rows: list[Any], width: int) -> list[list[Any]]:
    """Rows as arrays, one for each column."""
    return [[row[number] for row in rows] for number in range(width)]


def _parts(ids: list[UUID]) -> list[list[UUID]]:
    return [ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE)]
