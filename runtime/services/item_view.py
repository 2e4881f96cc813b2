"""The items of a map as people see them: each one like a step, derived from its rows and from what has begun.

Nothing is stored of an item before its first attempt has ended, as of a step; that it has begun is told by an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from typing import Any, Final

from runtime.engine.blocking import ItemAt
from runtime.engine.waiting_facts import number_of, text_of
from runtime.expression import ExpressionError
from runtime.model.blob import BlobRef, NotLoaded, stored
from runtime.model.blocker import WaitingItem
from runtime.model.event import ExecutionEvent
from runtime.model.execution import (
    CachedFrom,
    ExecutionStatus,
    StepExecution,
    StepStatus,
    no_input,
)
from runtime.model.values import Json, total
from runtime.services.opening import Opening
from runtime.services.step_view import (
    StepView,
    attempts_of,
    cost_of,
    error_shown,
)
from runtime.store.execution_item import OpenedMap
from runtime.store.execution_record import AttemptRow

_NOT_BEGUN: Final = frozenset({StepStatus.PENDING, StepStatus.READY})
# What an item can be while its map is open, and when that has ended.
_ENDS: Final = frozenset(
    {
        StepStatus.COMPLETED,
        StepStatus.FAILED,
        StepStatus.TIMED_OUT,
        StepStatus.CANCELLED,
        StepStatus.IN_DOUBT,
    }
)
_COMPLETED: Final = frozenset({StepStatus.COMPLETED})
_OF_OPEN: Final = _ENDS | {StepStatus.READY, StepStatus.RUNNING, StepStatus.RETRYING}
_OF_ENDED: Final = _ENDS | {StepStatus.PENDING}
_MAY_HAVE_BEGUN: Final = _NOT_BEGUN | {StepStatus.RETRYING, StepStatus.IN_DOUBT}
_STILL_GOING: Final = _NOT_BEGUN | {StepStatus.RUNNING, StepStatus.RETRYING}


class MapView:
    """One open or ended map of an execution, of which items are asked for."""

    def __init__(self, view: StepView, step: int, opened: Opening) -> None:
        self._view = view
        self._step = step
        self._opened = opened
        self.map = view.step(step)
        self.total = self.map.items or 0

    @classmethod
    def of(cls, view: StepView, step: int) -> MapView | None:
        """The map; None when the step is none, or has not begun."""
        opened = view.opened.get(step)
        return None if opened is None else cls(view, step, opened)

    @property
    def is_open(self) -> bool:
        """Whether further items may begin."""
        return self.map.status is StepStatus.RUNNING

    @property
    def is_running(self) -> bool:
        """Whether items of it can be running now: it is open, and somebody has the execution."""
        return self.is_open and self._view.execution.status is ExecutionStatus.RUNNING

    @property
    def is_cut_off(self) -> bool:
        """Whether it did not end by itself: its execution was ended without a word about its steps."""
        generation = self.key.generation
        is_told = any(row.generation == generation for row in self._view.rows.get(self._step, ()))
        return self._view.execution.status.is_terminal and not is_told

    def possible(self, statuses: frozenset[StepStatus]) -> frozenset[StepStatus]:
        """Those of these statuses that an item of it can have, as it is now."""
        if self.is_open:
            return statuses & _OF_OPEN
        if self.map.status is not StepStatus.COMPLETED:
            return statuses & _OF_ENDED
        plan = self._view.program.steps[self._step].plan.map
        is_collecting = plan is not None and plan.is_collecting
        return statuses & (_OF_ENDED - _NOT_BEGUN if is_collecting else _COMPLETED)

    def has_begins(self, rows: Sequence[AttemptRow]) -> bool:
        """Whether an item with these rows may have begun since, so that its events are to be read."""
        if not (self.is_running or self.is_cut_off):
            return False
        counting = self._counting([row for row in rows if not row.is_withdrawn])
        return self._by_rows(counting) in _MAY_HAVE_BEGUN

    @property
    def unowned(self) -> int:
        """The event at which nobody had the execution: what had begun before runs no more."""
        return self._view.phase.unowned

    @property
    def key(self) -> OpenedMap:
        """What its items are looked up by."""
        one, (event, generation, first) = self._view.execution.id, self._opened
        return OpenedMap(one, self._step, event.sequence, generation, first)

    def item(
        self, item: int, rows: Sequence[AttemptRow], begun: ExecutionEvent | None
    ) -> StepExecution:
        """An item, by its rows of all generations and by the begin that has no end yet."""
        now = self._counting([row for row in rows if not row.is_withdrawn])
        status = self._status(now, begun)
        last = now[-1] if now else None
        result: Mapping[str, Json] = last.result if last is not None else {}
        attempts = attempts_of(list(now), status, begun, stacks=self._view.stacks)
        is_completed = status is StepStatus.COMPLETED
        return replace(
            self.map,
            item=item,
            status=status,
            attempt=attempts[-1].attempt if attempts else 0,
            generation=last.generation if last else self.key.generation,
            attempts=attempts,
            output=stored(result.get("output")) if is_completed else None,
            error=error_shown(result, stacks=self._view.stacks),
            input_hash=text_of(result.get("in")),
            output_hash=text_of(result.get("out")),
            code=text_of(result.get("code")),
            code_hash=text_of(result.get("code_digest")),
            costs=total(filter(None, map(cost_of, rows))),
            worker_id=text_of(result.get("worker")),
            started_at=attempts[0].started_at if attempts else None,
            finished_at=last.finished_at if last and status not in _STILL_GOING else None,
            skip_reason=None,
            cached_from=CachedFrom.of(result.get("cached_from")),
            derived=no_input if status in _NOT_BEGUN else _ItemInput(self, item),
            blocked=partial(self._view.blocking.of_item, self._at(item, status, last, begun)),
            is_map=False,
            items=None,
        )

    def _counting(self, rows: list[AttemptRow]) -> list[AttemptRow]:
        """The attempts of the generation in which it completed, else those of the map's own."""
        _, generation, first = self._opened
        done = [
            row.generation
            for row in rows
            if row.status is StepStatus.COMPLETED and first <= row.generation <= generation
        ]
        counts = max(done, default=generation)
        return [row for row in rows if row.generation == counts]

    def _status(self, rows: Sequence[AttemptRow], begun: ExecutionEvent | None) -> StepStatus:
        last = rows[-1] if rows else None
        ended = max((row.attempt for row in rows if not row.is_open), default=0)
        is_begun = begun is not None and number_of(begun.field("attempt")) > ended
        if last is not None and last.is_open and last.status is StepStatus.IN_DOUBT:
            return StepStatus.IN_DOUBT
        if is_begun and self.is_running:
            return StepStatus.RUNNING
        status = self._by_rows(rows)
        if is_begun and status is StepStatus.PENDING and self.is_cut_off:
            return StepStatus.CANCELLED  # As a step that was under way when nothing went on.
        return status

    def _by_rows(self, rows: Sequence[AttemptRow]) -> StepStatus:
        """What the rows that count say, as `chosen` of the statements does; events may tell of a begin since."""
        last = rows[-1] if rows else None
        not_begun = StepStatus.READY if self.is_open else StepStatus.PENDING
        if last is None:
            return not_begun
        if last.is_open:
            return StepStatus.IN_DOUBT
        if "retry_in_ms" in last.result:
            return StepStatus.RETRYING if self.is_open else StepStatus.CANCELLED
        was_stopped = last.status is StepStatus.CANCELLED and last.result.get("stopped") is True
        return not_begun if was_stopped and self.is_open else last.status

    def _at(
        self,
        item: int,
        status: StepStatus,
        last: AttemptRow | None,
        begun: ExecutionEvent | None,
    ) -> ItemAt:
        """What is said of its waiting."""
        since, until, error, attempt = self._opened.event.at, None, None, 0
        if last is not None:
            attempt, error = last.attempt, last.result.get("error")
            since = last.started_at if last.finished_at is None else last.finished_at
            delay = last.result.get("retry_in_ms")
            if isinstance(delay, int) and last.finished_at is not None:
                until = last.finished_at + timedelta(milliseconds=delay)
        if status is StepStatus.RUNNING and begun is not None:
            since = begun.at
        waiting = WaitingItem(item, 1, attempt, since, until, error)
        is_closed = last is not None and last.finished_at is not None
        is_over = is_closed if status is StepStatus.IN_DOUBT else not self.is_open
        return ItemAt(self._step, status, since, waiting, is_over=is_over)

    # --- inputs ----------------------------------------------------------------------------------

    def input_of(self, item: int) -> tuple[Json, BlobRef | None]:
        """The `with` block of the task as this item got it; what is missing for it."""
        view, program = self._view, self._view.program.steps[self._step]
        try:
            scope: dict[str, Any] = copy(view.sight(self._step, self.key.generation))
            scope["index"] = item
            if program.names_item:
                scope["item"] = self._elements[item]
            return program.config.render(scope), None
        except NotLoaded as missing:
            return None, missing.ref
        except (ExpressionError, IndexError, TypeError):
            return None, None

    @cached_property
    def _elements(self) -> Any:
        """The list, rendered once for all items that are looked at."""
        program = self._view.program.steps[self._step]
        template = program.for_each
        scope = self._view.sight(self._step, self.key.generation)
        return [] if template is None else template.render(scope)


class _ItemInput:
    """The input of an item, derived once, when somebody looks."""

    __slots__ = ("_found", "_item", "_map")

    def __init__(self, of: MapView, item: int) -> None:
        self._map = of
        self._item = item
        self._found: tuple[Json, BlobRef | None] | None = None

    def __call__(self) -> tuple[Json, BlobRef | None]:
        if self._found is None:
            self._found = self._map.input_of(self._item)
        return self._found
