"""The writer of a worker: the checkpoints of all its executions, committed together.

One object per incarnation, on a connection of its own. It promises: order per execution; a fenced
worker writes nothing; an outcome that is unknown is never sent again; one checkpoint that the
database refuses does not take the others of its batch along.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from runtime.model.checkpoint import COMMITTED, Checkpoint, FlushOutcome, FlushResult
from runtime.model.errors import MaestroError
from runtime.store.faults import never_fits, was_rolled_back
from runtime.store.group_commit import Batcher
from runtime.store.pool import Database
from runtime.store.statements import statements
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

_FLUSH: Final = statements("checkpoint")["flush"]
_FLUSH_WITH_CHILDREN: Final = statements("checkpoint")["flush_with_children"]
_FLUSH_WITH_TASKS: Final = statements("checkpoint")["flush_with_tasks"]
_TRIES: Final = 3
_FENCED: Final = FlushResult(FlushOutcome.FENCED, "another worker owns these executions now")

_log = get_logger("store.flush")


class _Waiting(NamedTuple):
    checkpoint: Checkpoint
    on_done: Callable[[FlushResult], None]


class Flusher:
    """Takes checkpoints and reports on each, in the event loop, after the commit."""

    def __init__(
        self,
        database: Database,
        shard: int,
        worker_id: int,
        epoch: int,
        *,
        metrics: Metrics,
        timeout_seconds: float = 15.0,
    ) -> None:
        self._database = database
        self._owner = (shard, worker_id, epoch)
        self._metrics = metrics
        self._timeout = timeout_seconds
        self._connection: Any = None
        self._end: FlushResult | None = None
        self._batcher = Batcher[_Waiting](
            self._send, size=lambda item: item.checkpoint.size, name="flusher"
        )
        metrics.flush_waiting.labels(str(shard)).set_function(lambda: len(self._batcher))

    def submit(self, checkpoint: Checkpoint, on_done: Callable[[FlushResult], None]) -> None:
        """Let a checkpoint go with the next flush; never blocks.

        After a fence or an unknown outcome the answer comes at once and nothing is sent.
        """
        if self._end is not None or self._batcher.is_closed:
            end = self._end or FlushResult(FlushOutcome.UNKNOWN, "the flusher is closed")
            asyncio.get_running_loop().call_soon(on_done, end)
            return
        self._batcher.add(_Waiting(checkpoint, on_done))

    async def flushed(self) -> None:
        """Until everything that was submitted is answered."""
        await self._batcher.flushed()

    async def close(self) -> None:
        """Flush what is pending, then close the connection."""
        await self._batcher.close()
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _send(self, batch: list[_Waiting]) -> None:
        if self._end is None:
            await self._write(batch)
        else:
            self._answer(batch, self._end)

    async def _write(self, batch: list[_Waiting]) -> None:
        """Write a batch, halving it as long as it holds a checkpoint that the database refuses."""
        todo = [batch]
        while todo:
            part = todo.pop()
            result = self._end or await self._call(part)
            if result.outcome is FlushOutcome.REJECTED and len(part) > 1:
                half = len(part) // 2
                todo += [part[half:], part[:half]]
                continue
            if result.outcome is FlushOutcome.REJECTED:
                todo = self._reject(part[0], result, todo)
                continue
            if result.outcome is not FlushOutcome.COMMITTED:
                self._end = result
            self._answer(part, result)
        if self._end is not None:
            self._answer(self._batcher.withdraw(lambda _: True), self._end)

    def _reject(
        self, culprit: _Waiting, result: FlushResult, todo: list[list[_Waiting]]
    ) -> list[list[_Waiting]]:
        """What the same execution sent afterwards builds on what is missing, so it goes as well."""
        execution: UUID = culprit.checkpoint.execution_id

        def is_theirs(item: _Waiting) -> bool:
            return item.checkpoint.execution_id == execution

        refused = [culprit]
        for part in reversed(todo):
            refused += filter(is_theirs, part)
        refused += self._batcher.withdraw(is_theirs)
        _log.warning("checkpoint_rejected", execution=str(execution), reason=result.message)
        self._answer(refused, result)
        rest = [[item for item in part if not is_theirs(item)] for part in todo]
        return [part for part in rest if part]

    async def _call(self, part: list[_Waiting]) -> FlushResult:
        checkpoints = [item.checkpoint for item in part]
        arguments, statement = _columns(checkpoints), _FLUSH
        if any(one.tasks or one.stops for one in checkpoints):
            arguments = (*arguments, *_of_children(checkpoints), *_of_tasks(checkpoints))
            statement = _FLUSH_WITH_TASKS
        elif any(one.children or one.words or one.in_family for one in checkpoints):
            arguments, statement = (*arguments, *_of_children(checkpoints)), _FLUSH_WITH_CHILDREN
        for attempt in range(1, _TRIES + 1):
            try:
                if self._connection is None:
                    self._connection = await self._database.dedicated()
                with self._metrics.flush_seconds.time():
                    row = await self._connection.fetchrow(
                        statement, *self._owner, *arguments, timeout=self._timeout
                    )
            except Exception as error:  # noqa: BLE001 - each kind is answered, none may end the loop
                if was_rolled_back(error) and attempt < _TRIES:
                    continue
                return _failure(error)
            if not row["live"]:
                return _FENCED
            self._metrics.flush_rows.observe(len(arguments[0]) + len(arguments[10]))
            return COMMITTED
        raise AssertionError("every attempt returns")

    @staticmethod
    def _answer(items: list[_Waiting], result: FlushResult) -> None:
        loop = asyncio.get_running_loop()
        for item in items:
            try:
                item.on_done(result)
            except Exception as error:  # noqa: BLE001 - one caller's defect must not stop the writer
                loop.call_exception_handler(
                    {"message": "a checkpoint's callback failed", "exception": error}
                )


def _failure(error: Exception) -> FlushResult:
    if never_fits(error):
        return FlushResult(FlushOutcome.REJECTED, str(error))
    message = error.message if isinstance(error, MaestroError) else str(error)
    return FlushResult(FlushOutcome.UNKNOWN, message or type(error).__name__)


def _columns(batch: list[Checkpoint]) -> tuple[Any, ...]:
    """Rows to columns: the arrays of `mc_flush_2`, in its order."""
    steps = [row for item in batch for row in item.steps]
    events = [row for item in batch for row in item.events]
    closings = [item.closing for item in batch if item.closing is not None]
    cleared = [item.execution_id for item in batch if item.clears_takeovers]
    read = [(item.execution_id, n) for item in batch for n in item.inbox_read]
    return (
        *_transposed(steps, "--nnnnnnn-"),
        *_transposed(events, "--nn-"),
        *_transposed(closings, "-nnnn--"),
        cleared,
        *_transposed(read, "-n"),
    )


def _of_children(batch: list[Checkpoint]) -> tuple[Any, ...]:
    """The further arrays of `mc_flush_3`: children that begin, and words to children."""
    return (
        *_transposed([row for item in batch for row in item.children], "-------nn----"),
        *_transposed([row for item in batch for row in item.words], "--n-"),
    )


def _of_tasks(batch: list[Checkpoint]) -> tuple[Any, ...]:
    """The further arrays of `mc_flush_4`: tasks that begin, as one text, and executions whose tasks are cancelled."""
    tasks = [row for item in batch for row in item.tasks]
    stops = [row for item in batch for row in item.stops]
    return (
        [row.execution_id for row in tasks],
        "[" + ",".join(row.task for row in tasks) + "]",
        [row.execution_id for row in stops],
        [row.reason for row in stops],
    )


def _transposed(rows: list[Any], kinds: str) -> tuple[Any, ...]:
    """The columns of some rows; those marked `n` hold numbers, and go as one text each.

    asyncpg asks of every element of an array whether it is an array as well, which costs more than writing it.
    """
    columns = zip(*rows, strict=True) if rows else ((),) * len(kinds)
    return tuple(
        _literal(column) if kind == "n" else column
        for kind, column in zip(kinds, columns, strict=True)
    )


def _literal(numbers: Sequence[float | bool | None]) -> str:
    """Numbers as PostgreSQL reads an array of them: JSON's, in braces."""
    return "{" + orjson.dumps(numbers)[1:-1].decode() + "}"
