"""The rest of the model: items of maps that the owner of an execution lends to other workers, and the step cache."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.simulator.chunk import Chunk
from tests.simulator.model import Model
from tests.simulator.tables import OWNED, QUEUED, RUNNING, Refused, Row, rows_of


class LendingModel(Model):
    """The model with the functions on `map_chunks` and on the step cache."""

    def chunk_lend(
        self, shard: int, me: int, epoch: int, one: UUID, number: int, step: int, items: Any, attempts: Any
    ) -> list[Row]:  # fmt: skip
        self._fence(me, epoch)
        e = self.executions.get(one)
        is_mine = e is not None and e.owner == me and e.status == RUNNING
        if e is not None and is_mine:
            if (one, me, number) in self.chunks:
                raise Refused("23505", "duplicate key")
            now = self._clock()
            self.chunks[one, me, number] = Chunk(e.generation, step, items, attempts, now)
        return rows_of("lent", [(is_mine,)])

    def chunk_take(self, shard: int, me: int, epoch: int) -> list[Row]:
        self._fence(me, epoch)
        names = f"{OWNED} lender number step items attempts"
        oldest = sorted(self.chunks.items(), key=lambda found: found[1].created_at)
        for (one, lender, number), c in oldest:
            e = self.executions[one]
            is_open = e.status == RUNNING and e.owner != me and e.generation == c.generation
            if c.helper is None and is_open:
                c.helper = (me, epoch)
                return rows_of(
                    names, [(*self.row_of(e), lender, number, c.step, c.items, c.attempts)]
                )
        return []

    def chunk_end(
        self, shard: int, me: int, epoch: int, one: UUID, lender: int, number: int, outcomes: str
    ) -> list[Row]:
        self._fence(me, epoch)
        c = self.chunks.get((one, lender, number))
        is_mine = c is not None and c.helper == (me, epoch) and c.outcomes is None
        if c is not None and is_mine:
            c.outcomes = outcomes
        return rows_of("ended", [(is_mine,)])

    def chunk_held(self, shard: int, me: int, epoch: int) -> list[Row]:
        found = [
            (*key, c.stop)
            for key, c in self.chunks.items()
            if c.helper == (me, epoch) and c.outcomes is None
        ]
        return rows_of("execution_id lender number stop", found)

    def chunk_back(
        self, shard: int, me: int, epoch: int, one: UUID, patience: float, stop: int | None, why: Any
    ) -> list[Row]:  # fmt: skip
        self._fence(me, epoch)
        names = "lender number step items attempts is_back is_lost outcomes"
        e, now, found = self.executions.get(one), self._clock(), []
        if e is None or e.owner != me or e.status != RUNNING:
            return rows_of(names, [])
        for key, c in [(key, c) for key, c in self.chunks.items() if key[0] == one]:
            is_lost = c.helper is not None and not self.is_live(*c.helper)
            is_late = c.helper is None and (c.created_at <= now - patience or c.step == stop)
            is_back = c.outcomes is not None or is_lost or is_late
            told = (is_lost and c.outcomes is None, c.outcomes) if is_back else (False, None)
            if c.helper is not None and c.step == stop and c.stop is None:
                c.stop = why
            if is_back or c.generation != e.generation:
                del self.chunks[key]
            if c.generation == e.generation:
                found.append((*key[1:], c.step, c.items, c.attempts, is_back, *told))
        return rows_of(names, found)

    def chunk_others(self, shard: int, me: int) -> list[Row]:
        now = self._clock()
        found = [
            one
            for one, seat in self.seats.items()
            if one != me and not seat.dead and seat.lease_until > now and ":alone" not in seat.host
        ]
        return rows_of("count", [(len(found),)])

    def chunk_sweep(self, shard: int) -> list[Row]:
        gone = []
        for key, c in self.chunks.items():
            e = self.executions.get(key[0])
            if e is None or e.status not in (QUEUED, RUNNING) or e.generation != c.generation:
                gone.append(key)
        for key in gone:
            del self.chunks[key]
        return rows_of("swept", [(len(gone),)])

    # --- the step cache --------------------------------------------------------------------------

    def cache_find(self, tenant: UUID, key: bytes) -> list[Row]:
        return self.cache.find(tenant, key, self._clock(), self._mutants)

    def cache_keep(self, *columns: Any) -> str:
        self.cache.keep(columns, self._clock())
        return "INSERT"

    def cache_sweep(self, most: int) -> str:
        return f"DELETE {self.cache.sweep(self._clock())}"

    def cache_shrink(self, most: int, chunk: int) -> str:
        return "DELETE 0"

    def cache_orphans(self, tenant: UUID, key: bytes, chunk: int) -> list[Row]:
        """No execution is ever deleted here."""
        return rows_of("seen gone tenant_id key", [(0, 0, None, None)])
