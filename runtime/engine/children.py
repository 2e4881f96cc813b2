"""Children: executions that steps of the kind `workflow` start and wait for. What happens to one is decided here.

The attempt of such a step is the look for a version and the judgement of the input; it changes nothing outside, so
whoever comes next makes it again. Then one commit holds CHILD_STARTED and the child itself: from then on the step
waits, with no place in any worker, until the commit that ends the child tells its parent. A parent that stops tells its
children, and ends after them.
"""

from __future__ import annotations

from typing import Final

from runtime.engine.about import about
from runtime.engine.again import repeat
from runtime.engine.command import BeginWait, Command, RecordEvent, StartChild, TellChild
from runtime.engine.ending import end_badly, end_well, status_of, tries
from runtime.engine.event import STOPPED, STOPPED_TAIL, ChildEnded, ChildFound, StepError
from runtime.engine.retry import is_repeated
from runtime.engine.state import RUNNING, WAITING, ExecutionState, Phase
from runtime.model.checkpoint import InboxKind
from runtime.model.errors import StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.plan import Effect
from runtime.model.values import Json

STOPPING: Final = StepError(
    "step.cancelled",
    "The execution was stopping, so no child was started.",
    StepErrorKind.CANCELLED,
)


def start_child(state: ExecutionState, event: ChildFound, out: list[Command]) -> None:
    """A version was found and takes the input: start the child with the event that tells of it."""
    step, child = event.step, event.child
    if (state.status[step], state.attempt[step]) != (RUNNING, event.attempt):
        return
    state.running -= 1
    if state.phase is not Phase.GOING:
        state.busy -= 1
        end_badly(state, step, StepStatus.CANCELLED, STOPPING, STOPPED, out)
        return
    state.status[step] = WAITING
    state.children[step] = child
    data: dict[str, Json] = {**about(state, step), **child.as_json()}
    out.append(RecordEvent(EventKind.CHILD_STARTED, data))
    out.append(StartChild(step, event.attempt))
    if state.is_paused:
        tell_child(state, step, InboxKind.PAUSE, None, "its parent is paused", out)
    out.append(BeginWait(step, event.attempt))


def child_ended(state: ExecutionState, event: ChildEnded, out: list[Command]) -> None:
    """A child has ended: so does its step, unless its `retry` wants another one. Who is no child now is not heard."""
    found = [step for step, child in state.children.items() if child.id == event.child]
    if not found:
        return
    step = found[0]
    del state.children[step]
    error = event.error
    if event.status is ExecutionStatus.COMPLETED or error is None:
        end_well(state, step, event.output, event.facts, out, {"child": str(event.child)})
        return
    policy, facts = state.program.steps[step].plan.retry, event.facts
    if state.phase is Phase.GOING and is_repeated(policy, error, tries(state, step), Effect.PURE):
        repeat(state, step, status_of(error), error, facts, out)
        return
    state.busy -= 1
    if state.phase is not Phase.GOING and event.status is ExecutionStatus.CANCELLED:
        # As it was told: the step was stopped, and a retry of the execution runs it again.
        facts = facts._replace(tail=facts.tail + STOPPED_TAIL)
    end_badly(state, step, status_of(error), error, facts, out, {"child": str(event.child)})


def tell_children(
    state: ExecutionState, kind: InboxKind, actor: Json, reason: str, out: list[Command]
) -> None:
    """Pass on to every child what its parent was told."""
    for step in state.children:
        tell_child(state, step, kind, actor, reason, out)


def tell_child(
    state: ExecutionState,
    step: int,
    kind: InboxKind,
    actor: Json,
    reason: str,
    out: list[Command],
) -> None:
    """Pass a word on to the child of one step; in the commit of the event that is its cause."""
    by = actor or {"subject": str(state.run.id), "kind": "system"}
    out.append(TellChild(step, state.children[step].id, kind, by, reason))
