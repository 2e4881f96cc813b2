"""Run: one owned execution in memory, and the book that is kept of it. No I/O; the executor acts.

It keeps the durable order: whatever was recorded goes out as a checkpoint, and what follows from a
completion (the next step, the timer of a retry) comes back only when that checkpoint is committed.
Only the owner numbers events, so numbers are gapless and in commit order.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from uuid import UUID

import orjson
from opentelemetry.trace import Span

from runtime.engine.command import (
    BeginWait,
    CancelTasks,
    Command,
    Finish,
    JoinItems,
    LoadBlob,
    LookUp,
    OpenTask,
    RecordEvent,
    RecordStep,
    RunStep,
    ScheduleRetry,
    StartChild,
    StopStep,
    TellChild,
)
from runtime.engine.event import Event, Facts, StepError
from runtime.engine.fan import Place, place_of
from runtime.engine.state import ExecutionState, Phase
from runtime.model.blob import INLINE_BYTES, goes_out
from runtime.model.checkpoint import (
    Checkpoint,
    ChildRow,
    Closing,
    EventRow,
    FlushResult,
    OwnedExecution,
    StepRow,
    TaskRow,
    TaskStop,
    WordRow,
)
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionError, ExecutionStatus, StepStatus
from runtime.model.values import Json
from runtime.store.step_cache import CacheEntry
from runtime.worker.attempt import Attempt
from runtime.worker.encode import TOO_LARGE, encode, is_bulky, text_of
from runtime.worker.item_list import ItemList
from runtime.worker.prepared import PreparedProgram

MAX_ROWS: Final = 1_000
OUTPUT: Final = "The output of the execution"
WITHDRAWN: Final = '{"stopped":true}'
_COMPLETED: Final = StepStatus.COMPLETED


@dataclass(frozen=True, slots=True)
class StoreOutput:
    """The output of the whole execution is large: it must be stored before the checkpoint that ends it."""

    output: Json


Deferred: TypeAlias = RunStep | ScheduleRetry | BeginWait | LookUp | JoinItems | Attempt
Action: TypeAlias = (
    RunStep
    | ScheduleRetry
    | BeginWait
    | LookUp
    | JoinItems
    | StopStep
    | LoadBlob
    | Attempt
    | StoreOutput
)


def _nowhere(_result: FlushResult) -> None:
    """A run that no executor carries."""


def _as_they_are(command: RecordStep) -> Facts:
    """A run that no executor carries."""
    return command.facts._replace(age_seconds=0.0)


def _as_asked(command: OpenTask) -> str:
    """A run that no executor carries."""
    return text_of(command.asked)


@dataclass(slots=True)
class InFlight:
    """What waits for one checkpoint; `children` are those that it starts or tells something, with priorities."""

    after: list[Deferred]
    closing: Closing | None
    ended: list[Place]
    children: tuple[tuple[UUID, int], ...] = ()
    to_keep: Sequence[CacheEntry] = ()


@dataclass(slots=True)
class Guest:
    """Of an execution that another worker owns: the items that this one has still to run, and who hears of them."""

    heard: Callable[[Event], None]
    wanted: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Run:
    """One execution, its state, and what is recorded but not yet submitted."""

    owned: OwnedExecution
    prepared: PreparedProgram
    state: ExecutionState
    inline_bytes: int = INLINE_BYTES
    weight: int = 0
    under_way: int = 0
    sequence: int = 1
    inbox_seen: int = 0
    inbox_read: list[int] = field(default_factory=list)
    attempts: dict[Place, Attempt] = field(default_factory=dict)
    # Calls that this run has announced, until their end is durable or they are in doubt: what became of them is known.
    announced: dict[Place, Attempt] = field(default_factory=dict)
    retries: dict[Place, tuple[float, TimerHandle]] = field(default_factory=dict)
    # Steps that wait, and open maps: when that began, by the worker's clock, and their timers by the loop's.
    waiting: dict[int, float] = field(default_factory=dict)
    timers: dict[int, tuple[float, TimerHandle]] = field(default_factory=dict)
    # The elements of the lists of open maps, from when the first is asked for.
    lists: dict[int, ItemList] = field(default_factory=dict)
    # The children that were found for steps, until their events are recorded.
    found: dict[int, ChildRow] = field(default_factory=dict)
    # What had ended when the database refused a checkpoint: it does not begin again, and fails with these words.
    lost: dict[Place, StepError] = field(default_factory=dict)
    # Steps and items that the step cache was asked for without a find, until they begin.
    missed: set[Place] = field(default_factory=set)
    # Outputs for the step cache, until their rows are committed.
    to_keep: list[CacheEntry] = field(default_factory=list)
    deadline: TimerHandle | None = None
    span: Span | None = None
    trace: dict[str, str] = field(default_factory=dict)
    is_over: bool = False
    # It is being given up: whatever happens from now on is for its next owner.
    is_parking: bool = False
    clears_takeovers: bool = False
    is_listed: bool = False
    # Its first step is ready: what it has recorded goes out with what that step gives, in one checkpoint.
    awaits_start: bool = False
    refusals: int = 0
    has_children: bool = False
    guest: Guest | None = None
    claimed_at: float = 0.0
    error: ExecutionError | None = None
    on_flushed: Callable[[FlushResult], None] = _nowhere
    facts_of_wait: Callable[[RecordStep], Facts] = _as_they_are
    task_of: Callable[[OpenTask], str] = _as_asked
    _steps: list[StepRow] = field(default_factory=list)
    _events: list[EventRow] = field(default_factory=list)
    _after: list[Deferred] = field(default_factory=list)
    _ended: list[Place] = field(default_factory=list)
    _closing: Closing | None = None
    _children: list[ChildRow] = field(default_factory=list)
    _words: list[WordRow] = field(default_factory=list)
    _tasks: list[TaskRow] = field(default_factory=list)
    _stops: list[TaskStop] = field(default_factory=list)
    _size: int = 0
    _sealed: list[Checkpoint] = field(default_factory=list)
    _in_flight: deque[InFlight] = field(default_factory=deque)

    @property
    def is_quiet(self) -> bool:
        """Whether everything recorded is durable: nothing is under way to the database."""
        return not (self._in_flight or self.has_records)

    @property
    def has_records(self) -> bool:
        """Whether something waits to be submitted."""
        return bool(self._steps or self._events or self._closing or self.inbox_read)

    def take_in(  # noqa: C901, PLR0912 - a case per command
        self, commands: list[Command], *, after_all: bool = False
    ) -> list[Action]:
        """Record what the core decided; what depends on nothing uncommitted is to be done now.

        `after_all`: what it decided may depend on completions that it was told earlier and that are still
        on their way; the events that go with each start are committed after those.
        """
        now: list[Action] = []
        later: list[Deferred] = []
        recorded = after_all
        for command in commands:
            match command:
                case RecordEvent():
                    self.record_event(command.kind, command.data)
                    if command.holds:
                        # What begins now rests on this event, or on what came before it and is on its way.
                        recorded = True
                case RecordStep():
                    recorded = True
                    self._record_step(command)
                case RunStep() | ScheduleRetry() | LookUp() | JoinItems():
                    later.append(command)
                case BeginWait():
                    self._after.append(command)
                case StartChild():
                    self.has_children = True
                    self._children.append(self.found.pop(command.step))
                    self._size += self._children[-1].size
                case TellChild():
                    self._tell_child(command)
                case OpenTask():
                    self._tasks.append(TaskRow(self.owned.id, self.task_of(command)))
                    self._size += len(self._tasks[-1].task)
                case CancelTasks():
                    self._stops.append(TaskStop(self.owned.id, command.reason))
                case StopStep() | LoadBlob():
                    now.append(command)
                case Finish():
                    now += self._finish(command)
        if recorded:
            self._after += later
        else:
            now += later
        if len(self._steps) >= MAX_ROWS:
            self._seal()
        return now

    def _tell_child(self, command: TellChild) -> None:
        said: dict[str, Json] = {"actor": command.actor, "reason": command.reason}
        if command.compensate:
            said["compensate"] = True
        data = text_of(said)
        row = WordRow(self.owned.tenant_id, command.child, command.kind, data)
        self._words.append(row)
        self._size += len(data)

    def record_event(self, kind: EventKind, data: dict[str, Json] | None = None) -> None:
        """Add an event to what goes out next."""
        self.sequence += 1
        text = None if data is None else text_of(data)
        owned = self.owned
        self._events.append(EventRow(owned.tenant_id, owned.id, self.sequence, kind, text))
        if text is not None:
            self._size += len(text)

    def record_intent(self, attempt: Attempt) -> None:
        """Make it durable that an at-most-once call is about to be made; the call waits for that."""
        self.announced[attempt.place] = attempt
        step, number, item = attempt.step, attempt.number, attempt.item
        known = "{" + attempt.known()[1:] + "}"
        row = self._row(step, item, number, StepStatus.RUNNING, 0.0, known, is_open=True)
        self._steps.append(row)
        # Whatever becomes of the row: the history says what was known of the call.
        facts = {**self._about(attempt), **orjson.loads(known)}
        self.record_event(EventKind.STEP_CALL_ANNOUNCED, facts)
        self._after.append(attempt)

    def withdraw_intent(self, attempt: Attempt) -> None:
        """The announced call was not made: whoever comes next may make it, as the same attempt."""
        step, number, item = attempt.step, attempt.number, attempt.item
        row = self._row(step, item, number, StepStatus.CANCELLED, 0.0, WITHDRAWN)
        self._steps.append(row._replace(is_open=True))
        self.record_event(EventKind.STEP_CALL_WITHDRAWN, self._about(attempt))

    def _about(self, attempt: Attempt) -> dict[str, Json]:
        step, item = attempt.step, attempt.item
        return {"step": step, "key": self.state.key(step), "item": item, "attempt": attempt.number}

    def park(self, closing: Closing, data: dict[str, Json]) -> None:
        """Give the execution up until its time comes; nothing may be recorded after this."""
        self.record_event(EventKind.EXECUTION_WAITING, data)
        self._closing = closing
        self.is_parking = True
        self._stop_timers()

    def checkpoints(self) -> list[Checkpoint]:
        """Everything recorded since the last call, in the order in which it must be committed."""
        if self.has_records:
            self._seal()
        out, self._sealed = self._sealed, []
        return out

    def flushed(self) -> InFlight:
        """The oldest checkpoint is answered: what waited for it."""
        return self._in_flight.popleft()

    def committed(self, flushed: InFlight) -> None:
        """The ends of announced calls that were in it are in the rows: they need not be known here any more."""
        for place in flushed.ended:
            self.announced.pop(place, None)

    def drop(self) -> None:
        """Forget everything: timers are stopped, answers that still come are ignored."""
        self.is_over = True
        self._stop_timers()

    def _stop_timers(self) -> None:
        for _, timer in (*self.retries.values(), *self.timers.values()):
            timer.cancel()
        self.retries.clear()
        self.timers.clear()
        if self.deadline is not None:
            self.deadline.cancel()

    def _record_step(self, command: RecordStep) -> None:
        if len(self._steps) >= MAX_ROWS and command.status is StepStatus.SKIPPED:
            # One decision may leave out any number of steps. Between two of them nothing is torn apart: everywhere else
            # a message and what it led to, a row and the event that tells of it, are committed together.
            self._split()
        facts = command.facts
        if self.lists and command.item < 0 and command.step in self.lists:
            self.weight -= self.lists.pop(command.step).size
        if facts.age_seconds < 0:
            facts = self.facts_of_wait(command)
        if self.announced:
            self._end_announced(command)
        result = _result(command, facts)
        self._size += len(result)
        if command.item < 0:
            # What an item gave stands in its row and nowhere else.
            self.weight += len(result)
        self._steps.append(
            self._row(
                command.step,
                command.item,
                command.attempt,
                command.status,
                facts.age_seconds,
                result,
                is_open=command.is_open,
            )
        )

    def _end_announced(self, command: RecordStep) -> None:
        """Its end is known until it is durable; not when it is in doubt, of which others will know more."""
        place = place_of(command.step, command.item)
        attempt = self.announced.get(place)
        if attempt is None:
            return
        if command.is_open:
            del self.announced[place]
        else:
            attempt.is_recorded = True
            self._ended.append(place)

    def _split(self) -> None:
        """Send a part of a large batch ahead; what follows from it waits for the last part."""
        after, self._after = self._after, []
        self._seal()
        self._after = after

    def _seal(self) -> None:
        closing = self._closing
        # What begins to be undone is marked in its row by the database: that is locked in the order of families.
        is_marked = self.state.phase is Phase.UNDOING and any(
            event.kind == EventKind.EXECUTION_COMPENSATING for event in self._events
        )
        clears = is_marked or (self.clears_takeovers and any(map(_is_progress, self._steps)))
        checkpoint = Checkpoint(
            execution_id=self.owned.id,
            steps=tuple(self._steps),
            events=tuple(self._events),
            closing=closing,
            clears_takeovers=clears and closing is None,
            inbox_read=tuple(self.inbox_read),
            size=self._size,
            children=tuple(self._children),
            words=tuple(self._words),
            in_family=(clears or closing is not None) and self._is_of_family(),
            tasks=tuple(self._tasks),
            stops=tuple(self._stops),
        )
        if clears:
            self.clears_takeovers = False
        self._sealed.append(checkpoint)
        own = self.owned.priority
        touched = tuple((row.id, row.priority) for row in self._children)
        touched += tuple((row.child, own) for row in self._words)
        self._in_flight.append(InFlight(self._after, closing, self._ended, touched))
        self._steps, self._events, self._after, self._ended = [], [], [], []
        if touched:
            self._children, self._words = [], []
        if checkpoint.tasks or checkpoint.stops:
            self._tasks, self._stops = [], []
        if self.to_keep:
            self._in_flight[-1].to_keep, self.to_keep = self.to_keep, []
        self._closing, self._size = None, 0
        if self.inbox_read:
            self.inbox_read = []

    def _is_of_family(self) -> bool:
        meta = self.owned.meta
        return self.has_children or "parent" in meta or "children" in meta

    def _row(
        self,
        step: int,
        item: int,
        number: int,
        status: StepStatus,
        age: float,
        result: str,
        *,
        is_open: bool = False,
    ) -> StepRow:
        owned = self.owned
        return StepRow(
            owned.tenant_id,
            owned.id,
            step,
            item,
            owned.generation,
            number,
            status,
            age,
            is_open,
            result,
        )

    def complete(self, output: str | None) -> None:
        """The end of an execution whose output was stored elsewhere first: its text is a reference."""
        self.record_event(EventKind.EXECUTION_COMPLETED)
        self._close(ExecutionStatus.COMPLETED, output, None)

    def fail(self, failed: StepFailed) -> None:
        """The end of an execution whose output can't be stored."""
        retryable = failed.kind is StepErrorKind.TRANSIENT
        error = ExecutionError(failed.type, failed.message, retryable)
        self.record_event(EventKind.EXECUTION_FAILED, {"error": error.as_json()})
        self._close(ExecutionStatus.FAILED, None, error)

    def _finish(self, command: Finish) -> list[Action]:
        """Close it; or, when the output is large or can't be stored, take its last event back first."""
        if command.status is not ExecutionStatus.COMPLETED or command.output is None:
            self._close(command.status, None, command.error)
            return []
        if is_bulky(command.output):
            self._take_back()
            return [StoreOutput(command.output)]
        try:
            encoded = encode(command.output, OUTPUT, self.inline_bytes)
        except StepFailed as failed:
            self._take_back()
            if failed.type == TOO_LARGE:
                return [StoreOutput(command.output)]
            self.fail(failed)
            return []
        if goes_out(encoded.value, len(encoded.raw), self.inline_bytes):
            self._take_back()
            return [StoreOutput(command.output)]
        self._close(ExecutionStatus.COMPLETED, encoded.raw.decode(), None)
        return []

    def _take_back(self) -> None:
        """The event that was to be the last: it comes with the end, and the end comes later."""
        self._events.pop()
        self.sequence -= 1

    def _close(
        self, status: ExecutionStatus, output: str | None, error: ExecutionError | None
    ) -> None:
        self.error = error
        text = None if error is None else text_of(error.as_json())
        self._size += len(output or "") + len(text or "")
        self._closing = Closing(
            self.owned.id, status, inbox_seen=self.inbox_seen, output=output, error=text
        )


def _is_progress(row: StepRow) -> bool:
    """An intent, a doubt, an attempt that made no call: an execution that kills its workers has these too."""
    return not row.is_open and row.status != StepStatus.CANCELLED


def _result(command: RecordStep, facts: Facts) -> str:
    """The JSON of a row: what the engine decided, and the facts that rode along."""
    if command.status is _COMPLETED:
        return '{"output":' + facts.output + facts.tail + "}"
    if command.error is None:
        return "{" + facts.tail[1:] + "}"
    retry = "" if command.retry_in_ms is None else f',"retry_in_ms":{command.retry_in_ms}'
    late = ',"late":true' if command.is_late else ""
    handled = ',"handled":true' if command.is_handled else ""
    return (
        '{"error":' + text_of(command.error.as_json()) + retry + late + handled + facts.tail + "}"
    )
