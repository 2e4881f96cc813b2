"""Wait steps in a worker: their timers, what their rows say, and when an execution that only waits is parked.

The database's clock decides: the worker knows its time from the claim (created then, so long ago), and adds
what its own monotonic clock has counted since. That is late by the way of the answer, never early.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

from runtime.engine.command import BeginWait, RecordStep
from runtime.engine.event import WAITED, Facts, TimerDue
from runtime.engine.scope import MASKED, Resolve, scope_of
from runtime.engine.state import Phase
from runtime.engine.tags import wanted_tags
from runtime.expression import ExpressionError
from runtime.model import errors
from runtime.model.blob import NotLoaded
from runtime.model.checkpoint import Closing, OwnedExecution
from runtime.model.execution import ExecutionStatus, WaitKind
from runtime.model.values import Json
from runtime.worker.encode import Encoded, clean, digest, error_of
from runtime.worker.outputs import Kept, Outputs
from runtime.worker.run import Run

PARK_SECONDS: Final = 5.0
# Beyond this an execution is woken and parked again; PostgreSQL's own times end somewhere.
MOST_SECONDS: Final = 315_360_000.0


class Parking(NamedTuple):
    """Why an execution is given up, and in how many seconds it must be taken up again.

    `tags` are the sets of tags of which a worker must have one to go on with it at once.
    """

    kind: WaitKind
    seconds: float | None
    tags: tuple[tuple[str, ...], ...] = ()


def database_now(owned: OwnedExecution, elapsed: float) -> datetime:
    """The database's time, `elapsed` seconds after the claim was answered."""
    return owned.created_at + timedelta(seconds=owned.age_seconds + elapsed)


def seconds_until(run: Run, command: BeginWait, now: float) -> float | None:
    """In how many seconds the time of a wait comes that has just been committed; None: never."""
    if command.until is not None:
        here = database_now(run.owned, now - run.claimed_at)
        return max(0.0, (command.until - here).total_seconds())
    return None if command.delay_ms is None else command.delay_ms / 1000


def timer_due(run: Run, due: TimerDue, outputs: Outputs, resolve: Resolve) -> TimerDue | Encoded:
    """The same with the output that the step then has, which is its default or nothing.

    A default that is too large for a row is given back to be stored first. Raises NotLoaded.
    """
    step = run.prepared.program.steps[due.step]
    output: Json = None
    try:
        if step.wait is not None and step.wait.has_default:
            rendered = step.config.render(scope_of(run.state, resolve=resolve, step=due.step))
            output = rendered.get("default") if isinstance(rendered, dict) else None
        encoded = outputs.encode(output, subject_of(run, due))
    except ExpressionError as problem:
        words = clean(f"`default` of step {step.plan.key!r}: {problem.message}")
        return due_with(due, errors.StepFailed(words, type="expression"))
    except errors.StepFailed as failed:
        return due_with(due, failed)
    return encoded if outputs.goes_out(encoded) else with_output(due, Kept(encoded))


def subject_of(run: Run, due: TimerDue) -> str:
    """What messages call the default."""
    return f"The default of step {run.prepared.program.steps[due.step].plan.key!r}"


def with_output(due: TimerDue, kept: Kept) -> TimerDue:
    """The same, with the output of the step."""
    output = kept.encoded.value if kept.ref is None else kept.ref
    facts = Facts(WAITED, kept.text, f',"out":"{kept.encoded.digest}"')
    return TimerDue(due.step, due.attempt, output, facts)


def due_with(due: TimerDue, failed: errors.StepFailed) -> TimerDue:
    """The same, and why the step has no output."""
    return TimerDue(due.step, due.attempt, error=error_of(failed))


def waited(run: Run, command: RecordStep, now: float) -> Facts:
    """What the row of a wait says: since when, for what, and who saw its end."""
    facts, prepared = command.facts, run.prepared.steps[command.step]
    if facts.more is not None:
        return Facts(0.0, facts.output, facts.tail)  # Of a call that was kept its own row says all.
    tail = facts.tail
    if command.step in run.state.gates:
        tail = f',"out":"{digest(run.state.gates[command.step])}"'
    age = now - run.waiting.pop(command.step, now)
    if prepared.program.for_each is not None:
        return Facts(age, facts.output, prepared.tail + tail)
    try:
        scope = scope_of(run.state, MASKED, step=command.step)
        rendered = f',"in":"{digest(prepared.program.config.render(scope))}"'
    except (ExpressionError, NotLoaded, TypeError):
        rendered = ""
    return Facts(age, facts.output, rendered + prepared.tail + tail)


def park(run: Run, parking: Parking) -> None:
    """Give the execution up until then."""
    kind, seconds, _ = parking
    closing = Closing(run.owned.id, ExecutionStatus.WAITING, kind, seconds, run.inbox_seen)
    run.park(closing, waiting_data(parking))


def parking_of(run: Run, now: float) -> Parking | None:
    """Whether only long waits are left, and until when; the nearest of all timers and the deadline."""
    if not run.state.is_idle or not run.is_quiet or run.under_way:
        return None
    if run.state.phase is Phase.STOPPING:
        # Whatever it was told: it waits for its children, which were told to end.
        return Parking(WaitKind.CHILD_EXECUTION, None)
    is_undoing = run.state.phase is Phase.UNDOING
    if run.state.is_paused and not is_undoing:
        return _until(run, WaitKind.PAUSED, None, now)
    timers = _timers(run)
    if wanted := wanted_tags(run.state):
        # At once: a worker that has them need not wait, and any other one takes it up again when a time has come.
        first = min((when for when, _ in timers), default=None)
        found = _until(run, WaitKind.WORKER_TAGS, first, now, ends=not is_undoing)
        return found._replace(tags=wanted)
    # What waited when an undoing began is not waited for any more.
    listening = not is_undoing and run.state.listening
    state = run.state
    if not (timers or listening or state.doubts or state.children or state.tasks):
        return None
    # A person's answer comes before a program's end, where it waits for both.
    other = WaitKind.HUMAN_TASK if state.tasks else WaitKind.CHILD_EXECUTION
    other = WaitKind.SIGNAL if listening else other
    first, kind = min(timers, default=(None, other))
    if state.doubts:
        # A person must act, whatever else it waits for.
        kind = WaitKind.IN_DOUBT
    if first is not None and first - now <= PARK_SECONDS:
        return None
    return _until(run, kind, first, now, ends=not is_undoing)


def _timers(run: Run) -> list[tuple[float, WaitKind]]:
    """When which waits are over, of the steps that go on then."""
    steps, goes_on = run.prepared.program.steps, run.state.goes_on
    timers = [
        (when, WaitKind.RETRY_BACKOFF)
        for place, (when, _) in run.retries.items()
        if goes_on(place if isinstance(place, int) else place[0])
    ]
    for step, (when, _) in run.timers.items():
        wait = steps[step].wait
        is_signal = wait is not None and wait.signal is not None
        if goes_on(step):
            timers.append((when, WaitKind.SIGNAL if is_signal else WaitKind.TIMER))
    return timers


def _until(
    run: Run, kind: WaitKind, first: float | None, now: float, *, ends: bool = True
) -> Parking:
    """Until the first timer or the deadline of the execution, whichever comes first.

    What is being undone ends already (not `ends`): no deadline holds for it.
    """
    if run.deadline is not None and ends:
        first = run.deadline.when() if first is None else min(first, run.deadline.when())
    seconds = None if first is None else min(max(0.0, first - now), MOST_SECONDS)
    # In whole milliseconds, as the event tells it: from that the time in the row can be told ever after.
    return Parking(kind, None if seconds is None else ceil(seconds * 1000) / 1000)


def waiting_data(parking: Parking) -> dict[str, Json]:
    """What the event of the parking says."""
    data: dict[str, Json] = {"wait": parking.kind.name.lower()}
    if parking.seconds is not None:
        data["wake_in_ms"] = round(parking.seconds * 1000)
    if parking.tags:
        data["tags"] = [[*tags] for tags in parking.tags]
    return data
