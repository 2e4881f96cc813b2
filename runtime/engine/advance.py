"""advance(state, event) -> commands: the whole decision of the engine.

Called by the worker for everything that happens to an execution. It changes the state, and touches only the
out-edges of the step it is told about. Late or repeated events (an attempt that is no longer the newest, a
closed execution) change nothing. Ties are broken by document order.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, assert_never

from runtime.engine.about import about
from runtime.engine.again import put_off, repeat
from runtime.engine.children import child_ended, start_child, tell_children
from runtime.engine.command import (
    BeginWait,
    Command,
    Finish,
    LookUp,
    RecordEvent,
    RecordStep,
    RunStep,
)
from runtime.engine.doubt import Course, Doubt, course_of, words_of
from runtime.engine.ending import (
    end_badly,
    end_well,
    ending_by,
    skip,
    status_of,
    stop_running,
    tries,
    without_output,
)
from runtime.engine.event import (
    NO_FACTS,
    STOPPED,
    WAITED,
    BlobLoaded,
    CancelRequested,
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
from runtime.engine.gateway import choose
from runtime.engine.items import feed, on_item, open_map, retry_due
from runtime.engine.keeping import give
from runtime.engine.loading import ask_for, take_loaded
from runtime.engine.people import open_task, task_ended
from runtime.engine.retry import MAX_DEFERRALS, deferral_ms, is_repeated
from runtime.engine.routes import note_join, why_left_out
from runtime.engine.scope import scope_of
from runtime.engine.state import (
    IN_DOUBT,
    PENDING,
    RETRYING,
    RUNNING,
    WAITING,
    Ending,
    ExecutionState,
    Phase,
)
from runtime.engine.tags import is_here
from runtime.engine.undoing import begin_undoing, next_to_undo, outcome_of
from runtime.engine.waiting import (
    begin_data,
    instant_of,
    keep,
    listen,
    match,
    signal_data,
    stop_listening,
    take,
    timed_out,
)
from runtime.expression import ExpressionError, truthy
from runtime.model.blob import NotLoaded
from runtime.model.checkpoint import InboxKind, Mark
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus, Verdict
from runtime.model.plan import Effect, WaitPlan
from runtime.model.values import Json

_NO_ATTEMPT: Final = Facts(WAITED)


def advance(state: ExecutionState, event: Event) -> list[Command]:  # noqa: C901, PLR0912 - a line per event
    """Take in what happened; say what to do now."""
    out: list[Command] = []
    if state.phase is Phase.CLOSED:
        return out
    if state.fans and on_item(state, event, out):
        # A doubt that rows tell of frees no place; what is told with it comes first.
        if not isinstance(event, StepInDoubt):
            _go_on(state, out)
        return out
    match event:
        case StepSucceeded():
            _succeeded(state, event, out)
        case Started():
            _started(state, event, out)
        case StepFailed():
            _failed(state, event, out)
        case StepInDoubt():
            _in_doubt(state, event, out)
        case DoubtJudged():
            _judged(state, event, out)
        case StepDeferred():
            _deferred(state, event, out)
        case RetryDue():
            _retry_due(state, event, out)
        case TimerDue():
            _timer_due(state, event, out)
        case SignalReceived():
            _signalled(state, event, out)
        case PauseRequested():
            _paused(state, event, out)
        case ResumeRequested():
            _resumed(state, event, out)
        case BlobLoaded():
            _loaded(state, event, out)
        case ItemsJoined():
            pass  # Of a map that has ended.
        case ChildFound():
            start_child(state, event, out)
            _go_on(state, out)
        case ChildEnded():
            child_ended(state, event, out)
            _go_on(state, out)
        case HumanTaskEnded():
            task_ended(state, event, out)
            _go_on(state, out)
        case CancelRequested():
            _cancelled(state, event, out)
        case DeadlineReached():
            _timed_out(state, out)
        case _:
            assert_never(event)
    return out


def proceed(state: ExecutionState) -> list[Command]:
    """Go on with a state that was rebuilt from its rows: start what is ready, or end what must end."""
    out: list[Command] = []
    if state.phase is Phase.GOING:
        _fill(state, out)
    else:
        _close_if_quiet(state, out)
    return out


def _started(state: ExecutionState, event: Started, out: list[Command]) -> None:
    if state.phase is not Phase.NEW:
        return
    state.phase = Phase.GOING
    out.append(RecordEvent(EventKind.EXECUTION_STARTED, {"worker": event.worker}))
    _fill(state, out)


def _succeeded(state: ExecutionState, event: StepSucceeded, out: list[Command]) -> None:
    step = event.step
    if not _is_current(state, step, event.attempt):
        return
    state.running -= 1
    end_well(state, step, event.output, event.facts, out)
    _go_on(state, out)


def _failed(state: ExecutionState, event: StepFailed, out: list[Command]) -> None:
    step, error = event.step, event.error
    if not _is_current(state, step, event.attempt):
        return
    policy, made = state.program.steps[step].plan.retry, tries(state, step)
    if state.goes_on(step) and is_repeated(policy, error, made, event.effect):
        state.running -= 1
        repeat(state, step, status_of(error), error, event.facts, out)
        _go_on(state, out)
    elif event.effect is Effect.AT_MOST_ONCE and error.is_uncertain:
        _doubt(state, step, error, event.facts, out)
    else:
        state.running -= 1
        state.busy -= 1
        end_badly(state, step, status_of(error), error, event.facts, out)
        _go_on(state, out)


def _deferred(state: ExecutionState, event: StepDeferred, out: list[Command]) -> None:
    """No call was made: the attempt does not count, and another one follows as long as that has sense."""
    step, error = event.step, event.error
    if not _is_current(state, step, event.attempt):
        return
    state.running -= 1
    state.free[step] = state.free.get(step, 0) + 1
    times = state.deferred[step] = state.deferred.get(step, 0) + 1
    if state.goes_on(step) and times <= MAX_DEFERRALS:
        delay = deferral_ms(error, times, seed=state.seed(step))
        status = StepStatus.CANCELLED
        put_off(state, step, RecordStep(step, event.attempt, status, error, delay, STOPPED), out)
        _go_on(state, out)
        return
    state.busy -= 1
    end_badly(state, step, status_of(error), error, NO_FACTS, out)
    _go_on(state, out)


def _in_doubt(state: ExecutionState, event: StepInDoubt, out: list[Command]) -> None:
    """Told by the rows; the step holds a place since they were read, unless a person has settled it meanwhile."""
    step, doubt = event.step, state.doubts.get(event.step)
    if doubt is None or state.attempt[step] != event.attempt:
        return
    if doubt.is_told:
        out.append(LookUp(step, event.attempt))
    else:
        _doubt(state, step, doubt.error, doubt.facts, out)


def _doubt(
    state: ExecutionState, step: int, error: StepError, facts: Facts, out: list[Command]
) -> None:
    """Make the doubt known, then ask the connector; until then the step counts as running."""
    attempt = state.attempt[step]
    state.status[step] = IN_DOUBT
    state.doubts[step] = Doubt(error, tail=facts.tail)
    out.append(RecordStep(step, attempt, StepStatus.IN_DOUBT, error, None, facts, is_open=True))
    data = {**about(state, step, facts), "error": error.as_json()}
    out.append(RecordEvent(EventKind.STEP_IN_DOUBT, data))
    out.append(LookUp(step, attempt))


def _judged(state: ExecutionState, event: DoubtJudged, out: list[Command]) -> None:
    """The connector, the step's rule or a person settles the doubt; a late word changes nothing."""
    step = event.step
    doubt = state.doubts.get(step)
    if doubt is None or state.attempt[step] != event.attempt:
        return
    is_going, plan = state.goes_on(step), state.program.steps[step].plan
    course = course_of(doubt, event, plan, tries(state, step), is_going=is_going)
    if course is Course.ASK:
        if not doubt.asks:
            doubt.asks = True
            state.running -= 1
        return
    del state.doubts[step]
    state.running -= not doubt.asks
    data = words_of(event, plan, is_going=is_going)
    if course is not Course.END:
        out.append(RecordEvent(EventKind.STEP_DOUBT_SETTLED, {**about(state, step), **data}))
    _follow(state, event, course, doubt, out, data=data)


def _follow(
    state: ExecutionState,
    event: DoubtJudged,
    course: Course,
    doubt: Doubt,
    out: list[Command],
    *,
    data: dict[str, Json],
) -> None:
    """Carry out what was decided about a doubt; what was known of the call stays in its row."""
    step, attempt, error, known = event.step, event.attempt, doubt.error, doubt.facts
    match course:
        case Course.COMPLETE:
            facts = event.facts._replace(tail=event.facts.tail + doubt.tail)
            end_well(state, step, event.output, facts, out)
        case Course.RETRY:
            is_known = event.verdict is Verdict.NOT_MADE
            status = status_of(error) if is_known else StepStatus.IN_DOUBT
            repeat(state, step, status, error, known, out)
        case Course.AGAIN:
            state.busy -= 1
            state.free[step] = state.free.get(step, 0) + 1
            out.append(RecordStep(step, attempt, StepStatus.CANCELLED, error, None, doubt.unmade))
            state.status[step] = PENDING
            heappush(state.ready, step)
        case Course.END:
            state.busy -= 1
            end_badly(state, step, StepStatus.IN_DOUBT, error, known, out, data)
        case Course.END_UNMADE:
            state.busy -= 1
            end_badly(state, step, status_of(error), error, known, out)
        case Course.CALL_OFF | Course.ASK:
            state.busy -= 1
            end_badly(state, step, StepStatus.CANCELLED, error, doubt.unmade, out)
    _go_on(state, out)


def _retry_due(state: ExecutionState, event: RetryDue, out: list[Command]) -> None:
    if not _is_due(state, event, RETRYING):
        return
    state.busy -= 1
    _run(state, event.step, out)
    if state.status[event.step] == PENDING:
        # Another worker has its tags. What waited for its place begins here.
        _go_on(state, out)


def _is_due(state: ExecutionState, due: RetryDue | TimerDue, status: int) -> bool:
    """Whether this is still waited for, and now; what comes due in a pause is kept for its end."""
    is_awaited = (state.status[due.step], state.attempt[due.step]) == (status, due.attempt)
    if not state.goes_on(due.step) or not is_awaited:
        return False
    if state.phase is Phase.UNDOING:
        return True
    if state.is_paused:
        state.overdue.append(due)
    return not state.is_paused


def _timer_due(state: ExecutionState, event: TimerDue, out: list[Command]) -> None:
    step, wait = event.step, state.program.steps[event.step].wait
    if wait is None or not _is_due(state, event, WAITING):
        return
    stop_listening(state, step)
    out.append(RecordEvent(EventKind.TIMER_FIRED, about(state, step)))
    error = event.error or timed_out(state, step, wait)
    if error is None:
        end_well(state, step, event.output, event.facts, out)
    else:
        state.busy -= 1
        end_badly(state, step, status_of(error), error, _NO_ATTEMPT, out)
    _go_on(state, out)


def _signalled(state: ExecutionState, event: SignalReceived, out: list[Command]) -> None:
    signal = event.signal
    out.append(RecordEvent(EventKind.SIGNAL_RECEIVED, signal_data(event)))
    keep(state, signal)
    if state.phase is not Phase.GOING or state.is_paused:
        return
    found = match(state, signal.name)
    if found is not None:
        _take_signal(state, *found, out)
        _go_on(state, out)


def _paused(state: ExecutionState, event: PauseRequested, out: list[Command]) -> None:
    """Start nothing more; what runs goes on to its end."""
    if state.is_paused or state.ending is not None:
        return
    state.is_paused = True
    data: dict[str, Json] = {"actor": event.actor, "reason": event.reason}
    out.append(RecordEvent(EventKind.EXECUTION_PAUSED, data))
    tell_children(state, InboxKind.PAUSE, event.actor, "its parent was paused", out)


def _resumed(state: ExecutionState, event: ResumeRequested, out: list[Command]) -> None:
    """Go on: with the signals that came meanwhile, then with what came due, then with what is ready."""
    if not state.is_paused or state.ending is not None:
        return
    state.is_paused = False
    data: dict[str, Json] = {"actor": event.actor, "reason": event.reason}
    out.append(RecordEvent(EventKind.EXECUTION_RESUMED, data, holds=True))
    tell_children(state, InboxKind.RESUME, event.actor, "its parent was resumed", out)
    if state.phase is not Phase.GOING:
        return
    for name in tuple(state.listening):
        while (found := match(state, name)) is not None:
            _take_signal(state, *found, out)
    overdue, state.overdue = state.overdue, []
    for due in overdue:
        if isinstance(due, TimerDue):
            _timer_due(state, due, out)
        elif due.item >= 0:
            retry_due(state, due, out)
        else:
            _retry_due(state, due, out)
    _go_on(state, out)


def _loaded(state: ExecutionState, event: BlobLoaded, out: list[Command]) -> None:
    """Go on where a large value was missing; it is forgotten again when nothing more is."""
    if not take_loaded(state, event):
        return
    _go_on(state, out)
    if state.awaits is None:
        state.loaded.clear()


def _cancelled(state: ExecutionState, event: CancelRequested, out: list[Command]) -> None:
    if state.ending is not None:
        return
    data: dict[str, Json] = {"actor": event.actor, "reason": event.reason}
    if event.compensate:
        data["compensate"] = True
    out.append(RecordEvent(EventKind.EXECUTION_CANCEL_REQUESTED, data))
    ending = ending_by(Mark(EventKind.EXECUTION_CANCEL_REQUESTED, data))
    _stop(state, ending, "the execution was cancelled", out)


def _timed_out(state: ExecutionState, out: list[Command]) -> None:
    if state.ending is not None:
        return
    out.append(RecordEvent(EventKind.EXECUTION_DEADLINE_REACHED))
    ending = ending_by(Mark(EventKind.EXECUTION_DEADLINE_REACHED))
    _stop(state, ending, "the execution's deadline has passed", out)


def _stop(state: ExecutionState, ending: Ending, reason: str, out: list[Command]) -> None:
    state.phase = Phase.STOPPING
    state.ending = ending
    stop_running(state, reason, out)
    _close_if_quiet(state, out)


def _go_on(state: ExecutionState, out: list[Command]) -> None:
    if state.phase is Phase.GOING:
        _fill(state, out)
    else:
        _close_if_quiet(state, out)


def _fill(state: ExecutionState, out: list[Command]) -> None:
    """Start what is ready while there is place; finish when nothing is left.

    Where a large value is not at hand, all of it waits: the order stays that of the document.
    """
    ready, routes = state.ready, state.program.plan.routes
    while ready and state.has_place:
        step = heappop(ready)
        if state.status[step] != PENDING:
            continue
        if step >= len(state.pending):
            # What gives the output of a step that has failed: nothing more is asked.
            _run(state, step, out)
            continue
        try:
            if step in state.skipped_needs and (reason := why_left_out(state, step)) is not None:
                skip(state, step, reason, out)
                continue
            if routes is not None:
                note_join(state, step, out)
            if state.program.steps[step].condition is None or _holds(state, step, out):
                if routes is not None and step in routes.gateways:
                    choose(state, step, routes.gateways[step], out)
                else:
                    _run(state, step, out)
        except NotLoaded as missing:
            heappush(ready, step)
            ask_for(state, missing.ref, out)
            return
        if state.phase is not Phase.GOING:
            _close_if_quiet(state, out)
            return
    if state.fans and feed(state, out):
        _go_on(state, out)
    elif state.open_steps == 0:
        _succeed(state, out)


def _holds(state: ExecutionState, step: int, out: list[Command]) -> bool:
    """Whether the step's condition lets it run; if not, it is skipped, or failed if that is no condition."""
    condition = state.program.steps[step].condition
    if condition is None:
        return True
    try:
        holds = truthy(condition.render(scope_of(state, resolve=state.resolve, step=step)))
    except ExpressionError as problem:
        state.attempt[step] = 1
        error = StepError("expression", f"`when` of step {state.key(step)!r}: {problem.message}")
        end_badly(state, step, StepStatus.FAILED, error, NO_FACTS, out)
        return False
    if not holds:
        skip(state, step, "its condition is false", out)
    return holds


def _run(state: ExecutionState, step: int, out: list[Command]) -> None:
    if step in state.given:
        give(state, step, out)
        return
    program = state.program.steps[step]
    if program.plan.runs_on and not is_here(state, step):
        # Whoever has its tags comes to it anew, by its rows: nothing of this attempt is known there.
        state.status[step] = PENDING
        state.elsewhere.append(step)
        return
    if program.wait is not None:
        _wait(state, step, program.wait, out)
        return
    if program.for_each is not None:
        open_map(state, step, out)
        return
    if program.human is not None:
        open_task(state, step, program.human, out)
        return
    attempt = state.attempt[step] + 1
    state.attempt[step] = attempt
    state.status[step] = RUNNING
    state.running += 1
    state.busy += 1
    out.append(RecordEvent(EventKind.STEP_STARTED, about(state, step)))
    out.append(RunStep(step, attempt))


def _wait(state: ExecutionState, step: int, wait: WaitPlan, out: list[Command]) -> None:
    """Begin to wait; a signal that came early ends it at once. When a large value is missing, nothing has changed."""
    until = instant_of(state, step)
    state.attempt[step] += 1
    state.status[step] = WAITING
    state.busy += 1
    out.append(RecordEvent(EventKind.STEP_STARTED, about(state, step)))
    signal = None if wait.signal is None else take(state, wait.signal)
    if signal is not None:
        _take_signal(state, step, signal, out)
        return
    if isinstance(until, StepError):
        state.busy -= 1
        end_badly(state, step, StepStatus.FAILED, until, _NO_ATTEMPT, out)
        return
    if wait.signal is not None:
        listen(state, step, wait.signal)
        data = {**about(state, step), "signal": wait.signal}
        out.append(RecordEvent(EventKind.SIGNAL_AWAITED, data))
    when = begin_data(wait, until)
    if when:
        out.append(RecordEvent(EventKind.TIMER_SET, {**about(state, step), **when}))
    delay = None if wait.delay is None else wait.delay.milliseconds
    out.append(BeginWait(step, state.attempt[step], delay, until))


def _take_signal(state: ExecutionState, step: int, signal: Signal, out: list[Command]) -> None:
    end_well(state, step, signal.payload, signal.facts, out, {"signal": signal.n})


def _succeed(state: ExecutionState, out: list[Command]) -> None:
    outputs, output = state.program.outputs, None
    if outputs is not None:
        try:
            output = outputs.render(scope_of(state, resolve=state.resolve))
        except NotLoaded as missing:
            ask_for(state, missing.ref, out)
            return
        except ExpressionError as problem:
            state.ending = without_output(problem.message)
            state.phase = Phase.STOPPING
            _close_if_quiet(state, out)
            return
    state.phase = Phase.CLOSED
    out.append(RecordEvent(EventKind.EXECUTION_COMPLETED))
    out.append(Finish(ExecutionStatus.COMPLETED, output))


def _close_if_quiet(state: ExecutionState, out: list[Command]) -> None:
    ending, data = state.ending, {}
    if state.running or state.children or ending is None:
        return
    if state.phase is Phase.UNDOING or (
        state.phase is Phase.STOPPING and begin_undoing(state, ending, out)
    ):
        compensation = next_to_undo(state)
        if compensation is not None:
            if state.status[compensation] == PENDING:
                _run(state, compensation, out)
            return
        data = outcome_of(state)
    elif state.phase is not Phase.STOPPING:
        return
    state.phase = Phase.CLOSED
    out.append(RecordEvent(ending.event, {**ending.data, **data}))
    out.append(Finish(ending.status, None, ending.error))


def _is_current(state: ExecutionState, step: int, attempt: int) -> bool:
    return state.status[step] == RUNNING and state.attempt[step] == attempt
