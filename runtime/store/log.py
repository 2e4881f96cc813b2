"""Step logs: written in batches beside the checkpoints, read by people.

A line is not worth a stopped step: the writer is bounded and never blocks; when PostgreSQL stays away
the oldest lines go, and the log of the process says how many.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from runtime.model.errors import MaestroError
from runtime.model.event import LogLine
from runtime.model.values import Json
from runtime.store.faults import is_gone, never_fits
from runtime.store.group_commit import Batcher
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.store.statements import statements
from runtime.telemetry.log import get_logger

_SQL: Final = statements("log")
_MOST_WAITING: Final = 20_000
_TRIES: Final = 10
_AGAIN_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 5.0
_MAX_MESSAGE: Final = 8_192
_UNIQUE: Final = "23505"

_log = get_logger("store.log")


class LogRow(NamedTuple):
    """A line on its way; `fields` is JSON text or None."""

    tenant_id: UUID
    execution_id: UUID
    step: int
    item: int
    generation: int
    attempt: int
    level: str
    message: str
    fields: str | None


class _Stamped(NamedTuple):
    row: LogRow
    at: float


class LogWriter:
    """Takes lines from steps, from any thread, and makes them durable soon."""

    def __init__(
        self,
        database: Database,
        shard: int,
        *,
        wakeup_publish: Callable[[Sequence[UUID]], None],
    ) -> None:
        self._database = database
        self._shard = shard
        self._publish = wakeup_publish
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lost = 0
        self._closing = False
        self._batcher = Batcher[_Stamped](
            self._send,
            size=lambda item: len(item.row.message) + len(item.row.fields or ""),
            name="step-logs",
        )

    def write(self, row: LogRow) -> None:
        """Take a line; never blocks, may be called from a step's thread."""
        stamped = _Stamped(_cleaned(row), self._loop.time())
        if threading.get_ident() == self._thread:
            self._add(stamped)
        else:
            self._loop.call_soon_threadsafe(self._add, stamped)

    async def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Write what waits, then end; when PostgreSQL does not take it in time, it is lost."""
        self._closing = True
        try:
            async with asyncio.timeout(seconds):
                await self._batcher.close()
        except TimeoutError:
            self._lost += len(self._batcher)
            _log.warning("step_logs_lost", lines=self._lost, error="PostgreSQL does not answer")

    def _add(self, item: _Stamped) -> None:
        if len(self._batcher) >= _MOST_WAITING or self._batcher.is_closed:
            self._lost += 1
            return
        self._batcher.add(item)

    async def _send(self, batch: list[_Stamped]) -> None:
        todo = [batch]
        while todo:
            part = todo.pop()
            try:
                await self._write(part)
            except Exception as error:  # noqa: BLE001 - a log line may be lost, the loop may not end
                if never_fits(error) and len(part) > 1:
                    half = len(part) // 2
                    todo += [part[half:], part[:half]]
                    continue
                self._lost += len(part)
                _log.warning("step_logs_lost", lines=self._lost, error=str(error))
                continue
            self._publish(list({item.row.execution_id for item in part}))

    async def _write(self, part: list[_Stamped]) -> None:
        for attempt in range(1, _TRIES + 1):
            now = self._loop.time()
            *head, level, message, fields = zip(*(item.row for item in part), strict=True)
            ages = [now - item.at for item in part]
            try:
                async with self._database.engine() as connection:
                    await connection.execute(
                        _SQL["write"], self._shard, *head, ages, level, message, fields
                    )
            except Exception as error:
                if attempt == _TRIES or self._closing or not _may_pass(error):
                    raise
                await asyncio.sleep(0 if _collided(error) else _AGAIN_SECONDS)
                continue
            return


class LogStore:
    """Reads the lines of an execution."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def read(
        self,
        tenant: UUID,
        execution: UUID,
        *,
        step: int | None,
        after: int,
        limit: int,
        item: int | None = None,
    ) -> list[LogLine]:
        """Lines after a position, in order; of one step (or one of its items) or of all."""
        arguments = (tenant, execution, after, step, limit, item)
        async with self._shards.holding(execution).tenant(tenant) as connection:
            rows = await connection.fetch(_SQL["read"], *arguments)
        return [_line(row) for row in rows]


def log_fields(fields: dict[str, Any]) -> str | None:
    """Fields as JSON text: what JSON has no word for is written as text."""
    if not fields:
        return None
    value: Json = orjson.loads(orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS))
    return orjson.dumps(value).decode().replace("\\u0000", "")


def _line(row: Any) -> LogLine:
    line = LogLine(*row)
    stack = line.fields.get("stack") if isinstance(line.fields, dict) else None
    if not isinstance(line.fields, dict) or not isinstance(stack, str):
        return line
    rest: Json = {name: value for name, value in line.fields.items() if name != "stack"}
    return replace(line, fields=rest or None, stack=stack)


def _cleaned(row: LogRow) -> LogRow:
    """A message that a row can hold."""
    message = row.message.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    message = message.encode("utf-8", "replace").decode()
    if len(message) > _MAX_MESSAGE:
        message = message[: _MAX_MESSAGE - 1] + "…"
    return row._replace(message=message)


def _may_pass(error: Exception) -> bool:
    return _collided(error) or is_gone(error.__cause__ or error) or isinstance(error, MaestroError)


def _collided(error: Exception) -> bool:
    return getattr(error, "sqlstate", None) == _UNIQUE
