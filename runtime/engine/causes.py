"""What an event that nobody decided must have come from: the words in which a worker told the core of it.

An outcome's output and error are those of its row; who did something and why is what the event says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from runtime.engine.doubt import LOST
from runtime.engine.event import (
    CancelRequested,
    Child,
    ChildEnded,
    ChildFound,
    DeadlineReached,
    DoubtJudged,
    Event,
    Facts,
    HumanTaskEnded,
    ItemsJoined,
    PauseRequested,
    ResumeRequested,
    RetryDue,
    Signal,
    SignalReceived,
    Started,
    StepDeferred,
    StepError,
    StepFailed,
    StepInDoubt,
    StepSucceeded,
    TimerDue,
)
from runtime.engine.fan import place_of
from runtime.engine.ledger import Ledger, RowKey, facts
from runtime.engine.program import Program
from runtime.engine.retry import MAX_DEFERRALS
from runtime.engine.state import PENDING, RETRYING, WAITING, ExecutionState
from runtime.engine.tags import is_here
from runtime.engine.waiting import timed_out
from runtime.model.blob import stored
from runtime.model.checkpoint import StepRecord
from runtime.model.event import BEGINS_AGAIN, EventKind, ExecutionEvent
from runtime.model.execution import ExecutionStatus, StepStatus, Verdict
from runtime.model.plan import Effect
from runtime.model.values import Json

CHANGES_OWNER: Final = frozenset(
    {EventKind.EXECUTION_WAITING, EventKind.EXECUTION_TAKEN_OVER, EventKind.EXECUTION_MIGRATED}
)
_MESSAGES: Final = frozenset(
    {
        EventKind.EXECUTION_STARTED,
        EventKind.EXECUTION_PAUSED,
        EventKind.EXECUTION_RESUMED,
        EventKind.EXECUTION_CANCEL_REQUESTED,
        EventKind.EXECUTION_DEADLINE_REACHED,
        EventKind.SIGNAL_RECEIVED,
        EventKind.STEP_IN_DOUBT,
    }
)
_BAD_ENDS: Final = frozenset(
    {
        EventKind.STEP_FAILED,
        EventKind.STEP_TIMED_OUT,
        EventKind.STEP_CANCELLED,
        EventKind.STEP_RETRYING,
    }
)
_ENDS: Final = _BAD_ENDS | {EventKind.STEP_COMPLETED}
_AFTER_PAUSE: Final = _ENDS | {
    EventKind.STEP_STARTED,
    EventKind.TIMER_FIRED,
}


class Causes:
    """The causes of the events of one record."""

    def __init__(self, ledger: Ledger, events: Sequence[ExecutionEvent]) -> None:
        self._ledger = ledger
        self._events = events
        self._settled: dict[tuple[int, int], list[tuple[int, Json]]] = {}
        for place, event in enumerate(events):
            if event.kind is EventKind.STEP_DOUBT_SETTLED:
                told = self._settled.setdefault(self.place_in(event.data), [])
                told.append((place, event.field("by")))

    @staticmethod
    def place_in(data: Json) -> tuple[int, int]:
        """Step and item that an event is about; -1 where it names none."""
        said = data if isinstance(data, dict) else {}
        return _number(said.get("step"), -1), _number(said.get("item"), -1)

    def key_of(self, event: ExecutionEvent, generation: int) -> RowKey:
        """The attempt that an event is about."""
        step, item = self.place_in(event.data)
        return RowKey(generation, step, item, _number(event.field("attempt"), 0))

    def row_of(self, cause: ItemsJoined, generation: int) -> StepRecord | None:
        """The row of a map's end."""
        return self._ledger.stored.get(RowKey(generation, cause.step, -1, cause.attempt))

    def tags(self, program: Program, at: int) -> frozenset[str] | None:
        """Tags that whoever owns the execution from an event on has: those of all that begins before the next owner.

        A retry of what has ended has another one.
        """
        steps = program.steps
        if not any(step.plan.runs_on for step in steps):
            return None
        found: set[str] = set()
        for event in self._events[at:]:
            if event.kind in CHANGES_OWNER or event.kind in BEGINS_AGAIN:
                break
            step, _ = self.place_in(event.data)
            if event.kind is EventKind.STEP_STARTED and 0 <= step < len(steps):
                found.update(steps[step].plan.runs_on)
        return frozenset(found)

    def settled_by(self, step: int, item: int, at: int) -> Json:
        """Who settles the doubt of a step or item next, from an event on."""
        told = self._settled.get((step, item), ())
        return next((by for place, by in told if place >= at), None)

    def _stops_who_is_asked(self, event: ExecutionEvent) -> bool:
        """Whether its failure stops a doubt of which a person is asked: then its owner had gone on before."""
        reason = f"step {event.field('key')!r} failed"
        for told in self._settled.values():
            place, by = next((one for one in told if one[0] >= event.sequence), (0, None))
            if by == "stop" and self._events[place].field("reason") == reason:
                return True
        return False

    def is_known_again(self, step: int, item: int, at: int) -> bool:
        """Whether the next that is told of a call, which rows say is in doubt, is its end and not the doubt."""
        told = (e for e in self._events[at:] if self.place_in(e.data) == (step, item))
        return next((e.kind in _ENDS for e in told), False)

    @staticmethod
    def attempt_of(state: ExecutionState, step: int, item: int) -> int:
        """The newest attempt of a step or of an item under way."""
        return state.attempt[step] if item < 0 else state.fans[step].live[item].attempt

    @staticmethod
    def given_back(state: ExecutionState) -> list[RetryDue]:
        """Delays, which may be over, of what this owner lacks the tags for: it gives their places back untold."""
        found = [
            RetryDue(step, state.attempt[step])
            for step, status in enumerate(state.status)
            if status == RETRYING and not is_here(state, step)
        ]
        for step, fan in state.fans.items():
            if not is_here(state, step):
                found += [
                    RetryDue(step, one.attempt, item)
                    for item, one in fan.live.items()
                    if one.status == StepStatus.RETRYING
                ]
        return found

    def waits_for_value(self, state: ExecutionState, event: ExecutionEvent) -> bool:
        """Whether this follows from a large value that was loaded: it is about what has not begun, or about the end."""
        if state.awaits is None or event.kind in _MESSAGES:
            return False
        step, item = self.place_in(event.data)
        if not 0 <= step < len(state.status):
            return step < 0
        return item < 0 and state.status[step] == PENDING

    def is_message(self, state: ExecutionState, event: ExecutionEvent) -> bool:
        """Whether a new owner may have told this before it went on: messages, doubts, delays that were over."""
        step, item = self.place_in(event.data)
        if event.kind in _MESSAGES:
            return True
        if not 0 <= step < len(state.status):
            return False
        if event.kind is EventKind.STEP_STARTED:
            return _is_retrying(state, step, item)
        if event.kind is EventKind.TIMER_FIRED:
            return not self._stops_who_is_asked(event)
        if event.kind is EventKind.STEP_DOUBT_SETTLED:
            return event.field("by") == "person"
        return (step in state.children or step in state.tasks) and event.kind in _ENDS

    def of(
        self, state: ExecutionState, event: ExecutionEvent, generation: int, at: int
    ) -> Event | None:
        """What this event came from; None when nothing is known that could lead to it now."""
        actor, reason = event.field("actor"), event.field("reason")
        reason = reason if isinstance(reason, str) else None
        match event.kind:
            case EventKind.EXECUTION_STARTED:
                return Started(str(event.field("worker")))
            case EventKind.EXECUTION_PAUSED:
                return PauseRequested(actor, reason)
            case EventKind.EXECUTION_RESUMED:
                return ResumeRequested(actor, reason)
            case EventKind.EXECUTION_CANCEL_REQUESTED:
                return CancelRequested(actor, reason, event.field("compensate") is True)
            case EventKind.EXECUTION_DEADLINE_REACHED:
                return DeadlineReached()
            case EventKind.SIGNAL_RECEIVED:
                number, payload = _number(event.field("n"), 0), event.field("payload")
                signal = Signal(number, str(event.field("name")), payload)
                return SignalReceived(signal, actor)
        key = self.key_of(event, generation)
        if not 0 <= key.step < len(state.status):
            return None
        return self._of_step(state, event, key, at)

    def _of_step(  # noqa: PLR0911 - a line per kind
        self, state: ExecutionState, event: ExecutionEvent, key: RowKey, at: int
    ) -> Event | None:
        row = self._ledger.stored.get(key)
        match event.kind:
            case EventKind.STEP_STARTED:
                return self._of_start(state, key)
            case EventKind.TIMER_FIRED:
                return self._of_timer(state, key, row)
            case EventKind.CHILD_STARTED:
                return _of_child(event, key)
            case EventKind.STEP_IN_DOUBT:
                doubt = state.doubts.get(place_of(key.step, key.item))
                if doubt is not None and not doubt.is_told:
                    return StepInDoubt(key.step, key.attempt, key.item)
                error, told = StepError.of_json(event.field("error")), _facts(event, {})
                if error.type == LOST:
                    # Only rows tell of that: somebody has read them.
                    return None
                return StepFailed(key.step, key.attempt, error, Effect.AT_MOST_ONCE, told, key.item)
            case EventKind.STEP_DOUBT_SETTLED:
                return self._of_settled(event, key, row, at)
            case EventKind.STEP_COMPLETED:
                return self._of_success(state, event, key, row)
            case kind if kind in _BAD_ENDS:
                return self._of_failure(state, event, key, row)
        return None

    @staticmethod
    def _of_start(state: ExecutionState, key: RowKey) -> Event | None:
        if not _is_retrying(state, key.step, key.item):
            return None
        return RetryDue(key.step, key.attempt - 1, key.item)

    @staticmethod
    def _of_timer(state: ExecutionState, key: RowKey, row: StepRecord | None) -> Event:
        wait, said = state.program.steps[key.step].wait, facts(row)
        error = None
        if "error" in said and (wait is None or timed_out(state, key.step, wait) is None):
            error = StepError.of_json(said["error"])
        return TimerDue(key.step, key.attempt, stored(said.get("output")), error=error)

    def _of_settled(
        self, event: ExecutionEvent, key: RowKey, row: StepRecord | None, at: int
    ) -> Event | None:
        word, reason = event.field("verdict"), event.field("reason")
        if word not in {verdict.value for verdict in Verdict}:
            return None
        verdict = Verdict(str(word))
        # What a call that was made had cost stands in the event of its end.
        end = (
            self._events[at + 1]
            if verdict is Verdict.MADE and at + 1 < len(self._events)
            else event
        )
        return DoubtJudged(
            key.step,
            key.attempt,
            verdict,
            stored(facts(row).get("output")),
            _facts(end, {}),
            event.field("actor"),
            reason if isinstance(reason, str) else None,
            key.item,
        )

    @staticmethod
    def _of_success(
        state: ExecutionState, event: ExecutionEvent, key: RowKey, row: StepRecord | None
    ) -> Event:
        output, told = stored(facts(row).get("output")), _facts(event, facts(row))
        if key.item < 0 and key.step in state.fans:
            return ItemsJoined(key.step, key.attempt, output, told)
        if key.item < 0 and key.step in state.children:
            child = state.children[key.step].id
            return ChildEnded(child, ExecutionStatus.COMPLETED, output, facts=told)
        if key.item < 0 and key.step in state.tasks:
            return HumanTaskEnded(
                state.tasks[key.step], output, None, _answered(event), told, key.step
            )
        return StepSucceeded(key.step, key.attempt, output, told, key.item)

    def _of_failure(
        self, state: ExecutionState, event: ExecutionEvent, key: RowKey, row: StepRecord | None
    ) -> Event:
        said = facts(row)
        error, told = StepError.of_json(said.get("error")), _facts(event, said)
        is_stopped = said.get("stopped") is True
        if key.item < 0 and key.step in state.fans:
            return ItemsJoined(key.step, key.attempt, None, told, error)
        if key.item < 0 and key.step in state.children:
            status = ExecutionStatus.CANCELLED if is_stopped else ExecutionStatus.FAILED
            return ChildEnded(state.children[key.step].id, status, error=error, facts=told)
        if key.item < 0 and key.step in state.tasks:
            return HumanTaskEnded(
                state.tasks[key.step], None, error, _answered(event), told, key.step
            )
        is_put_off = is_stopped and "retry_in_ms" in said
        if is_put_off or ("in" not in said and _deferrals(state, key) >= MAX_DEFERRALS):
            return StepDeferred(key.step, key.attempt, error, key.item)
        is_made = self._ledger.is_announced(key) and "in" in said
        effect = Effect.AT_MOST_ONCE if is_made else Effect.PURE
        return StepFailed(key.step, key.attempt, error, effect, told, key.item)

    def with_overdue(self, state: ExecutionState, cause: Event, at: int) -> tuple[Event, ...]:
        """The cause; and before the end of a pause what came due in it, in the order in which that began after it."""
        if not isinstance(cause, ResumeRequested):
            return (cause,)
        due: list[Event] = []
        for event in self._events[at + 1 :]:
            step, item = self.place_in(event.data)
            if event.kind not in _AFTER_PAUSE or not 0 <= step < len(state.status):
                break
            attempt = _number(event.field("attempt"), 0)
            if event.kind is EventKind.TIMER_FIRED and state.status[step] == WAITING:
                key = RowKey(state.run.generation, step, -1, attempt)
                due.append(self._of_timer(state, key, self._ledger.stored.get(key)))
            elif event.kind is EventKind.STEP_STARTED and _is_retrying(state, step, item):
                due.append(RetryDue(step, attempt - 1, item))
            elif event.kind is EventKind.STEP_STARTED or state.status[step] != WAITING:
                break
        return (*due, cause)


def _answered(event: ExecutionEvent) -> dict[str, Json]:
    """What the end of a step tells of the answer to its task."""
    data = event.data if isinstance(event.data, dict) else {}
    return {name: data[name] for name in ("outcome", "by") if name in data}


def _of_child(event: ExecutionEvent, key: RowKey) -> Event | None:
    try:
        child = UUID(str(event.field("child")))
    except ValueError:
        return None
    words = str(event.field("workflow")), str(event.field("version"))
    return ChildFound(key.step, key.attempt, Child(child, *words))


def _is_retrying(state: ExecutionState, step: int, item: int) -> bool:
    if item < 0:
        return state.status[step] == RETRYING
    fan = state.fans.get(step)
    one = None if fan is None else fan.live.get(item)
    return one is not None and one.status == StepStatus.RETRYING


def _deferrals(state: ExecutionState, key: RowKey) -> int:
    if key.item < 0:
        return state.deferred.get(key.step, 0)
    fan = state.fans.get(key.step)
    one = None if fan is None else fan.live.get(key.item)
    return 0 if one is None else one.deferred


def _facts(event: ExecutionEvent, said: dict[str, Json]) -> Facts:
    cost = event.field("cost")
    tail = ',"stopped":true' if said.get("stopped") is True else ""
    source = said.get("cached_from")
    more: dict[str, Json] | None = None if source is None else {"cached_from": source}
    return Facts(0.0, tail=tail, cost=cost if isinstance(cost, str) else None, more=more)


def _number(value: Json, default: int) -> int:
    return value if type(value) is int else default
