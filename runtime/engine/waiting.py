"""Wait steps: when their time comes, and which signal is theirs. advance() asks; nothing here decides what follows.

Signals are matched first in, first out: the oldest of a name goes to the step that has listened longest.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from runtime.engine.event import Signal, SignalReceived, StepError
from runtime.engine.scope import scope_of
from runtime.engine.state import ExecutionState
from runtime.expression import ExpressionError
from runtime.model.errors import StepErrorKind
from runtime.model.plan import WaitPlan
from runtime.model.values import Json, parse_instant


def begin_data(wait: WaitPlan, until: datetime | None) -> dict[str, Json]:
    """What the TIMER_SET event says of the time: how long from its commit, or until when."""
    if until is not None:
        return {"until": until.isoformat()}
    return {} if wait.delay is None else {"for_ms": wait.delay.milliseconds}


def signal_data(event: SignalReceived) -> dict[str, Json]:
    """What the SIGNAL_RECEIVED event says."""
    n, name, payload, _ = event.signal
    return {"n": n, "name": name, "payload": payload, "actor": event.actor}


def instant_of(state: ExecutionState, step: int) -> datetime | StepError | None:
    """Until when the step waits, if it waits for an instant."""
    program = state.program.steps[step]
    if program.wait is None or not program.wait.is_dated:
        return None
    try:
        rendered = program.config.render(scope_of(state, resolve=state.resolve, step=step))
    except ExpressionError as problem:
        words = f"`until` of step {state.key(step)!r}: {problem.message}"
        return StepError("expression", words)
    try:
        return parse_instant(rendered.get("until") if isinstance(rendered, dict) else None)
    except ValueError as problem:
        return StepError("wait.until", f"`until` of step {state.key(step)!r}: {problem}.")


def timed_out(state: ExecutionState, step: int, wait: WaitPlan) -> StepError | None:
    """The failure of a step whose signal did not come in time, unless it provides for that."""
    if wait.signal is None or wait.has_default:
        return None
    words = f"The signal {wait.signal!r}, for which step {state.key(step)!r} waited, did not come in time."
    return StepError("wait.timeout", words, StepErrorKind.TIMEOUT)


def listen(state: ExecutionState, step: int, signal: str) -> None:
    """The step waits for a signal of this name from now on."""
    state.listening.setdefault(signal, []).append(step)


def stop_listening(state: ExecutionState, step: int) -> None:
    """The step waits no longer."""
    wait = state.program.steps[step].wait
    steps = state.listening.get(wait.signal) if wait is not None and wait.signal else None
    if wait is None or steps is None or step not in steps:
        return
    steps.remove(step)
    if not steps:
        del state.listening[wait.signal or ""]


def keep(state: ExecutionState, signal: Signal) -> None:
    """Nobody has taken this signal yet."""
    state.signals.setdefault(signal.name, deque()).append(signal)


def take(state: ExecutionState, name: str) -> Signal | None:
    """The oldest signal of a name that nobody has taken; it is the caller's now."""
    kept = state.signals.get(name)
    if not kept:
        return None
    signal = kept.popleft()
    if not kept:
        del state.signals[name]
    return signal


def match(state: ExecutionState, name: str) -> tuple[int, Signal] | None:
    """A step that listens and the signal that is its own, if there are both."""
    if name not in state.signals or name not in state.listening:
        return None
    step = state.listening[name][0]
    stop_listening(state, step)
    signal = take(state, name)
    return None if signal is None else (step, signal)
