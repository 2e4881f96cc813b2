"""Maps in a worker: the elements that their items get, and the join of what became of them.

A list is rendered once for as long as this worker has its map, and kept as JSON text in chunks, of which two are
decoded at a time. What items put out is read from their rows, page by page, when all have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from uuid import UUID

import orjson

from runtime.engine.command import JoinItems, RunStep
from runtime.engine.event import WAITED, Event, Facts, ItemsJoined
from runtime.engine.scope import Resolve, scope_of
from runtime.expression import ExpressionError
from runtime.model.blob import BlobRef, stored
from runtime.model.checkpoint import ItemResult
from runtime.model.errors import DataDamaged, StepFailed, Unavailable
from runtime.model.execution import StepStatus
from runtime.model.values import Json
from runtime.telemetry.log import get_logger
from runtime.worker.attempt import Attempt
from runtime.worker.encode import clean, error_of
from runtime.worker.item_list import ItemList
from runtime.worker.outputs import Outputs
from runtime.worker.run import Run
from runtime.worker.tasks import Tasks

PAGE: Final = 500
AGAIN_SECONDS: Final = 0.2

# Of an execution and a step, from the first item to before the last: what became of them, in order.
ReadItems: TypeAlias = Callable[[UUID, int, int, int], Awaitable[list[ItemResult]]]

_log = get_logger("worker")


def names_of(run: Run, step: int, item: int, resolve: Resolve, now: float) -> dict[str, Json]:
    """What the expressions of an item see beside the rest; raises NotLoaded and StepFailed.

    The first item that begins says since when the map is at work.
    """
    run.waiting.setdefault(step, now)
    if not run.prepared.program.steps[step].names_item:
        return {"index": item}
    found = run.lists.get(step)
    if found is None:
        found = _rendered(run, step, resolve)
        run.lists[step] = found
        run.weight += found.size
    return {"item": found[item], "index": item}


def _rendered(run: Run, step: int, resolve: Resolve) -> ItemList:
    program = run.prepared.program.steps[step]
    words = f"`for_each` of step {program.plan.key!r}"
    try:
        scope = scope_of(run.state, resolve=resolve, step=step)
        values = None if program.for_each is None else program.for_each.render(scope)
        if isinstance(values, list):
            return ItemList(values)
    except ExpressionError as problem:
        raise StepFailed(clean(f"{words}: {problem.message}"), type="expression") from None
    except TypeError as problem:
        message = f"{words} can't be written as JSON: {problem}."
        raise StepFailed(clean(message), type="expression") from None
    raise StepFailed(f"{words} gives no list any more.", type="map.no_list")


def is_called_off(run: Run, action: RunStep | Attempt) -> bool:
    """Whether an item need not begin any more, because its map fails already."""
    fan = run.state.fans.get(action.step)
    return fan is None or fan.fault is not None


class Joins:
    """Makes outputs of maps from the rows of their items; each join is told to its run, unless all is dropped."""

    def __init__(
        self,
        outputs: Outputs,
        *,
        read: ReadItems,
        tell: Callable[[Run, Event], None],
    ) -> None:
        self._outputs = outputs
        self._read = read
        self._tell = tell
        self._tasks = Tasks("join")

    def join(self, run: Run, command: JoinItems) -> None:
        """All items have ended, and their rows are durable."""
        self._tasks.start(self._join(run, command))

    def drop(self) -> None:
        """Nobody waits for them any more."""
        self._tasks.cancel()

    async def _join(self, run: Run, command: JoinItems) -> None:
        step, number = command.step, command.attempt
        plan = run.prepared.program.steps[step].plan
        what = f"The output of step {plan.key!r}"
        is_collecting = plan.map is not None and plan.map.is_collecting
        length = len(run.state.fans[step].ends)
        pages: list[bytes] = []
        size = 2
        try:
            for first in range(0, length, PAGE):
                behind = min(first + PAGE, length)
                found = await self._page(run, step, first, behind)
                parts = [await self._part(run, one, is_collecting=is_collecting) for one in found]
                # One text for a page: the encoder's small texts keep much more memory than they are long.
                pages.append(b",".join(parts))
                size += len(pages[-1]) + 1
                self._outputs.check(size, what)
            kept = await self._outputs.keep_raw(run.owned, b"[" + b",".join(pages) + b"]", what)
        except StepFailed as failed:
            self._tell(run, ItemsJoined(step, number, None, Facts(WAITED), error_of(failed)))
        except DataDamaged as lost:
            error = error_of(StepFailed(lost.message, type="blob.damaged"))
            self._tell(run, ItemsJoined(step, number, None, Facts(WAITED), error))
        else:
            value = kept.encoded.value if kept.ref is None else kept.ref
            facts = Facts(WAITED, kept.text, f',"out":"{kept.encoded.digest}"')
            self._tell(run, ItemsJoined(step, number, value, facts))

    async def _page(self, run: Run, step: int, first: int, behind: int) -> list[ItemResult]:
        """What became of these items; waits while the database does not answer."""
        while True:
            try:
                return await self._read(run.owned.id, step, first, behind)
            except Unavailable as error:
                _log.warning("items_not_read", execution=str(run.owned.id), reason=error.message)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _part(self, run: Run, one: ItemResult, *, is_collecting: bool) -> bytes:
        """One element of the output, as JSON text."""
        status = StepStatus(one.status)
        value: Any = one.value
        if status is StepStatus.COMPLETED and isinstance(ref := stored(value), BlobRef):
            value = await self._outputs.load(run.owned, ref)
        if is_collecting:
            name = "output" if status is StepStatus.COMPLETED else "error"
            value = {"status": status.name.lower(), name: value}
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
