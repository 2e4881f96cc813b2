"""Outputs of steps that are given again to the next call with the same inputs and the same code (ADR-086).

An entry is found by its tenant and its key alone, counts until it expires by the database's clock, and only while the
execution is kept that its output was recorded in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from runtime.model.values import Digest, Json
from runtime.store.pool import Database
from runtime.store.statements import statements

# Beyond so many entries of a database those go that expire first.
MOST_ENTRIES: Final = 1_000_000
CHUNK: Final = 1_000

_SQL: Final = statements("step_cache")
_FIRST: Final = (UUID(int=0), b"")


class CacheEntry(NamedTuple):
    """An output that a call gave, and for how long it may be given again; `output` is JSON text."""

    tenant_id: UUID
    key: bytes
    milliseconds: int
    execution_id: UUID
    step: str
    item: int
    digest: str
    output: str


class CachedOutput(NamedTuple):
    """An output that counts, and where it was recorded."""

    execution_id: UUID
    step: str
    item: int
    digest: str
    value: Json

    @property
    def source(self) -> dict[str, Json]:
        """Where it came from, as rows and events say it."""
        said: dict[str, Json] = {"execution": str(self.execution_id), "step": self.step}
        if self.item >= 0:
            said["item"] = self.item
        return said


class StepCache:
    """The entries of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant: UUID, key: bytes) -> CachedOutput | None:
        """What is to be given again; None as well when it is no longer what its digest says."""
        async with self._database.worker() as connection:
            row = await connection.fetchrow(_SQL["find"], tenant, key)
        if row is None:
            return None
        found = CachedOutput(*row)
        raw = orjson.dumps(found.value, option=orjson.OPT_SORT_KEYS)
        return found if str(Digest.of(raw)) == found.digest else None

    async def keep(self, entries: Sequence[CacheEntry]) -> None:
        """Let these be given again from now on."""
        newest = {(entry.tenant_id, entry.key): entry for entry in entries}
        rows = [newest[key] for key in sorted(newest)]
        columns: list[Any] = [list(column) for column in zip(*rows, strict=True)]
        async with self._database.worker() as connection:
            await connection.execute(_SQL["keep"], *columns)

    async def sweep(self) -> int:
        """Delete what has expired, what is too much, and what has lost its execution; how many entries went."""
        total = 0
        for name, arguments in (("sweep", (CHUNK,)), ("shrink", (MOST_ENTRIES, CHUNK))):
            gone = CHUNK
            while gone == CHUNK:
                async with self._database.worker() as connection:
                    said = await connection.execute(_SQL[name], *arguments)
                gone = int(str(said).rpartition(" ")[2])
                total += gone
        place, seen = _FIRST, CHUNK
        while seen == CHUNK:
            async with self._database.worker() as connection:
                row = await connection.fetchrow(_SQL["orphans"], *place, CHUNK)
            seen, place = row["seen"], (row["tenant_id"], row["key"])
            total += row["gone"]
        return total
