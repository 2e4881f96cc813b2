"""How an execution would go: the real advance() on a virtual clock, with answers in place of calls.

There is no second interpreter here: this carries commands out as a worker does, only that calls are
answered by `respond` and time is a number. Nothing is written, sent or read from outside. Effort is
bounded by the caller's `is_over` and by what may happen and be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any, Final, assert_never

import orjson

from runtime.engine.advance import advance
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
from runtime.engine.event import (
    DeadlineReached,
    DoubtJudged,
    Event,
    HumanTaskEnded,
    ItemsJoined,
    RetryDue,
    Signal,
    SignalReceived,
    Started,
    StepError,
    StepFailed,
    StepSucceeded,
    TimerDue,
)
from runtime.engine.people import answer, decided_by_time, expired
from runtime.engine.program import Program, StepProgram, written_as
from runtime.engine.scope import MASKED, scope_of
from runtime.engine.simulation import (
    Answer,
    Happening,
    Read,
    Respond,
    SimulatedStep,
    SimulatedTask,
    SimulatedTimer,
    Simulation,
    Source,
)
from runtime.engine.state import ExecutionState, RunInfo
from runtime.expression import ExpressionError, Template, parse_template, write_path
from runtime.model.durable import NOT_STORABLE, why_not_durable
from runtime.model.errors import StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionError, ExecutionStatus, StepStatus, Verdict
from runtime.model.plan import StepKind, StepPlan
from runtime.model.route import cases_of
from runtime.model.values import Json, Money, parse_instant, total

MAX_HAPPENINGS: Final = 200_000
MAX_BYTES: Final = 64 * 1024 * 1024
ITEMS_TOLD: Final = 100
# What one value may take in the report, and all of them together; more is left out, and said to be.
_SHOWN: Final = 16 * 1024
_SHOWN_IN_ALL: Final = 4 * 1024 * 1024
_READ_SHOWN: Final = 200
_TOO_LONG: Final = "it took too long"
_READS: Final = 10
_RENDERED: Final[dict[StepKind, tuple[str, ...]]] = {
    StepKind.AGENT_TASK: ("agent", "message", "tools"),
    StepKind.WORKFLOW: ("workflow", "input"),
}


def simulate(
    program: Program,
    run: RunInfo,
    respond: Respond,
    *,
    start: datetime,
    is_over: Callable[[], bool] = lambda: False,
) -> Simulation:
    """Let an execution of this program happen; `is_over` says when to break off."""
    late: list[bool] = []

    def check() -> None:
        if is_over():
            late.append(True)
            raise ExpressionError("the simulation took too long")

    def is_late() -> bool:
        return bool(late) or is_over()

    found = _Simulator(_guarded(program, check), run, respond, start, is_late).run()
    if late:
        # What failed for want of time says nothing of the execution.
        found = replace(found, status=ExecutionStatus.RUNNING, error=None, stopped=_TOO_LONG)
    return found


def _guarded(program: Program, check: Callable[[], None]) -> Program:
    """The same program, which stops computing when the time is over, even in the midst of one decision."""
    steps = tuple(
        replace(
            step,
            config=step.config.guarded(check),
            condition=None if step.condition is None else step.condition.guarded(check),
            for_each=None if step.for_each is None else step.for_each.guarded(check),
            cases=tuple(None if one is None else one.guarded(check) for one in step.cases),
        )
        for step in program.steps
    )
    outputs = None if program.outputs is None else program.outputs.guarded(check)
    return replace(program, steps=steps, outputs=outputs)


class _Simulator:
    def __init__(
        self,
        program: Program,
        run: RunInfo,
        respond: Respond,
        start: datetime,
        is_over: Callable[[], bool],
    ) -> None:
        self._state = ExecutionState(program, run)
        self._respond = respond
        self._start = start
        self._is_over = is_over
        self._now = 0
        self._due: list[tuple[int, int, Event]] = []
        self._told = 0
        self._sequence = 0
        self._order = 0
        self._bytes = 0
        self._shown = 0
        self._looked = 0
        self._signals = 0
        self._finish: Finish | None = None
        self._stopped: str | None = None
        self._steps = tuple(_step(one) for one in program.steps)
        self._events: list[Happening] = []
        self._timers: list[SimulatedTimer] = []
        self._tasks: list[SimulatedTask] = []
        self._costs: tuple[Money, ...] = ()
        self._unknown: dict[str, None] = {}
        # Of maps: their lists, what their items gave until that is recorded, and how they ended until the map does.
        self._lists: dict[int, list[Json]] = {}
        self._gave: dict[tuple[int, int], Json] = {}
        self._ended: dict[int, dict[int, tuple[StepStatus, Json]]] = {}

    def run(self) -> Simulation:
        """Tell the core what happens, in the order of time, until nothing more does."""
        timeout = self._state.program.plan.timeout
        if timeout is not None:
            self._later(timeout.milliseconds, DeadlineReached())
        self._tell(Started("simulation"))
        while self._due and self._finish is None and self._goes_on():
            self._now, _, event = heappop(self._due)
            self._tell(event)
        finish = self._finish
        if finish is None:
            waiting = ExecutionStatus.RUNNING if self._stopped else ExecutionStatus.WAITING
            finish = Finish(waiting)
        count = len(self._state.program.plan.steps)
        for step in self._steps[:count]:
            if not step.order:
                self._order += 1
                step.order = self._order
                step.reason = (
                    "its turn has not come"
                    if self._finish is None
                    else "the execution ended before"
                )
        behind = self._steps[count : count + len(self._state.program.plan.compensations)]
        return Simulation(
            status=finish.status,
            steps=self._steps[:count] + tuple(one for one in behind if one.is_taken),
            output=finish.output,
            error=finish.error,
            duration_ms=self._now,
            costs=self._costs,
            unknown_durations=tuple(self._unknown),
            timers=tuple(self._timers),
            tasks=tuple(self._tasks),
            events=tuple(self._events),
            stopped=self._stopped,
        )

    def _goes_on(self) -> bool:
        if self._told >= MAX_HAPPENINGS:
            self._stopped = f"after {MAX_HAPPENINGS:,} happenings"
        elif self._bytes > MAX_BYTES:
            self._stopped = f"its values are larger than {MAX_BYTES:,} bytes together"
        elif self._is_over():
            self._stopped = _TOO_LONG
        return self._stopped is None

    def _later(self, delay_ms: int, event: Event) -> None:
        self._sequence += 1
        heappush(self._due, (self._now + max(0, delay_ms), self._sequence, event))

    def _tell(self, event: Event) -> None:
        self._told += 1
        for command in advance(self._state, event):
            if self._stopped is None:
                self._carry_out(command)

    def _carry_out(self, command: Command) -> None:  # noqa: C901, PLR0912 - a case per command
        match command:
            case RunStep():
                self._begin(command)
            case RecordEvent():
                self._note(command)
            case RecordStep():
                self._record(command)
            case BeginWait():
                self._wait(command)
            case ScheduleRetry():
                due = RetryDue(command.step, command.attempt, command.item)
                self._later(command.delay_ms, due)
            case StopStep():
                self._stop(command)
            case LookUp():
                asked = command.step, command.attempt, Verdict.UNKNOWN
                self._later(0, DoubtJudged(*asked, item=command.item))
            case JoinItems():
                joined = ItemsJoined(command.step, command.attempt, self._joined(command.step))
                self._later(0, joined)
            case LoadBlob():
                self._stopped = "a large value is not at hand"
            case OpenTask():
                self._open(command)
            case StartChild() | TellChild() | CancelTasks():
                pass  # A child is answered like a task, so none is started; and an answer that is late is not heard.
            case Finish():
                self._finish = self._checked(command)
            case _:
                assert_never(command)

    def _checked(self, finish: Finish) -> Finish:
        """The end; a failure where the output can't be stored, as a worker finds when it closes the execution."""
        if finish.status is not ExecutionStatus.COMPLETED:
            return finish
        why = why_not_durable(finish.output, "The output of the execution")
        if why is None:
            return finish
        error = ExecutionError(NOT_STORABLE, why)
        said: dict[str, Json] = {"type": error.type, "message": why, "retryable": error.retryable}
        self._events[-1] = Happening(self._now, EventKind.EXECUTION_FAILED, None, {"error": said})
        return Finish(ExecutionStatus.FAILED, error=error)

    # --- attempts --------------------------------------------------------------------------------

    def _begin(self, command: RunStep) -> None:
        """An attempt: its input is rendered as a worker does, its answer comes after its time."""
        step, attempt = command.step, command.attempt
        program, shown = self._state.program.steps[step], self._steps[step]
        if not self._goes_on():
            return
        item = command.item
        try:
            scope = scope_of(self._state, MASKED, step=step)
            if item >= 0:
                scope |= self._names_of(step, item)
            rendered = _template(program).render(scope)
            orjson.dumps(rendered)
        except (ExpressionError, TypeError) as problem:
            words = written_as(program.plan)
            if isinstance(problem, ExpressionError):
                words += f": {problem.message}"
            else:
                words += f" can't be written as JSON: {problem}."
            self._later(0, StepFailed(step, attempt, StepError("expression", words), item=item))
            return
        if item <= 0:
            shown.rendered_input = self._show(rendered, shown)
        if program.plan.stands_for is not None:
            given = rendered["output"] if isinstance(rendered, dict) else None
            self._answer(command, program.plan, Answer(given, source=Source.COMPUTED))
            return
        self._answer(command, program.plan, self._respond(program.plan, rendered, attempt, item))

    def _names_of(self, step: int, item: int) -> dict[str, Json]:
        """What an item sees beside the rest; the list is rendered once."""
        program = self._state.program.steps[step]
        if not program.names_item or program.for_each is None:
            return {"index": item}
        if step not in self._lists:
            found = program.for_each.render(scope_of(self._state, step=step))
            self._lists[step] = found if isinstance(found, list) else []
        return {"item": self._lists[step][item], "index": item}

    def _stop(self, command: StopStep) -> None:
        error = StepError("cancelled", command.reason, StepErrorKind.CANCELLED)
        attempt, item = self._state.attempt[command.step], command.item
        if item >= 0:
            attempt = self._state.fans[command.step].live[item].attempt
        self._later(0, StepFailed(command.step, attempt, error, item=item))

    def _joined(self, step: int) -> list[Json]:
        """The output of a map, as a worker makes it of the rows of its items."""
        plan = self._state.program.steps[step].plan.map
        ended = self._ended.pop(step, {})
        found: list[Json] = []
        for item in range(len(self._state.fans[step].ends)):
            status, value = ended.get(item, (StepStatus.COMPLETED, None))
            name = "output" if status is StepStatus.COMPLETED else "error"
            is_collecting = plan is not None and plan.is_collecting
            found.append({"status": status.name.lower(), name: value} if is_collecting else value)
        self._lists.pop(step, None)
        return found

    def _answer(self, command: RunStep, plan: StepPlan, answer: Answer) -> None:
        step, attempt, item = command
        if answer.seconds is None:
            self._unknown[plan.key] = None
        if answer.cost is not None:
            self._costs = total((*self._costs, answer.cost))
        delay = round((answer.seconds or 0.0) * 1000)
        if plan.timeout is not None and delay > plan.timeout.milliseconds:
            words = f"It would take longer than the {plan.timeout} that an attempt may take."
            error = StepError("step.timeout", words, StepErrorKind.TIMEOUT)
            failed = StepFailed(step, attempt, error, answer.effect, item=item)
            self._later(plan.timeout.milliseconds, failed)
        elif answer.error is not None:
            self._later(delay, StepFailed(step, attempt, answer.error, answer.effect, item=item))
        elif (why := why_not_durable(answer.output, _subject(plan, item))) is not None:
            error = StepError(NOT_STORABLE, why)
            self._later(delay, StepFailed(step, attempt, error, answer.effect, item=item))
        else:
            self._steps[step].source = answer.source
            if item >= 0:
                self._gave[step, item] = answer.output
            self._later(delay, StepSucceeded(step, attempt, answer.output, item=item))

    def _open(self, command: OpenTask) -> None:
        """A task as it would stand in lists, and the answer to it; or what time decides, where that comes before."""
        step, key, asked = command.step, self._steps[command.step].key, command.asked
        program, human = self._state.program.steps[step], self._state.program.steps[step].human
        if human is None or not self._goes_on():
            return
        fields: dict[str, Json] = {n: one for n, one in asked.items() if one not in (None, [])}
        due = self._wanted_by(asked)
        shown = self._steps[step].rendered_input = self._show(fields, self._steps[step])
        self._tasks.append(SimulatedTask(key, self._now, shown, due))
        told = self._respond(program.plan, fields, command.attempt, -1)
        if told.seconds is None:
            self._unknown[key] = None
        if told.cost is not None:
            self._costs = total((*self._costs, told.cost))
        delay, error, output = round((told.seconds or 0.0) * 1000), told.error, told.output
        decided = decided_by_time(asked, human)
        if decided is not None and delay > decided[0]:
            delay, outcome, by = decided
            error = expired(key) if outcome is None else None
            output = answer(outcome or "", None, by, self._at(delay).isoformat())
        elif error is None:
            if told.source is Source.EXAMPLE and isinstance(output, dict):
                output = {**output, "at": self._at(delay).isoformat()}
            self._steps[step].source = told.source
            why = why_not_durable(output, _subject(program.plan, -1))
            error = None if why is None else StepError(NOT_STORABLE, why)
        said = (
            {"outcome": output.get("outcome")} if isinstance(output, dict) and error is None else {}
        )
        self._later(delay, HumanTaskEnded(command.task, output, error, said, step=step))

    def _wanted_by(self, asked: dict[str, Json]) -> datetime | None:
        """By when an answer is wanted."""
        at, length = asked.get("due"), asked.get("due_in_ms")
        if isinstance(at, str):
            return parse_instant(at)
        return self._at(length) if isinstance(length, int) else None

    def _wait(self, command: BeginWait) -> None:
        """A wait: its timer, and the signal that would come if there is an answer for it."""
        step, attempt = command.step, command.attempt
        program = self._state.program.steps[step]
        if program.human is not None:
            return  # People are waited for, who stand among the tasks.
        delay = command.delay_ms
        if command.until is not None:
            delay = round((command.until - self._instant()).total_seconds() * 1000)
        due = None if delay is None else self._at(max(0, delay))
        signal = program.wait.signal if program.wait is not None else None
        self._timers.append(SimulatedTimer(program.plan.key, self._now, signal, due))
        if delay is not None:
            self._later(delay, self._timer_due(program, step, attempt))
        if signal is None:
            return
        answer = self._respond(program.plan, None, attempt, -1)
        if answer.error is None and answer.source in {Source.MOCK, Source.PAST}:
            self._signals += 1
            self._steps[step].source = answer.source
            said = Signal(self._signals, signal, answer.output)
            self._later(round((answer.seconds or 0.0) * 1000), SignalReceived(said))

    def _timer_due(self, program: StepProgram, step: int, attempt: int) -> TimerDue:
        """With the output that the step then has: its default, or nothing."""
        if program.wait is None or not program.wait.has_default:
            return TimerDue(step, attempt)
        try:
            rendered = program.config.render(scope_of(self._state, step=step))
        except ExpressionError as problem:
            words = f"`default` of step {program.plan.key!r}: {problem.message}"
            return TimerDue(step, attempt, error=StepError("expression", words))
        default = rendered.get("default") if isinstance(rendered, dict) else None
        why = why_not_durable(default, f"The default of step {program.plan.key!r}")
        if why is not None:
            return TimerDue(step, attempt, error=StepError(NOT_STORABLE, why))
        return TimerDue(step, attempt, default)

    # --- what is told ----------------------------------------------------------------------------

    def _record(self, command: RecordStep) -> None:
        shown = self._steps[command.step]
        shown.attempts = max(shown.attempts, command.attempt)
        if command.item >= 0:
            self._record_item(command, shown)
            return
        shown.error = command.error
        if command.status is StepStatus.COMPLETED:
            output: Any = self._state.outputs.get(command.step)
            shown.output = self._show(output, shown)
            failed = self._state.program.steps[command.step].plan.stands_for
            if failed is not None:
                self._steps[failed].output = shown.output
        if command.retry_in_ms is None:
            shown.status = command.status
            shown.ended_ms = self._now

    def _record_item(self, command: RecordStep, shown: SimulatedStep) -> None:
        if command.retry_in_ms is not None or command.is_open:
            return
        value: Json = None if command.error is None else command.error.as_json()
        if command.status is StepStatus.COMPLETED:
            value = self._gave.pop((command.step, command.item), None)
            self._bytes += _size(value)
        elif command.status is not StepStatus.CANCELLED:
            shown.failed_items += 1
        self._ended.setdefault(command.step, {})[command.item] = (command.status, value)

    def _note(self, command: RecordEvent) -> None:
        data = command.data or {}
        key = data.get("key")
        item = data.get("item")
        if isinstance(item, int) and item >= 0:
            self._note_item(command, item)
            return
        step = data.get("step")
        if isinstance(step, int) and command.kind is EventKind.MAP_OPENED:
            items = data.get("items")
            self._steps[step].items = items if isinstance(items, int) else None
        if isinstance(step, int) and command.kind is EventKind.STEP_STARTED:
            self._started(step)
        elif isinstance(step, int) and command.kind is EventKind.STEP_SKIPPED:
            self._place(step, str(data.get("reason", "")))
        elif isinstance(step, int) and command.kind is EventKind.STEP_COMPENSATED:
            self._steps[step].status = StepStatus.COMPENSATED
        elif isinstance(step, int) and command.kind is EventKind.STEP_COMPLETED:
            self._chosen(step, data)
        about = {name: one for name, one in data.items() if name not in {"step", "key", "item"}}
        found = key if isinstance(key, str) else None
        self._events.append(Happening(self._now, command.kind, found, about))

    def _note_item(self, command: RecordEvent, item: int) -> None:
        """Of items the events of the first ones are told; the step says how many there were."""
        data = command.data or {}
        key = data.get("key")
        if item < ITEMS_TOLD and isinstance(key, str):
            about = {name: one for name, one in data.items() if name not in {"step", "key"}}
            self._events.append(Happening(self._now, command.kind, key, about))

    def _started(self, step: int) -> None:
        shown = self._steps[step]
        shown.status = StepStatus.RUNNING
        if shown.started_ms is None:
            shown.started_ms = self._now
            reason = None if shown.condition is None else "its condition holds"
            undoes = self._state.program.steps[step].plan.undoes
            if undoes is not None:
                reason = f"the execution ends badly, so {self._state.key(undoes)!r} is undone"
            if self._state.program.steps[step].plan.stands_for is None:
                self._place(step, reason)

    def _place(self, step: int, reason: str | None) -> None:
        """The next one in the order of what happened, and why it did."""
        self._order += 1
        shown = self._steps[step]
        shown.order, shown.reason = self._order, reason
        condition = self._state.program.steps[step].condition
        if condition is not None:
            shown.reads = self._reads(step, condition)

    def _chosen(self, step: int, data: dict[str, Json]) -> None:
        """A gateway has decided: which cases it took, and what they looked at."""
        conditions = self._state.program.steps[step].cases
        if not conditions:
            return
        shown, cases = self._steps[step], cases_of(data)
        routes = self._state.program.plan.routes
        judges_all = routes is not None and routes.gateways[step].is_inclusive
        said = [_case(number, conditions) for number in cases[:_READS]]
        shown.reason = f"{', '.join(said)}{' ...' if len(cases) > _READS else ''}"
        shown.source = Source.COMPUTED
        judged = conditions if judges_all else conditions[: max(cases, default=0) + 1]
        looked = [one for one in judged if one is not None]
        shown.reads = self._reads(step, *looked)

    def _reads(self, step: int, *conditions: Template) -> tuple[Read, ...]:
        """What conditions looked at; nobody has changed it since."""
        scope = scope_of(self._state, step=step)
        paths = dict.fromkeys(one.path for condition in conditions for one in condition.references)
        found = []
        for path in list(paths)[:_READS]:
            if self._looked > _SHOWN_IN_ALL:
                break
            value: Any = scope
            try:
                for part in path:
                    value = value[part]
                text = orjson.dumps(value)
            except (KeyError, IndexError, TypeError):
                continue
            self._looked += len(text)
            is_cut = len(text) > _READ_SHOWN
            found.append(Read(write_path(path), None if is_cut else value, is_cut))
        return tuple(found)

    def _show(self, value: Json, step: SimulatedStep) -> Json:
        """The value, if the report has room for it; all of them are counted."""
        size = _size(value)
        self._bytes += size
        if size > _SHOWN or self._shown + size > _SHOWN_IN_ALL:
            step.is_cut = True
            return None
        self._shown += size
        return value

    def _instant(self) -> datetime:
        return self._at(0)

    def _at(self, later_ms: int) -> datetime:
        """An instant of the virtual clock; the last that there is for all that lie beyond."""
        try:
            return self._start + timedelta(milliseconds=self._now + later_ms)
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)


def _step(program: StepProgram) -> SimulatedStep:
    plan = program.plan
    kind = str(plan.uses) if plan.uses is not None else plan.kind.value
    return SimulatedStep(plan.key, kind, condition=None if plan.when is None else str(plan.when))


def _template(program: StepProgram) -> Template:
    """What of a step is rendered when it begins."""
    keys = _RENDERED.get(program.plan.kind)
    written = program.plan.canonical
    if keys is None or not isinstance(written, dict):
        return program.config
    return parse_template({key: written[key] for key in keys if key in written})


def _subject(plan: StepPlan, item: int) -> str:
    """What messages call an output, as a worker does."""
    if plan.stands_for is not None:
        return written_as(plan)
    which = "" if item < 0 else f"item {item} of "
    return f"The output of {which}step {plan.key!r}"


def _case(number: int, conditions: Sequence[Template | None]) -> str:
    if conditions[number] is None:
        return "no case holds, so else is taken"
    return f"case {number + 1} of {len(conditions)} holds"


def _size(value: Json) -> int:
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return MAX_BYTES
