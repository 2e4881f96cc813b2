"""Ways through the graph that are chosen while it runs: which steps the end of a step leads to, what joins wait for.

Only plans with gateways, `join`, `on_error` or `on_expiry` come here. What was chosen is read from the ends of steps (a
gateway's output, a failure that was provided for), never evaluated again; what a join saw when it began before
all it waits for had ended is an event. So every rebuild decides alike.
"""

from __future__ import annotations

from heapq import heappush

from runtime.engine.command import Command, RecordEvent
from runtime.engine.event import StepError
from runtime.engine.state import PENDING, SKIPPED, ExecutionState
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus
from runtime.model.route import Join, Routes, cases_of
from runtime.model.values import Json


def follow(state: ExecutionState, step: int, routes: Routes) -> None:
    """Tell what waits for a step that has ended whether it leads there: O(out-edges)."""
    successors, status = state.program.plan.successors[step], state.status[step]
    taken = cases_of(state.gates[step]) if step in state.gates else ()
    for successor, leads, is_choice in routes.edges(step, status, taken, successors):
        state.edge_visits += 1
        state.pending[successor] -= 1
        if not leads:
            state.skipped_needs[successor] = state.skipped_needs.get(successor, 0) + 1
        if is_choice:
            state.chosen[successor] = state.chosen.get(successor, 0) + 1
        join = routes.joins.get(successor)
        if join is not None and join.wants:
            state.joined.setdefault(successor, []).append(step)
        if state.status[successor] == PENDING and _is_decided(state, successor, routes):
            heappush(state.ready, successor)


def recover(state: ExecutionState, step: int, status: StepStatus, error: StepError) -> None:
    """Mark a step as ended badly for good, and go on as its `on_error` says: first with the output that it gives."""
    state.status[step] = int(status)
    state.errors[step] = error
    fallback = state.program.plan.fallback_of(step, int(status))
    if fallback is None:
        lead_on(state, step)
    else:
        heappush(state.ready, fallback)


def lead_on(state: ExecutionState, step: int) -> None:
    """What rests on a step that has failed goes on: its output, if it has one, is there."""
    state.open_steps -= 1
    routes = state.program.plan.routes
    if routes is not None:
        follow(state, step, routes)


def recovery(state: ExecutionState, step: int, status: StepStatus) -> dict[str, Json] | None:
    """What the event of a failure says of how the execution goes on; None: it does not.

    Where an `on_expiry` says so it is told as if an `on_error` did: whoever reads it goes on alike.
    """
    routes = state.program.plan.routes
    if routes is None:
        return None
    if status is StepStatus.TIMED_OUT and step in routes.expiries:
        return {"on_error": {"goto": state.key(routes.expiries[step])}}
    if step not in routes.recoveries:
        return None
    goto = routes.recoveries[step]
    return {"on_error": "continue" if goto is None else {"goto": state.key(goto)}}


def is_ready(state: ExecutionState, step: int) -> bool:
    """Whether nothing more is waited for: the step begins, or is skipped, as soon as it can."""
    routes = state.program.plan.routes
    if routes is None:
        return state.pending[step] == 0
    return _is_decided(state, step, routes)


def why_left_out(state: ExecutionState, step: int) -> str | None:
    """Why no way leads to a step whose turn it is; None: one does. For steps with `skipped_needs`."""
    plan, left_out = state.program.plan, state.skipped_needs[step]
    if left_out == plan.indegree[step]:
        needs = plan.steps[step].depends_on
        if plan.routes is None or all(state.status[need] == SKIPPED for need in needs):
            return "all steps it depends on were skipped"
        return "no step it depends on led to it"
    join = None if plan.routes is None else plan.routes.joins.get(step)
    if join is None:
        return None
    if join.choosers and not state.chosen.get(step):
        return f"{_names(state, join)} did not choose it"
    leading = plan.indegree[step] - state.pending[step] - left_out
    if leading < join.wants:
        return f"only {leading} of the {join.wants} steps that it waits for led to it"
    return None


def note_join(state: ExecutionState, step: int, out: list[Command]) -> None:
    """A step begins (or its condition is judged) before all it waits for has ended: what it sees stays so."""
    if not state.pending[step] or step in state.seen:
        return
    seen: list[Json] = [*sorted(state.joined[step])]
    state.seen[step] = tuple(sorted(state.joined[step]))
    data: dict[str, Json] = {"step": step, "key": state.key(step), "item": -1, "seen": seen}
    out.append(RecordEvent(EventKind.STEP_JOINED, data, holds=True))


def restore_seen(state: ExecutionState, data: Json) -> None:
    """What a STEP_JOINED event says."""
    if isinstance(data, dict) and isinstance(data.get("step"), int):
        step, seen = data["step"], data.get("seen")
        if isinstance(step, int) and isinstance(seen, list):
            state.seen[step] = tuple(one for one in seen if isinstance(one, int))


def sees_as(state: ExecutionState, step: int) -> int | None:
    """The step which this one undoes, or gives an output for: it sees what that saw, and that step itself."""
    plan = state.program.steps[step].plan
    return plan.stands_for if plan.undoes is None else plan.undoes


def visible(state: ExecutionState, step: int | None) -> int | None:
    """The steps that this one sees, as a set of bits; None: all that there are."""
    routes = state.program.plan.routes
    whose = None if step is None else sees_as(state, step)
    if whose is not None:
        bits = visible(state, whose)
        return None if bits is None else bits | 1 << whose
    if step is None or routes is None or step not in routes.blind or not state.seen:
        return None
    known, todo = state.visible, [step]
    while todo:
        one = todo[-1]
        if one in known:
            todo.pop()
            continue
        needs = state.seen.get(one, state.program.plan.steps[one].depends_on)
        missing = [need for need in needs if need not in known]
        if missing:
            todo += missing
            continue
        bits = 0
        for need in needs:
            bits |= known[need] | 1 << need
        known[todo.pop()] = bits
    return known[step]


def _is_decided(state: ExecutionState, step: int, routes: Routes) -> bool:
    open_edges = state.pending[step]
    left_out = state.skipped_needs.get(step, 0)
    leading = state.program.plan.indegree[step] - open_edges - left_out
    return routes.is_decided(step, open_edges, leading, state.chosen.get(step, 0))


def _names(state: ExecutionState, join: Join) -> str:
    return " and ".join(state.key(one) for one in sorted(join.choosers))
