"""What events say beside the rows of steps: which waits have begun, and which signals nobody has taken.

A wait has no row before its end; the event that began it says since when it waits, by the database's
clock, so that a takeover or a wake-up never begins it anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from runtime.engine.event import Child, Signal
from runtime.model.checkpoint import Mark, since_retry
from runtime.model.event import BEGINS_AGAIN, EventKind
from runtime.model.values import Json, parse_instant


@dataclass(slots=True)
class BegunWait:
    """A wait that has begun; `ago` seconds ago. Without a time it ends by its signal alone."""

    step: int
    attempt: int
    ago: float
    signal: str | None = None
    for_ms: int | None = None
    until: datetime | None = None

    def remaining(self, now: datetime | None) -> float | None:
        """In how many seconds its time comes; None: never."""
        if self.until is not None:
            return 0.0 if now is None else max(0.0, (self.until - now).total_seconds())
        return None if self.for_ms is None else max(0.0, self.for_ms / 1000 - self.ago)


def begun_waits(marks: Sequence[Mark]) -> tuple[BegunWait, ...]:
    """The waits of the present generation in the order in which they began, ended ones too."""
    found: dict[int, BegunWait] = {}
    for mark in since_retry(marks):
        if mark.kind not in _BEGIN or not isinstance(mark.data, dict):
            continue
        data = mark.data
        step, attempt = _number(data.get("step")), _number(data.get("attempt"))
        wait = found.setdefault(step, BegunWait(step, attempt, mark.ago))
        wait.attempt, wait.ago = attempt, mark.ago
        signal, for_ms, until = data.get("signal"), data.get("for_ms"), data.get("until")
        if isinstance(signal, str):
            wait.signal = signal
        if isinstance(for_ms, int):
            wait.for_ms = for_ms
        if isinstance(until, str):
            wait.until = parse_instant(until)
    return tuple(found.values())


class OpenedMap(NamedTuple):
    """A map that was opened `ago` seconds ago, over so many items."""

    attempt: int
    items: int
    ago: float


def opened_maps(marks: Sequence[Mark]) -> dict[int, OpenedMap]:
    """The maps that the present generation has opened, ended ones too."""
    found: dict[int, OpenedMap] = {}
    for mark in since_retry(marks):
        if mark.kind == EventKind.MAP_OPENED and isinstance(mark.data, dict):
            attempt, items = _number(mark.data.get("attempt")), _number(mark.data.get("items"))
            found[_number(mark.data.get("step"))] = OpenedMap(attempt, items, mark.ago)
    return found


class StartedChild(NamedTuple):
    """A child that an attempt of a step has started, `ago` seconds ago."""

    attempt: int
    child: Child
    ago: float


def started_children(marks: Sequence[Mark]) -> dict[int, StartedChild]:
    """The newest child of each step that the present generation has started, ended ones too."""
    found: dict[int, StartedChild] = {}
    for mark in since_retry(marks):
        if mark.kind == EventKind.CHILD_STARTED and isinstance(mark.data, dict):
            data = mark.data
            child = Child(UUID(str(data["child"])), str(data["workflow"]), str(data["version"]))
            attempt = _number(data.get("attempt"))
            found[_number(data.get("step"))] = StartedChild(attempt, child, mark.ago)
    return found


class OpenedTask(NamedTuple):
    """A task that a step has opened, `ago` seconds ago."""

    attempt: int
    task: UUID
    ago: float


def opened_tasks(marks: Sequence[Mark]) -> dict[int, OpenedTask]:
    """The tasks that steps have opened in the present generation, ended ones too."""
    found: dict[int, OpenedTask] = {}
    for mark in since_retry(marks):
        if mark.kind == EventKind.HUMAN_TASK_CREATED and isinstance(mark.data, dict):
            attempt, task = _number(mark.data.get("attempt")), UUID(str(mark.data["task"]))
            found[_number(mark.data.get("step"))] = OpenedTask(attempt, task, mark.ago)
    return found


def is_paused(marks: Sequence[Mark]) -> bool:
    """Whether somebody has paused the present generation and nobody resumed it."""
    last = [mark.kind for mark in since_retry(marks) if mark.kind in _PAUSE]
    return last[-1:] == [EventKind.EXECUTION_PAUSED]


def kept_signals(marks: Sequence[Mark], taken: Collection[int]) -> Iterator[Signal]:
    """The signals that came since the last retry from the start and that no step has taken."""
    for mark in _since_start(marks):
        if mark.kind != EventKind.SIGNAL_RECEIVED or not isinstance(mark.data, dict):
            continue
        n, name = _number(mark.data.get("n")), mark.data.get("name")
        if n not in taken and isinstance(name, str):
            yield Signal(n, name, mark.data.get("payload"))


def kept_joins(marks: Sequence[Mark], renewed: Mapping[int, int]) -> Iterator[Json]:
    """What joins saw that began early, since the last retry from the start.

    A step that was `renewed` after a generation begins anew: what it saw by then is no more.
    """
    since = _since_start(marks)
    told = sum(mark.kind in BEGINS_AGAIN for mark in marks[: len(marks) - len(since)])
    for mark in since:
        told += mark.kind in BEGINS_AGAIN
        if mark.kind != EventKind.STEP_JOINED or not isinstance(mark.data, dict):
            continue
        if told > renewed.get(_number(mark.data.get("step")), -1):
            yield mark.data


def _since_start(marks: Sequence[Mark]) -> Sequence[Mark]:
    for place in range(len(marks), 0, -1):
        mark = marks[place - 1]
        data = mark.data if isinstance(mark.data, dict) else {}
        if mark.kind in BEGINS_AGAIN and data.get("from_failed_step") is False:
            return marks[place:]
    return marks


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0


_PAUSE = frozenset({EventKind.EXECUTION_PAUSED, EventKind.EXECUTION_RESUMED})
_BEGIN = frozenset({EventKind.TIMER_SET, EventKind.SIGNAL_AWAITED})
