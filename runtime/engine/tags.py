"""Worker tags: which steps the worker that has an execution may run, and which sets of tags would lead on."""

from __future__ import annotations

from runtime.engine.state import PENDING, ExecutionState


def is_here(state: ExecutionState, step: int) -> bool:
    """Whether the owner has all tags that this step runs on."""
    wanted, here = state.program.steps[step].plan.runs_on, state.here
    return not wanted or here is None or here.issuperset(wanted)


def wanted_tags(state: ExecutionState) -> tuple[tuple[str, ...], ...]:
    """The tags of each step that could begin and each open map that could go on, but not here; each set once."""
    steps = state.program.steps
    ready = [
        step for step in state.elsewhere if state.status[step] == PENDING and state.goes_on(step)
    ]
    ready += [
        step
        for step, fan in state.fans.items()
        if fan.takes_more and fan.left and not is_here(state, step)
    ]
    return tuple(sorted({steps[step].plan.runs_on for step in ready}))
