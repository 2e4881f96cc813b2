"""Maps from rows: which are open, and what has become of their items.

A map of this generation is open from its MAP_OPENED on, until it has a row of its own. Items that completed in a
generation that still counts are not done again; of the others only the rows of this generation count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappush
from typing import TypeAlias

from runtime.engine.event import RetryDue, StepError, StepInDoubt
from runtime.engine.fan import Fan, Item, Range
from runtime.engine.marks import OpenedMap
from runtime.engine.records import (
    cause_of,
    doubt_of,
    made_no_call,
    was_put_off,
)
from runtime.engine.state import PENDING, RUNNING, ExecutionState
from runtime.model.checkpoint import COMPLETED_ITEMS, StepRecord
from runtime.model.execution import StepStatus
from runtime.model.values import Json

Due: TypeAlias = tuple[StepInDoubt | RetryDue, float]


@dataclass(slots=True)
class ItemRecords:
    """The rows of items of one execution, by their maps."""

    completed: defaultdict[int, list[Range]] = field(default_factory=lambda: defaultdict(list))
    others: defaultdict[int, list[StepRecord]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, rows: Iterable[StepRecord], first: int, generation: int) -> ItemRecords:
        """What counts in a generation; `first` is the oldest one whose completed items count."""
        found = cls()
        for row in rows:
            if row.item == COMPLETED_ITEMS:
                if first <= row.generation <= generation:
                    found.completed[row.step] += _ranges(row.result)
            elif row.generation == generation:
                found.others[row.step].append(row)
        return found


def _ranges(value: Json) -> Iterable[Range]:
    for one in value if isinstance(value, list) else ():
        if isinstance(one, list) and len(one) == 2:  # noqa: PLR2004 - from, and to before
            low, high = one
            if isinstance(low, int) and isinstance(high, int):
                yield low, high


def restore_maps(
    state: ExecutionState, records: ItemRecords, opened: Mapping[int, OpenedMap]
) -> list[Due]:
    """Open the maps again that were open; what is to be told to them."""
    due: list[Due] = []
    for step, one in opened.items():
        if state.status[step] != PENDING:
            continue
        state.status[step], state.attempt[step] = RUNNING, one.attempt
        state.busy += 1
        fan = state.fans[step] = Fan(one.items, records.completed.pop(step, ()))
        _restore(state, step, fan, records.others.get(step, ()), due)
    state.kept = {
        step: tuple(ranges)
        for step, ranges in records.completed.items()
        if state.status[step] == PENDING
    }
    return due


def _restore(
    state: ExecutionState, step: int, fan: Fan, rows: Sequence[StepRecord], due: list[Due]
) -> None:
    by_item: defaultdict[int, list[StepRecord]] = defaultdict(list)
    for row in rows:
        if row.item < len(fan.ends) and not fan.ends[row.item]:
            by_item[row.item].append(row)
    newest = {item: max(found, key=_attempt) for item, found in by_item.items()}
    for item, row in sorted(newest.items(), key=lambda one: cause_of(one[1])):
        _restore_item(state, step, fan, row, by_item[item], due)
    if fan.fault is not None:
        # As it was when the fault came: nothing begins any more.
        fan.again.clear()
        for item, one in tuple(fan.live.items()):
            if one.status != StepStatus.IN_DOUBT:
                del fan.live[item]


def _attempt(row: StepRecord) -> int:
    return row.attempt


def _restore_item(
    state: ExecutionState,
    step: int,
    fan: Fan,
    row: StepRecord,
    rows: Sequence[StepRecord],
    due: list[Due],
) -> None:
    item, result = row.item, row.result if isinstance(row.result, dict) else {}
    delay = result.get("retry_in_ms")
    error = StepError.of_json(result.get("error"))
    one = Item(row.attempt)
    one.free = sum(map(made_no_call, rows))
    called = max((r.attempt for r in rows if not (made_no_call(r) or r.is_open)), default=0)
    one.deferred = sum(was_put_off(r) and r.attempt > called for r in rows)
    if row.is_open:
        one.status = StepStatus.IN_DOUBT
        state.running += 1
        state.doubts[step, item] = doubt_of(state, row)
        due.append((StepInDoubt(step, row.attempt, item), 0.0))
    elif isinstance(delay, int):
        one.status, one.error = StepStatus.RETRYING, error
        remaining = max(0.0, delay / 1000 - row.ended_ago)
        due.append((RetryDue(step, row.attempt, item), remaining))
    elif made_no_call(row):
        heappush(fan.again, item)
    else:
        fan.end(item, StepStatus(row.status))
        plan = state.program.steps[step].plan.map
        if fan.fault is None and plan is not None and not plan.is_collecting:
            fan.fault = (item, error)
        return
    fan.live[item] = one
