"""Maps in a worker: the elements that their items get, and the join of what became of them.

A list is rendered once for as long as this worker has its map, and kept as JSON text in chunks, of which two are
decoded at a time. What items put out is read from their rows, page by page, when all have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias
from uuid import UUID

import orjson

from runtime.engine.command import JoinItems, RunStep
from runtime.engine.event import WAITED, Event, Facts, ItemsJoined, StepError
from runtime.engine.scope import Resolve, scope_of
from runtime.expression import ExpressionError
from runtime.model.blob import BlobRef, stored
from runtime.model.checkpoint import ItemResult
from runtime.model.errors import DataDamaged, StepFailed, Unavailable
from runtime.model.execution import StepStatus
from runtime.model.values import Json
from runtime.telemetry.log import get_logger
from runtime.worker.attempt import Attempt
from runtime.worker.encode import BULKY, clean, error_of
from runtime.worker.item_list import ItemList
from runtime.worker.outputs import Kept, Outputs
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
        defect: Callable[[Run, int, Exception], StepError],
    ) -> None:
        """`defect` puts into words, and logs, what should not have happened."""
        self._outputs = outputs
        self._read = read
        self._tell = tell
        self._defect = defect
        self._tasks = Tasks("join")

    def join(self, run: Run, command: JoinItems) -> None:
        """All items have ended, and their rows are durable."""
        self._tasks.start(self._join(run, command))

    def drop(self) -> None:
        """Nobody waits for them any more."""
        self._tasks.cancel()

    async def _join(self, run: Run, command: JoinItems) -> None:
        step, number = command.step, command.attempt
        fan = run.state.fans.get(step)
        if fan is None:
            return
        try:
            kept = await self._joined(run, step, len(fan.ends))
        except StepFailed as failed:
            error = error_of(failed)
        except DataDamaged as lost:
            error = error_of(StepFailed(lost.message, type="blob.damaged"))
        except Exception as broken:  # noqa: BLE001 - the map must end, whatever broke
            error = self._defect(run, step, broken)
        else:
            value = kept.encoded.value if kept.ref is None else kept.ref
            facts = Facts(WAITED, kept.text, f',"out":"{kept.encoded.digest}"')
            self._tell(run, ItemsJoined(step, number, value, facts))
            return
        self._tell(run, ItemsJoined(step, number, None, Facts(WAITED), error))

    async def _joined(self, run: Run, step: int, length: int) -> Kept:
        """The output of a map; raises StepFailed and DataDamaged. No more of it is loaded than may be stored."""
        plan = run.prepared.program.steps[step].plan
        what = f"The output of step {plan.key!r}"
        is_collecting = plan.map is not None and plan.map.is_collecting
        pages: list[bytes] = []
        size = 2
        for first in range(0, length, PAGE):
            parts: list[bytes] = []
            for one in await self._page(run, step, first, min(first + PAGE, length)):
                value: Any = one.value
                ref = stored(value) if one.status == StepStatus.COMPLETED else None
                if isinstance(ref, BlobRef):
                    self._outputs.check(size + ref.size, what)
                    parts.append(await self._loaded(run, ref, what, is_collecting=is_collecting))
                else:
                    status = StepStatus(one.status)
                    parts.append(_element(value, status, what, is_collecting=is_collecting))
                size += len(parts[-1]) + 1
                self._outputs.check(size, what)
            # One text for a page: the encoder's small texts keep much more memory than they are long.
            pages.append(b",".join(parts))
        return await self._outputs.keep_raw(run.owned, b"[" + b",".join(pages) + b"]", what)

    async def _loaded(self, run: Run, ref: BlobRef, what: str, *, is_collecting: bool) -> bytes:
        """One element that is too large for its row; the value itself is let go at once."""
        held = self._outputs.held()
        try:
            await held.add(self._outputs, run.owned, ref)
            value = held.resolve(ref)
            write = partial(_element, value, StepStatus.COMPLETED, what)
            if ref.size > BULKY:
                return await asyncio.to_thread(write, is_collecting=is_collecting)
            return write(is_collecting=is_collecting)
        finally:
            held.release()

    async def _page(self, run: Run, step: int, first: int, behind: int) -> list[ItemResult]:
        """What became of these items; waits while the database does not answer."""
        while True:
            try:
                return await self._read(run.owned.id, step, first, behind)
            except Unavailable as error:
                _log.warning("items_not_read", execution=str(run.owned.id), reason=error.message)
                await asyncio.sleep(AGAIN_SECONDS)


def _element(value: Any, status: StepStatus, what: str, *, is_collecting: bool) -> bytes:
    """One element of the output, as JSON text; raises StepFailed when the list would be nested too deep with it."""
    if is_collecting:
        name = "output" if status is StepStatus.COMPLETED else "error"
        value = {"status": status.name.lower(), name: value}
    try:
        # Within a list, as it will stand: what can't be encoded as a whole can be read by nobody.
        return orjson.dumps([value], option=orjson.OPT_SORT_KEYS)[1:-1]
    except (TypeError, ValueError, RecursionError) as error:
        message = f"{what} can't be stored as JSON: {error}."
        raise StepFailed(message, type="output_not_storable") from error
