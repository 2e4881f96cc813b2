"""Whether this process can serve: each dependency by name, with one sentence for what is wrong.

For `/readyz` and `mc doctor`. It never raises, and each question has a deadline.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import chain
from pathlib import Path

from runtime.model.errors import MaestroError
from runtime.model.values import Json
from runtime.queue.link import RedisLink
from runtime.services.event_handler import state_of
from runtime.store.event_bus import EventBusStore, HandlerLag
from runtime.store.migrate import pending_on
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.telemetry.metrics import Metrics

_SECONDS = 3.0
_PROBE_EVERY_SECONDS = 5.0
_LEAST_BYTES = 32 << 20


class HealthService:
    """Asks the dependencies of this process."""

    def __init__(
        self,
        *,
        shards: Shards,
        link: RedisLink,
        metrics: Metrics,
        data_folder: Path | None = None,
    ) -> None:
        self._shards = shards
        self._link = link
        # Where the embedded PostgreSQL lives: its disk is this machine's, and can be looked at.
        self._data_folder = data_folder
        self._probed_at = float("-inf")
        self._probing = asyncio.Lock()
        self._write_problem: str | None = None
        self._buses = tuple(map(EventBusStore, shards.databases))
        self._postgres_up = metrics.dependency_up.labels("postgresql")
        self._further = [
            (f"postgresql:{place.name}", database)
            for place, database in zip(shards.map.places[1:], shards.databases[1:], strict=True)
        ]

    @property
    def spared(self) -> frozenset[str]:
        """Dependencies without which this process still serves: databases other than the catalog's."""
        return frozenset(name for name, _ in self._further)

    async def check(self) -> dict[str, str | None]:
        """Name of each dependency -> None when it is fine, else a sentence without secrets."""
        catalog = self._shards.catalog
        postgres, redis, schema, *further = await asyncio.gather(
            self._postgres(),
            _asked(self._link.ping),
            _asked(lambda: self._schema(catalog)),
            *(_asked(partial(self._schema, database)) for _, database in self._further),
        )
        self._postgres_up.set(postgres is None)
        named = {name: answer for (name, _), answer in zip(self._further, further, strict=True)}
        return {"postgresql": postgres, "redis": redis, "schema": schema, **named}

    async def _postgres(self) -> str | None:
        """Whether it answers, and takes writes; the second is tried every few seconds, whoever asks how often."""
        problem = await _asked(self._shards.catalog.ping)
        if problem is not None:
            return problem
        async with self._probing:
            clock = asyncio.get_running_loop().time
            if clock() - self._probed_at >= _PROBE_EVERY_SECONDS:
                self._write_problem = self._full() or await _asked(self._shards.catalog.write_probe)
                self._probed_at = clock()
            return self._write_problem

    def _full(self) -> str | None:
        if self._data_folder is None:
            return None
        try:
            free = shutil.disk_usage(self._data_folder).free
        except OSError as error:
            return f"The data folder can't be looked at: {error.strerror}."
        if free >= _LEAST_BYTES:
            return None
        return f"Only {free >> 20} MiB are free for the data folder: make room there."

    async def handlers(self) -> list[dict[str, Json]]:
        """How each event handler does; nothing of a PostgreSQL that can't say. It takes no readiness away."""
        found = await asyncio.gather(*map(_lags, self._buses))
        return [
            {
                "handler": one.handler,
                "stream": one.stream,
                "shard": one.shard,
                "status": state_of(one).value,
                "lag_seconds": round(one.lag_seconds, 1),
                "failures_in_a_row": one.attempts,
            }
            for one in chain.from_iterable(found)
        ]

    @staticmethod
    async def _schema(database: Database) -> None:
        async with database.engine() as connection:
            missing = await pending_on(connection)
        if missing:
            raise MaestroError(f"Migrations are pending: {', '.join(missing)}. Run `mc migrate`.")


async def _lags(bus: EventBusStore) -> list[HandlerLag]:
    try:
        async with asyncio.timeout(_SECONDS):
            return await bus.lags()
    except (TimeoutError, MaestroError):
        return []


async def _asked(question: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(_SECONDS):
            await question()
    except TimeoutError:
        return f"No answer within {_SECONDS:.0f} seconds."
    except MaestroError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - an answer of any kind must not take readiness down
        return f"It failed: {type(error).__name__}."
    return None
